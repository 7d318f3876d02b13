/**
 * Computes the sizes and offsets of pieces and blocks in a torrent (BEP 3). Lengths, sizes and offsets are in bytes.
 * Indices and counts are of pieces or of blocks.
 *
 * The bytes of a torrent are cut into pieces of equal length, except that the last piece may be shorter. A piece is cut
 * into blocks. No other module multiplies by the piece length. A `PieceIndex` is a number that has been checked against
 * its torrent once, in the module that received it. The functions are pure.
 */
import type * as Brand from "effect/Brand"
import * as Schema from "effect/Schema"

/** The length of a block, which is what one request asks for. It is 16 KiB, the length that all clients use (BEP 3). */
export const blockLength = 16_384

/** The binary logarithm of `blockLength`, with which hot code turns an offset into a block index by a shift. */
export const blockShift = 14

/** The index of a piece, an integer from 0 up to `pieceCount - 1`. It has been checked against its torrent. */
export type PieceIndex = number & Brand.Brand<"piecewise/PieceIndex">

/**
 * The schema of a piece index, a number in JSON. It cannot know the torrent, so `isPieceIndex` must check a decoded
 * index that is used with one.
 */
export const PieceIndex: Schema.Codec<PieceIndex, number> = Schema.Natural.pipe(Schema.brand("piecewise/PieceIndex"))

/** The sizes of a torrent from which all others are computed. */
export interface PieceGeometry {
  /** The length of all pieces together, at least 1. */
  readonly totalLength: number
  /** The length of every piece except the last, which may be shorter. */
  readonly pieceLength: number
  readonly pieceCount: number
}

/**
 * Makes the geometry of `totalLength` bytes in pieces of `pieceLength` bytes. Both must be positive safe integers.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { PieceGeometry } from "piecewise"
 *
 * const geometry = PieceGeometry.make({ totalLength: 1_000_000, pieceLength: 262_144 })
 * assert.equal(geometry.pieceCount, 4)
 *
 * const last = PieceGeometry.pieceIndexUnsafe(geometry, 3)
 * assert.equal(PieceGeometry.pieceSize(geometry, last), 213_568)
 * assert.equal(PieceGeometry.blockCount(geometry, last), 14)
 * ```
 */
export const make = (options: { readonly totalLength: number; readonly pieceLength: number }): PieceGeometry => ({
  totalLength: options.totalLength,
  pieceLength: options.pieceLength,
  pieceCount: Math.ceil(options.totalLength / options.pieceLength)
})

/** Returns whether `index` is the index of a piece of this torrent. */
export const isPieceIndex = (self: PieceGeometry, index: number): index is PieceIndex =>
  Number.isInteger(index) && index >= 0 && index < self.pieceCount

/** Returns `index` as a piece index. Throws a `RangeError` if it is none, which is a defect of the caller. */
export const pieceIndexUnsafe = (self: PieceGeometry, index: number): PieceIndex => {
  if (!isPieceIndex(self, index)) throw new RangeError(`piece ${index} of ${self.pieceCount}`)
  return index
}

/** Returns the offset of the first byte of a piece in the torrent. */
export const pieceOffset = (self: PieceGeometry, piece: PieceIndex): number => piece * self.pieceLength

/** Returns the length of a piece, which is `pieceLength` or, for the last piece, the rest. */
export const pieceSize = (self: PieceGeometry, piece: PieceIndex): number =>
  Math.min(self.pieceLength, self.totalLength - piece * self.pieceLength)

/** Returns how many blocks a piece has. Its last block may be shorter than the others. */
export const blockCount = (self: PieceGeometry, piece: PieceIndex): number =>
  Math.ceil(pieceSize(self, piece) / blockLength)

/** Returns the length of the block with index `block` in a piece of `size` bytes. */
export const blockSize = (size: number, block: number): number => Math.min(blockLength, size - block * blockLength)
