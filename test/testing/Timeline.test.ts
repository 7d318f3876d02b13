import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import * as Timeline from "../../src/testing/Timeline.ts"
import { settle } from "../network/Transport.suite.ts"

describe("Timeline", () => {
  it.effect("runs actions in order of time, and in the order of scheduling at the same time", () =>
    Effect.gen(function* () {
      for (const times of fc.sample(fc.array(fc.nat(20), { maxLength: 60 }), { numRuns: 30, seed: 1 })) {
        const timeline = yield* Timeline.make
        const start = timeline.nowUnsafe()
        const ran: Array<readonly [number, number]> = []
        times.forEach((time, index) => {
          timeline.scheduleUnsafe(start + time, () => ran.push([time, index]))
        })

        yield* TestClock.adjust("20 millis")
        yield* settle

        const expected = times.map((time, index) => [time, index] as const).sort((a, b) => a[0] - b[0] || a[1] - b[1])
        assert.deepStrictEqual(ran, expected)
      }
    })
  )

  it.effect("runs an action at its time, even if it is scheduled after a later one", () =>
    Effect.gen(function* () {
      const timeline = yield* Timeline.make
      const ran: Array<number> = []
      timeline.scheduleUnsafe(1000, () => ran.push(timeline.nowUnsafe()))
      yield* settle

      timeline.scheduleUnsafe(10, () => {
        ran.push(timeline.nowUnsafe())
        timeline.scheduleUnsafe(500.5, () => ran.push(timeline.nowUnsafe()))
      })
      yield* TestClock.adjust("2 seconds")

      assert.deepStrictEqual(ran, [10, 501, 1000])
    })
  )

  it.effect("never runs an action inside the call that schedules it", () =>
    Effect.gen(function* () {
      const timeline = yield* Timeline.make
      const ran: Array<string> = []

      timeline.scheduleUnsafe(0, () => {
        timeline.scheduleUnsafe(0, () => ran.push("second"))
        ran.push("first")
      })
      ran.push("scheduled")
      yield* settle

      assert.deepStrictEqual(ran, ["scheduled", "first", "second"])
    })
  )

  it.effect("runs nothing after its scope has closed", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const timeline = yield* Scope.provide(Timeline.make, scope)
      let ran = 0
      timeline.scheduleUnsafe(0, () => ran++)
      timeline.scheduleUnsafe(10, () => ran++)

      yield* Scope.close(scope, Exit.void)
      timeline.scheduleUnsafe(0, () => ran++)
      yield* TestClock.adjust("1 second")
      yield* settle

      assert.strictEqual(ran, 0)
    })
  )
})
