/**
 * Encounters with peers, from the dial or the accepted connection to the end of the session: their fibers, and the
 * limits that they count against.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as ConnectionLimit from "../connect/ConnectionLimit.ts"
import * as OwnedFibers from "../connect/OwnedFibers.ts"

/** The encounters of one swarm, by the keys of their peers. */
export interface Encounters {
  /** The most dials and sessions at once. */
  readonly max: number
  /** The connections that all torrents of an engine share, and how many of them this swarm has. */
  readonly connections: ConnectionLimit.ConnectionLimit
  readonly share: ConnectionLimit.Share
  readonly fibers: OwnedFibers.OwnedFibers<number>
  /** How many encounters have begun and not ended. Their fibers end a little later. */
  running: number
}

/** Makes room for at most `max` encounters, which end with the scope. */
export const make = Effect.fnUntraced(function* (options: Pick<Encounters, "connections" | "max">) {
  const fibers = yield* OwnedFibers.make<number>()
  const self: Encounters = { ...options, share: ConnectionLimit.share(), fibers, running: 0 }
  return self
})

/** Whether no further encounter may begin. */
export const isFull = (self: Encounters): boolean => self.running >= self.max

/** Called once for each encounter, however it ended. */
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

/** Runs `dial` as soon as the engine has a free connection for it. */
export const dial = <E, R>(
  self: Encounters,
  key: number,
  dial: Effect.Effect<void, E, R | Scope.Scope>,
  ended: Ended<E>
): Effect.Effect<void, never, Exclude<R, Scope.Scope>> =>
  begin(self, key, ConnectionLimit.withConnection(self.connections, self.share)(Effect.scoped(dial)), ended)

/**
 * Runs a session with a peer that connected to us; `scope` is the connection's. The connection is closed at once if
 * there is no room, or if `session` returns `undefined` because the peer is not welcome.
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
      ConnectionLimit.release(self.connections, place)
      return close
    }
    return begin(self, accepted.key, accepted.run, (exit) =>
      Effect.suspend(() => {
        ConnectionLimit.release(self.connections, place)
        return Effect.andThen(accepted.ended(exit), close)
      })
    )
  }).pipe(Effect.uninterruptible)

/** Interrupts the encounter with a peer, if there is one, without waiting for its end. */
export const interruptUnsafe = (self: Encounters, key: number): void => OwnedFibers.interruptUnsafe(self.fibers, key)

/** Ends every encounter. Later ones end at once. */
export const endAll = (self: Encounters): Effect.Effect<void> => OwnedFibers.end(self.fibers)

/** Whether the swarm has to end a connection, because a torrent that waits for one has fewer even then. */
export const shouldRelease = (self: Encounters): boolean => ConnectionLimit.shouldRelease(self.connections, self.share)
