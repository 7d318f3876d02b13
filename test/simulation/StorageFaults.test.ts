import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import type { TorrentEvent } from "../../src/torrent/TorrentEvent.ts"
import { seed, small } from "./torrents.ts"

const count = (events: ReadonlyArray<TorrentEvent>, tag: TorrentEvent["_tag"]) =>
  events.filter(({ _tag }) => _tag === tag).length

describe("a swarm over a storage that fails", () => {
  it.effect("fault 48: a full disk pauses the torrent, is reported once, and the torrent goes on by itself", () =>
    Swarms.use({ seed, capacity: 300_000 }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(small, { behaviours: [{}], maxActivePieces: 4 })

        yield* world.advance("30 seconds")
        const { state, storedPieces } = yield* download.torrent.status
        const asked = download.peers.reduce((sum, { counters }) => sum + counters.requests, 0)
        yield* world.advance("10 seconds")
        const askedLater = download.peers.reduce((sum, { counters }) => sum + counters.requests, 0)
        world.medium.setCapacity(undefined)
        yield* world.until(download.isComplete, "1 minute")
        const summary = yield* world.summary(download)

        assert.strictEqual(state._tag, "StorageFailing")
        assert.isBelow(storedPieces, 6)
        assert.strictEqual(askedLater, asked)
        assert.strictEqual(count(summary.events, "StorageFailed"), 1)
        assert.strictEqual(count(summary.events, "StorageRecovered"), 1)
        assert.isTrue(summary.isRight)
        assert.deepStrictEqual(summary.writes, Array(20).fill(1))
        assert.strictEqual(summary.status.state._tag, "Complete")
        assert.strictEqual(summary.status.wastedBytes, 0)
      })
    )
  )

  it.effect("fault 48: a disk that is full for half a minute makes no block be fetched twice", () =>
    Effect.gen(function* () {
      const summary = yield* Swarms.run({
        seed,
        torrent: small,
        peers: [{ bytesPerSecond: 100_000 }],
        script: ({ faults }) =>
          Effect.gen(function* () {
            yield* Effect.sleep("3 seconds")
            faults.failAll("write", FaultyStorage.diskFull)
            yield* Effect.sleep("30 seconds")
            faults.recover("write")
          })
      })

      assert.isTrue(summary.isRight)
      assert.deepStrictEqual(summary.writes, Array(20).fill(1))
      assert.isAtLeast(summary.millis, 33_000)
    })
  )

  it.effect("fault 49: a disk that fails now and then delays no piece for long", () =>
    Effect.gen(function* () {
      const summary = yield* Swarms.run({
        seed,
        torrent: small,
        peers: [{}, {}],
        script: ({ faults }) => Effect.sync(() => faults.failSometimes("write", 0.4, FaultyStorage.inputOutputError))
      })

      assert.isTrue(summary.isRight)
      assert.deepStrictEqual(summary.writes, Array(20).fill(1))
      assert.strictEqual(count(summary.events, "StorageFailed"), count(summary.events, "StorageRecovered"))
      assert.strictEqual(summary.events.at(-1)!._tag, "Completed")
    })
  )

  it.effect("fault 50: a piece of which a write stored half is not marked, and is written again", () =>
    Effect.gen(function* () {
      const summary = yield* Swarms.run({
        seed,
        torrent: small,
        peers: [{}],
        script: ({ faults }) =>
          Effect.sync(() => {
            for (const nth of [0, 3, 4])
              faults.failNth("write", nth, { ...FaultyStorage.inputOutputError, left: "half" })
          })
      })

      assert.isTrue(summary.isRight)
      assert.deepStrictEqual(summary.writes, Array(20).fill(1))
    })
  )
})
