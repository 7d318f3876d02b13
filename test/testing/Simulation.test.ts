import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as Simulations from "../../src/testing/Simulation.ts"
import { Simulation } from "../../src/testing/Simulation.ts"

describe("Simulation", () => {
  it.effect("moves time only by itself, and everything that is due happens in order", () =>
    Simulations.run(
      1,
      Effect.gen(function* () {
        const { advance, nowUnsafe, settle } = yield* Simulation
        const heard: Array<string> = []
        const say = (what: string) => Effect.sync(() => void heard.push(`${what} ${nowUnsafe()}`))
        yield* Effect.forkScoped(Effect.andThen(Effect.sleep("3 seconds"), say("late")))
        yield* Effect.forkScoped(Effect.andThen(Effect.sleep("50 millis"), say("early")))
        yield* settle
        const before = [...heard]

        yield* advance("1 minute")

        assert.deepStrictEqual(before, [])
        assert.deepStrictEqual(heard, ["early 50", "late 3000"])
        assert.strictEqual(nowUnsafe(), 60_000)
      })
    )
  )

  it.effect("sets the wall clock both ways, without time passing", () =>
    Simulations.run(
      1,
      Effect.gen(function* () {
        const { advance, nowUnsafe, stepWallClock } = yield* Simulation
        const read = Effect.all([Clock.currentTimeMillis, Clock.monotonicTimeNanos, Effect.sync(nowUnsafe)])
        yield* advance("10 seconds")

        yield* stepWallClock(-86_400_000)
        const back = yield* read
        yield* advance("1 second")
        const later = yield* read
        yield* stepWallClock(2 * 86_400_000)

        assert.deepStrictEqual(back, [10_000 - 86_400_000, 10_000_000_000n, 10_000])
        assert.deepStrictEqual(later, [11_000 - 86_400_000, 11_000_000_000n, 11_000])
        assert.deepStrictEqual(yield* read, [11_000 + 86_400_000, 11_000_000_000n, 11_000])
      })
    )
  )

  it.effect("leaps over a time in which nothing ran", () =>
    Simulations.run(
      1,
      Effect.gen(function* () {
        const { advance, leap } = yield* Simulation
        const sleeper = yield* Effect.forkScoped(Effect.sleep("2 seconds"), { startImmediately: true })

        yield* leap("1 hour")

        yield* advance("1 second")
        assert.strictEqual(yield* Clock.currentTimeMillis, 3_601_000)
        assert.strictEqual(yield* Clock.monotonicTimeNanos, 3_601_000_000_000n)
        assert.isUndefined(sleeper.pollUnsafe())
        yield* advance("1 second")
        assert.isDefined(sleeper.pollUnsafe())
      })
    )
  )

  it.effect("stops time until a digest is computed, so that it ends at the same moment in every run", () =>
    Effect.gen(function* () {
      const story = Simulations.run(
        7,
        Effect.gen(function* () {
          const { advance, nowUnsafe } = yield* Simulation
          const hasher = yield* PieceHasher
          const heard: Array<string> = []
          for (const name of ["a", "b", "c"]) {
            yield* Effect.forkScoped(
              Effect.gen(function* () {
                yield* Effect.sleep(yield* Random.nextIntBetween(1, 400))
                const digest = yield* hasher.sha1(new Uint8Array(100_000))
                heard.push(`${name} ${digest[0]} ${nowUnsafe()}`)
              })
            )
          }
          yield* advance("1 second")
          return heard
        })
      )

      const first = yield* story

      assert.strictEqual(first.length, 3)
      assert.deepStrictEqual(yield* story, first)
    })
  )

  it.effect("ends a program whose finalizers wait for time", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(
        Simulations.run(
          1,
          Effect.addFinalizer(() => Effect.sleep("1 minute"))
        )
      )

      yield* Fiber.join(fiber)
    })
  )
})
