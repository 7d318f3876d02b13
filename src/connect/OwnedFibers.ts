/**
 * Fibers that own something and have to release it: a connection, a place, a key of a table.
 *
 * A fiber that is interrupted before its first step never runs its finalizers, and in a closed scope (or `FiberMap`) no
 * fiber is started at all. Either way, what it owns would leak. Here `release` runs once for each `run`, whatever
 * happens to the fiber: the fiber starts uninterruptible, and if none can be started, the caller releases.
 *
 * The fibers end with the scope of `make`. A key names one fiber at a time.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"

/** The running fibers, by their keys. */
export interface OwnedFibers<K> {
  readonly scope: Scope.Closeable
  readonly running: Map<K, Fiber.Fiber<unknown, unknown>>
}

/** Makes it without fibers. When the scope closes, all fibers are interrupted together, and it waits for their end. */
export const make = <K>(): Effect.Effect<OwnedFibers<K>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Scope.fork(yield* Effect.scope, "parallel")
    return { scope, running: new Map() }
  })

/** The same, until `end`. */
export const makeUnsafe = <K>(): OwnedFibers<K> => ({ scope: Scope.makeUnsafe("parallel"), running: new Map() })

/**
 * Runs `effect` in its own fiber, and `release` after it, uninterruptibly. If no fiber can be started any more,
 * `release` runs at once, as if the fiber had been interrupted.
 */
export const run = Effect.fnUntraced(function* <K, A, E, R>(
  self: OwnedFibers<K>,
  key: K,
  effect: Effect.Effect<A, E, R>,
  release: (exit: Exit.Exit<A, E>) => Effect.Effect<unknown>
): Effect.fn.Return<void, never, R> {
  let hasBegun = false
  const owning = Effect.suspend(() => {
    hasBegun = true
    return Effect.onExit(Effect.interruptible(effect), release)
  })
  // `release` reports errors. A failed fiber does not affect the others.
  const started = { startImmediately: true, uninterruptible: true } as const
  const fiber = yield* Effect.forkIn(Effect.ignoreCause(owning), self.scope, started)
  // In a closed scope, forking returns a fiber that has ended without running.
  if (!hasBegun && fiber.pollUnsafe() !== undefined) {
    yield* release(Exit.interrupt())
    return
  }
  self.running.set(key, fiber)
  fiber.addObserver(() => {
    if (self.running.get(key) === fiber) self.running.delete(key)
  })
}, Effect.uninterruptible)

/** Whether no fiber can be started any more. Then one that is run is released at once. */
export const hasEnded = <K>({ scope }: OwnedFibers<K>): boolean => scope.state._tag === "Closed"

/** Interrupts the fiber of `key`, if it runs, without waiting for its end. */
export const interruptUnsafe = <K>(self: OwnedFibers<K>, key: K): void => self.running.get(key)?.interruptUnsafe()

/** Interrupts all fibers and waits for their end. None can be started afterwards. */
export const end = <K>(self: OwnedFibers<K>): Effect.Effect<void> => Scope.close(self.scope, Exit.void)
