/**
 * Work that is done one at a time, or a few at a time, by whoever asked first. Costs two effects if nobody has to wait,
 * and takes memory for those who wait only while they do, so that a torrent may have many.
 *
 * A turn that ends is passed on to whoever waits longest. It is counted as taken all the while, so nobody overtakes.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"

/** Whose turn it is. Changed only here. */
export interface Turn {
  /** How many more may begin. Nobody waits unless it is 0. */
  free: number
  /** Who waits longest; present while somebody waits. */
  first: Waiter | undefined
  last: Waiter | undefined
}

/** Linked to those beside it, so that to leave costs the same for all. */
interface Waiter {
  before: Waiter | undefined
  after: Waiter | undefined
  hasTurn: boolean
  resume: ((effect: Effect.Effect<void>) => void) | undefined
}

/** Makes it with nobody at work; `atOnce` may work at a time. */
export const make = (atOnce = 1): Turn => ({ free: atOnce, first: undefined, last: undefined })

/** Takes a turn if one is free now. Whoever takes it calls `end` once. */
export const takeNow = (self: Turn): boolean => {
  if (self.free === 0) return false
  self.free--
  return true
}

/** Ends a turn: whoever waits longest goes on soon, but never within this call. */
export const end = (self: Turn): void => {
  const { first } = self
  if (first === undefined) {
    self.free++
    return
  }
  leave(self, first)
  first.hasTurn = true
  // It yields first. Otherwise turns that end at once would fill the stack with one another.
  first.resume?.(Effect.yieldNow)
}

const join = (self: Turn): Waiter => {
  const waiter: Waiter = { before: self.last, after: undefined, hasTurn: false, resume: undefined }
  if (self.last === undefined) self.first = waiter
  else self.last.after = waiter
  self.last = waiter
  return waiter
}

const leave = (self: Turn, { after, before }: Waiter): void => {
  if (before === undefined) self.first = after
  else before.after = after
  if (after === undefined) self.last = before
  else after.before = before
}

/**
 * Waits for a turn and takes it; fails only if it is interrupted, and then has none. Must be run uninterruptibly, with
 * what makes its wait interruptible again as `restore`.
 */
export const wait = (self: Turn, restore: (effect: Effect.Effect<void>) => Effect.Effect<void>): Effect.Effect<void> =>
  Effect.suspend(() => {
    // It may have become free since the caller looked.
    if (takeNow(self)) return Effect.void
    const waiter = join(self)
    const turn = Effect.callback<void>((resume) => {
      if (waiter.hasTurn) resume(Effect.void)
      else waiter.resume = resume
    })
    return Effect.onExitPrimitive(restore(turn), (exit) => {
      if (Exit.isSuccess(exit)) return undefined
      // Both may happen: a turn comes, and the wait is interrupted before it goes on.
      if (waiter.hasTurn) end(self)
      else leave(self, waiter)
      return undefined
    })
  })

/** Does `work` when those that came before have ended. */
export const take = <A, E, R>(self: Turn, work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) => {
    const working = Effect.onExitPrimitive(restore(work), () => {
      end(self)
      return undefined
    })
    return takeNow(self) ? working : Effect.andThen(wait(self, restore), working)
  })

/**
 * Does `work` when those that came before have ended, but passes the turn on after a while if it has not ended by then: a
 * disk that hangs then holds up nobody else for longer.
 */
export const takeFor = <A, E, R>(
  self: Turn,
  longest: Duration.Input,
  work: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) => {
    let isOver = false
    const pass = Effect.sync(() => {
      if (!isOver) end(self)
      isOver = true
    })
    const late = Effect.andThen(Effect.sleep(longest), pass)
    const working = Effect.flatMap(Effect.forkDetach(Effect.interruptible(late)), (timer) =>
      Effect.ensuring(restore(work), Effect.andThen(pass, Fiber.interrupt(timer)))
    )
    return Effect.andThen(wait(self, restore), working)
  })
