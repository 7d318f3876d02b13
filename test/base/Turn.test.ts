import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as Turn from "../../src/base/Turn.ts"

describe("Turn", () => {
  it.effect("has one at work at a time, in the order in which they came, and then takes no memory", () =>
    Effect.gen(function* () {
      const turn = Turn.make()
      const log: Array<string> = []
      const work = (name: string) =>
        Effect.gen(function* () {
          log.push(`${name} begins`)
          yield* Effect.yieldNow
          log.push(`${name} ends`)
        })

      yield* Effect.forEach(["a", "b", "c"], (name) => Turn.take(turn, work(name)), { concurrency: "unbounded" })

      const one = (name: string) => [`${name} begins`, `${name} ends`]
      assert.deepStrictEqual(log, [...one("a"), ...one("b"), ...one("c")])
      assert.deepStrictEqual(turn, Turn.make())
    })
  )

  it.effect("forgets whoever was interrupted, wherever that happened", () =>
    Effect.gen(function* () {
      for (let operations = 2; operations < 30; operations++) {
        for (let steps = 0; steps < 8; steps++) {
          const turn = Turn.make()
          const fiber = yield* Turn.take(turn, Effect.andThen(Effect.yieldNow, Effect.void)).pipe(
            Effect.provideService(Scheduler.MaxOpsBeforeYield, operations),
            Effect.forkChild
          )
          for (let step = 0; step < steps; step++) yield* Effect.yieldNow
          yield* Fiber.interrupt(fiber)

          assert.deepStrictEqual(turn, Turn.make(), `interrupted after ${steps} steps of ${operations} operations`)
        }
      }
    })
  )
})
