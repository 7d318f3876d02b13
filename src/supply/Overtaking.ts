/**
 * Slow suppliers are overtaken: a block that one of them holds up is requested from a faster one too, which has nothing
 * else to do because every buffer is lent. Otherwise a few slow suppliers that each hold a block of a piece would hold
 * all the memory, and the torrent would be as slow as they are. The slower answer is cancelled, as in the end game,
 * which does the same for the last pieces whoever is slow.
 *
 * Plain, called when a supplier finds nothing else to request; without slow requests it costs a glance at each
 * supplier.
 */
import type { PieceBuffer } from "./PieceBuffer.ts"
import * as RequestPipeline from "./RequestPipeline.ts"
import type { Supplier } from "./Supplier.ts"

/** How many times faster than the other a supplier must be, so that equals do not request each other's blocks. */
export const timesFaster = 4

/** Milliseconds that a request is out before it may be overtaken: a distant supplier's delay is no sign of slowness. */
export const patience = 1_000

/** The same if the faster one has not been measured yet: one block at a time shows how fast it is. */
export const newcomerPatience = 5_000

/** Whether a request to `slow` that is out for so many milliseconds is worth a second one to `supplier`. */
const isSlower = (slow: Supplier, supplier: Supplier, millis: number): boolean => {
  const { blocksPerSecond, requests } = supplier.pipeline
  if (blocksPerSecond === 0) return requests.size === 0 && millis >= newcomerPatience
  // Until a supplier has been measured, rate it at what it has sent since the request.
  const theirs = slow.pipeline.blocksPerSecond || 1_000 / millis
  return millis >= patience && theirs * timesFaster <= blocksPerSecond
}

/** Notes a request for a block that a slower supplier holds up; `undefined` if there is none. */
export const nextBlock = (
  suppliers: Iterable<Supplier>,
  supplier: Supplier,
  mayAsk: (buffer: PieceBuffer) => boolean,
  now: number
): RequestPipeline.Request | undefined => {
  if (supplier.pipeline.isSnubbed) return undefined
  for (const slow of suppliers) {
    if (slow === supplier) continue
    for (const { block, buffer, sentAt } of slow.pipeline.requests.values()) {
      if (!isSlower(slow, supplier, now - sentAt)) break
      const isAsked = buffer.requests[block]! > 1 || RequestPipeline.get(supplier.pipeline, buffer.piece, block)
      if (isAsked || buffer.soleSource !== undefined || !mayAsk(buffer)) continue
      return RequestPipeline.send(supplier.pipeline, buffer, block, now)
    }
  }
  return undefined
}
