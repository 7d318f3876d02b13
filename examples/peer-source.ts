/**
 * Finds peers in a directory of your own, a JSON list over HTTP: `node examples/peer-source.ts URL IT.torrent`. It may
 * fail as often as it likes: the engine reports that, asks it again later, and goes on with the other sources.
 */
import { readFile } from "node:fs/promises"
import { NodeHttpClient, NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Schedule, Schema, Stream } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import { Engine, InfoHash, Metainfo, type PeerSource } from "piecewise"
import { NodeEngine } from "piecewise/node"

const Listing = Schema.Array(Schema.Struct({ host: Schema.String, port: Schema.Int }))

/** Asks the directory for the peers of a torrent. */
const lookUp = Effect.fnUntraced(function* (url: string, infoHash: InfoHash.InfoHash) {
  const client = HttpClient.filterStatusOk(yield* HttpClient.HttpClient)
  const response = yield* client.get(`${url}/${InfoHash.toHex(infoHash)}`)
  return yield* HttpClientResponse.schemaBodyJson(Listing)(response)
}, Effect.timeout("10 seconds"))

/** What may go wrong in the directory: no connection, a bad status, a bad answer, or no answer in time. */
type LookUpError = Effect.Error<ReturnType<typeof lookUp>>

/** Asks the directory once a minute. */
export const directory = (url: string): PeerSource.PeerSource<LookUpError, HttpClient.HttpClient> => ({
  name: "our directory",
  peers: ({ infoHash, isPrivate }) =>
    isPrivate
      ? Stream.empty
      : Stream.map(Stream.fromEffectSchedule(lookUp(url, infoHash), Schedule.spaced("1 minute")), (addresses) => ({
          _tag: "Peers",
          source: "our directory",
          addresses,
          // Only a directory in the local network may name addresses there.
          from: new URL(url).hostname
        }))
})

/** Downloads a torrent from the peers of the directory. The `HttpClient` that it needs is in its type. */
export const download = Effect.fnUntraced(function* (metainfo: Metainfo.Metainfo, url: string) {
  const engine = yield* Engine.Engine
  const torrent = yield* engine.add(metainfo, { sources: [directory(url)] })
  const untilCompleted = Stream.takeUntil(torrent.events, ({ _tag }) => _tag === "Completed")
  yield* Stream.runForEach(untilCompleted, (event) =>
    event._tag === "SourceFailed" ? Console.log(`${event.source}: ${event.why}`) : Effect.void
  )
  yield* Console.log(`${metainfo.name} is complete`)
}, Effect.scoped)

const program = Effect.gen(function* () {
  const [url = "", file = ""] = process.argv.slice(2)
  yield* download(yield* Metainfo.fromBytes(yield* Effect.promise(() => readFile(file))), url)
})

const layers = [NodeEngine.layer({ directory: "downloads" }), NodeHttpClient.layerUndici] as const
if (import.meta.main) NodeRuntime.runMain(Effect.provide(program, [...layers]))
