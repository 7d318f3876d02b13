/** Stores and digests a torrent of 10,000 files in a process with few descriptors; prints the result. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as NodePieceHasher from "../../../src/hash/provider/node/NodePieceHasher.ts"
import * as FileSystemStorage from "../../../src/storage/provider/node/FileSystemStorage.ts"
import { listFiles, temporaryFolder } from "../disk.ts"
import { contentOf, layoutOf, piecesOf, sliceOf } from "../layouts.ts"
import { openToWrite } from "../openings.ts"

const layout = layoutOf(
  64,
  ...Array.from({ length: 10_000 }, (_, index) => [`many/${index % 100}/${index}`, 8] as const)
)

const program = Effect.gen(function* () {
  const directory = yield* temporaryFolder
  const storage = Layer.provide(FileSystemStorage.layer({ directory }), NodePieceHasher.layer)
  const content = contentOf(layout)
  const digests = yield* Effect.gen(function* () {
    const torrent = yield* openToWrite(layout)
    yield* Effect.forEach(piecesOf(layout), (piece) => torrent.writePiece(piece, sliceOf(layout, content, piece)), {
      concurrency: 16
    })
    return yield* Stream.runCollect(torrent.digests(piecesOf(layout)))
  }).pipe(Effect.scoped, Effect.provide(storage))
  const files = [...listFiles(directory).values()].filter((bytes) => bytes.length === 8).length
  const stored = digests.filter(({ sha1 }) => sha1 !== undefined).length
  console.log(`${files} files, ${stored} of ${layout.geometry.pieceCount} pieces`)
})

await Effect.runPromise(Effect.scoped(program))
