/** The storage over the real daemon. Each test has a daemon of its own. */
import * as Path from "node:path"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as NodeIoDaemon from "../../src/node/NodeIoDaemon.ts"
import { Storage } from "../../src/storage/Storage.ts"
import * as Daemon from "../io-daemon/daemon.ts"
import { listFiles, temporaryFolder } from "./disk.ts"
import { contentOf, layoutOf, pieceOf, piecesOf, sliceOf } from "./layouts.ts"
import * as Suite from "./Storage.suite.ts"

const root = "downloads"

/** A daemon with a fresh folder as its root, and a storage in it. */
const layer = Layer.unwrap(
  Effect.map(temporaryFolder, (folder) => {
    const directory = Path.join(folder, root)
    const files = Layer.succeed(
      Suite.MediumFiles,
      Suite.MediumFiles.of({ list: () => Effect.sync(() => listFiles(directory)) })
    )
    const storage = NodeIoDaemon.layerStorage({ root })
    return Layer.merge(storage, files).pipe(Layer.provideMerge(Daemon.layer({ [root]: directory })))
  })
)

Daemon.live("storage through the daemon", () => {
  Suite.suite("io-daemon", layer)

  it.live("a recheck moves digests, not data", () =>
    Effect.gen(function* () {
      const layout = layoutOf(1_048_576, ["t/a", 40_000_000], ["t/b", 5_000_000])
      const content = contentOf(layout)
      const torrent = yield* (yield* Storage).open(layout)
      for (const piece of piecesOf(layout)) yield* torrent.writePiece(piece, sliceOf(layout, content, piece))

      const digests = yield* Stream.runCollect(torrent.digests(piecesOf(layout)))
      const stats = yield* Daemon.stats

      assert.strictEqual(digests.filter(({ sha1 }) => sha1 !== undefined).length, 43)
      assert.deepStrictEqual([stats.digestedBytes, stats.readBytes], [45_000_000, 0])
    }).pipe(Effect.scoped, Effect.provide(layer))
  )

  it.live("a digest that does not match touches no file, however many the piece spans", () =>
    Effect.gen(function* () {
      const layout = layoutOf(300, ...Array.from({ length: 300 }, (_, index) => [`t/${index}`, 1] as const))
      const torrent = yield* (yield* Storage).open(layout)

      const error = yield* Effect.flip(
        torrent.writePiece(pieceOf(layout, 0), new Uint8Array(300).fill(1), new Uint8Array(20))
      )

      assert.strictEqual(error.reason._tag, "DigestMismatch")
      assert.deepStrictEqual([...(yield* (yield* Suite.MediumFiles).list(layout)).keys()], [])
    }).pipe(Effect.scoped, Effect.provide(layer))
  )
})
