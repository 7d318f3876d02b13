/**
 * The limits of an engine, its torrents and their peers, in both directions, and the fiber that steps them.
 * `RateLimiter.ts` shares the bytes, and the sessions take them.
 *
 * Limits count payload, including unrequested payload, but not the few bytes of other frames.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Monotonic from "../base/Monotonic.ts"
import * as Signal from "../base/Signal.ts"
import * as Size from "../base/Size.ts"
import * as RateLimiter from "./RateLimiter.ts"

/** The lowest limit that the schema and variables of the environment accept: 0 would let nothing through. */
export const minBytesPerSecond = 1

const Limit = Schema.optional(Size.atLeast(minBytesPerSecond))

/** The schema of limits. */
export const Limits = Schema.Struct({ downloadBytesPerSecond: Limit, uploadBytesPerSecond: Limit })

/**
 * Limits a second, as a number of bytes or a `ByteSize`. Absent, or not a finite number, for no limit; 0 lets a single
 * block pass.
 */
export type Limits = typeof Limits.Type

/** The limits of one engine, torrent or peer in both directions. */
export interface RateLimits {
  readonly download: RateLimiter.RateLimiter
  readonly upload: RateLimiter.RateLimiter
}

/** The limits of an engine. */
export interface EngineLimits extends RateLimits {
  /** Set when a peer begins to wait, or a limit was changed. */
  readonly awake: Signal.Signal
}

/** The limits of a torrent, and of its peers. */
export interface TorrentLimits extends RateLimits {
  /** Present once there was a peer. */
  peers: Set<PeerLimits> | undefined
  /** The limits of each of its peers, including later ones. */
  eachPeer: Limits
}

/** The limits of a peer. */
export interface PeerLimits extends RateLimits {
  readonly torrent: TorrentLimits
}

/** How late a waiting peer may be served (milliseconds). A timer for each block would cost too much. */
export const stepMillis = 20

/** Makes the limits of an engine. Waiting peers are served only while `run` runs. */
export const makeEngine = (limits: Limits, now: number): EngineLimits => {
  const awake = Signal.make()
  const wake = () => Signal.set(awake)
  return { ...pair(limits, { download: wake, upload: wake }, undefined, now), awake }
}

/** Makes the limits of a torrent of the engine. */
export const makeTorrent = (
  engine: RateLimits,
  options: { readonly torrent?: Limits | undefined; readonly eachPeer?: Limits | undefined },
  now: number
): TorrentLimits => ({
  ...pair(options.torrent ?? {}, undefined, engine, now),
  peers: undefined,
  eachPeer: options.eachPeer ?? {}
})

/** Makes the limits of a torrent outside an engine: none. */
export const unlimited = (now: number): TorrentLimits => makeTorrent(makeEngine({}, now), {}, now)

/** Adds a peer. The functions are called when it may go on in a direction, never within a call of its own. */
export const join = (
  self: TorrentLimits,
  wake: { readonly download: () => void; readonly upload: () => void },
  now: number
): PeerLimits => {
  const peer = { ...pair(self.eachPeer, wake, self, now), torrent: self }
  self.peers ??= new Set()
  self.peers.add(peer)
  return peer
}

/** Removes a peer. Bytes that it was granted and has not used go to the others. */
export const leave = (self: PeerLimits): void => {
  self.torrent.peers?.delete(self)
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

const limitOf = (limit: Size.Size | undefined): number | undefined => {
  const bytesPerSecond = Size.bytesOf(limit)
  return bytesPerSecond !== undefined && Number.isFinite(bytesPerSecond) ? Math.max(0, bytesPerSecond) : undefined
}

/** Sets the limits. Removes those that are absent. */
export const set = (self: RateLimits, limits: Limits, now: number): void => {
  RateLimiter.setLimit(self.download, limitOf(limits.downloadBytesPerSecond), now)
  RateLimiter.setLimit(self.upload, limitOf(limits.uploadBytesPerSecond), now)
}

/** Sets the limits of each peer of the torrent, including later ones. */
export const setEachPeer = (self: TorrentLimits, limits: Limits, now: number): void => {
  self.eachPeer = limits
  for (const peer of self.peers ?? []) set(peer, limits, now)
}

/** Serves waiting peers until the scope closes. */
export const run = (self: EngineLimits): Effect.Effect<void, never, Scope.Scope> => {
  const serve = Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const handle = yield* Signal.Defects
    const step = Effect.sync(() => {
      const now = Monotonic.nowUnsafe(clock)
      RateLimiter.step(self.download, now)
      RateLimiter.step(self.upload, now)
    })
    while (true) {
      // The other peers are served even if a bug in the code of one throws.
      yield* Effect.catchDefect(step, handle)
      if (!RateLimiter.isWaitedFor(self.download) && !RateLimiter.isWaitedFor(self.upload)) return
      yield* Effect.sleep(stepMillis)
    }
  })
  return Signal.attend(self.awake, serve)
}
