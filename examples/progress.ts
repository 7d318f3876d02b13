/**
 * Downloads what a magnet link names, and says once a second how far each file is and who sends it: `node
 * examples/progress.ts 'magnet:?xt=urn:btih:...'`.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Stream } from "effect"
import { Bottleneck, Engine, Magnet, type Torrent } from "piecewise"
import { NodeEngine } from "piecewise/node"

const percent = (part: number, whole: number) => `${whole === 0 ? 100 : Math.floor((100 * part) / whole)}%`

/** Lines about a torrent once a second, until it is complete or has ended. */
export const lines = (torrent: Torrent.Torrent): Stream.Stream<string> =>
  torrent.statuses("1 second").pipe(
    Stream.takeUntil(({ state }) => state._tag === "Complete"),
    Stream.flatMap(({ bottleneck, name, state, wantedBytes, missingBytes }) =>
      Stream.fromIterableEffect(
        Effect.gen(function* () {
          const why = Bottleneck.describe(bottleneck)
          const files = (yield* torrent.files).filter(({ isComplete, priority }) => !isComplete && priority !== "skip")
          const peers = yield* torrent.peers
          return [
            `${name}: ${state._tag}, ${percent(wantedBytes - missingBytes, wantedBytes)}${why === "" ? "" : `, ${why}`}`,
            ...files.map(({ length, path, storedBytes }) => `  ${path}: ${percent(storedBytes, length)}`),
            ...peers.map((peer) => `  from ${peer.client} at ${peer.address.host}: ${peer.downloadBytesPerSecond} B/s`)
          ]
        })
      )
    )
  )

const program = Effect.gen(function* () {
  const link = yield* Effect.fromResult(Magnet.parse(process.argv[2] ?? ""))
  const engine = yield* Engine.Engine
  const torrent = yield* engine.add(link)
  yield* Stream.runForEach(lines(torrent), (line) => Console.log(line))
  // If it has failed, or was stopped, this says why.
  yield* torrent.completed
})

if (import.meta.main) {
  const engine = NodeEngine.layer({ directory: "downloads" })
  NodeRuntime.runMain(Effect.provide(Effect.scoped(program), engine))
}
