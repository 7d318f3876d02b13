import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Gate from "../../src/base/Gate.ts"
import * as Signal from "../../src/base/Signal.ts"
import * as Ticker from "../../src/base/Ticker.ts"

const settle = Effect.repeat(Effect.yieldNow, { times: 20 })

describe("Signal", () => {
  it.effect("has work done soon, and once, however often it is set, but never within the call", () =>
    Effect.gen(function* () {
      const signal = Signal.make()
      let done = 0
      yield* Signal.attend(
        signal,
        Effect.sync(() => void done++)
      )
      yield* settle
      const unasked = done

      for (let time = 0; time < 5; time++) Signal.set(signal)
      const within = done
      yield* settle
      const once = done
      Signal.set(signal)
      yield* settle

      assert.deepStrictEqual([unasked, within, once, done], [0, 0, 1, 2])
    })
  )

  it.effect("is not forgotten if it was set before anybody attended to it, or while the work was done", () =>
    Effect.gen(function* () {
      const signal = Signal.make()
      Signal.set(signal)
      let done = 0
      yield* Signal.attend(
        signal,
        Effect.sync(() => {
          if (done++ < 3) Signal.set(signal)
        })
      )

      yield* settle

      assert.strictEqual(done, 4)
    })
  )

  it.effect("has as many workers as were asked for and are allowed, and each sees what is left", () =>
    Effect.gen(function* () {
      const signal = Signal.make()
      const waiting: Array<number> = []
      const begun: Array<number> = []
      const gate = yield* Deferred.make<void>()
      const act = Effect.suspend(() => {
        begun.push(waiting.shift()!)
        return Deferred.await(gate)
      })
      yield* Signal.attend(
        signal,
        Effect.whileLoop({ while: () => waiting.length > 0, body: () => act, step: () => {} }),
        2
      )

      for (const item of [1, 2, 3]) {
        waiting.push(item)
        Signal.set(signal)
      }
      yield* settle
      const first = [...begun]
      yield* Deferred.succeed(gate, undefined)
      yield* settle

      assert.deepStrictEqual(
        [first, begun],
        [
          [1, 2],
          [1, 2, 3]
        ]
      )
    })
  )

  it.effect("law 12: interrupts the work when the scope closes, and begins none afterwards", () =>
    Effect.gen(function* () {
      const signal = Signal.make()
      const log: Array<string> = []
      const scope = yield* Scope.make()
      const work = Effect.never.pipe(Effect.onInterrupt(() => Effect.sync(() => log.push("interrupted"))))
      yield* Scope.provide(
        Signal.attend(
          signal,
          Effect.andThen(
            Effect.sync(() => log.push("begun")),
            work
          )
        ),
        scope
      )
      Signal.set(signal)
      yield* settle

      yield* Scope.close(scope, Exit.void)
      Signal.set(signal)
      yield* settle

      assert.deepStrictEqual(log, ["begun", "interrupted"])
    })
  )

  it.effect("law 12: the scope waits for work that closes it in its first step", () =>
    Effect.gen(function* () {
      const signal = Signal.make()
      const gate = Gate.make(false)
      const log: Array<string> = []
      const work = Effect.sync(() => {
        Gate.open(gate)
        log.push("worked")
      })

      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Signal.attend(signal, work)
          Signal.set(signal)
          yield* Gate.pass(gate)
        })
      )
      log.push("closed")

      assert.deepStrictEqual(log, ["worked", "closed"])
    })
  )

  it.effect("has plain work done soon, and once, until the scope closes; a bug in it ends nothing", () =>
    Effect.gen(function* () {
      const signal = Signal.make()
      const scope = yield* Scope.make()
      const log: Array<unknown> = []
      yield* Signal.react(signal, () => {
        log.push("worked")
        throw "a bug"
      }).pipe(
        Effect.provideService(Signal.Defects, (defect) => Effect.sync(() => void log.push(defect))),
        Scope.provide(scope)
      )

      for (let time = 0; time < 2; time++) {
        Signal.set(signal)
        Signal.set(signal)
        log.push("set")
        yield* settle
      }
      Signal.set(signal)
      yield* Scope.close(scope, Exit.void)
      yield* settle

      assert.deepStrictEqual(log, ["set", "worked", "a bug", "set", "worked", "a bug"])
    })
  )

  it.effect("passes on a defect, and goes on when it is set again", () =>
    Effect.gen(function* () {
      const signal = Signal.make()
      const defects: Array<unknown> = []
      yield* Effect.provideService(Signal.attend(signal, Effect.die("a bug")), Signal.Defects, (defect) =>
        Effect.sync(() => void defects.push(defect))
      )

      for (let time = 0; time < 2; time++) {
        Signal.set(signal)
        yield* settle
      }

      assert.deepStrictEqual(defects, ["a bug", "a bug"])
    })
  )
})

describe("Gate", () => {
  it.effect("lets all who wait pass when it opens, and nobody while it is closed", () =>
    Effect.gen(function* () {
      const gate = Gate.make(false)
      let passed = 0
      const passing = Effect.andThen(
        Gate.pass(gate),
        Effect.sync(() => void passed++)
      )
      for (let index = 0; index < 3; index++) yield* Effect.forkChild(passing, { startImmediately: true })
      const closed = passed

      Gate.open(gate)
      yield* settle
      yield* passing
      const open = passed
      Gate.close(gate)
      yield* Effect.forkChild(passing, { startImmediately: true })
      yield* settle

      assert.deepStrictEqual([closed, open, passed], [0, 4, 4])
    })
  )
})

describe("Ticker", () => {
  it.effect("ticks at once and every second while there is somebody, and a bug of one stops no other", () =>
    Effect.gen(function* () {
      const ticker = Ticker.make()
      const log: Array<string> = []
      yield* Ticker.run(ticker)
      const scope = yield* Scope.make()
      const bad = Ticker.join(ticker, (now) => {
        if (now > 0) throw new Error("a bug")
        return undefined
      })
      yield* Effect.provideService(bad, Signal.Defects, () => Effect.sync(() => void log.push("bug")))
      yield* Scope.provide(
        Ticker.join(ticker, (now) => Effect.sync(() => void log.push(`${now}`))),
        scope
      )

      yield* TestClock.adjust("2500 millis")
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust("1 second")

      assert.deepStrictEqual(log, ["0", "bug", "1000", "bug", "2000", "bug"])
    })
  )
})
