/**
 * Requests a block that a slow supplier holds up from a faster supplier too. The faster supplier has nothing else to
 * do, because every piece buffer is in use. Without this rule a few slow suppliers, each with one block of a piece,
 * would keep all buffers in use, and the torrent would be as slow as they are. The first answer wins, and the assembly
 * cancels the other request.
 *
 * The end game (`EndGame.ts`) does the same for the last pieces of a torrent, without asking which supplier is slow.
 *
 * The function is plain. It is called when a supplier finds nothing else to request. If no request is slow, it looks
 * only at the oldest request of each supplier.
 */
import type { PieceBuffer } from "./PieceBuffer.ts"
import * as RequestPipeline from "./RequestPipeline.ts"
import type { Supplier } from "./Supplier.ts"

/** How many times faster than the other a supplier must be, so that equals do not request each other's blocks. */
export const timesFaster = 4

/**
 * How long a request must have been out before a supplier of known rate may overtake it, in milliseconds. A shorter
 * wait may only show that the other supplier is far away.
 */
export const patience = 1_000

/**
 * How long a request must have been out before a newcomer may overtake it, in milliseconds. A newcomer is a supplier
 * whose rate has not been measured yet, so nobody knows whether it is faster. It overtakes one block at a time, which
 * also shows how fast it is.
 */
export const newcomerPatience = 5_000

/** Returns whether a block that was requested from `slow` `millis` ago should be requested from `supplier` too. */
const isSlower = (slow: Supplier, supplier: Supplier, millis: number): boolean => {
  const { blocksPerSecond, requests } = supplier.pipeline
  if (blocksPerSecond === 0) return requests.size === 0 && millis >= newcomerPatience
  // If the rate of `slow` is not known, it is taken to be one block in the time since the request.
  const theirs = slow.pipeline.blocksPerSecond || 1_000 / millis
  return millis >= patience && theirs * timesFaster <= blocksPerSecond
}

/**
 * Records a request to `supplier` for a block that a slower supplier holds up, and returns it; `undefined` if there is
 * no such block. `mayAsk` returns whether blocks of a piece may be requested from `supplier`. The caller sends the
 * request.
 */
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
      // The requests are in the order in which they were sent, so the following ones have been out for less time.
      if (!isSlower(slow, supplier, now - sentAt)) break
      const isAsked = buffer.requests[block]! > 1 || RequestPipeline.get(supplier.pipeline, buffer.piece, block)
      // Overtaking sends no third request for a block. A piece with a sole source must come from that supplier alone,
      // because a copy from several was wrong.
      if (isAsked || buffer.soleSource !== undefined || !mayAsk(buffer)) continue
      return RequestPipeline.send(supplier.pipeline, buffer, block, now)
    }
  }
  return undefined
}
