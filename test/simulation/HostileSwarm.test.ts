import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { PeerBehaviour } from "../../src/testing/PeerBehaviour.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { seed, small } from "./torrents.ts"

const banned = ({ events }: Swarms.Summary) =>
  events.flatMap((event) => (event._tag === "PeerBanned" ? [event.address.host] : [])).sort()

const run = (peers: ReadonlyArray<PeerBehaviour>, options: Partial<Swarms.RunOptions> = {}) =>
  Swarms.run({ seed, torrent: small, peers, ...options })

describe("a swarm with harmful peers", () => {
  it.effect("fault 43: a peer whose last block of each piece is wrong leaves no byte on the medium", () =>
    Effect.gen(function* () {
      const summary = yield* run([{ corrupts: "last block" }, { unchokes: "never" }], { limit: "5 minutes" })

      assert.isFalse(summary.isComplete)
      assert.deepStrictEqual(summary.writes, Array(20).fill(0))
      assert.deepStrictEqual(banned(summary), ["10.0.0.0"])
    })
  )

  it.effect("bans only the liars of a mixed swarm, and completes", () =>
    Effect.gen(function* () {
      const link = { latency: 5 }

      const summary = yield* run([{}, { corrupts: "every block" }, {}, { corrupts: { probability: 0.3 } }], { link })

      assert.isTrue(summary.isRight)
      assert.deepStrictEqual(
        banned(summary).filter((host) => host === "10.0.0.0" || host === "10.0.0.2"),
        []
      )
      assert.isAtLeast(banned(summary).length, 1)
    })
  )

  it.effect.each(["duplicate", "unrequested"] as const)(
    "fault 29: completes from an only source that sends a needless block with each: %s",
    (how) =>
      Effect.gen(function* () {
        const summary = yield* run([{ misanswers: { how, every: 1 } }])

        assert.isTrue(summary.isRight)
        const whys = summary.events.flatMap((event) => (event._tag === "PeerDisconnected" ? [event.why] : []))
        assert.deepStrictEqual(whys, ["neither side wants anything more"])
        assert.isAtLeast(summary.status.wastedBytes, 0.9 * summary.status.storedBytes)
      })
  )

  it.effect("fault 40: peers that stall when trusted with a suspected piece alone keep it from nobody", () =>
    Effect.gen(function* () {
      const stalls: PeerBehaviour = { misanswers: { how: "unaligned", every: 2 } }

      // The stalling peers answer first, and are woken first each time their pieces are dropped.
      const summary = yield* run([stalls, stalls, { delay: 1, corrupts: "every block" }, { delay: 100 }])

      assert.isTrue(summary.isRight)
      // Several pieces got blocks of both, so that they were suspected and had to come from one peer alone.
      assert.isAtLeast(summary.status.rejectedPieces, 3)
      assert.isAtMost(summary.millis, 60_000)
      assert.deepStrictEqual(banned(summary), ["10.0.0.2"])
    })
  )

  it.effect(
    "fault 42: in a swarm whose every peer has patched files the last is kept, and the torrent waits without a storm",
    () =>
      Effect.gen(function* () {
        const summary = yield* run(
          Array.from({ length: 4 }, () => ({ corrupts: { pieces: [7] } })),
          { limit: "30 minutes" }
        )

        assert.isFalse(summary.isComplete)
        assert.deepStrictEqual(
          summary.writes,
          Array.from({ length: 20 }, (_, piece) => (piece === 7 ? 0 : 1))
        )
        assert.strictEqual(banned(summary).length, 3)
        // Their bans have ended, and no peer has a better copy.
        assert.deepStrictEqual([summary.status.bannedPeers, summary.status.connectedPeers], [0, 4])
        assert.deepStrictEqual([...summary.status.damagedPieces], [7])
        // Seven from the last peer, at once and after 30, 60, 120 ... seconds; six from each of the others.
        assert.isAtMost(summary.status.rejectedPieces, 25)
      })
  )

  it.effect("fault 45: endless chokes leak no request, and the whole torrent is downloaded", () =>
    Effect.gen(function* () {
      const storm: PeerBehaviour = { chokesEvery: "100 millis", bytesPerSecond: 400_000 }

      const summary = yield* run([storm, { ...storm, features: { fast: false } }])

      assert.isTrue(summary.isRight)
      assert.deepStrictEqual(summary.writes, Array(20).fill(1))
      assert.isAtMost(summary.millis, 60_000)
    })
  )

  it.effect("fault 46: a peer that has everything and sends nothing delays no piece", () =>
    Effect.gen(function* () {
      const summary = yield* run([{ stopsAfter: { blocks: 0, how: "stall" } }, { bytesPerSecond: 200_000 }])

      assert.isTrue(summary.isRight)
      assert.isAtMost(summary.millis, 30_000)
    })
  )

  it.effect("fault 47: completes with room for one piece and peers that have a part each", () =>
    Effect.gen(function* () {
      const parts = Array.from({ length: 5 }, (_, peer) => ({
        pieces: Array.from({ length: 4 }, (_, index) => 5 * index + peer)
      }))

      const summary = yield* run([...parts, { stopsAfter: { blocks: 2, how: "stall" as const } }], {
        engine: { bufferBytes: 65_536 }
      })

      assert.isTrue(summary.isRight)
      assert.isAtMost(summary.mostBufferedBytes, 65_536)
    })
  )

  it.effect("completes from peers that disconnect at random", () =>
    Effect.gen(function* () {
      const summary = yield* run([{ disconnects: 0.1 }, { disconnects: 0.1 }])

      assert.isTrue(summary.isRight)
      assert.deepStrictEqual(summary.writes, Array(20).fill(1))
    })
  )
})
