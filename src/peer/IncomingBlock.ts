/**
 * The block that is coming in over one connection, and where its bytes go: straight to their place in the piece, or, where
 * another peer is writing there, together first and to their place when all have come.
 *
 * Hot path: begun and ended once a block, written to once a chunk.
 */

import * as Bitfield from "../base/Bitfield.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as PieceBuffer from "../supply/PieceBuffer.ts"
import * as RequestPipeline from "../supply/RequestPipeline.ts"
import type { SupplierId } from "../supply/SupplierId.ts"

/** At most one block is coming in at a time. */
export interface IncomingBlock {
  /** The request it answers; `undefined` between two blocks, and for one that is dropped. */
  request: RequestPipeline.Request | undefined
  /** Whether it goes straight to its place. */
  isDirect: boolean
  /** Where it is put together else; as long as a block once there was one. */
  scratch: Uint8Array | undefined
}

/** No block is coming in. */
export const make = (): IncomingBlock => ({ request: undefined, isDirect: false, scratch: undefined })

/** A block begins that answers `request`, from the peer `id`. */
export const begin = (self: IncomingBlock, request: RequestPipeline.Request, id: SupplierId): void => {
  const { block, buffer } = request
  self.request = request
  RequestPipeline.noteArriving(request)
  self.isDirect = PieceBuffer.beginWrite(buffer, block, id)
  if (!self.isDirect) self.scratch ??= new Uint8Array(PieceGeometry.blockLength)
}

/** The request that bytes may still be written for; `undefined` where it was released meanwhile. */
export const liveRequest = (
  self: IncomingBlock,
  pipeline: RequestPipeline.RequestPipeline
): RequestPipeline.Request | undefined => {
  const { request } = self
  if (request === undefined || !request.buffer.isOpen) return undefined
  return RequestPipeline.get(pipeline, request.buffer.piece, request.block) === request ? request : undefined
}

/** Takes a part of the block that answers a live request, `offset` bytes after its start. */
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

/** The block has come; gives its request, where it is live, with the bytes in their place. */
export const end = (
  self: IncomingBlock,
  pipeline: RequestPipeline.RequestPipeline,
  id: SupplierId
): RequestPipeline.Request | undefined => {
  const request = liveRequest(self, pipeline)
  release(self, id)
  if (request === undefined) return undefined
  const { block, buffer } = request
  if (!self.isDirect && !Bitfield.has(buffer.received, block)) {
    const size = PieceBuffer.sizeOf(buffer, block)
    PieceBuffer.write(buffer, block * PieceGeometry.blockLength, self.scratch!.subarray(0, size))
  }
  return request
}

/** Gives up the block and the right to write straight to its place. */
export const release = (self: IncomingBlock, id: SupplierId): void => {
  const { isDirect, request } = self
  if (isDirect && request !== undefined) PieceBuffer.endWrite(request.buffer, request.block, id)
  // Also where the loan is over: a buffer that is named here keeps memory that the budget may have given away.
  self.request = undefined
}
