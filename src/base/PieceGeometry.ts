/**
 * The arithmetic of a torrent: pieces, blocks and their sizes (BEP 3). All numbers are bytes or counts of them.
 *
 * No other module multiplies by the piece length. A `PieceIndex` has been checked against the torrent, so the check is
 * made once, at the edge through which the number came. No I/O, no state.
 */
import type * as Brand from "effect/Brand"

/** Bytes in a block, the unit of request: 16 KiB, the size every client asks for (BEP 3). */
export const blockLength = 16_384

/** log2 of `blockLength`, so that hot code turns an offset into a block index with a shift. */
export const blockShift = 14

/** A piece index that has been checked against its torrent: an integer in `0 ..< pieceCount`. */
export type PieceIndex = number & Brand.Brand<"piecewise/PieceIndex">

/** The sizes that everything else is computed from. */
export interface PieceGeometry {
  /** Bytes in all pieces together, at least 1. */
  readonly totalLength: number
  /** Bytes in every piece except the last. */
  readonly pieceLength: number
  readonly pieceCount: number
}

/** Makes the geometry of `totalLength` bytes cut into pieces of `pieceLength`; both positive safe integers. */
export const make = (options: { readonly totalLength: number; readonly pieceLength: number }): PieceGeometry => ({
  totalLength: options.totalLength,
  pieceLength: options.pieceLength,
  pieceCount: Math.ceil(options.totalLength / options.pieceLength)
})

/** Whether `index` names a piece of this torrent. */
export const isPieceIndex = (self: PieceGeometry, index: number): index is PieceIndex =>
  Number.isInteger(index) && index >= 0 && index < self.pieceCount

/** Types `index` as a piece index; throws a `RangeError` if it is none (a defect of the caller). */
export const pieceIndexUnsafe = (self: PieceGeometry, index: number): PieceIndex => {
  if (!isPieceIndex(self, index)) throw new RangeError(`piece ${index} of ${self.pieceCount}`)
  return index
}

/** Offset of a piece's first byte in the torrent. */
export const pieceOffset = (self: PieceGeometry, piece: PieceIndex): number => piece * self.pieceLength

/** Bytes in a piece: `pieceLength`, or the rest for the last one. */
export const pieceSize = (self: PieceGeometry, piece: PieceIndex): number =>
  Math.min(self.pieceLength, self.totalLength - piece * self.pieceLength)

/** Blocks in a piece; the last block of a piece may be short. */
export const blockCount = (self: PieceGeometry, piece: PieceIndex): number =>
  Math.ceil(pieceSize(self, piece) / blockLength)

/** Bytes in block `block` of a piece of `size` bytes. */
export const blockSize = (size: number, block: number): number => Math.min(blockLength, size - block * blockLength)
