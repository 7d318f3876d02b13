/** A medium in memory, and what the suite of media asks of it. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as MemoryStorage from "../../src/storage/provider/memory/MemoryStorage.ts"
import { MediumFiles } from "../../src/testing/suite/MediumFiles.ts"

/** A fresh medium. */
export const layer = (options?: MemoryStorage.MemoryStorageOptions) =>
  Layer.provide(MemoryStorage.layerTest(options), NodePieceHasher.layer)

/** The medium from a user's side, for the suite. */
export const files = Layer.effect(
  MediumFiles,
  Effect.map(MemoryStorage.MemoryMedium, (medium) =>
    MediumFiles.of({
      list: Effect.sync(
        () =>
          new Map(
            medium.paths().flatMap((path) => {
              const bytes = medium.read(path)
              return bytes === undefined ? [] : [[path, bytes] as const]
            })
          )
      ),
      put: (path, content) => Effect.sync(() => medium.put(path, content)),
      block: (path) => Effect.sync(() => medium.block(path)),
      modify: (path, offset, bytes) => Effect.sync(() => medium.modify(path, offset, bytes)),
      touch: (path) => Effect.sync(() => medium.touch(path)),
      cut: (path, length) => Effect.sync(() => medium.cut(path, length)),
      replace: (path) => Effect.sync(() => medium.replace(path)),
      link: (from, to) => Effect.sync(() => medium.link(from, to)),
      remove: (path) => Effect.sync(() => medium.remove(path))
    })
  )
)
