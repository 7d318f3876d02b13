/**
 * A program over the engine that looks for peers in every way: `node everything.ts LINK FILE.torrent FOLDER`. Adds the
 * magnet link and the torrent file, which name trackers, web seeds, nodes of the DHT and peers, beside peers of its own.
 * Ends after five seconds.
 */
import { readFileSync } from "node:fs"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Exit } from "effect"
import { Engine, Magnet, Metainfo, PeerAddress } from "piecewise"
import { NodeEngine } from "piecewise/node"

const [link = "", file = "", directory = "."] = process.argv.slice(2)

/** Peers on this machine, on another one, and by a name. */
const peers = ["127.0.0.1:9", "192.0.2.7:6881", "[2001:db8::7]:6881", "peer.example:6881"].flatMap(
  (text) => PeerAddress.parse(text) ?? []
)

const program = Effect.gen(function* () {
  const engine = yield* Engine.Engine
  const magnet = yield* engine.add(yield* Effect.fromResult(Magnet.parse(link)), { peers })
  const torrent = yield* engine.add(yield* Metainfo.fromBytes(readFileSync(file)), { peers })
  const ended = yield* Effect.raceAll([
    Effect.exit(magnet.completed),
    Effect.exit(torrent.completed),
    Effect.as(Effect.sleep("5 seconds"), undefined)
  ])
  yield* Console.log(
    JSON.stringify({ ended: ended === undefined ? "time" : Exit.isSuccess(ended) ? "success" : "failure" })
  )
})

NodeRuntime.runMain(Effect.scoped(program).pipe(Effect.provide(NodeEngine.layer({ directory }))))
