import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import * as Monotonic from "../../src/base/Monotonic.ts"
import * as Places from "../../src/connect/Places.ts"
import * as SeedPlaces from "../../src/webseed/SeedPlaces.ts"

/** So many places, and what torrents with names do with them. */
const world = Effect.fnUntraced(function* (most: number, mostOfTorrent = 32) {
  const places = Places.make(most)
  const clock = yield* Clock.Clock
  const torrent = () => SeedPlaces.make(places, mostOfTorrent, clock)
  /** Begins a connection that holds its seat until it is lost, or `end` is run. It is in use all the time. */
  const connect = Effect.fnUntraced(function* (torrent: SeedPlaces.SeedPlaces) {
    const scope = yield* Scope.make()
    const holding = Effect.gen(function* () {
      const seat = yield* SeedPlaces.take(torrent)
      const use = Effect.andThen(
        Effect.sync(() => {
          seat.usedAt = Monotonic.nowUnsafe(clock)
        }),
        Effect.sleep("1 second")
      )
      yield* Effect.raceFirst(Effect.forever(use), Deferred.await(seat.lost))
    }).pipe(Effect.scoped)
    const fiber = yield* Effect.forkIn(holding, scope)
    yield* TestClock.adjust(0)
    return { end: Scope.close(scope, Exit.void), fiber }
  })
  return { places, torrent, connect }
})

const seconds = (count: number) => Effect.forEach(Array.from({ length: count }), () => TestClock.adjust("1 second"))

describe("SeedPlaces", () => {
  it.effect("gives no more places than there are, and a free one at once to who waits", () =>
    Effect.gen(function* () {
      const { connect, places, torrent } = yield* world(2)
      const [one, other] = [torrent(), torrent()]
      const first = yield* connect(one)
      yield* connect(one)
      assert.isFalse(SeedPlaces.hasFree(one))

      yield* connect(one)
      const before = [one.share.held, other.share.held]
      yield* first.end
      yield* TestClock.adjust(0)

      assert.deepStrictEqual(before, [2, 0])
      assert.strictEqual(one.share.held, 2)
      assert.strictEqual(places.held.size, 2)
    })
  )

  it.effect("gives torrents even shares, whichever came first", () =>
    Effect.gen(function* () {
      const { connect, places, torrent } = yield* world(6)
      const torrents = [torrent(), torrent(), torrent()]

      for (const each of torrents) for (let count = 0; count < 6; count++) yield* connect(each)
      yield* seconds(10)

      assert.deepStrictEqual(
        torrents.map(({ share }) => share.held),
        [2, 2, 2]
      )
      assert.strictEqual(places.held.size, 6)
    })
  )

  it.effect("lets torrents take turns if there are more of them than places", () =>
    Effect.gen(function* () {
      const { connect, places, torrent } = yield* world(2)
      const torrents = Array.from({ length: 5 }, torrent)
      const served = new Set<SeedPlaces.SeedPlaces>()
      const again = (each: SeedPlaces.SeedPlaces) =>
        Effect.forever(Effect.flatMap(connect(each), ({ fiber }) => Fiber.await(fiber)))
      yield* Effect.forEach(torrents, (each) => Effect.forkChild(again(each)))

      for (let minute = 0; minute < 10; minute++) {
        yield* seconds(60)
        for (const each of torrents) if (each.share.held > 0) served.add(each)
        assert.strictEqual(places.held.size, 2)
      }

      assert.strictEqual(served.size, 5)
    })
  )

  it.effect("gives the place of a connection without bytes to one that waits", () =>
    Effect.gen(function* () {
      const { connect, torrent } = yield* world(1)
      const [one, other] = [torrent(), torrent()]
      const idle = yield* Scope.make()
      const seat = yield* Scope.provide(SeedPlaces.take(one), idle)
      yield* connect(one)
      yield* connect(one)

      yield* seconds(Places.turn / 1_000 + 2)

      assert.isTrue(yield* Deferred.isDone(seat.lost))
      assert.deepStrictEqual([one.share.held, other.share.held], [1, 0])
    })
  )

  it.effect("lets the connection without bytes end, and not one in use for longer, for a torrent without any", () =>
    Effect.gen(function* () {
      const { connect, places, torrent } = yield* world(4)
      const [first, second, third, idle, last] = [torrent(), torrent(), torrent(), torrent(), torrent()]
      for (const each of [first, second, third]) yield* connect(each)
      yield* Scope.provide(SeedPlaces.take(idle), yield* Scope.make())
      yield* connect(last)

      yield* seconds(Places.turn / 1_000 + 2)

      assert.deepStrictEqual(
        [first, second, third, idle, last].map(({ share }) => share.held),
        [1, 1, 1, 0, 1]
      )
      assert.strictEqual(places.held.size, 4)
    })
  )

  it.effect("holds nothing for a connection that was interrupted while it waited", () =>
    Effect.gen(function* () {
      const { connect, places, torrent } = yield* world(1)
      const [one, other] = [torrent(), torrent()]
      const first = yield* connect(one)
      const waiting = yield* connect(other)

      yield* waiting.end
      yield* first.end
      yield* seconds(2)

      assert.strictEqual(places.held.size, 0)
      assert.strictEqual(places.waiting.size, 0)
      assert.strictEqual(places.dialing, 0)
      assert.isTrue(SeedPlaces.hasFree(one))
    })
  )

  it.effect("fault 56: gives up a connection for its descriptor, but not the last one", () =>
    Effect.gen(function* () {
      const { connect, places, torrent } = yield* world(4)
      const one = torrent()
      yield* connect(one)
      yield* connect(one)

      const answers = [yield* SeedPlaces.giveUp(places), yield* SeedPlaces.giveUp(places)]
      yield* connect(one)

      assert.deepStrictEqual(answers, [true, false])
      assert.strictEqual(places.held.size, 1)
    })
  )

  it.effect("fault 56: has all places again some minutes later, although nobody waited for one", () =>
    Effect.gen(function* () {
      const { connect, places, torrent } = yield* world(64)
      const one = torrent()
      yield* connect(one)
      yield* SeedPlaces.giveUp(places)

      const hadFree = SeedPlaces.hasFree(one)
      for (let second = 0; second < 600; second++) {
        yield* TestClock.adjust("1 second")
        SeedPlaces.hasFree(one)
      }

      assert.isFalse(hadFree)
      assert.isTrue(SeedPlaces.hasFree(one))
      assert.strictEqual(places.capacity, 64)
    })
  )
})
