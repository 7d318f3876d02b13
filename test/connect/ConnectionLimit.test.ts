import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as fc from "fast-check"
import * as ConnectionLimit from "../../src/connect/ConnectionLimit.ts"
import * as Property from "../../src/testing/Property.ts"

/** Starts `count` connections that last. */
const hold = (limit: ConnectionLimit.ConnectionLimit, share: ConnectionLimit.Share, count: number) =>
  Effect.replicateEffect(
    Effect.forkChild(ConnectionLimit.withConnection(limit, share)(Effect.never), { startImmediately: true }),
    count
  )

describe("ConnectionLimit", () => {
  it.effect("grants a connection that becomes free to the torrent that has fewest", () =>
    Effect.gen(function* () {
      const limit = ConnectionLimit.make(4)
      const [rich, middling, poor] = [ConnectionLimit.share(), ConnectionLimit.share(), ConnectionLimit.share()]
      const [first] = yield* hold(limit, rich, 3)
      yield* hold(limit, middling, 1)
      for (const share of [rich, middling, poor]) yield* hold(limit, share, 1)

      yield* Fiber.interrupt(first!)

      assert.deepStrictEqual([rich.held, middling.held, poor.held, limit.held], [2, 1, 1, 4])
    })
  )

  it.effect("lets a torrent release a connection only if it then has no fewer than the one that waits", () =>
    Effect.gen(function* () {
      const limit = ConnectionLimit.make(5)
      const [rich, poor] = [ConnectionLimit.share(), ConnectionLimit.share()]
      const fibers = yield* hold(limit, rich, 5)
      const alone = ConnectionLimit.shouldRelease(limit, rich)
      yield* hold(limit, poor, 5)
      let given = 0
      while (ConnectionLimit.shouldRelease(limit, rich)) yield* Fiber.interrupt(fibers[given++]!)

      assert.isFalse(alone)
      assert.deepStrictEqual([given, rich.held, poor.held], [2, 3, 2])
      assert.isFalse(ConnectionLimit.shouldRelease(limit, poor))
    })
  )

  it.effect("lets a peer that connects take one at once if one is free, and grants it to others when it ends", () =>
    Effect.gen(function* () {
      const limit = ConnectionLimit.make(2)
      const [host, other] = [ConnectionLimit.share(), ConnectionLimit.share()]

      const taken = [1, 2, 3].map(() => ConnectionLimit.takeNow(limit, host))
      yield* hold(limit, other, 1)
      const before = other.held
      for (let time = 0; time < 2; time++) ConnectionLimit.release(limit, taken[0]!)

      assert.deepStrictEqual(
        taken.map((place) => place?.state),
        ["released", "held", undefined]
      )
      assert.deepStrictEqual([before, other.held, host.held, limit.held], [0, 1, 1, 2])
    })
  )

  it.effect("keeps its limit and loses no connection, whoever is interrupted at any time", () =>
    Property.check(
      fc.record({
        max: fc.integer({ min: 1, max: 4 }),
        turns: fc.array(fc.tuple(fc.nat(2), fc.nat(6)), { minLength: 1, maxLength: 12 }),
        operations: fc.integer({ min: 3, max: 20 })
      }),
      ({ max, operations, turns }) =>
        Effect.gen(function* () {
          const limit = ConnectionLimit.make(max)
          const shares = [ConnectionLimit.share(), ConnectionLimit.share(), ConnectionLimit.share()]
          const fibers = yield* Effect.forEach(turns, ([which]) =>
            Effect.forkChild(ConnectionLimit.withConnection(limit, shares[which]!)(Effect.never))
          ).pipe(Effect.provideService(Scheduler.MaxOpsBeforeYield, operations))

          for (const [at, [, wait]] of turns.entries()) {
            yield* Effect.repeat(Effect.yieldNow, { times: wait })
            yield* Fiber.interrupt(fibers[at]!)
            assert.isAtMost(limit.held, max)
            assert.isTrue(limit.waiting.size === 0 || limit.held === max)
          }

          assert.deepStrictEqual([limit.held, limit.waiting.size], [0, 0])
          assert.isTrue(shares.every(({ held }) => held === 0))
        }),
      { runs: 300 }
    )
  )
})
