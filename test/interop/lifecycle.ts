/**
 * A program over the engine that does with one torrent what each line of standard input says, and answers with one JSON
 * line: `add WHAT PEER` (a torrent file or a magnet link), `pause`, `resume`, `recheck`, `remove`, `status`, `complete`
 * (waits for that). Stores in the folder in its argument. Ends when standard input closes.
 */
import { readFileSync } from "node:fs"
import * as ReadLine from "node:readline"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as PeerAddress from "../../src/base/PeerAddress.ts"
import * as Engine from "../../src/engine/Engine.ts"
import * as Magnet from "../../src/metainfo/Magnet.ts"
import * as Metainfo from "../../src/metainfo/Metainfo.ts"
import * as NodeEngine from "../../src/node/NodeEngine.ts"
import type { Torrent } from "../../src/torrent/Torrent.ts"

const [, , directory = "."] = process.argv

const statusOf = Effect.fnUntraced(function* (torrent: Torrent) {
  const { connectedPeers, downloadedBytes, missingBytes, name, state, storedPieces } = yield* torrent.status
  const clients = (yield* torrent.peers).map(({ client }) => client)
  return { state: state._tag, name, connectedPeers, downloadedBytes, missingBytes, storedPieces, clients }
})

const program = Effect.gen(function* () {
  const engine = yield* Engine.Engine
  let torrent: Torrent | undefined
  const answer = Effect.fnUntraced(function* (line: string) {
    const [command, what = "", peer = ""] = line.split(" ")
    if (command === "add") {
      const source = what.startsWith("magnet:")
        ? yield* Effect.fromResult(Magnet.parse(what))
        : yield* Metainfo.fromBytes(readFileSync(what))
      torrent = yield* engine.add(source, { peers: [PeerAddress.parse(peer)!] })
    }
    if (torrent === undefined) return { error: "there is no torrent" }
    if (command === "pause") yield* torrent.pause
    if (command === "resume") yield* torrent.resume
    if (command === "recheck") yield* torrent.recheck
    if (command === "complete") yield* torrent.completed
    if (command === "remove") return { ...(yield* torrent.remove({ data: true })), ...(yield* statusOf(torrent)) }
    return yield* statusOf(torrent)
  })
  const lines = Stream.fromAsyncIterable(ReadLine.createInterface({ input: process.stdin }), (cause) => cause)
  yield* Stream.runForEach(lines, (line) =>
    Effect.map(
      Effect.catch(answer(line), (error) => Effect.succeed({ error: String(error) })),
      (found) => process.stdout.write(`${JSON.stringify(found)}\n`)
    )
  )
})

await Effect.runPromise(
  Effect.provide(Effect.scoped(program), NodeEngine.layer({ directory, telemetry: { logs: false } }))
)
