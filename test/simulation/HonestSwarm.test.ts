import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Swarms from "../../src/testing/Swarms.ts"
import { seed, small } from "./torrents.ts"

describe("a swarm of honest peers", () => {
  it.effect("downloads the whole torrent, and writes each piece once", () =>
    Effect.gen(function* () {
      const summary = yield* Swarms.run({ seed, torrent: small, peers: [{}, {}, {}] })

      assert.isTrue(summary.isComplete)
      assert.isTrue(summary.isRight)
      assert.deepStrictEqual(summary.writes, Array(20).fill(1))
      assert.strictEqual(summary.status.downloadedBytes - summary.status.wastedBytes, summary.status.totalBytes)
    })
  )

  it.effect("runs alike with the same seed, and differently with another", () =>
    Effect.gen(function* () {
      const story = (seed: number) =>
        Swarms.run({
          seed,
          torrent: small,
          peers: [{ bytesPerSecond: 300_000 }, { disconnects: 0.05 }, { corrupts: { probability: 0.05 } }],
          link: { latency: "20 millis" }
        }).pipe(Effect.map(({ counters, events, millis }) => ({ counters, events, millis })))

      const [first, second, third] = [yield* story(seed), yield* story(seed), yield* story(seed + 1)]

      assert.deepStrictEqual(second, first)
      assert.notDeepEqual(third, first)
    })
  )

  it.effect("completes from peers that have a part each, the rarest piece among the first", () =>
    Effect.gen(function* () {
      const half = Array.from({ length: 10 }, (_, index) => 2 * index)
      const otherHalf = half.map((piece) => piece + 1)

      const summary = yield* Swarms.run({
        seed,
        torrent: small,
        peers: [{ pieces: half }, { pieces: otherHalf.slice(1) }, { pieces: half.slice(5) }, { pieces: [1] }]
      })

      assert.isTrue(summary.isRight)
      assert.deepStrictEqual(summary.writes, Array(20).fill(1))
    })
  )

  it.effect("is as fast as its fast peer, although slow ones joined first and hold all buffers", () =>
    Swarms.use({ seed, link: { latency: "20 millis" } }, (world) =>
      Effect.gen(function* () {
        const slow = { bytesPerSecond: 1_000 }
        const download = yield* world.download(small, { maxActivePieces: 4, behaviours: [slow, slow, slow, slow] })
        yield* world.advance("5 seconds")
        const began = world.simulation.nowUnsafe()
        const fast = yield* world.join(small, { bytesPerSecond: 1_000_000 })

        yield* download.torrent.addPeers([fast.address])
        const isComplete = yield* world.until(download.isComplete, "5 minutes")

        // Five seconds until the newcomer is used, and one for each round of four pieces. Waiting for the slow peers
        // took 44 s.
        assert.isTrue(isComplete)
        assert.isAtMost(world.simulation.nowUnsafe() - began, 12_000)
      })
    )
  )

  it.effect("waits for a piece that nobody has yet", () =>
    Effect.gen(function* () {
      const late = Array.from({ length: 20 }, (_, index) => index)

      const summary = yield* Swarms.run({
        seed,
        torrent: small,
        peers: [{ pieces: late, announces: { every: "5 seconds" } }]
      })

      assert.isTrue(summary.isRight)
      assert.isAtLeast(summary.millis, 95_000)
    })
  )

  it.effect("announces a piece only when the storage has confirmed it", () =>
    Swarms.use({ seed }, (world) =>
      Effect.gen(function* () {
        world.faults.delay("write", "5 seconds")
        const download = yield* world.download(small, { behaviours: [{}, { pieces: [] }] })

        yield* world.advance("4900 millis")
        const early = download.peers[1]!.counters.haves
        yield* world.advance("200 millis")
        const late = download.peers[1]!.counters.haves
        yield* world.until(download.isComplete, "1 minute")

        assert.strictEqual(early, 0)
        assert.strictEqual(late, 16)
      })
    )
  )
})
