/**
 * The end game (BEP 3): when no piece is left to start, blocks that are requested already are requested from others
 * too. The assembly cancels the slower answers when the first one arrives.
 *
 * Plain, called when a supplier finds nothing else to request.
 */

import * as Bitfield from "../base/Bitfield.ts"
import * as PieceBuffer from "./PieceBuffer.ts"
import * as RequestPipeline from "./RequestPipeline.ts"
import type { Supplier } from "./Supplier.ts"

/** Requests for one block that may be out at once; with more, most of what suppliers send is wasted. */
export const maxRequestsPerBlock = 3

/**
 * Notes one more request for a block that is requested from others, in the piece that began first; `undefined` if the
 * supplier can help with none.
 */
export const nextBlock = (
  loans: Iterable<{ readonly buffer: PieceBuffer.PieceBuffer }>,
  supplier: Supplier,
  mayAsk: (buffer: PieceBuffer.PieceBuffer) => boolean,
  now: number
): RequestPipeline.Request | undefined => {
  if (supplier.pipeline.isSnubbed) return undefined
  for (const { buffer } of loans) {
    if (!buffer.isOpen || buffer.soleSource !== undefined || PieceBuffer.isComplete(buffer)) continue
    if (!mayAsk(buffer)) continue
    for (let block = 0; block < buffer.blockCount; block++) {
      if (buffer.requests[block]! >= maxRequestsPerBlock || Bitfield.has(buffer.received, block)) continue
      if (RequestPipeline.get(supplier.pipeline, buffer.piece, block) === undefined) {
        return RequestPipeline.send(supplier.pipeline, buffer, block, now)
      }
    }
  }
  return undefined
}
