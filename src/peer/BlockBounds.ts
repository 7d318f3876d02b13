/**
 * Checks that what a peer names lies within the torrent: a piece by its index, or bytes of one. Throws `WireError` if
 * it does not; `what` names the message and begins the sentence, such as `a request`.
 */
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as FrameDecoder from "../wire/FrameDecoder.ts"
import { WireError } from "../wire/WireError.ts"

/** Longest block that a peer may request: 128 KiB, as in `FrameDecoder`. */
const maxRequestLength = FrameDecoder.defaults.maxBlockLength

/** Returns the piece of an index. */
export const requirePiece = (geometry: PieceGeometry.PieceGeometry, index: number, what: string): PieceIndex => {
  if (PieceGeometry.isPieceIndex(geometry, index)) return index
  throw new WireError({ why: `${what} of piece ${index}, of which there are ${geometry.pieceCount}` })
}

/**
 * Returns the piece of an index, if it contains `length` bytes from `begin` on: at least one, and no more than 128 KiB.
 */
export const requireBlock = (
  geometry: PieceGeometry.PieceGeometry,
  index: number,
  begin: number,
  length: number,
  what: string
): PieceIndex => {
  const piece = requirePiece(geometry, index, what)
  const isWithin =
    length > 0 && length <= maxRequestLength && begin + length <= PieceGeometry.pieceSize(geometry, piece)
  if (!isWithin) throw new WireError({ why: `${what} of ${length} bytes at ${begin} in piece ${index}` })
  return piece
}
