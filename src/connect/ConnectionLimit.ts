/**
 * Limits the connections that all torrents of an engine have together, including incoming ones, and decides which
 * torrent gets the next one.
 *
 * A connection that becomes free goes to the waiting torrent that has fewest. Because connections can last, a torrent
 * that is added later could get none. So a torrent that has at least two more than a waiting one has to end one;
 * `swarm/PieceSwarm.ts` chooses which.
 */
import * as Effect from "effect/Effect"

/** The connections of one torrent. */
export interface Share {
  held: number
}

/** A connection that a torrent holds, waits for, or has released. */
export interface Place {
  readonly share: Share
  state: "waiting" | "held" | "released"
  /** Called when a waiting place becomes held. */
  grant: () => void
}

/**
 * The connections of one engine. `waiting` has the longest waiting place first, at most as many as its torrents dial at
 * once.
 */
export interface ConnectionLimit {
  readonly max: number
  held: number
  readonly waiting: Set<Place>
}

/** Makes a limit of `max` connections. */
export const make = (max: number): ConnectionLimit => ({ max, held: 0, waiting: new Set() })

/** Makes the share of a torrent that has no connection yet. */
export const share = (): Share => ({ held: 0 })

const makePlace = (share: Share): Place => ({ share, state: "waiting", grant: () => {} })

const raise = (self: ConnectionLimit, place: Place): void => {
  place.state = "held"
  self.held++
  place.share.held++
}

const poorest = (self: ConnectionLimit): Place | undefined => {
  let poorest: Place | undefined
  for (const place of self.waiting) {
    if (poorest === undefined || place.share.held < poorest.share.held) poorest = place
  }
  return poorest
}

const takeIfFree = (self: ConnectionLimit, place: Place): boolean => {
  if (self.held >= self.max) return false
  raise(self, place)
  return true
}

/**
 * Takes a connection at once, for a peer that connected to us; `undefined` if none is free. The caller has to `release`
 * it when it has ended.
 */
export const takeNow = (self: ConnectionLimit, share: Share): Place | undefined => {
  const place = makePlace(share)
  return takeIfFree(self, place) ? place : undefined
}

/** Ends a place, whether it is held or waits. A second call does nothing. */
export const release = (self: ConnectionLimit, place: Place): void => {
  const wasHeld = place.state === "held"
  place.state = "released"
  self.waiting.delete(place)
  if (!wasHeld) return
  self.held--
  place.share.held--
  const next = poorest(self)
  if (next === undefined || self.held >= self.max) return
  self.waiting.delete(next)
  raise(self, next)
  next.grant()
}

const take = (self: ConnectionLimit, place: Place): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (takeIfFree(self, place)) return resume(Effect.void)
    place.grant = () => resume(Effect.void)
    self.waiting.add(place)
  })

/** Waits for a free connection, and runs an effect with it. */
export const withConnection =
  (self: ConnectionLimit, share: Share) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      const place = makePlace(share)
      // Released around both the wait and the use, because a fiber may be interrupted between a grant and its next
      // step.
      return Effect.ensuring(
        Effect.andThen(take(self, place), effect),
        Effect.sync(() => release(self, place))
      )
    })

/** Whether the torrent should end a connection, because a waiting torrent has fewer even then. */
export const shouldRelease = (self: ConnectionLimit, share: Share): boolean => {
  for (const place of self.waiting) if (place.share.held + 1 < share.held) return true
  return false
}
