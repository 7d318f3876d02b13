/**
 * Puts the bytes of a body to their places in the pieces that were requested, and says which byte is needed next. Only
 * bytes of requested blocks are taken; the caller passes over others, or waits until they are requested.
 *
 * A block may begin in one body and end in another, because a piece may span files.
 *
 * Hot path: `take` is called once a chunk, and copies its bytes once.
 */
import * as Assembly from "../assembly/Assembly.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as IncomingBlock from "../supply/IncomingBlock.ts"
import * as PieceBuffer from "../supply/PieceBuffer.ts"
import * as RequestPipeline from "../supply/RequestPipeline.ts"
import type * as Supplier from "../supply/Supplier.ts"

/** The bytes that arrive from one connection to a web seed. */
export interface Intake {
  readonly assembly: Assembly.Assembly
  readonly supplier: Supplier.Supplier
  readonly receiving: IncomingBlock.IncomingBlock
  /** Bytes of the block that is being received. */
  got: number
  /** Blocks that have arrived and were of use. */
  blocks: number
}

/** Makes it for a supplier from which nothing has arrived. */
export const make = (assembly: Assembly.Assembly, supplier: Supplier.Supplier): Intake => ({
  assembly,
  supplier,
  receiving: IncomingBlock.make(),
  got: 0,
  blocks: 0
})

const offsetOf = ({ assembly }: Intake, { block, buffer }: RequestPipeline.Request): number =>
  PieceGeometry.pieceOffset(assembly.geometry, buffer.piece) + block * PieceGeometry.blockLength

/** Forgets a block of which a part has arrived, and frees its place for other suppliers. */
export const release = (self: Intake): void => {
  if (self.receiving.request !== undefined) IncomingBlock.release(self.receiving, self.supplier.id)
  self.got = 0
}

/** The block that is being received, if it is still wanted. */
const current = (self: Intake): RequestPipeline.Request | undefined => {
  const live = IncomingBlock.liveRequest(self.receiving)
  if (live === undefined) release(self)
  return live
}

/**
 * The offset in the torrent of the byte that is needed next: of the block that is being received, or of the oldest
 * request. `undefined` if nothing is requested.
 */
export const needed = (self: Intake): number | undefined => {
  const live = current(self)
  if (live !== undefined) return offsetOf(self, live) + self.got
  const { value: oldest } = self.supplier.pipeline.requests.values().next()
  return oldest === undefined ? undefined : offsetOf(self, oldest)
}

/** The request for the block that begins at an offset of the torrent. */
const requestAt = (
  { assembly: { geometry }, supplier }: Intake,
  offset: number
): RequestPipeline.Request | undefined => {
  const piece = Math.floor(offset / geometry.pieceLength)
  const begin = offset - piece * geometry.pieceLength
  if ((begin & (PieceGeometry.blockLength - 1)) !== 0) return undefined
  return RequestPipeline.get(supplier.pipeline, piece, begin >>> PieceGeometry.blockShift)
}

/**
 * Takes bytes, which begin at `offset` of the torrent, up to the first that is not requested. Returns how many it took.
 */
export const take = (self: Intake, offset: number, bytes: Uint8Array, now: number): number => {
  const { assembly, receiving, supplier } = self
  let taken = 0
  while (taken < bytes.length) {
    let request = current(self)
    if (request === undefined) {
      request = requestAt(self, offset + taken)
      if (request === undefined) break
      IncomingBlock.begin(receiving, request, supplier.id)
    } else if (offsetOf(self, request) + self.got !== offset + taken) break
    const size = PieceBuffer.sizeOf(request.buffer, request.block)
    const part = bytes.subarray(taken, taken + size - self.got)
    IncomingBlock.write(receiving, request, self.got, part)
    RequestPipeline.progress(supplier.pipeline, now)
    Assembly.arriving(assembly, part.length, now)
    taken += part.length
    self.got += part.length
    if (self.got < size) break
    self.got = 0
    const whole = IncomingBlock.end(receiving, supplier.id)
    if (whole !== undefined && Assembly.received(assembly, supplier, whole, now)) self.blocks++
    else Assembly.waste(assembly, size)
  }
  return taken
}
