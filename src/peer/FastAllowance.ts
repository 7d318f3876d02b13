/**
 * What a peer may request although we choke it (BEP 6): the pieces of its allowed fast set that we have, each twice,
 * because a copy may get lost. A peer that has received them has something to upload, and waits for its turn like all
 * others.
 *
 * Leaves to `AllowedFast.ts` which pieces are in the set.
 */
import type { PieceIndex } from "../base/PieceGeometry.ts"

/** How many times each piece is sent. */
export const copies = 2

/** What one peer may still request. */
export interface FastAllowance {
  /** Empty when the allowance is spent. */
  readonly pieces: Set<PieceIndex>
  bytes: number
}

/** Makes an unspent allowance, in a torrent of pieces of `pieceLength` bytes. */
export const make = (pieces: Iterable<PieceIndex>, pieceLength: number): FastAllowance => {
  const set = new Set(pieces)
  return { pieces: set, bytes: copies * set.size * pieceLength }
}

/** Notes that `bytes` were sent to the choked peer. */
export const spend = (self: FastAllowance, bytes: number): void => {
  self.bytes -= bytes
  if (self.bytes <= 0) self.pieces.clear()
}
