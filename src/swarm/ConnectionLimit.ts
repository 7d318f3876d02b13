/**
 * The connections that the torrents of an engine may have together, incoming ones included, and whose turn it is.
 *
 * A connection that comes free goes to the waiting torrent that has fewest. Connections that last would leave a torrent
 * that comes later with none, so one that has at least two more than another that waits is to give one up: which one is
 * `Swarm.ts`'s matter.
 */
import * as Effect from "effect/Effect"

/** The connections of one torrent. */
export interface Share {
  held: number
}

interface Waiter {
  readonly share: Share
  readonly grant: () => void
}

/** What is given out, and who waits, the longest first: as many as its torrents dial at once, at most. */
export interface ConnectionLimit {
  readonly max: number
  held: number
  readonly waiting: Set<Waiter>
}

/** At most `max` connections. */
export const make = (max: number): ConnectionLimit => ({ max, held: 0, waiting: new Set() })

/** The share of a torrent that has no connection yet. */
export const share = (): Share => ({ held: 0 })

const raise = (self: ConnectionLimit, share: Share): void => {
  self.held++
  share.held++
}

const poorest = (self: ConnectionLimit): Waiter | undefined => {
  let poorest: Waiter | undefined
  for (const waiter of self.waiting) {
    if (poorest === undefined || waiter.share.held < poorest.share.held) poorest = waiter
  }
  return poorest
}

/** Gives back what `takeNow` gave. */
export const release = (self: ConnectionLimit, share: Share): void => {
  self.held--
  share.held--
  const next = poorest(self)
  if (next === undefined || self.held >= self.max) return
  self.waiting.delete(next)
  raise(self, next.share)
  next.grant()
}

/**
 * Takes a connection at once, for a peer that came by itself: `false` where none is free. Whoever took one calls `release`
 * when it has ended.
 */
export const takeNow = (self: ConnectionLimit, share: Share): boolean => {
  if (self.held >= self.max) return false
  raise(self, share)
  return true
}

const take = (self: ConnectionLimit, share: Share): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (takeNow(self, share)) return resume(Effect.void)
    const waiter: Waiter = { share, grant: () => resume(Effect.void) }
    self.waiting.add(waiter)
    return Effect.sync(() => self.waiting.delete(waiter))
  })

/** Runs an effect with a connection of its own, once there is one. */
export const withConnection =
  (self: ConnectionLimit, share: Share) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.andThen(
        restore(take(self, share)),
        Effect.ensuring(
          restore(effect),
          Effect.sync(() => release(self, share))
        )
      )
    )

/** Whether the torrent should give a connection up, as another waits that has fewer even then. */
export const shouldGive = (self: ConnectionLimit, share: Share): boolean => {
  for (const waiter of self.waiting) if (waiter.share.held + 1 < share.held) return true
  return false
}
