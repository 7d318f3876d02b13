/**
 * Work that waits for a signal. A signal is set by whoever has something to be done, from plain code and at no cost.
 * Who attends to it does the work in a fiber that exists only while there is some, so a torrent that rests has no
 * fibers that wait.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"

/** Says that there is something to do. At most one worker attends to it. */
export interface Signal {
  /** Whether it was set and nobody has begun to do what is due since. */
  isSet: boolean
  /** Has the worker begin, if there is one. */
  start: (() => void) | undefined
}

/** Makes a signal that is not set. */
export const make = (): Signal => ({ isSet: false, start: undefined })

/** Sets a signal. What is due is done soon, but never within this call. */
export const set = (self: Signal): void => {
  self.isSet = true
  self.start?.()
}

/** What is done about a bug in some work, which ends that work until its signal is set again. Default: it is logged. */
export const Defects = Context.Reference<(defect: unknown) => Effect.Effect<void>>("piecewise/base/Signal/Defects", {
  defaultValue: () => (defect) => Effect.logError("work ended with a defect", defect)
})

/** Notes that what was due until now is about to be done, in work that gathered for a while what it does. */
export const clear = (self: Signal): void => {
  self.isSet = false
}

/** How work is done. */
export interface Options {
  /** How many workers may do it at once; default 1. Each time the signal is set, one more begins. */
  readonly workers?: number | undefined
}

/** Does `work` each time the signal is set, once for all times that it was set before, until the scope closes. */
export const attend = <R>(
  self: Signal,
  work: Effect.Effect<void, never, R>,
  { workers = 1 }: Options = {}
): Effect.Effect<void, never, R | Scope.Scope> =>
  Effect.contextWith((context: Context.Context<R | Scope.Scope>) => {
    const working = new Set<Fiber.Fiber<void>>()
    const start = (): void => {
      if (working.size === workers) return
      const worker = Effect.runForkWith(context)(untilUnset(self, work))
      working.add(worker)
      worker.addObserver(() => {
        working.delete(worker)
        if (self.isSet) self.start?.()
      })
    }
    self.start = start
    if (self.isSet) start()
    return Effect.addFinalizer(() => {
      self.start = undefined
      return Fiber.interruptAll(working)
    })
  })

/** Does the work once, and again for as long as the signal was set meanwhile. */
const untilUnset = <R>(self: Signal, work: Effect.Effect<void, never, R>): Effect.Effect<void, never, R> => {
  const once = Effect.suspend(() => {
    self.isSet = false
    return work
  })
  const again = Effect.whileLoop({ while: () => self.isSet, body: () => once, step: () => {} })
  // Whoever sets a signal may be in the middle of reading from a peer.
  return Effect.yieldNow.pipe(
    Effect.andThen(once),
    Effect.andThen(again),
    Effect.catchDefect((defect) => Effect.flatMap(Defects, (handle) => handle(defect)))
  )
}
