import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as Signal from "../../src/base/Signal.ts"
import * as RateLimiter from "../../src/rate/RateLimiter.ts"
import * as RateLimits from "../../src/rate/RateLimits.ts"
import { lasting } from "../base/lasting.ts"

const block = 16_384

/** A peer that takes blocks whenever it may. */
const taker = (torrent: RateLimits.TorrentLimits, now: () => number) => {
  let bytes = 0
  const eat = () => {
    while (RateLimiter.take(peer.download, block, now(), 10 * block)) bytes += block
  }
  const peer = RateLimits.join(torrent, { download: () => queueMicrotask(eat), upload: () => {} }, now())
  return { peer, eat, bytes: () => bytes }
}

const setup = Effect.fnUntraced(function* (limits: RateLimits.Limits, eachPeer?: RateLimits.Limits) {
  const clock = yield* TestClock.testClockWith(Effect.succeed)
  const now = () => clock.currentTimeMillisUnsafe()
  const engine = RateLimits.makeEngine(limits, now())
  const torrent = RateLimits.makeTorrent(engine, { eachPeer }, now())
  return { engine, torrent, now }
})

/** Moves the clock in steps that are shorter than those of the limits. */
const pass = (seconds: number) => Effect.repeat(TestClock.adjust(10), { times: seconds * 100 - 1 })

describe("RateLimits", () => {
  it.effect("serves waiting peers for as long as it runs", () =>
    Effect.gen(function* () {
      const { engine, now, torrent } = yield* setup({ downloadBytesPerSecond: 10 * block })
      const running = yield* Effect.forkChild(lasting(RateLimits.run(engine)))
      const { bytes, eat } = taker(torrent, now)
      eat()

      yield* pass(10)
      const served = bytes()
      yield* Fiber.interrupt(running)
      yield* pass(10)

      assert.isAtMost(Math.abs(served - 105 * block), 3 * block)
      assert.isAtMost(bytes() - served, block)
    })
  )

  it.effect("serves the others if the code of one peer throws", () =>
    Effect.gen(function* () {
      const { engine, now, torrent } = yield* setup({ downloadBytesPerSecond: 10 * block })
      const defects: Array<unknown> = []
      yield* lasting(RateLimits.run(engine)).pipe(
        Effect.provideService(Signal.Defects, (defect) => Effect.sync(() => defects.push(defect))),
        Effect.forkChild
      )
      const wake = () => {
        throw new Error("a bug")
      }
      const broken = RateLimits.join(torrent, { download: wake, upload: () => {} }, now())
      while (RateLimiter.take(broken.download, block, now(), block)) {}
      const { bytes, eat } = taker(torrent, now)
      eat()

      yield* pass(10)

      assert.strictEqual(defects.length, 1)
      assert.isAbove(bytes(), 50 * block)
    })
  )

  it.effect("serves at once when a limit is raised", () =>
    Effect.gen(function* () {
      const { engine, now, torrent } = yield* setup({ downloadBytesPerSecond: 1 })
      yield* Effect.forkChild(lasting(RateLimits.run(engine)))
      const { bytes, eat } = taker(torrent, now)
      eat()
      yield* pass(1)
      const before = bytes()

      RateLimits.set(engine, { downloadBytesPerSecond: 10 * block }, now())
      yield* pass(10)

      assert.strictEqual(before, block)
      assert.isAtLeast(bytes(), 90 * block)
    })
  )

  it.effect("wakes a peer whose own limit opens before the limits of peers that wait already", () =>
    Effect.gen(function* () {
      const { engine, now, torrent } = yield* setup({}, { downloadBytesPerSecond: 1 })
      yield* Effect.forkChild(lasting(RateLimits.run(engine)))
      taker(torrent, now).eat()
      yield* pass(1)

      RateLimits.setEachPeer(torrent, { downloadBytesPerSecond: 10 * block }, now())
      const quick = taker(torrent, now)
      quick.eat()
      yield* pass(5)

      assert.isAtLeast(quick.bytes(), 50 * block)
    })
  )

  it.effect.each([Number.POSITIVE_INFINITY, Number.NaN])("treats %d as no limit", (bytesPerSecond) =>
    Effect.gen(function* () {
      const { engine, now, torrent } = yield* setup({ downloadBytesPerSecond: bytesPerSecond })
      const { peer } = taker(torrent, now)

      const taken = Array.from({ length: 100 }, () => RateLimiter.take(peer.download, block, now()))

      assert.isFalse(taken.includes(false))
      assert.isUndefined(engine.download.bytesPerSecond)
    })
  )

  it.effect("leaves what a peer was granted to the others when it leaves", () =>
    Effect.gen(function* () {
      const { engine, now, torrent } = yield* setup({ downloadBytesPerSecond: block })
      const { eat, peer } = taker(torrent, now)
      eat()

      RateLimits.leave(peer)

      assert.deepStrictEqual([torrent.peers?.size, RateLimiter.isWaitedFor(engine.download)], [0, false])
    })
  )
})
