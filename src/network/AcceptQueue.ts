/**
 * Incoming connections between a port that receives them and the program that accepts them, for listeners of every
 * medium.
 *
 * Bounded: if it is full, `offerUnsafe` returns `false` and its caller closes the newest. What is in the queue belongs
 * to the port; an accepted connection belongs to the acceptor's scope, and no interruption can lose it in between.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import type { Connection } from "./Transport.ts"

/** A connection that can be closed. Closing is idempotent. */
export interface Incoming {
  readonly connection: Connection
  readonly closeUnsafe: () => void
}

/** The connections of one port that were not accepted yet. */
export interface AcceptQueue<A extends Incoming> {
  readonly backlog: number
  readonly waiting: Array<A>
  readonly changed: Latch.Latch
  isOpen: boolean
}

/** An empty queue for at most `backlog` connections. */
export const make = <A extends Incoming>(backlog: number): AcceptQueue<A> => ({
  backlog,
  waiting: [],
  changed: Latch.makeUnsafe(false),
  isOpen: true
})

/** Queues `incoming`; `false` if the queue is full or closed: then the caller must close it. */
export const offerUnsafe = <A extends Incoming>(self: AcceptQueue<A>, incoming: A): boolean => {
  if (!self.isOpen || self.waiting.length >= self.backlog) return false
  self.waiting.push(incoming)
  self.changed.openUnsafe()
  return true
}

/** Closes the queue and what waits in it; fibers that wait to accept are interrupted. */
export const closeUnsafe = <A extends Incoming>(self: AcceptQueue<A>): void => {
  self.isOpen = false
  for (const incoming of self.waiting.splice(0)) incoming.closeUnsafe()
  self.changed.openUnsafe()
}

/** Waits for a connection, which then belongs to the caller's scope. */
export const accept = <A extends Incoming>(self: AcceptQueue<A>): Effect.Effect<Connection, never, Scope.Scope> =>
  Effect.flatMap(Effect.scope, (scope) =>
    Effect.uninterruptibleMask((restore) => {
      const take: Effect.Effect<Connection> = Effect.suspend(() => {
        const incoming = self.waiting.shift()
        if (incoming !== undefined) return own(scope, incoming)
        if (!self.isOpen) return restore(Effect.interrupt)
        self.changed.closeUnsafe()
        return Effect.flatMap(restore(self.changed.await), () => take)
      })
      return take
    })
  )

/** Closes `incoming`, which need not have arrived, when `scope` closes. */
export const own = (scope: Scope.Scope, incoming: Incoming): Effect.Effect<Connection> =>
  Effect.as(Scope.addFinalizer(scope, Effect.sync(incoming.closeUnsafe)), incoming.connection)
