/**
 * Whether a web seed keeps up while we wait for it. Requests have their own times (`RequestPipeline.ts`); this is also
 * for the head of an answer, and for bytes that nobody has requested. Times are in milliseconds.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Monotonic from "../base/Monotonic.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as RequestPipeline from "../supply/RequestPipeline.ts"

/** What a server has sent. */
export interface SeedProgress {
  /** Since when the server has been waited for; `undefined` while it waits for us. */
  waitsSince: number | undefined
  /** What it has sent since the last look. */
  bytes: number
  lookedAt: number
}

/** Begins to look. */
export const make = (now: number): SeedProgress => ({ waitsSince: undefined, bytes: 0, lookedAt: now })

/** Notes that the server has waited for us until now, which does not count against it. */
export const rest = (self: SeedProgress, now: number): void => {
  self.lookedAt = now
  self.bytes = 0
}

/** Whether the server sends nothing, or less than a block in the time that a block may take. Call it once a second. */
export const isTooSlow = (self: SeedProgress, now: number): boolean => {
  const { waitsSince } = self
  if (waitsSince === undefined) return false
  if (now - waitsSince >= RequestPipeline.timeoutAfter) return true
  if (now - self.lookedAt < RequestPipeline.slowestBlock) return false
  const isLittle = self.bytes < PieceGeometry.blockLength
  self.lookedAt = now
  self.bytes = 0
  return isLittle
}

/** Waits for the server. */
export const awaiting = <A, E, R>(
  self: SeedProgress,
  clock: Clock.Clock,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    self.waitsSince = Monotonic.nowUnsafe(clock)
    return Effect.ensuring(
      effect,
      Effect.sync(() => {
        self.waitsSince = undefined
      })
    )
  })
