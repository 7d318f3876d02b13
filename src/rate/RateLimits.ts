/**
 * The limits of an engine, its torrents and their peers, in both directions, and the fiber that keeps them going. How bytes
 * are shared is `RateLimiter.ts`'s matter, who takes them that of the sessions.
 *
 * Payload counts, and what comes unasked; the few bytes of other frames do not.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Semaphore from "effect/Semaphore"
import * as Monotonic from "../base/Monotonic.ts"
import * as RateLimiter from "./RateLimiter.ts"

/** What may pass: absent, or not a finite number, where there is no limit; 0 lets nothing pass but a block. */
export interface Limits {
  readonly downloadBytesPerSecond?: number | undefined
  readonly uploadBytesPerSecond?: number | undefined
}

/** Both directions of one engine, torrent or peer. */
export interface RateLimits {
  readonly download: RateLimiter.RateLimiter
  readonly upload: RateLimiter.RateLimiter
}

/** Those of an engine. */
export interface EngineLimits extends RateLimits {
  readonly awake: Latch.Latch
  readonly stepping: Semaphore.Semaphore
}

/** Those of a torrent, with those of its peers. */
export interface TorrentLimits extends RateLimits {
  readonly peers: Set<PeerLimits>
  /** What each of its peers may have, of those that come later too. */
  eachPeer: Limits
}

/** Those of a peer. */
export interface PeerLimits extends RateLimits {
  readonly torrent: TorrentLimits
}

/**
 * Who waits is served this many milliseconds later at most: a timer for each block would cost more than it is worth.
 */
export const stepMillis = 20

/** The limits of an engine; they hold nobody up for ever only while `run` runs. */
export const makeEngine = (limits: Limits, now: number): EngineLimits => {
  const awake = Latch.makeUnsafe(false)
  const wake = () => void Latch.openUnsafe(awake)
  return { ...pair(limits, { download: wake, upload: wake }, undefined, now), awake, stepping: Semaphore.makeUnsafe(1) }
}

/** The limits of a torrent of the engine. */
export const makeTorrent = (
  engine: RateLimits,
  options: { readonly torrent?: Limits | undefined; readonly eachPeer?: Limits | undefined },
  now: number
): TorrentLimits => ({
  ...pair(options.torrent ?? {}, undefined, engine, now),
  peers: new Set(),
  eachPeer: options.eachPeer ?? {}
})

/** The limits of a torrent that belongs to no engine: none. */
export const unlimited = (now: number): TorrentLimits => makeTorrent(makeEngine({}, now), {}, now)

/** A peer joins; the functions are called when it may go on in a direction, never in the middle of what it does. */
export const join = (
  self: TorrentLimits,
  wake: { readonly download: () => void; readonly upload: () => void },
  now: number
): PeerLimits => {
  const peer = { ...pair(self.eachPeer, wake, self, now), torrent: self }
  self.peers.add(peer)
  return peer
}

/** The peer is gone: what it was granted and has not used goes to the others. */
export const leave = (self: PeerLimits): void => {
  self.torrent.peers.delete(self)
  RateLimiter.rest(self.download)
  RateLimiter.rest(self.upload)
}

const pair = (
  limits: Limits,
  wake: { readonly download: () => void; readonly upload: () => void } | undefined,
  parent: RateLimits | undefined,
  now: number
): RateLimits => ({
  download: RateLimiter.make({
    bytesPerSecond: limitOf(limits.downloadBytesPerSecond),
    parent: parent?.download,
    wake: wake?.download,
    now
  }),
  upload: RateLimiter.make({
    bytesPerSecond: limitOf(limits.uploadBytesPerSecond),
    parent: parent?.upload,
    wake: wake?.upload,
    now
  })
})

const limitOf = (bytesPerSecond: number | undefined): number | undefined =>
  bytesPerSecond !== undefined && Number.isFinite(bytesPerSecond) ? Math.max(0, bytesPerSecond) : undefined

/** Sets other limits; those that are absent are lifted. */
export const set = (self: RateLimits, limits: Limits, now: number): void => {
  RateLimiter.setLimit(self.download, limitOf(limits.downloadBytesPerSecond), now)
  RateLimiter.setLimit(self.upload, limitOf(limits.uploadBytesPerSecond), now)
}

/** Sets other limits for each peer of the torrent, and for those to come. */
export const setEachPeer = (self: TorrentLimits, limits: Limits, now: number): void => {
  self.eachPeer = limits
  for (const peer of self.peers) set(peer, limits, now)
}

/**
 * Serves those that wait. Every torrent of an engine runs it, and one of them does the work: so it needs no scope but
 * theirs.
 */
export const run = (self: EngineLimits): Effect.Effect<never> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    while (true) {
      Latch.closeUnsafe(self.awake)
      const now = Monotonic.nowUnsafe(clock)
      RateLimiter.step(self.download, now)
      RateLimiter.step(self.upload, now)
      const next = Math.min(
        RateLimiter.nextAt(self.download, now) ?? Number.POSITIVE_INFINITY,
        RateLimiter.nextAt(self.upload, now) ?? Number.POSITIVE_INFINITY
      )
      const wait = Math.max(0, next - now - stepMillis)
      yield* wait === Number.POSITIVE_INFINITY
        ? self.awake.await
        : Effect.timeoutOrElse(self.awake.await, { duration: wait, orElse: () => Effect.void })
      yield* Effect.sleep(stepMillis)
    }
  }).pipe(self.stepping.withPermit)
