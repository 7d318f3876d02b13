/**
 * Runs a torrent with a policy that denies a client: `node choosy.ts TORRENT FOLDER CLIENT [PEER ...]`. Seeds once it
 * is complete. Prints JSON lines: first the port that it listens on, then its events. Ends when standard input closes.
 */
import { readFile } from "node:fs/promises"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Stream } from "effect"
import { Engine, Metainfo, PeerAddress, PeerPolicy } from "piecewise"
import { NodeEngine } from "piecewise/node"

const [file, directory, client, ...peers] = process.argv.slice(2)

const say = (line: Readonly<Record<string, unknown>>) => Console.log(JSON.stringify(line))

const program = Effect.gen(function* () {
  const engine = yield* Engine.Engine
  const metainfo = yield* Metainfo.fromBytes(yield* Effect.promise(() => readFile(file!)))
  const torrent = yield* engine.add(metainfo, { seed: true, peers: peers.map((peer) => PeerAddress.parse(peer)!) })
  yield* say({ port: engine.listening!.port })
  const ended = Effect.callback<void>((resume) => {
    process.stdin.on("end", () => resume(Effect.void)).resume()
  })
  const events = Stream.runForEach(torrent.events, (event) =>
    say({
      event: event._tag,
      address: "address" in event && event.address !== undefined ? PeerAddress.format(event.address) : null,
      why: "why" in event ? event.why : null
    })
  )
  yield* Effect.raceFirst(Effect.andThen(events, Effect.never), ended)
})

const layer = NodeEngine.layer({
  directory: directory!,
  listen: { host: "127.0.0.1", port: 0 },
  telemetry: { logs: false }
}).pipe(Layer.provide(PeerPolicy.layer(PeerPolicy.clients({ deny: [client!] }))))
NodeRuntime.runMain(Effect.provide(Effect.scoped(program), layer))
