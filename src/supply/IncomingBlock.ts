/**
 * The block that one connection is receiving. Its bytes go straight to their place in the piece. If another peer is
 * writing there, they are collected elsewhere and copied to their place once the block is complete.
 *
 * Hot path: begun and ended once a block, written to once a chunk.
 */

import * as Bitfield from "../base/Bitfield.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as PieceBuffer from "./PieceBuffer.ts"
import * as RequestPipeline from "./RequestPipeline.ts"
import type { SupplierId } from "./SupplierId.ts"

/** The block that is being received, at most one at a time. */
export interface IncomingBlock {
  /** The request that it answers; `undefined` between two blocks, and for a block that is skipped. */
  request: RequestPipeline.Request | undefined
  /** Whether its bytes go straight to their place. */
  isDirect: boolean
  /** Where its bytes are collected otherwise. Made when it is first needed, and kept; as long as a block. */
  scratch: Uint8Array | undefined
}

/** Makes the state of a connection that is receiving no block. */
export const make = (): IncomingBlock => ({ request: undefined, isDirect: false, scratch: undefined })

/** Begins a block from the peer `id` that answers `request`. */
export const begin = (self: IncomingBlock, request: RequestPipeline.Request, id: SupplierId): void => {
  const { block, buffer } = request
  self.request = request
  RequestPipeline.noteArriving(request)
  self.isDirect = PieceBuffer.beginWrite(buffer, block, id)
  if (!self.isDirect) self.scratch ??= new Uint8Array(PieceGeometry.blockLength)
}

/** The request for which bytes may still be written; `undefined` if it was released meanwhile. */
export const liveRequest = ({ request }: IncomingBlock): RequestPipeline.Request | undefined =>
  request?.isOut === true && request.buffer.isOpen ? request : undefined

/** Writes a part of the block that answers a live request, `offset` bytes after its start. */
export const write = (
  self: IncomingBlock,
  { block, buffer }: RequestPipeline.Request,
  offset: number,
  view: Uint8Array
): void => {
  if (Bitfield.has(buffer.received, block)) return
  if (self.isDirect) PieceBuffer.write(buffer, block * PieceGeometry.blockLength + offset, view)
  else self.scratch!.set(view, offset)
}

/**
 * Ends the block, with its bytes in their place. Returns its request, or `undefined` if that was released meanwhile.
 */
export const end = (self: IncomingBlock, id: SupplierId): RequestPipeline.Request | undefined => {
  const request = liveRequest(self)
  release(self, id)
  if (request === undefined) return undefined
  const { block, buffer } = request
  if (!self.isDirect && !Bitfield.has(buffer.received, block)) {
    const size = PieceBuffer.sizeOf(buffer, block)
    PieceBuffer.write(buffer, block * PieceGeometry.blockLength, self.scratch!.subarray(0, size))
  }
  return request
}

/** Forgets the block and frees its place for other writers. */
export const release = (self: IncomingBlock, id: SupplierId): void => {
  const { isDirect, request } = self
  if (isDirect && request !== undefined) PieceBuffer.endWrite(request.buffer, request.block, id)
  // Also if the loan has ended: a buffer that is referred to here would keep memory that the budget may have lent
  // again.
  self.request = undefined
}
