/** A medium in memory, and what the suite of media asks of it. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as NodePieceHasher from "../../src/piece/NodePieceHasher.ts"
import * as MemoryStorage from "../../src/storage/MemoryStorage.ts"
import { MediumFiles } from "./Storage.suite.ts"

/** A fresh medium. */
export const layer = (options?: MemoryStorage.MemoryStorageOptions) =>
  Layer.provide(MemoryStorage.layerTest(options), NodePieceHasher.layer)

/** Lists what the medium holds, for the suite. */
export const files = Layer.effect(
  MediumFiles,
  Effect.map(MemoryStorage.MemoryMedium, (medium) =>
    MediumFiles.of({
      list: (layout) =>
        Effect.sync(() => {
          const torrent = medium.torrent(layout)
          return new Map(torrent.paths.map((path) => [path, torrent.file(path)!]))
        })
    })
  )
)
