/**
 * The connections that the torrents of an engine may have together, incoming ones included, and whose turn it is.
 *
 * A connection that comes free goes to the waiting torrent that has fewest. Connections that last would leave a torrent
 * that comes later with none, so one that has at least two more than another that waits is to give one up: which one is
 * `swarm/PieceSwarm.ts`'s matter.
 */
import * as Effect from "effect/Effect"

/** The connections of one torrent. */
export interface Share {
  held: number
}

/** A connection that a torrent holds, waits for, or does not want any more. */
export interface Place {
  readonly share: Share
  state: "waiting" | "held" | "released"
  /** Tells whoever waits that it is held now. */
  grant: () => void
}

/** What is given out, and who waits, the longest first: as many as its torrents dial at once, at most. */
export interface ConnectionLimit {
  readonly max: number
  held: number
  readonly waiting: Set<Place>
}

/** At most `max` connections. */
export const make = (max: number): ConnectionLimit => ({ max, held: 0, waiting: new Set() })

/** The share of a torrent that has no connection yet. */
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
 * Takes a connection at once, for a peer that came by itself: `undefined` if none is free. Whoever took one calls
 * `release` when it has ended.
 */
export const takeNow = (self: ConnectionLimit, share: Share): Place | undefined => {
  const place = makePlace(share)
  return takeIfFree(self, place) ? place : undefined
}

/** Ends a place, whether it is held or only asked for; giving back twice is giving back once. */
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

/** Runs an effect with a connection of its own, once there is one. */
export const withConnection =
  (self: ConnectionLimit, share: Share) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      const place = makePlace(share)
      // The place is given back by what surrounds both the wait and the use: a fiber may be interrupted between a grant
      // and its next step.
      return Effect.ensuring(
        Effect.andThen(take(self, place), effect),
        Effect.sync(() => release(self, place))
      )
    })

/** Whether the torrent should give a connection up, as another waits that has fewer even then. */
export const shouldRelease = (self: ConnectionLimit, share: Share): boolean => {
  for (const place of self.waiting) if (place.share.held + 1 < share.held) return true
  return false
}
