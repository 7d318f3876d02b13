/**
 * Plays a torrent while it downloads. Pieces are fetched in the order of their deadlines, stay in memory, and are
 * written to standard output: `node examples/watch.ts FILM.torrent | mpv -`.
 */
import { readFile } from "node:fs/promises"
import { NodeRuntime } from "@effect/platform-node"
import { Duration, Effect, Layer, Stream } from "effect"
import { Engine, MemoryResumeStore, MemoryStorage, Metainfo, PieceGeometry, Storage, type Torrent } from "piecewise"
import { NodeEngine } from "piecewise/node"

/** How many pieces are requested ahead of the one that plays. */
const ahead = 8

/** The pieces of a new download in order, each as soon as it is stored. */
export const inOrder = (
  torrent: Torrent.Torrent,
  geometry: PieceGeometry.PieceGeometry
): Stream.Stream<PieceGeometry.PieceIndex> => {
  const stored = new Set<number>()
  let next = 0
  const askAhead = Effect.suspend(() => {
    const due = Array.from({ length: Math.min(ahead, geometry.pieceCount - next) }, (_, index) => ({
      piece: PieceGeometry.pieceIndexUnsafe(geometry, next + index),
      within: Duration.seconds(index + 1)
    }))
    return torrent.setDeadlines(due)
  })
  const pieces = Stream.flatMap(torrent.events, (event) => {
    if (event._tag === "PieceStored") stored.add(event.piece)
    const ready: Array<PieceGeometry.PieceIndex> = []
    while (stored.has(next)) ready.push(PieceGeometry.pieceIndexUnsafe(geometry, next++))
    return Stream.fromIterable(ready).pipe(Stream.onStart(ready.length > 0 ? askAhead : Effect.void))
  })
  return pieces.pipe(Stream.onStart(askAhead), Stream.take(geometry.pieceCount))
}

const program = Effect.gen(function* () {
  const metainfo = yield* Metainfo.fromBytes(yield* Effect.promise(() => readFile(process.argv[2] ?? "")))
  const { geometry } = metainfo.layout
  const engine = yield* Engine.Engine
  const torrent = yield* engine.add(metainfo)
  const bytes = yield* (yield* Storage.Storage).open(metainfo)
  const pieces = Stream.mapEffect(inOrder(torrent, geometry), (piece) =>
    bytes.readBlock(piece, 0, PieceGeometry.pieceSize(geometry, piece))
  )
  yield* Stream.runForEach(pieces, (block) => Effect.sync(() => process.stdout.write(block.bytes)))
})

if (import.meta.main) {
  const inMemory = Engine.layer().pipe(
    Layer.provideMerge([MemoryStorage.layer(), MemoryResumeStore.layer]),
    Layer.provideMerge(NodeEngine.layerServices({ directory: "unused" }))
  )
  NodeRuntime.runMain(Effect.provide(Effect.scoped(program), inMemory))
}
