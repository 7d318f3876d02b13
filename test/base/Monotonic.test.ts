import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Monotonic from "../../src/base/Monotonic.ts"
import * as Simulations from "../../src/testing/Simulation.ts"
import { Simulation } from "../../src/testing/Simulation.ts"

const day = 86_400_000

describe("Monotonic", () => {
  it.effect("counts the milliseconds that pass on a clock", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const begun = yield* Monotonic.now

      yield* TestClock.adjust("90 seconds")

      assert.strictEqual((yield* Monotonic.now) - begun, 90_000)
      assert.strictEqual(Monotonic.nowUnsafe(clock), yield* Monotonic.now)
    })
  )

  it.effect("returns whole milliseconds, rounded down", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("1999 micros")

      assert.strictEqual(yield* Monotonic.now, 1)
    })
  )

  it.effect("does not notice when the test clock is set back", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("1 hour")

      yield* TestClock.setTime(0)

      assert.strictEqual(yield* Monotonic.now, 3_600_000)
    })
  )

  it.live("advances with the system's own clock", () =>
    Effect.gen(function* () {
      const begun = yield* Monotonic.now

      yield* Effect.sleep("20 millis")

      const millis = (yield* Monotonic.now) - begun
      assert.isAtLeast(millis, 18)
      assert.isBelow(millis, 10_000)
    })
  )

  it.live("does not read the system's wall clock", () =>
    Effect.gen(function* () {
      const wallClock = Date.now
      const begun = yield* Monotonic.now
      Date.now = () => wallClock() - day

      const now = yield* Effect.ensuring(
        Monotonic.now,
        Effect.sync(() => {
          Date.now = wallClock
        })
      )

      assert.isAtLeast(now, begun)
      assert.isBelow(now, begun + 10_000)
    })
  )

  it.effect.each([-day, day])("keeps a schedule's end when the wall clock is set by %d ms", (step) =>
    Simulations.run(
      1,
      Effect.gen(function* () {
        const { advance, stepWallClock } = yield* Simulation
        const again = Schedule.spaced("1 second").pipe(Schedule.upTo({ duration: "10 seconds" }), Monotonic.schedule)
        const fiber = yield* Effect.forkChild(Effect.exit(Effect.retry(Effect.fail("no"), again)))
        yield* advance("5 seconds")

        yield* stepWallClock(step)

        yield* advance("4 seconds")
        assert.isUndefined(fiber.pollUnsafe())
        yield* advance("3 seconds")
        assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
      })
    )
  )

  it.effect.each([-day, day])("keeps a stream's timeout when the wall clock is set by %d ms", (step) =>
    Simulations.run(
      1,
      Effect.gen(function* () {
        const { advance, stepWallClock } = yield* Simulation
        const stream = Stream.never.pipe(
          Stream.timeoutOrElse({ duration: "10 seconds", orElse: () => Stream.fail("late") }),
          Stream.updateService(Clock.Clock, Monotonic.clock)
        )
        const fiber = yield* Effect.forkChild(Effect.flip(Stream.runDrain(stream)))
        yield* advance("5 seconds")

        yield* stepWallClock(step)

        yield* advance("4 seconds")
        assert.isUndefined(fiber.pollUnsafe())
        yield* advance("2 seconds")
        assert.strictEqual(yield* Fiber.join(fiber), "late")
      })
    )
  )
})
