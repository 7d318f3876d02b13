import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Property from "../../src/testing/Property.ts"

class Counter extends Context.Service<Counter, { count: number; readonly built: number }>()("test/Counter") {}

class TooMuch extends Data.TaggedError("TooMuch")<{ readonly n: number }> {
  override get message() {
    return `${this.n} is too much`
  }
}

/** A layer of a counter that records when it is built and released. */
const counters = () => {
  const log: Array<string> = []
  let built = 0
  const layer = Layer.effect(
    Counter,
    Effect.acquireRelease(
      Effect.sync(() => {
        log.push(`build ${++built}`)
        return { count: 0, built }
      }),
      (counter) => Effect.sync(() => log.push(`release ${counter.built}`))
    )
  )
  return { layer, log }
}

/** The failure of `check`. */
const failureOf = <R>(check: Effect.Effect<void, Property.PropertyFailed, R>) => Effect.flip(check)

const settled = Property.layerSettings({ seed: 7 })

describe("Property.check", () => {
  it.effect("succeeds if the property holds, after as many runs as asked for", () =>
    Effect.gen(function* () {
      let runs = 0

      yield* Property.check(fc.nat(), () => Effect.sync(() => void runs++), { runs: 12 })

      assert.strictEqual(runs, 12)
    }).pipe(Effect.provide(settled))
  )

  it.effect("reports the smallest counterexample, the seed, the path and the error", () =>
    Effect.gen(function* () {
      const failed = yield* failureOf(
        Property.check(fc.nat(1000), (n) => (n < 50 ? Effect.void : Effect.fail(new TooMuch({ n }))))
      )

      assert.strictEqual(failed.counterexample, 50)
      assert.include(failed.message, "Counterexample: [50]")
      assert.include(failed.message, "TooMuch: 50 is too much")
      assert.include(failed.message, `PIECEWISE_SEED=7 PIECEWISE_PATH=${failed.path}`)
      assert.instanceOf(failed.cause, TooMuch)
    }).pipe(Effect.provide(settled))
  )

  for (const [how, property, message] of [
    ["gives false", () => Effect.succeed(false), "the property gave false"],
    ["fails with a value", () => Effect.fail("no peers"), "no peers"],
    ["dies", () => Effect.die(new TypeError("broken")), "TypeError: broken"],
    [
      "throws before it returns an effect",
      (): Effect.Effect<void> => {
        throw new TypeError("thrown")
      },
      "TypeError: thrown"
    ],
    ["interrupts itself", () => Effect.interrupt, "the run was interrupted"]
  ] as ReadonlyArray<readonly [string, () => Effect.Effect<boolean, unknown> | Effect.Effect<void, unknown>, string]>) {
    it.effect(`fails if the property ${how}`, () =>
      Effect.gen(function* () {
        const failed = yield* failureOf(Property.check(fc.constant(1), property))

        assert.include(failed.message, message)
        assert.strictEqual(failed.counterexample, 1)
      }).pipe(Effect.provide(settled))
    )
  }

  it.effect("fails if the layer cannot be built", () =>
    Effect.gen(function* () {
      const layer = Layer.effect(Counter, Effect.die("no counter today"))

      const failed = yield* failureOf(Property.check(fc.nat(), () => Effect.asVoid(Counter), { layer }))

      assert.include(failed.message, "no counter today")
    }).pipe(Effect.provide(settled))
  )

  it.effect("skips the runs that fc.pre refuses, and fails if nearly all are refused", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const evenOnly = (n: number) =>
        Effect.sync(() => {
          fc.pre(n % 2 === 0)
          seen.push(n)
        })
      yield* Property.check(fc.nat(), evenOnly, { runs: 20 })

      const failed = yield* failureOf(Property.check(fc.nat(), () => Effect.sync(() => fc.pre(false))))

      assert.strictEqual(seen.length, 20)
      assert.isTrue(seen.every((n) => n % 2 === 0))
      assert.strictEqual(failed.path, undefined)
      assert.include(failed.message, "pre-condition")
    }).pipe(Effect.provide(settled))
  )

  it.effect("tries the examples first", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []

      yield* Property.check(fc.nat(9), (n) => Effect.sync(() => void seen.push(n)), { examples: [77, 78], runs: 5 })

      assert.deepStrictEqual(seen.slice(0, 2), [77, 78])
      assert.strictEqual(seen.length, 5)
    }).pipe(Effect.provide(settled))
  )

  it.effect("builds the layer again for each run, and releases it before the next", () =>
    Effect.gen(function* () {
      const { layer, log } = counters()
      const counts: Array<number> = []

      yield* Property.check(fc.nat(), () => Effect.map(Counter, (counter) => void counts.push(++counter.count)), {
        layer,
        runs: 3
      })

      assert.deepStrictEqual(counts, [1, 1, 1])
      assert.deepStrictEqual(log, ["build 1", "release 1", "build 2", "release 2", "build 3", "release 3"])
    }).pipe(Effect.provide(settled))
  )

  it.effect("shares nothing with a layer that the caller has built already", () => {
    const { layer, log } = counters()
    return Effect.gen(function* () {
      yield* Counter

      yield* Property.check(fc.nat(), () => Effect.asVoid(Counter), { layer, runs: 2 })

      assert.deepStrictEqual(log, ["build 1", "build 2", "release 2", "build 3", "release 3"])
    }).pipe(Effect.provide(Layer.merge(layer, settled)))
  })

  it.effect("closes each run's scope before the next run, also after a failure", () =>
    Effect.gen(function* () {
      const open = new Set<number>()
      let most = 0
      const property = (n: number) =>
        Effect.gen(function* () {
          yield* Effect.acquireRelease(
            Effect.sync(() => open.add(n)),
            () => Effect.sync(() => open.delete(n))
          )
          most = Math.max(most, open.size)
          if (n > 100) return yield* Effect.fail("too much")
        })

      const failed = yield* failureOf(Property.check(fc.nat(1000), property))

      assert.strictEqual(failed.counterexample, 101)
      assert.strictEqual(most, 1)
      assert.strictEqual(open.size, 0)
    }).pipe(Effect.provide(settled))
  )

  it.effect("uses the services of its caller", () =>
    Effect.gen(function* () {
      const counter = yield* Counter

      yield* Property.check(fc.nat(), () => Effect.map(Counter, (mine) => void mine.count++), { runs: 4 })

      assert.strictEqual(counter.count, 4)
    }).pipe(Effect.provide(Layer.merge(counters().layer, settled)))
  )

  it.effect("has a clock at 0 for each run and its layer", () =>
    Effect.gen(function* () {
      const times: Array<number> = []
      const layer = Layer.effect(
        Counter,
        Effect.map(Clock.currentTimeMillis, (now) => ({ count: now, built: 0 }))
      )
      yield* TestClock.adjust("5 seconds")

      yield* Property.check(
        fc.integer({ min: 1, max: 50 }),
        (seconds) =>
          Effect.gen(function* () {
            times.push((yield* Counter).count, yield* Clock.currentTimeMillis)
            const sleeper = yield* Effect.forkChild(Effect.sleep(`${seconds} seconds`), { startImmediately: true })
            yield* TestClock.adjust(`${seconds} seconds`)
            yield* Fiber.join(sleeper)
            return (yield* Clock.currentTimeMillis) === seconds * 1000
          }),
        { layer, testClock: true, runs: 3 }
      )

      assert.deepStrictEqual(times, [0, 0, 0, 0, 0, 0])
      assert.strictEqual(yield* Clock.currentTimeMillis, 5000)
    }).pipe(Effect.provide(settled))
  )

  it.effect("interrupts the current run, waits for its finalizers and starts no other", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const running = yield* Deferred.make<void>()
      const check = Property.check(fc.nat(), () =>
        Effect.gen(function* () {
          log.push("run")
          yield* Effect.addFinalizer(() =>
            Effect.andThen(
              Effect.yieldNow,
              Effect.sync(() => log.push("released"))
            )
          )
          yield* Deferred.succeed(running, undefined)
          return yield* Effect.never
        })
      )
      const fiber = yield* Effect.forkChild(check)
      yield* Deferred.await(running)

      yield* Fiber.interrupt(fiber)

      assert.deepStrictEqual(log, ["run", "released"])
      for (let turn = 0; turn < 20; turn++) yield* Effect.yieldNow
      assert.deepStrictEqual(log, ["run", "released"])
    }).pipe(Effect.provide(settled))
  )

  it("runs without a test runner", async () => {
    const failed = await Effect.runPromise(
      failureOf(Property.check(fc.boolean(), (held) => Effect.succeed(held), { seed: 1 }))
    )

    assert.strictEqual(failed.counterexample, false)
  })
})

/** A property with one weak spot. Records the values that it is called with. */
const weak = () => {
  const seen: Array<number> = []
  const check = Property.check(fc.nat(1_000_000), (n) => {
    seen.push(n)
    return Effect.succeed(n % 97 !== 13)
  })
  return { check, seen }
}

describe("Property.Settings", () => {
  it.effect("repeats a failure with its seed", () =>
    Effect.gen(function* () {
      const first = weak()
      const second = weak()
      const runs = Property.layerSettings({ runs: 10_000 })
      const found = yield* failureOf(first.check).pipe(Effect.provide(runs))
      const replay = Property.layerSettings({ seed: found.seed, runs: 10_000 })

      const replayed = yield* failureOf(second.check).pipe(Effect.provide(replay))

      assert.strictEqual(replayed.message, found.message)
      assert.deepStrictEqual(second.seen, first.seen)
    })
  )

  it.effect("begins with the counterexample if the path is set as well", () =>
    Effect.gen(function* () {
      const { check, seen } = weak()
      const found = yield* failureOf(weak().check).pipe(Effect.provide(Property.layerSettings({ runs: 10_000 })))
      const replay = Property.layerSettings({ seed: found.seed, path: found.path })

      const replayed = yield* failureOf(check).pipe(Effect.provide(replay))

      assert.strictEqual(seen[0], found.counterexample)
      assert.strictEqual(replayed.counterexample, found.counterexample)
    })
  )

  it.effect("overrides the options of a property", () =>
    Effect.gen(function* () {
      let runs = 0

      yield* Property.check(fc.nat(), () => Effect.sync(() => void runs++), { runs: 5 })

      assert.strictEqual(runs, 9)
    }).pipe(Effect.provide(Property.layerSettings({ runs: 9 })))
  )

  const environment = (env: Record<string, string>) => ConfigProvider.layer(ConfigProvider.fromEnv({ env }))

  it.effect("is read from the environment if nobody provides it", () =>
    Effect.gen(function* () {
      const found = yield* failureOf(weak().check).pipe(Effect.provide(Property.layerSettings({ runs: 10_000 })))
      const { check, seen } = weak()
      const env = { PIECEWISE_SEED: `${found.seed}`, PIECEWISE_PATH: found.path!, PIECEWISE_RUNS: "3" }

      const replayed = yield* failureOf(check).pipe(Effect.provide(environment(env)))

      assert.strictEqual(replayed.counterexample, found.counterexample)
      assert.strictEqual(seen[0], found.counterexample)
    })
  )

  it.effect("is read from the environment by a layer, which fails if a value is not a number", () =>
    Effect.gen(function* () {
      const read = (env: Record<string, string>) =>
        Effect.provide(Property.Settings, Layer.provide(Property.layerFromEnv, environment(env)))

      const settings = yield* read({ PIECEWISE_SEED: "-12", PIECEWISE_RUNS: "1000" })
      const failed = yield* Effect.flip(read({ PIECEWISE_SEED: "many" }))

      assert.deepStrictEqual(settings, { seed: -12, path: undefined, runs: 1000 })
      assert.include(failed.message, "PIECEWISE_SEED")
    })
  )
})

describe("Property.commands", () => {
  interface Model {
    count: number
  }

  /** Adds to the counter. A broken one forgets what is added at 10 and above. */
  const add = (broken: boolean) =>
    fc.integer({ min: 1, max: 4 }).map(
      (by): Property.Command<Model, never, Counter> => ({
        name: `add(${by})`,
        run: (model) =>
          Effect.gen(function* () {
            const counter = yield* Counter
            if (!broken || counter.count < 10) counter.count += by
            model.count += by
            assert.strictEqual(counter.count, model.count)
          })
      })
    )

  const reset: fc.Arbitrary<Property.Command<Model, never, Counter>> = fc.constant({
    name: "reset",
    check: (model) => model.count > 0,
    run: (model) =>
      Effect.gen(function* () {
        assert.isAbove(model.count, 0)
        const counter = yield* Counter
        counter.count = 0
        model.count = 0
      })
  })

  it.effect("runs commands on a model, with a fresh layer for each sequence", () =>
    Effect.gen(function* () {
      const { layer, log } = counters()

      yield* Property.commands([add(false), reset], { model: () => ({ count: 0 }), layer, runs: 30 })

      assert.strictEqual(log.length, 60)
      assert.deepStrictEqual(log.slice(0, 4), ["build 1", "release 1", "build 2", "release 2"])
    }).pipe(Effect.provide(settled))
  )

  it.effect("reports the shortest sequence that fails, by the names of its commands", () =>
    Effect.gen(function* () {
      const { layer, log } = counters()

      const failed = yield* failureOf(
        Property.commands([add(true), reset], { model: () => ({ count: 0 }), layer, runs: 500 })
      )

      // Without a reset, and without a step that could be left out.
      const sequence = String(failed.counterexample)
      const steps = sequence.split(",").map((step) => Number(/^add\((\d)\)$/.exec(step)?.[1]))
      assert.isAtLeast(
        steps.slice(0, -1).reduce((sum, by) => sum + by, 0),
        10
      )
      assert.isBelow(
        steps.slice(0, -2).reduce((sum, by) => sum + by, 0),
        10
      )
      assert.include(failed.message, `Counterexample: [${sequence}]`)
      assert.include(failed.message, "Replay with PIECEWISE_SEED=7")
      assert.strictEqual(log.length % 2, 0)
      assert.match(log.at(-1)!, /^release/)
    }).pipe(Effect.provide(settled))
  )

  it.effect("repeats a sequence with its seed", () =>
    Effect.gen(function* () {
      const run = (settings: Property.PropertySettings) =>
        failureOf(Property.commands([add(true), reset], { model: () => ({ count: 0 }), layer: counters().layer })).pipe(
          Effect.provide(Property.layerSettings({ ...settings, runs: 500 }))
        )
      const found = yield* run({})

      const replayed = yield* run({ seed: found.seed })

      assert.strictEqual(replayed.message, found.message)
    })
  )
})
