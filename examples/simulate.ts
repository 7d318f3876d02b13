/**
 * Tests a download against a peer that sends wrong bytes, a slow link and a full disk, in simulated time: `node
 * examples/simulate.ts`. A run takes milliseconds, and the same seed produces the same run.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { WebCryptoPieceHasher } from "piecewise"
import { FaultyStorage, KnownTorrent, PeerBehaviour, Swarms } from "piecewise/testing"

/** Downloads 1 MB from an honest peer and from one that sends wrong bytes. The disk is full from 2 s to 12 s. */
export const run = Effect.fnUntraced(function* (seed: number) {
  const torrent = yield* KnownTorrent.make({ files: [{ path: [], length: 1_000_000 }], pieceLength: 65_536 })
  return yield* Swarms.run({
    seed,
    torrent,
    peers: [PeerBehaviour.honest, { corrupts: "every block" }],
    link: { latency: "20 millis", bytesPerSecond: 200_000 },
    script: Effect.fnUntraced(function* ({ faults }) {
      yield* Effect.sleep("2 seconds")
      faults.failAll("write", FaultyStorage.diskFull)
      yield* Effect.sleep("10 seconds")
      faults.recover("write")
    })
  })
}, Effect.provide(WebCryptoPieceHasher.layer))

const program = Effect.gen(function* () {
  const { events, isRight, millis, status } = yield* run(7)
  yield* Console.log(`every byte is ${isRight ? "right" : "WRONG"} after ${millis / 1000} s of simulated time`)
  yield* Console.log(`${status.bannedPeers} peer is banned, and ${status.wastedBytes} bytes were wasted`)
  const waits = events.filter(({ _tag }) => _tag === "StorageFailed" || _tag === "StorageRecovered")
  yield* Console.log(`the disk: ${waits.map(({ _tag }) => _tag).join(", then ")}`)
})

if (import.meta.main) NodeRuntime.runMain(program)
