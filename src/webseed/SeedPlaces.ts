/**
 * The places of connections to web seeds. All torrents of an engine share them, so that many torrents with many seeds do
 * not use up the descriptors of the process. `connect/Places.ts` decides who gets one, as it does for peers: torrents
 * have even shares, and take turns if there are more of them than places. Peers have places of their own.
 */
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Monotonic from "../base/Monotonic.ts"
import * as Places from "../connect/Places.ts"

/**
 * The most connections to web seeds of all torrents together. A few fill any line, and a process has 1,024 descriptors
 * on many systems, which peers and files need too.
 */
export const mostTogether = 64

/** The host of all connections. A host that many torrents use is no sign of an attack, because we chose to ask it. */
const anyHost = "web seeds"

/** How often a torrent that waits looks whether another one has more than its share now. */
const looksEvery = "1 second"

/** The places of one torrent. */
export interface SeedPlaces {
  readonly places: Places.Places
  readonly share: Places.Share
  readonly clock: Clock.Clock
  /** Opened when the torrent may take a place. */
  readonly awake: Latch.Latch
  /** Of the connections of a torrent that wait, one waits in its name. */
  readonly line: Semaphore.Semaphore
}

/** Makes the share of a torrent, which has at most `most` of the places, and none yet. */
export const make = (places: Places.Places, most: number, clock: Clock.Clock): SeedPlaces => {
  const awake = Latch.makeUnsafe()
  const share = Places.share(most, Monotonic.nowUnsafe(clock), () => void Latch.openUnsafe(awake))
  return { places, share, clock, awake, line: Semaphore.makeUnsafe(1) }
}

/** The place of one connection. */
export interface Seat {
  /** When bytes arrived, in milliseconds of the monotonic clock. A seat without any for long is given to others. */
  usedAt: number
  /** Completes when the connection has to end, because another one has its place. */
  readonly lost: Deferred.Deferred<void>
}

/**
 * Whether a place is free that no torrent waits for. Also lets the number of places grow again after a shortage of
 * descriptors, because nobody else may look at them.
 */
export const hasFree = ({ clock, places }: SeedPlaces): boolean => {
  Places.step(places, Monotonic.nowUnsafe(clock))
  return places.held.size < places.capacity && places.waiting.size === 0
}

/** Waits for a place for a connection, and holds it until the scope closes. */
export const take = Effect.fnUntraced(function* (self: SeedPlaces): Effect.fn.Return<Seat, never, Scope.Scope> {
  const { awake, clock, line, places, share } = self
  const seat: Seat = { usedAt: 0, lost: Deferred.makeUnsafe() }
  const occupant: Places.Occupant = {
    useOf: (now) => ({ idleMillis: now - seat.usedAt, isUseless: now - seat.usedAt >= Places.turn }),
    leave: () => void Deferred.doneUnsafe(seat.lost, Effect.void)
  }
  let place: Places.Place | undefined
  // Before a place is held, so that no interruption comes between.
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      if (place !== undefined) Places.release(places, place, Monotonic.nowUnsafe(clock))
    })
  )
  const attempt = Effect.sync(() => {
    const now = Monotonic.nowUnsafe(clock)
    Places.step(places, now)
    Latch.closeUnsafe(awake)
    // The step looked at all that wait. To ask again would look at them once for each.
    if (places.waiting.has(share) || !Places.takeDial(places, share)) return
    seat.usedAt = now
    place = Places.claim(places, share, { host: anyHost, isIncoming: false, occupant }, now)
    Places.endDial(places, share)
    // The grant opened it. If the place went to another, one that may follow is waited for.
    Latch.closeUnsafe(awake)
  })
  // The latch is opened in the middle of what others do.
  const pause = Effect.timeoutOrElse(Effect.andThen(awake.await, Effect.yieldNow), {
    duration: looksEvery,
    orElse: () => Effect.void
  })
  const wait = Effect.whileLoop({
    while: () => place === undefined,
    body: () => Effect.andThen(pause, attempt),
    step: () => {}
  })
  yield* line.withPermit(
    Effect.ensuring(
      Effect.andThen(attempt, wait),
      Effect.sync(() => Places.leaveLine(places, share))
    )
  )
  return seat
})

/** Gives up the connection that is of least use, for its descriptor. Returns `false` if there is at most one. */
export const giveUp = (places: Places.Places): Effect.Effect<boolean> =>
  Effect.map(Monotonic.now, (now) => Places.giveUp(places, now))
