/**
 * Downloads a torrent from given peers and writes its events as JSON lines, with its progress once a second: `node
 * examples/json.ts FILE.torrent [HOST:PORT]... | jq`.
 */
import { readFile } from "node:fs/promises"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Logger, Schedule, Schema, Stream } from "effect"
import { Bottleneck, Engine, Metainfo, PeerAddress, type Torrent, TorrentEvent } from "piecewise"
import { NodeEngine } from "piecewise/node"

/** Encodes an event as JSON. Another program decodes it with the same schema. */
const encode = Schema.encodeSync(Schema.fromJsonString(Schema.toCodecJson(TorrentEvent.TorrentEvent)))

/** The events and progress of a torrent as JSON lines, until it is complete or has failed. */
export const lines = (torrent: Torrent.Torrent): Stream.Stream<string> => {
  const events = torrent.events.pipe(
    Stream.takeUntil(({ _tag }) => _tag === "Completed" || _tag === "Failed"),
    Stream.map((event) => encode(event))
  )
  const progress = Stream.fromEffectSchedule(torrent.status, Schedule.spaced("1 second")).pipe(
    Stream.map(({ bottleneck, downloadBytesPerSecond, missingBytes }) => ({
      _tag: "Progress",
      missingBytes,
      downloadBytesPerSecond,
      why: Bottleneck.describe(bottleneck)
    })),
    Stream.map((line) => JSON.stringify(line))
  )
  return Stream.merge(events, progress, { haltStrategy: "left" })
}

const program = Effect.gen(function* () {
  const [file = "", ...addresses] = process.argv.slice(2)
  const metainfo = yield* Metainfo.fromBytes(yield* Effect.promise(() => readFile(file)))
  const peers = addresses.flatMap((address) => PeerAddress.parse(address) ?? [])
  const engine = yield* Engine.Engine
  const torrent = yield* engine.add(metainfo, { peers })
  yield* Stream.runForEach(lines(torrent), (line) => Console.log(line))
})

if (import.meta.main) {
  const engine = NodeEngine.layer({ directory: "downloads" })
  // Standard output is for the JSON.
  const logging = Effect.provideService(Effect.scoped(program), Logger.LogToStderr, true)
  NodeRuntime.runMain(Effect.provide(logging, engine))
}
