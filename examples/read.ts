/**
 * Writes the largest file of a torrent to standard output while it downloads: `node examples/read.ts FILM.torrent | mpv -`.
 * Pieces that are needed next are fetched before all others, and a slow player holds the stream back.
 */
import { readFile } from "node:fs/promises"
import { NodeRuntime, NodeStdio } from "@effect/platform-node"
import { Effect, Layer, Stdio, Stream } from "effect"
import { Engine, FileLayout, MemoryResumeStore, MemoryStorage, Metainfo, type Torrent } from "piecewise"
import { NodeEngine } from "piecewise/node"

/** The index of the largest file. */
export const largest = ({ layout }: Metainfo.Metainfo): number =>
  FileLayout.realFiles(layout).reduce((best, file) =>
    FileLayout.lengthOf(layout, file) > FileLayout.lengthOf(layout, best) ? file : best
  )

/** The bytes of the largest file, each as soon as its piece is verified. A skipped file is fetched while it is read. */
export const bytes = (torrent: Torrent.Torrent): Stream.Stream<Uint8Array, Torrent.ReadError> =>
  Stream.unwrap(Effect.map(torrent.metainfo, (metainfo) => torrent.read(largest(metainfo))))

const program = Effect.gen(function* () {
  const metainfo = yield* Metainfo.fromBytes(yield* Effect.promise(() => readFile(process.argv[2] ?? "")))
  const engine = yield* Engine.Engine
  const torrent = yield* engine.add(metainfo, { files: metainfo.layout.files.map(() => "skip") })
  const stdio = yield* Stdio.Stdio
  yield* Stream.run(bytes(torrent), stdio.stdout())
})

if (import.meta.main) {
  const inMemory = Engine.layer().pipe(
    Layer.provideMerge([MemoryStorage.layer(), MemoryResumeStore.layer]),
    Layer.provideMerge(NodeEngine.layerServices({ directory: "unused" }))
  )
  NodeRuntime.runMain(Effect.provide(Effect.scoped(program), Layer.merge(inMemory, NodeStdio.layer)))
}
