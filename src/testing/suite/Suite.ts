/**
 * Suites that any test runner can run: a suite is a list of cases, a case is a name and an effect that fails if what it
 * tests does not hold.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect } from "effect"
 * import { Suite } from "piecewise/testing"
 *
 * let count = 0
 * const cases = Suite.group("a counter", [
 *   Suite.test("counts", Effect.sync(() => assert(++count === 1))),
 *   Suite.test("forgets", Effect.sync(() => assert(count === 0, "it still counts")))
 * ])
 * // Any test runner can run them: `it.effect(name, () => run)`.
 * const [counts, forgets] = cases.map(({ run }) => run)
 * assert(counts !== undefined && forgets !== undefined)
 * await Effect.runPromise(counts)
 * const { message } = await Effect.runPromise(Effect.flip(forgets))
 * assert.equal(message, "a counter forgets: it still counts")
 * ```
 *
 * Give each case a fresh layer. No case needs the clock to move.
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** What a case tests does not hold. `message` names the case and says what was expected. */
export class SuiteFailure extends Data.TaggedError("piecewise/SuiteFailure")<{
  /** The name of the case. */
  readonly test: string
  readonly why: string
  /** What the case failed or died with. */
  readonly cause: Cause.Cause<unknown>
}> {
  override get message() {
    return `${this.test}: ${this.why}`
  }
}

/** One test of a suite. `R` is what it tests. */
export interface Case<out R> {
  /** A sentence; unique in its suite. */
  readonly name: string
  readonly run: Effect.Effect<void, SuiteFailure, R>
}

/** Makes a case: it fails if `effect` fails or dies, for example of an assertion (`Assert.ts`). */
export const test = <E, R>(name: string, effect: Effect.Effect<void, E, R>): Case<Exclude<R, Scope.Scope>> => ({
  name,
  run: Effect.catchCause(Effect.scoped(effect), (cause) => {
    if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
    const error = Cause.squash(cause)
    const why = error instanceof Error ? error.message : String(error)
    return Effect.fail(new SuiteFailure({ test: name, why, cause }))
  })
})

/** Puts the name of a group before the names of its cases. */
export const group = <R>(name: string, cases: ReadonlyArray<Case<R>>): ReadonlyArray<Case<R>> =>
  cases.map((one) => ({
    name: `${name} ${one.name}`,
    run: Effect.mapError(one.run, ({ cause, why }) => new SuiteFailure({ test: `${name} ${one.name}`, why, cause }))
  }))
