/**
 * Work that waits for a signal. A signal is set by whoever has something to be done, from plain code and at no cost.
 * Whoever attends to it does the work in a fiber that exists only while there is some, so a torrent that rests has no
 * fibers that wait.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"

/** Says that there is something to do. At most one party attends to it. */
export interface Signal {
  /** Whether it was set and nobody has begun to do what is due since. */
  isSet: boolean
  attention: Attention | undefined
}

/** The party that does what is due. */
interface Attention {
  readonly work: Effect.Effect<void>
  readonly context: Context.Context<never>
  readonly workers: number
  /** Present while somebody works. */
  working: Set<Fiber.Fiber<void>> | undefined
}

/** Makes a signal that is not set. */
export const make = (): Signal => ({ isSet: false, attention: undefined })

/** Sets a signal. What is due is done soon, but never within this call. */
export const set = (self: Signal): void => {
  self.isSet = true
  start(self)
}

/** Notes that what was due until now is about to be done, in work that gathered for a while what it does. */
export const clear = (self: Signal): void => {
  self.isSet = false
}

/** What is done about a bug in some work, which ends that work until its signal is set again. Default: it is logged. */
export const Defects = Context.Reference<(defect: unknown) => Effect.Effect<void>>("piecewise/base/Signal/Defects", {
  defaultValue: () => (defect) => Effect.logError("work ended with a defect", defect)
})

/**
 * Does `work` each time the signal is set, once for all times that it was set before, until the scope closes. Up to
 * `workers` do it at once: each time the signal is set, one more begins.
 */
export const attend = <R>(
  self: Signal,
  work: Effect.Effect<void, never, R>,
  workers = 1
): Effect.Effect<void, never, R | Scope.Scope> =>
  Effect.contextWith((context: Context.Context<R | Scope.Scope>) => {
    // The context provides what the work needs.
    const needs = work as Effect.Effect<void>
    const attention: Attention = { work: needs, context, workers, working: undefined }
    self.attention = attention
    if (self.isSet) start(self)
    return Scope.addFinalizerExit(Context.get(context, Scope.Scope), () => end(self, attention))
  })

/** Does `begin` when the signal is set for the first time, unless the scope closes before. */
export const once = <R>(
  self: Signal,
  begin: Effect.Effect<void, never, R>
): Effect.Effect<void, never, R | Scope.Scope> =>
  Effect.suspend(() => {
    let hasBegun = false
    const first = Effect.suspend(() => {
      if (hasBegun) return Effect.void
      hasBegun = true
      return begin
    })
    return attend(self, first)
  })

const start = (self: Signal): void => {
  const { attention } = self
  if (attention === undefined || attention.working?.size === attention.workers) return
  const worker = Effect.runForkWith(attention.context)(untilUnset(self, attention.work))
  attention.working ??= new Set()
  attention.working.add(worker)
  worker.addObserver(() => {
    attention.working!.delete(worker)
    if (attention.working!.size === 0) attention.working = undefined
    if (self.isSet) start(self)
  })
}

const end = (self: Signal, attention: Attention): Effect.Effect<void> => {
  if (self.attention === attention) self.attention = undefined
  return attention.working === undefined ? Effect.void : Fiber.interruptAll(attention.working)
}

/** Does the work once, and again for as long as the signal was set meanwhile. */
const untilUnset = (self: Signal, work: Effect.Effect<void>): Effect.Effect<void> => {
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
