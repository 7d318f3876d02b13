import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { PeerBehaviour } from "../../src/testing/PeerBehaviour.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import * as Bottleneck from "../../src/torrent/Bottleneck.ts"
import type { TorrentEvent } from "../../src/torrent/TorrentEvent.ts"
import { make, seed, small } from "./torrents.ts"

/** A hundred pieces of two blocks. */
const hundred = await make({ pieceLength: 32_768, files: [{ path: [], length: 100 * 32_768 }] })

/** A seed whose copy of piece 7 is damaged until a test empties `pieces`. */
const rotten = () => {
  const pieces = [7]
  const behaviour: PeerBehaviour = { corrupts: { pieces }, bytesPerSecond: 2_000_000 }
  return { behaviour, mend: () => void pieces.splice(0) }
}

const banned = (events: ReadonlyArray<TorrentEvent>) =>
  events.flatMap((event) => (event._tag === "PeerBanned" ? [event.address.host] : []))

describe.each([
  ["", false],
  [", with a storage that verifies", true]
] as const)("a damaged piece%s", (_, verifies) => {
  const test = (
    name: string,
    program: (world: Swarms.World) => Effect.Effect<void, unknown, Scope.Scope>,
    options: Swarms.Options = {}
  ) => it.effect(name, () => Swarms.use({ seed, verifies, ...options }, program))

  test("of the only seed is named while the others are stored, and is stored once the seed repairs it", (world) =>
    Effect.gen(function* () {
      const { behaviour, mend } = rotten()
      const download = yield* world.download(hundred, { behaviours: [behaviour] })
      yield* world.advance("20 seconds")
      const early = yield* download.torrent.status
      yield* world.advance("1 hour")
      const late = yield* download.torrent.status
      const rejected = late.rejectedPieces

      mend()
      const isComplete = yield* world.until(download.isComplete, "11 minutes")

      for (const status of [early, late]) {
        assert.deepStrictEqual([status.storedPieces, status.bannedPeers, status.connectedPeers], [99, 0, 1])
        assert.deepStrictEqual([...status.damagedPieces], [7])
        assert.strictEqual(
          Bottleneck.describe(status.bottleneck),
          "the only copies of piece 7 are damaged; asking again now and then"
        )
      }
      // At once, after 30, 60, 120, 240 and 480 seconds, and every ten minutes from then on.
      assert.isAtMost(rejected, 11)
      assert.isTrue(isComplete)
      const summary = yield* world.summary(download)
      assert.isTrue(summary.isRight)
      assert.deepStrictEqual(summary.status.damagedPieces, [])
      assert.deepStrictEqual(banned(download.events), [])
    }))

  test("is fetched from a second peer as soon as one joins, and the first peer is kept", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(hundred, { behaviours: [rotten().behaviour] })
      yield* world.advance("10 minutes")
      const other = yield* world.join(hundred, { pieces: [7] })
      yield* download.torrent.addPeers([other.address])

      const isComplete = yield* world.until(download.isComplete, "5 seconds")

      assert.isTrue(isComplete)
      assert.deepStrictEqual(banned(download.events), [])
    }))

  test("of one seed besides a right one gets the first banned at once, for ten minutes", (world) =>
    Effect.gen(function* () {
      const slow: PeerBehaviour = { bytesPerSecond: 20_000 }
      const rottenSeed: PeerBehaviour = { corrupts: { pieces: [7] }, bytesPerSecond: 2_000 }
      const download = yield* world.download(hundred, { behaviours: [rottenSeed, slow], order: "sequential" })
      yield* world.until(() => banned(download.events).length > 0, "5 minutes")
      const { bannedPeers } = yield* download.torrent.status
      yield* world.until(download.isComplete, "30 minutes")

      assert.isAtMost(bannedPeers, 1)
      assert.isTrue(download.isComplete())
      assert.notInclude(banned(download.events), "10.0.0.1")
    }))

  test("in each of two seeds, a different one, is fetched from the other seed", (world) =>
    Effect.gen(function* () {
      const behaviours = [7, 9].map((piece): PeerBehaviour => ({ corrupts: { pieces: [piece] } }))
      const download = yield* world.download(hundred, { behaviours })

      const isComplete = yield* world.until(download.isComplete, "15 minutes")

      assert.isTrue(isComplete)
    }))

  test("is requested ever less often from a liar alone, which is banned once a right seed joins", (world) =>
    Effect.gen(function* () {
      const liar: PeerBehaviour = { corrupts: "every block", bytesPerSecond: 500_000 }
      const download = yield* world.download(hundred, { behaviours: [liar] })
      yield* world.advance("1 minute")
      const first = (yield* download.torrent.status).rejectedPieces
      yield* world.advance("1 hour")
      const status = yield* download.torrent.status
      yield* download.torrent.addPeers([(yield* world.join(hundred, { bytesPerSecond: 400_000 })).address])
      const isComplete = yield* world.until(download.isComplete, "1 minute")

      assert.isAtMost(first, 30)
      assert.isAtMost(status.rejectedPieces - first, 12)
      assert.deepStrictEqual([status.storedPieces, status.bannedPeers], [0, 0])
      assert.strictEqual(status.bottleneck._tag, "PiecesDamaged")
      assert.isTrue(isComplete)
      assert.deepStrictEqual(banned(download.events), ["10.0.0.0"])
    }))

  test("in a swarm of only liars gets all but one banned, and each ban ends", (world) =>
    Effect.gen(function* () {
      const behaviours = Array.from({ length: 4 }, (): PeerBehaviour => ({ corrupts: "every block" }))
      const download = yield* world.download(small, { behaviours })
      yield* world.advance("1 minute")
      const early = yield* download.torrent.status
      yield* world.advance("1 hour")
      const late = yield* download.torrent.status

      assert.isAtMost(early.bannedPeers, 3)
      assert.isAtLeast(early.connectedPeers, 1)
      assert.isAtMost(late.rejectedPieces, 150)
      assert.strictEqual(late.storedPieces, 0)
    }))
})

describe("a liar", () => {
  it.effect("that is banned returns after ten minutes, and is banned for twice as long after its next lie", () =>
    Swarms.use({ seed }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(small, {
          behaviours: [{ corrupts: "every block" }, { unchokes: "never" }]
        })
        const bans: Array<number> = []
        for (let minute = 0; minute < 80; minute++) {
          yield* world.advance("1 minute")
          const count = banned(download.events).length
          while (bans.length < count) bans.push(minute)
        }

        const waits = bans.slice(1).map((minute, index) => minute - bans[index]!)
        assert.strictEqual(waits.length, 3)
        for (const [index, wait] of waits.entries()) {
          assert.isAtLeast(wait, 10 * 2 ** index - 1)
          assert.isAtMost(wait, 10 * 2 ** index + 10)
        }
      })
    )
  )
})
