import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { PeerBehaviour } from "../../src/testing/PeerBehaviour.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { make, seed } from "./torrents.ts"

/** 20 pieces of 6 blocks, 1.9 MB. */
const torrent = await make({ files: [{ path: [], length: 20 * 98_304 }], pieceLength: 98_304 })
const all = Array.from({ length: 20 }, (_, index) => index)

/** Downloads until `pieces` pieces are stored. Returns the seconds, and the share of the torrent that was wasted. */
const fetch = (peers: ReadonlyArray<PeerBehaviour>, pieces = 20) =>
  Swarms.use({ seed, link: { latency: "50 millis" } }, (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(torrent, { behaviours: peers })
      const began = world.simulation.nowUnsafe()
      const isStored = yield* world.until(
        () => download.events.filter(({ _tag }) => _tag === "PieceStored").length >= pieces,
        "1 hour"
      )
      assert.isTrue(isStored)
      const { totalBytes, wastedBytes } = yield* download.torrent.status
      return { seconds: (world.simulation.nowUnsafe() - began) / 1_000, wasted: wastedBytes / totalBytes }
    })
  )

const peers = (count: number, behaviour: PeerBehaviour) => Array.from({ length: count }, () => behaviour)

describe("the end game", () => {
  it.effect("fault 44: ends with the fast peer, although nobody has one of the pieces", () =>
    Effect.gen(function* () {
      const pieces = all.slice(1)

      const { seconds } = yield* fetch(
        [2_000, 200_000].map((bytesPerSecond) => ({ pieces, bytesPerSecond })),
        19
      )

      // The fast peer needs 9.3 s for all of it. The slow one held its first block for 132 s.
      assert.isAtMost(seconds, 12)
    })
  )

  it.effect("fault 44: ends with the fast peer, although only a choking peer has two of the pieces", () =>
    Effect.gen(function* () {
      const pieces = all.slice(2)
      const slow = { pieces, bytesPerSecond: 2_500 }

      const { seconds, wasted } = yield* fetch(
        [slow, slow, { pieces, bytesPerSecond: 200_000 }, { unchokes: "never" }],
        18
      )

      assert.isAtMost(seconds, 12)
      assert.isAtMost(wasted, 0.05)
    })
  )

  it.effect("wastes little with many slow peers, and shares the last blocks among them", () =>
    Effect.gen(function* () {
      const { seconds, wasted } = yield* fetch(peers(12, { bytesPerSecond: 8_000 }))

      // Together they need 20.5 s. It was 27 s, and a fifth was wasted.
      assert.isAtMost(seconds, 25)
      assert.isAtMost(wasted, 0.05)
    })
  )

  it.effect("does not wait for one slow peer of many", () =>
    Effect.gen(function* () {
      const { seconds, wasted } = yield* fetch([{ bytesPerSecond: 2_000 }, ...peers(4, { bytesPerSecond: 100_000 })])

      assert.isAtMost(seconds, 7)
      assert.isAtMost(wasted, 0.02)
    })
  )

  it.effect("requests nothing twice from peers that are alike, also from distant ones", () =>
    Effect.gen(function* () {
      const near = yield* fetch(peers(6, { bytesPerSecond: 100_000 }))
      const far = yield* fetch(peers(6, { bytesPerSecond: 100_000, delay: "700 millis" }))

      assert.isAtMost(near.wasted, 0.01)
      assert.isAtMost(far.wasted, 0.01)
    })
  )

  it.effect("goes on at once if a peer stalls", () =>
    Effect.gen(function* () {
      const stalling = { bytesPerSecond: 100_000, stopsAfter: { blocks: 20, how: "stall" } } as const

      const { seconds, wasted } = yield* fetch([stalling, ...peers(3, { bytesPerSecond: 100_000 })])

      // The others need 5.5 s for what it does not send, and it times out after 10 s only.
      assert.isAtMost(seconds, 9)
      assert.isAtMost(wasted, 0.05)
    })
  )
})
