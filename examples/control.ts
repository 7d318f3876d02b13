/**
 * Adds a torrent to a service that runs (`piecewise serve DIR`), and follows it until it is complete: `TOKEN=... node
 * examples/control.ts http://127.0.0.1:6880 MAGNET`. The token is in the state folder of the service.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, Layer, Stream } from "effect"
import { FetchHttpClient } from "effect/http"
import { InfoHash } from "piecewise"
import { ControlClient } from "piecewise/control"

/** Adds a magnet link, and says what happens until everything is stored, or until the torrent fails or is removed. */
export const addAndFollow = Effect.fnUntraced(function* (link: string) {
  const client = yield* ControlClient.ControlClient
  // Following begins first, so that nothing is missed.
  const events = yield* client.service.events({ headers: {} })
  const { infoHash } = yield* client.torrents
    .add({ payload: { source: { _tag: "Magnet", link }, labels: ["films"] } })
    .pipe(Effect.catchTag("piecewise/TorrentExists", Effect.succeed))
  yield* events.pipe(
    Stream.takeUntil(({ event }) => event === "missed"),
    Stream.map(({ data }) => data),
    Stream.filter((item) => "infoHash" in item && InfoHash.equals(item.infoHash, infoHash)),
    Stream.map(({ event }) => event),
    Stream.tap((event) => Console.log(event._tag === "StateChanged" ? event.state._tag : event._tag)),
    Stream.takeUntil(({ _tag }) => _tag === "Completed" || _tag === "Removed"),
    Stream.runDrain
  )
  const { torrent } = yield* client.torrents.get({ params: { infoHash } })
  yield* Console.log(`${torrent.name}: ${torrent.progress?.missingBytes ?? "all"} bytes are missing`)
})

const [url = "http://127.0.0.1:6880", link = ""] = process.argv.slice(2)

const program = Effect.gen(function* () {
  const token = yield* Config.Redacted("TOKEN")
  const client = ControlClient.layer({ url, token }).pipe(Layer.provide(FetchHttpClient.layer))
  yield* Effect.provide(addAndFollow(link), client)
})

if (import.meta.main) NodeRuntime.runMain(program)
