import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PeerSource } from "../../src/discovery/PeerSource.ts"
import { Tracker } from "../../src/discovery/tracker/Tracker.ts"
import * as TrackerSource from "../../src/discovery/tracker/TrackerSource.ts"
import type * as PeerBehaviour from "../../src/testing/PeerBehaviour.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import type { TorrentEvent } from "../../src/torrent/TorrentEvent.ts"
import { make, seed, small } from "./torrents.ts"

const hour = 3_600_000
const day = 24 * hour

/** Larger than what the slow peers of a leap send in a minute. */
const big = await make({ pieceLength: 1 << 20, files: [{ path: [], length: 16 << 20 }] })

/** How the wall clock is set, in milliseconds, by the second at which it happens. */
type Steps = Readonly<Record<number, number>>

const settings: ReadonlyArray<readonly [name: string, steps: Steps]> = [
  ["back by 3 s", { 6: -3_000 }],
  ["back by an hour", { 6: -hour }],
  ["back by a day", { 6: -day }],
  ["forward by 3 s", { 6: 3_000 }],
  ["forward by an hour", { 6: hour }],
  ["forward by a day", { 6: day }],
  ["back and forth, again and again", { 6: -day, 20: hour, 63: -hour, 64: 2 * day, 130: -3_000, 200: -day, 290: day }]
]

/** Lets `seconds` pass and sets the wall clock meanwhile. `look` runs after every second. */
const live = Effect.fnUntraced(function* (
  world: Swarms.World,
  seconds: number,
  steps: Steps,
  look: (second: number) => Effect.Effect<void>
) {
  for (let second = 1; second <= seconds; second++) {
    yield* world.advance("1 second")
    yield* look(second)
    yield* world.simulation.stepWallClock(steps[second] ?? 0)
  }
})

/** One peer of every kind that something waits for. Its index here is its place among the behaviours. */
const behaviours: ReadonlyArray<PeerBehaviour.PeerBehaviour> = [
  { bytesPerSecond: 5_000 },
  { stopsAfter: { blocks: 5, how: "stall" } },
  { stopsAfter: { blocks: 2, how: "close" }, pieces: [0, 1] },
  { unchokes: "never", pieces: [0, 1, 2, 3, 4, 5], announces: { every: "1 minute" } },
  { silent: "after the handshake" }
]
const stalling = 1
const closing = 2
const choking = 3

/** An address at which nobody listens. */
const dead = { host: "198.51.100.9", port: 6_881 }

/** A download that meets all of them, a tracker and a dead address, recorded second by second. */
const story = (steps: Steps) =>
  Swarms.use({ seed, link: { latency: "20 millis" } }, (world) =>
    Effect.gen(function* () {
      const announces: Array<number> = []
      const trackers = [["http://tracker.example/announce"]]
      const source = yield* TrackerSource.make().pipe(
        Effect.provideService(Tracker, {
          announce: () =>
            Effect.sync(() => {
              announces.push(world.simulation.nowUnsafe())
              return {
                peers: [dead],
                intervalSeconds: 120,
                minIntervalSeconds: 60,
                seeders: undefined,
                leechers: undefined,
                trackerId: undefined,
                warning: undefined,
                externalHost: undefined
              }
            }),
          scrape: () => Effect.die("nobody scrapes")
        })
      )
      const announcing: PeerSource = { peers: (context) => source.peers({ ...context, trackers }) }
      const download = yield* world.download(small, { behaviours, sources: [announcing] })
      const events: Array<TorrentEvent & { readonly second: number }> = []
      const downloadedBytes: Array<number> = []
      const wallClock: Array<number> = []
      yield* live(
        world,
        330,
        steps,
        Effect.fnUntraced(function* (second) {
          for (const event of download.events.slice(events.length)) events.push({ ...event, second })
          downloadedBytes.push((yield* download.torrent.status).downloadedBytes)
          wallClock.push(yield* Clock.currentTimeMillis)
        })
      )
      const { counters, isRight, status } = yield* world.summary(download)
      return { wallClock, told: { announces, events, downloadedBytes, counters, isRight, status } }
    })
  )

const secondsOf = (events: ReadonlyArray<TorrentEvent & { readonly second: number }>, tag: TorrentEvent["_tag"]) =>
  events.filter(({ _tag }) => _tag === tag).map(({ second }) => second)

/** Two engines, one of which uploads to the other within limits. Returns the byte counts of every second. */
const limited = (steps: Steps) =>
  Swarms.use(
    { seed, link: { latency: "20 millis" }, engine: { limits: { downloadBytesPerSecond: 60_000 } } },
    (world) =>
      Effect.gen(function* () {
        const engine = { listen: { port: 6_881 }, limits: { uploadBytesPerSecond: 30_000 } }
        const giver = yield* world.beside({ engine })
        const everything = { stored: Bitfield.full(small.metainfo.layout.geometry.pieceCount), resume: undefined }
        yield* giver.download(small, { from: everything, seed: true })
        const { torrent } = yield* world.download(small, { peers: [{ host: giver.host, port: 6_881 }] })
        const downloadedBytes: Array<number> = []
        yield* live(
          world,
          60,
          steps,
          Effect.fnUntraced(function* () {
            downloadedBytes.push((yield* torrent.status).downloadedBytes)
          })
        )
        return downloadedBytes
      })
  )

describe("time", () => {
  it.effect("passes in a swarm in which everything waits for something", () =>
    Effect.gen(function* () {
      const { told } = yield* story({})

      const { announces, counters, downloadedBytes, events, isRight } = told
      assert.isTrue(isRight)
      // While only the slow peer sends.
      assert.approximately(downloadedBytes[59]! - downloadedBytes[19]!, 40 * 5_000, 16_384)
      assert.isAtLeast(counters[stalling]!.cancels, 1)
      assert.isAtLeast(counters[stalling]!.connections, 2)
      assert.isAtLeast(counters[closing]!.connections, 2)
      assert.isAtLeast(counters[choking]!.keepAlives, 1)
      assert.isAtLeast(secondsOf(events, "PeerUnreachable").length, 5)
      assert.include(secondsOf(events, "PeerDisconnected"), 181)
      assert.strictEqual(secondsOf(events, "Completed").length, 1)
      assert.isAtLeast(announces.length, 3)
    })
  )

  it.effect.each(settings)("is the same, to the last event, with the wall clock set %s", ([, steps]) =>
    Effect.gen(function* () {
      const undisturbed = yield* story({})

      const run = yield* story(steps)

      assert.notDeepEqual(run.wallClock, undisturbed.wallClock)
      assert.deepStrictEqual(run.told, undisturbed.told)
    })
  )

  it.effect.each(settings)("passes as fast for rate limits with the wall clock set %s", ([, steps]) =>
    Effect.gen(function* () {
      const undisturbed = yield* limited({})

      const run = yield* limited(steps)

      assert.approximately(undisturbed[39]! - undisturbed[9]!, 30 * 30_000, 2 * 16_384)
      assert.deepStrictEqual(run, undisturbed)
    })
  )

  // Like a machine that was suspended: hours have passed, and nothing ran in them.
  it.effect.each(["5 minutes", "8 hours"] as const)(
    "may leap by %s without the loss of a piece or of a peer that sends",
    (gap) =>
      Swarms.use({ seed }, (world) =>
        Effect.gen(function* () {
          const behaviours = Array.from({ length: 4 }, () => ({ bytesPerSecond: 20_000 }))
          const beside = yield* world.beside({ engine: { listen: { port: 6_881 } } })
          yield* beside.download(big)
          const download = yield* world.download(big, { behaviours, peers: [{ host: beside.host, port: 6_881 }] })
          yield* world.advance("30 seconds")
          const before = yield* download.torrent.status

          yield* world.simulation.leap(gap)

          yield* world.advance("30 seconds")
          const after = yield* download.torrent.status
          const left = download.events.flatMap((event) =>
            event._tag === "PeerDisconnected" ? [event.address.host] : []
          )
          assert.isAbove(before.bufferedBytes, 0)
          assert.isAtLeast(after.downloadedBytes - before.downloadedBytes, 30 * 4 * 20_000)
          // The neighbour may have been silent all the time; then it is dialled again.
          assert.isTrue(left.every((host) => host === beside.host))
          assert.strictEqual(after.connectedPeers, 5)
          assert.isTrue(yield* world.until(download.isComplete, "5 minutes"))
          const { isRight, status } = yield* world.summary(download)
          assert.isTrue(isRight)
          assert.isAtMost(status.wastedBytes, 4 * 16_384)
        })
      )
  )
})
