/**
 * What a swarm has under way with peers, from the dial or the accepted connection to the end of the session: the fibers, and
 * the limits that they count against.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as ConnectionLimit from "../connect/ConnectionLimit.ts"
import * as OwnedFibers from "../connect/OwnedFibers.ts"

/** The encounters of one swarm, by the keys of their peers. */
export interface Encounters {
  /** Dials and sessions at once, at most. */
  readonly max: number
  /** The connections that all torrents of an engine may have, and the share of this swarm. */
  readonly connections: ConnectionLimit.ConnectionLimit
  readonly share: ConnectionLimit.Share
  readonly fibers: OwnedFibers.OwnedFibers<number>
  /** Encounters that have begun and not ended; their fibers end a little later. */
  running: number
}

/** Makes room for at most `max` encounters, which end with the scope. */
export const make = Effect.fnUntraced(function* (options: Pick<Encounters, "connections" | "max">) {
  const fibers = yield* OwnedFibers.make<number>()
  const self: Encounters = { ...options, share: ConnectionLimit.share(), fibers, running: 0 }
  return self
})

/** Whether no other may begin. */
export const isFull = (self: Encounters): boolean => self.running >= self.max

/** Runs once for each encounter, however that ends. */
type Ended<E> = (exit: Exit.Exit<void, E>) => Effect.Effect<void>

const begin = <E, R>(self: Encounters, key: number, encounter: Effect.Effect<void, E, R>, ended: Ended<E>) =>
  Effect.suspend(() => {
    self.running++
    return OwnedFibers.run(self.fibers, key, encounter, (exit) =>
      Effect.suspend(() => {
        self.running--
        return ended(exit)
      })
    )
  }).pipe(Effect.uninterruptible)

/** Runs `dial`, as soon as the engine has a connection for it. */
export const dial = <E, R>(
  self: Encounters,
  key: number,
  dial: Effect.Effect<void, E, R | Scope.Scope>,
  ended: Ended<E>
): Effect.Effect<void, never, Exclude<R, Scope.Scope>> =>
  begin(self, key, ConnectionLimit.withConnection(self.connections, self.share)(Effect.scoped(dial)), ended)

/**
 * Takes a connection that a peer opened and that ends with `scope`. It is closed at once if there is no room, or if `session`
 * returns `undefined` because the peer is not welcome.
 */
export const accept = <E, R>(
  self: Encounters,
  scope: Scope.Closeable,
  session: () => { readonly key: number; readonly run: Effect.Effect<void, E, R>; readonly ended: Ended<E> } | undefined
): Effect.Effect<void, never, R> =>
  Effect.suspend(() => {
    const close = Scope.close(scope, Exit.void)
    const place = isFull(self) ? undefined : ConnectionLimit.takeNow(self.connections, self.share)
    if (place === undefined) return close
    const accepted = session()
    if (accepted === undefined) {
      ConnectionLimit.giveBack(self.connections, place)
      return close
    }
    return begin(self, accepted.key, accepted.run, (exit) =>
      Effect.suspend(() => {
        ConnectionLimit.giveBack(self.connections, place)
        return Effect.andThen(accepted.ended(exit), close)
      })
    )
  }).pipe(Effect.uninterruptible)

/** Interrupts the encounter with a peer, if there is one, without waiting for its end. */
export const interruptUnsafe = (self: Encounters, key: number): void => OwnedFibers.interruptUnsafe(self.fibers, key)

/** Ends every encounter, and those that would begin later. */
export const endAll = (self: Encounters): Effect.Effect<void> => OwnedFibers.end(self.fibers)

/** Whether the swarm has to give up a connection, because another one waits and has fewer even then. */
export const shouldGive = (self: Encounters): boolean => ConnectionLimit.shouldGive(self.connections, self.share)
