/**
 * Slow peers are overtaken: a block that one of them holds up is asked of a faster peer too, which has nothing else to do
 * as every buffer is lent. Else a few slow peers that each hold a block of a piece would hold all the memory, and the
 * torrent would be as slow as they are. The slower answer is cancelled, as in the end game, which does the same for the last
 * pieces whoever is slow.
 *
 * Plain, called where a peer finds nothing to ask for; without slow requests it costs a glance at each source.
 */
import * as BufferPool from "./BufferPool.ts"
import * as Download from "./Download.ts"
import * as RequestPipeline from "./RequestPipeline.ts"

/** How many times faster than the other a peer must be, so that equals do not ask for each other's blocks. */
export const timesFaster = 4

/**
 * Milliseconds that a request is out before it may be overtaken: what a peer far away takes for one is no sign of
 * anything.
 */
export const patience = 1_000

/** The same where it is not known how fast the other peer is: it is given one block at a time to show it. */
export const newcomerPatience = 5_000

/** Whether a request to `slow` that is out for so many milliseconds is worth a second one to `source`. */
const isSlower = (slow: Download.Source, source: Download.Source, millis: number): boolean => {
  const { blocksPerSecond, requests } = source.pipeline
  if (blocksPerSecond === 0) return requests.size === 0 && millis >= newcomerPatience
  // Who has not been measured yet is no faster than it was so far.
  const theirs = slow.pipeline.blocksPerSecond || 1_000 / millis
  return millis >= patience && theirs * timesFaster <= blocksPerSecond
}

/** Notes a request for a block that a slower peer holds up; `undefined` where there is none, or buffers are free. */
export const nextBlock = (
  self: Download.Download,
  source: Download.Source,
  now: number
): RequestPipeline.Request | undefined => {
  if (source.pipeline.isSnubbed || !isHeldUp(self)) return undefined
  for (const slow of self.sources) {
    if (slow === source) continue
    for (const { block, buffer, sentAt } of slow.pipeline.requests.values()) {
      if (!isSlower(slow, source, now - sentAt)) break
      const isAsked = buffer.requests[block]! > 1 || RequestPipeline.get(source.pipeline, buffer.piece, block)
      if (isAsked || buffer.soleSource !== undefined || !Download.mayAsk(self, source, buffer)) continue
      return RequestPipeline.send(source.pipeline, buffer, block, now)
    }
  }
  return undefined
}

/** Whether pieces are left to start and there is no buffer for one. */
const isHeldUp = (self: Download.Download): boolean => self.picker.count > 0 && !BufferPool.mayLend(self.pool)

/** Wakes the peers that have nothing to ask for, where they may overtake somebody: nothing else happens meanwhile. */
export const step = (self: Download.Download): void => {
  if (isHeldUp(self)) Download.feed(self)
}
