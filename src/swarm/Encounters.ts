/**
 * Encounters with peers, from the dial or the accepted connection to the end of the session: their fibers, and the
 * dials and places that they take.
 */
import type * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Monotonic from "../base/Monotonic.ts"
import * as OwnedFibers from "../connect/OwnedFibers.ts"
import * as Places from "../connect/Places.ts"

/** A peer that we dialled has introduced itself, but other peers took the last place meanwhile. */
export class NoPlace extends Data.TaggedError("NoPlace")<{}> {
  readonly why = "other peers took the last place"
  override get message() {
    return this.why
  }
}

/** The encounters of one swarm, by the keys of their peers. */
export interface Encounters {
  /** The places that all torrents of an engine share, and those of this swarm. */
  readonly places: Places.Places
  readonly share: Places.Share
  /** Those of now: `begin` replaces them after `endAll`. */
  fibers: OwnedFibers.OwnedFibers<number>
  readonly clock: Clock.Clock
}

/** What encounters are made from. */
export interface Options {
  /** Without fibers yet. When they end, so do the encounters. */
  readonly fibers: OwnedFibers.OwnedFibers<number>
  readonly clock: Clock.Clock
  readonly places: Places.Places
  /** The most places at once. */
  readonly max: number
  /** Called when a dial may begin that had to wait. Must not begin it within the call. */
  readonly wake: () => void
}

/** Makes room for at most `max` peers. Ends with `endAll`. */
export const make = ({ clock, fibers, max, places, wake }: Options): Encounters => ({
  places,
  share: Places.share(max, Monotonic.nowUnsafe(clock), wake),
  fibers,
  clock
})

/** Called once for each encounter, however it ended, with its place if it got one. */
export type Ended<E> = (exit: Exit.Exit<void, E>, place: Places.Place | undefined) => Effect.Effect<void>

/** A session with a peer that has introduced itself. */
export interface Session<E, R> {
  readonly key: number
  readonly host: string
  /** How much the peer is preferred to others of the swarm. */
  readonly rank: number
  readonly run: (place: Places.Place) => Effect.Effect<void, E, R>
  readonly ended: Ended<E>
}

/** A peer is useful until its session says otherwise: it has just introduced itself. */
const newcomer = (self: Encounters, key: number): Places.Occupant => ({
  useOf: () => ({ idleMillis: 0, isUseless: false }),
  leave: () => interruptUnsafe(self, key)
})

const claim = (
  self: Encounters,
  { host, key, rank }: Pick<Session<never, never>, "host" | "key" | "rank">,
  isIncoming: boolean
) =>
  Places.claim(
    self.places,
    self.share,
    { host, isIncoming, rank, occupant: newcomer(self, key) },
    Monotonic.nowUnsafe(self.clock)
  )

const release = (self: Encounters, place: Places.Place | undefined): void => {
  if (place !== undefined) Places.release(self.places, place, Monotonic.nowUnsafe(self.clock))
}

/** What a dial consists of. */
export interface Dial<A, E, F, R> {
  readonly key: number
  readonly host: string
  /** How much the peer that introduced itself is preferred to others of the swarm. */
  readonly rankOf: (introduced: A) => number
  /** Connects to the peer and introduces us. */
  readonly introduce: Effect.Effect<A, F, R>
  /** Runs the session, once there is a place for it. */
  readonly converse: (introduced: A, place: Places.Place) => Effect.Effect<void, E, R>
  readonly ended: Ended<E | F | NoPlace>
}

/** Begins a dial, which `Places.takeDial` has allowed. Fails with `NoPlace` if the peer answers and gets no place. */
export const dial = <A, E, F, R>(
  self: Encounters,
  options: Dial<A, E, F, R | Scope.Scope>
): Effect.Effect<void, never, Exclude<R, Scope.Scope>> => {
  let isDialing = true
  let place: Places.Place | undefined
  const endDial = () => {
    if (isDialing) Places.endDial(self.places, self.share)
    isDialing = false
  }
  const encounter = Effect.gen(function* () {
    const introduced = yield* options.introduce
    place = claim(self, { ...options, rank: options.rankOf(introduced) }, false)
    endDial()
    if (place === undefined) return yield* new NoPlace()
    yield* options.converse(introduced, place)
  })
  return OwnedFibers.run(self.fibers, options.key, Effect.scoped(encounter), (exit) =>
    Effect.suspend(() => {
      endDial()
      release(self, place)
      return options.ended(exit, place)
    })
  ).pipe(Effect.uninterruptible)
}

/**
 * Runs a session with a peer that connected to us; `scope` is the connection's. The connection is closed at once if
 * there is no place, or if `session` returns `undefined` because the peer is not welcome.
 */
export const accept = <E, R>(
  self: Encounters,
  scope: Scope.Closeable,
  session: () => (Session<E, R> & { readonly refused: () => void }) | undefined
): Effect.Effect<void, never, R> =>
  Effect.suspend(() => {
    const close = Scope.close(scope, Exit.void)
    const accepted = session()
    if (accepted === undefined) return close
    const place = claim(self, accepted, true)
    if (place === undefined) {
      accepted.refused()
      return close
    }
    return OwnedFibers.run(self.fibers, accepted.key, accepted.run(place), (exit) =>
      Effect.suspend(() => {
        release(self, place)
        return Effect.andThen(accepted.ended(exit, place), close)
      })
    )
  }).pipe(Effect.uninterruptible)

/** Interrupts the encounter with a peer, if there is one, without waiting for its end. */
export const interruptUnsafe = (self: Encounters, key: number): void => OwnedFibers.interruptUnsafe(self.fibers, key)

/** Lets peers be met again after `endAll`. */
export const begin = (self: Encounters): void => {
  self.fibers = OwnedFibers.makeUnsafe()
}

/** Ends every encounter, and asks for no more dials. Later ones end at once. */
export const endAll = ({ fibers, places, share }: Encounters): Effect.Effect<void> =>
  Effect.ensuring(
    OwnedFibers.end(fibers),
    Effect.sync(() => Places.leaveLine(places, share))
  )
