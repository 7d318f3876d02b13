/**
 * What is done every second for each of many owners, by one timer for all of them. It runs while there is an owner.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Monotonic from "./Monotonic.ts"
import * as Signal from "./Signal.ts"

/** Done at `now` (milliseconds): plainly, or with an effect if that takes more. */
export type Tick = (now: number) => Effect.Effect<void> | undefined

/** The ticks of all owners. */
export interface Ticker {
  readonly ticks: Set<Tick>
  readonly some: Signal.Signal
}

/** Makes it without owners. */
export const make = (): Ticker => ({ ticks: new Set(), some: Signal.make() })

/**
 * Calls `tick` every second until the scope closes, and for the first time at once. What it returns must not wait for
 * anybody, because the next owner's tick waits for it. A bug in it is for `Signal.Defects`.
 */
export const join = (self: Ticker, tick: Tick): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(Signal.Defects, (handle) => {
    const guarded: Tick = (now) => {
      try {
        const effect = tick(now)
        return effect && Effect.catchDefect(effect, (defect) => handle(defect))
      } catch (defect) {
        return handle(defect)
      }
    }
    return Effect.acquireRelease(
      Effect.flatMap(Monotonic.now, (now) => {
        self.ticks.add(guarded)
        Signal.set(self.some)
        return guarded(now) ?? Effect.void
      }),
      () => Effect.sync(() => self.ticks.delete(guarded))
    )
  })

/** Ticks until the scope closes. */
export const run = (self: Ticker): Effect.Effect<void, never, Scope.Scope> => {
  const tickAll = Effect.gen(function* () {
    yield* Effect.sleep("1 second")
    const now = yield* Monotonic.now
    for (const tick of self.ticks) {
      const more = tick(now)
      if (more !== undefined) yield* more
    }
  })
  return Signal.attend(
    self.some,
    Effect.whileLoop({ while: () => self.ticks.size > 0, body: () => tickAll, step: () => {} })
  )
}
