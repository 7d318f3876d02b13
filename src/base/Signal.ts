/**
 * Work that waits for a signal. A signal is set by whoever has something to be done, from plain code and at no cost.
 * Whoever attends to it does the work in a fiber that exists only while there is some, or in a task if it is plain, so
 * a torrent that rests has no fibers that wait.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"

/** Says that there is something to do. At most one party attends to it. */
export interface Signal {
  /** Whether it was set and nobody has begun to do what is due since. */
  isSet: boolean
  attention: Attention | undefined
}

/** The party that does what is due: in a fiber, or at once if it is a plain function. */
interface Attention {
  readonly work: Effect.Effect<void> | (() => void)
  readonly context: Context.Context<never>
  readonly workers: number
  /** How many are about to begin, or work. */
  busy: number
  /** The fibers of those that work. */
  fibers: ReadonlyArray<Fiber.Fiber<unknown, unknown>>
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
  // The context provides what the work needs.
  attach(self, work as Effect.Effect<void>, workers)

/** The same as `attend` for work that is plain code, which needs no fiber. */
export const react = (self: Signal, work: () => void): Effect.Effect<void, never, Scope.Scope> => attach(self, work, 1)

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

const none: Attention["fibers"] = []

const attach = <R>(
  self: Signal,
  work: Attention["work"],
  workers: number
): Effect.Effect<void, never, R | Scope.Scope> =>
  Effect.contextWith((context: Context.Context<R | Scope.Scope>) => {
    const attention: Attention = { work, context, workers, busy: 0, fibers: none }
    self.attention = attention
    if (self.isSet) start(self)
    return Scope.addFinalizerExit(Context.get(context, Scope.Scope), () => end(self, attention))
  })

const start = (self: Signal): void => {
  const { attention } = self
  if (attention === undefined || attention.busy === attention.workers) return
  attention.busy++
  // Whoever sets a signal may be in the middle of reading from a peer. A fiber that waited would cost more than a task.
  const dispatcher = Context.get(attention.context, Scheduler.Scheduler).makeDispatcher()
  dispatcher.scheduleTask(() => begin(self, attention), 0)
}

const begin = (self: Signal, attention: Attention): void => {
  // The scope has closed meanwhile.
  if (self.attention !== attention) return
  const { context, work } = attention
  if (typeof work === "function") {
    self.isSet = false
    try {
      work()
    } catch (defect) {
      Effect.runForkWith(context)(handleDefect(defect))
    }
    return finish(self, attention)
  }
  const working = untilUnset(self, work)
  const worker = Effect.runForkWith(context)(
    Effect.withFiber((fiber) => {
      // Before it does anything that may close the scope, which has to wait for it.
      attention.fibers = [...attention.fibers, fiber]
      return working
    })
  )
  worker.addObserver(() => {
    attention.fibers = attention.fibers.length === 1 ? none : attention.fibers.filter((other) => other !== worker)
    finish(self, attention)
  })
}

const finish = (self: Signal, attention: Attention): void => {
  attention.busy--
  if (self.isSet) start(self)
}

const end = (self: Signal, attention: Attention): Effect.Effect<void> => {
  if (self.attention === attention) self.attention = undefined
  return attention.fibers.length === 0 ? Effect.void : Fiber.interruptAll(attention.fibers)
}

/** Does the work once, and again for as long as the signal was set meanwhile. */
const untilUnset = (self: Signal, work: Effect.Effect<void>): Effect.Effect<void> => {
  let isFirst = true
  const all = Effect.whileLoop({
    while: () => isFirst || self.isSet,
    body: () => {
      isFirst = false
      self.isSet = false
      return work
    },
    step: () => {}
  })
  return Effect.catchDefect(all, handleDefect)
}

const handleDefect = (defect: unknown): Effect.Effect<void> => Effect.flatMap(Defects, (handle) => handle(defect))
