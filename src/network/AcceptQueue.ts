/**
 * Incoming connections between a port that takes them and the program that accepts them, for listeners of every medium.
 *
 * Bounded: when it is full `offerUnsafe` says so and its caller closes the newest. What is in the queue belongs to the port;
 * what is taken belongs to the taker's scope, with no moment between in which an interruption could lose it.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import type { Connection } from "./Transport.ts"

/** A connection that can be closed. Closing twice is closing once. */
export interface Incoming {
  readonly connection: Connection
  readonly closeUnsafe: () => void
}

/** The connections of one port that nobody has accepted yet. */
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

/** Queues `incoming`; `false` when the queue is full or closed: it is then the caller's to close. */
export const offerUnsafe = <A extends Incoming>(self: AcceptQueue<A>, incoming: A): boolean => {
  if (!self.isOpen || self.waiting.length >= self.backlog) return false
  self.waiting.push(incoming)
  self.changed.openUnsafe()
  return true
}

/** Closes the queue and what waits in it; who waits to take is interrupted. */
export const closeUnsafe = <A extends Incoming>(self: AcceptQueue<A>): void => {
  self.isOpen = false
  for (const incoming of self.waiting.splice(0)) incoming.closeUnsafe()
  self.changed.openUnsafe()
}

/** Waits for a connection and gives it to the caller's scope. */
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

/** Closes `incoming`, which need not have come in, when `scope` closes. */
export const own = (scope: Scope.Scope, incoming: Incoming): Effect.Effect<Connection> =>
  Effect.as(Scope.addFinalizer(scope, Effect.sync(incoming.closeUnsafe)), incoming.connection)
