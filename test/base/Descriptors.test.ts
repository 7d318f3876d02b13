import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as Descriptors from "../../src/base/Descriptors.ts"

const exhausted = { code: "EMFILE" }

/** Runs a call that fails as long as nobody gave a descriptor up `needed` times. */
const run = Effect.fnUntraced(
  function* (needed: number, spare: number, connections: number) {
    const given: Array<string> = []
    const holder = (name: string, count: number): Descriptors.Holder => {
      let left = count
      return Effect.sync(() => {
        if (left === 0) return false
        left--
        given.push(name)
        return true
      })
    }
    const call = Effect.suspend(() => (given.length < needed ? Effect.fail(exhausted) : Effect.succeed("opened")))
    const fiber = yield* Effect.forkScoped(
      Effect.gen(function* () {
        yield* Descriptors.register("connections", holder("connection", connections))
        yield* Descriptors.register("spare", holder("spare", spare))
        return yield* Descriptors.retry(call)
      })
    )
    yield* TestClock.adjust("1 second")
    return { given, exit: fiber.pollUnsafe() }
  },
  Effect.provideServiceEffect(Descriptors.Descriptors, Effect.sync(Descriptors.make))
)

describe("Descriptors", () => {
  it.effect("fault 56: what nobody uses is closed first, then connections are, until the call succeeds", () =>
    Effect.gen(function* () {
      const { exit, given } = yield* run(4, 2, 9)

      assert.deepStrictEqual(given, ["spare", "spare", "connection", "connection"])
      assert.isTrue(exit !== undefined && Exit.isSuccess(exit))
    })
  )

  it.effect("fault 56: the call fails if nobody has anything to give up", () =>
    Effect.gen(function* () {
      const { exit, given } = yield* run(4, 1, 1)

      assert.strictEqual(given.length, 2)
      assert.deepStrictEqual(exit, Exit.fail(exhausted))
    })
  )

  /** Opens something at `opensAt` at the earliest, because others take what is freed. Returns how it went and when. */
  const contend = (opensAt: number) =>
    Effect.gen(function* () {
      let given = 0
      yield* Descriptors.register(
        "connections",
        Effect.sync(() => {
          given++
          return true
        })
      )
      const call = Effect.flatMap(Clock.currentTimeMillis, (now) =>
        now < opensAt ? Effect.fail(exhausted) : Effect.succeed("opened")
      )
      const fiber = yield* Effect.forkScoped(Effect.exit(Descriptors.retry(call)))
      yield* TestClock.adjust("200 millis")
      const early = given
      yield* TestClock.adjust("1 minute")
      return { early, given, exit: yield* Fiber.join(fiber) }
    }).pipe(Effect.scoped, Effect.provideServiceEffect(Descriptors.Descriptors, Effect.sync(Descriptors.make)))

  it.effect("fault 56: a call costs few connections if others take their descriptors, and waits longer each time", () =>
    Effect.gen(function* () {
      const never = yield* contend(Number.POSITIVE_INFINITY)
      const late = yield* contend((yield* Clock.currentTimeMillis) + 3_000)

      assert.deepStrictEqual(never, { early: 4, given: Descriptors.maxGivenUp, exit: Exit.fail(exhausted) })
      assert.deepStrictEqual(late, { early: 4, given: Descriptors.maxGivenUp, exit: Exit.succeed("opened") })
    })
  )

  it.effect("other errors cost nobody anything", () =>
    Effect.gen(function* () {
      let asked = 0
      yield* Descriptors.register(
        "spare",
        Effect.sync(() => {
          asked++
          return true
        })
      )

      const error = yield* Effect.flip(Descriptors.retry(Effect.fail({ code: "ENOSPC" })))

      assert.deepStrictEqual([error.code, asked], ["ENOSPC", 0])
    }).pipe(Effect.provideServiceEffect(Descriptors.Descriptors, Effect.sync(Descriptors.make)))
  )

  it("are seen to be short in errors that wrap others", () => {
    const errors = [{ cause: { code: "ENFILE" } }, { reason: { cause: exhausted } }, exhausted]
    const others = [{ cause: { code: "EIO" } }, new Error("no"), "EMFILE", undefined]

    assert.deepStrictEqual([...errors, ...others].map(Descriptors.isExhausted), [
      ...errors.map(() => true),
      ...others.map(() => false)
    ])
  })
})
