import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as TestClock from "effect/testing/TestClock"
import * as FC from "fast-check"
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

  it("law: never more at work than may be, in order, and none lost, wherever some are interrupted", () =>
    FC.assert(
      FC.asyncProperty(
        FC.integer({ min: 1, max: 3 }),
        FC.array(
          FC.record({
            // With 2, a fiber of Effect 4.1 never gets on.
            operations: FC.integer({ min: 3, max: 12 }),
            steps: FC.integer({ min: 0, max: 3 }),
            fails: FC.boolean(),
            shielded: FC.boolean(),
            interruptedAt: FC.option(FC.integer({ min: 0, max: 12 }), { nil: undefined })
          }),
          { minLength: 1, maxLength: 8 }
        ),
        (atOnce, jobs) =>
          Effect.runPromise(
            Effect.gen(function* () {
              const turn = Turn.make(atOnce)
              const begun: Array<number> = []
              let atWork = 0
              let mostAtWork = 0
              const work = (job: number) =>
                Effect.gen(function* () {
                  begun.push(job)
                  mostAtWork = Math.max(mostAtWork, ++atWork)
                  for (let step = 0; step < jobs[job]!.steps; step++) yield* Effect.yieldNow
                  if (jobs[job]!.fails) return yield* Effect.fail("failed")
                }).pipe(Effect.ensuring(Effect.sync(() => void atWork--)))
              const fibers = []
              for (const [job, { operations, shielded }] of jobs.entries()) {
                const taking = Turn.take(turn, shielded ? Effect.uninterruptible(work(job)) : work(job))
                const limited = Effect.provideService(taking, Scheduler.MaxOpsBeforeYield, operations)
                fibers.push(yield* Effect.forkChild(Effect.exit(limited)))
              }
              for (let step = 0; step < 13; step++) {
                for (const [job, { interruptedAt }] of jobs.entries()) {
                  if (interruptedAt === step) fibers[job]!.interruptUnsafe()
                }
                yield* Effect.yieldNow
              }
              for (const fiber of fibers) yield* Fiber.await(fiber)

              assert.isAtMost(mostAtWork, atOnce)
              assert.deepStrictEqual(turn, Turn.make(atOnce))
              const isWhole = jobs.every(({ interruptedAt }) => interruptedAt === undefined)
              const isEven = jobs.every(({ operations }) => operations === jobs[0]!.operations)
              if (isWhole) assert.strictEqual(begun.length, jobs.length)
              if (isWhole && isEven && jobs.every(({ steps }) => steps === jobs[0]!.steps)) {
                assert.deepStrictEqual(begun, Array.from(jobs.keys()))
              }
            })
          )
      ),
      { numRuns: 300 }
    ))

  it.effect("passes on any number of turns that end at once", () =>
    Effect.gen(function* () {
      const turn = Turn.make()
      let done = 0
      const work = Effect.sync(() => void done++)
      const first = yield* Effect.forkChild(Turn.take(turn, Effect.yieldNow), { startImmediately: true })

      yield* Effect.forEach(Array.from({ length: 5_000 }), () => Turn.take(turn, work), {
        concurrency: "unbounded",
        discard: true
      })
      yield* Fiber.join(first)

      assert.deepStrictEqual([done, turn], [5_000, Turn.make()])
    })
  )

  it.effect("is passed on after a while by who hangs, once", () =>
    Effect.gen(function* () {
      const turn = Turn.make()
      const log: Array<string> = []
      const work = (name: string, millis: number) =>
        Effect.andThen(
          Effect.sync(() => log.push(`${name} begins`)),
          Effect.andThen(
            Effect.sleep(millis),
            Effect.sync(() => log.push(`${name} ends`))
          )
        )
      const all = Effect.forEach(
        [work("slow", 25_000), work("second", 1_000), work("third", 1_000)],
        (one) => Turn.takeFor(turn, "10 seconds", one),
        { concurrency: "unbounded", discard: true }
      )
      const fiber = yield* Effect.forkChild(all, { startImmediately: true })

      yield* TestClock.adjust("9 seconds")
      const before = [...log]
      yield* TestClock.adjust("20 seconds")
      yield* Fiber.join(fiber)

      assert.deepStrictEqual(before, ["slow begins"])
      assert.deepStrictEqual(log, [
        "slow begins",
        "second begins",
        "second ends",
        "third begins",
        "third ends",
        "slow ends"
      ])
      assert.deepStrictEqual(turn, Turn.make())
    })
  )

  it.effect("is passed on by who is interrupted, and by who fails", () =>
    Effect.gen(function* () {
      const turn = Turn.make()
      const hanging = yield* Effect.forkChild(Turn.takeFor(turn, "10 seconds", Effect.never), {
        startImmediately: true
      })
      const waiting = yield* Effect.forkChild(Turn.takeFor(turn, "10 seconds", Effect.void), { startImmediately: true })

      yield* Fiber.interrupt(waiting)
      yield* Fiber.interrupt(hanging)
      const failure = yield* Effect.flip(Turn.takeFor(turn, "10 seconds", Effect.fail("it failed")))

      assert.strictEqual(failure, "it failed")
      assert.deepStrictEqual(turn, Turn.make())
    })
  )
})
