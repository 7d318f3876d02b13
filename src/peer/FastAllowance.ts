/**
 * What a peer may have of us although we choke it (BEP 6): the pieces of its allowed fast set that we have, each twice, as
 * a copy may get lost. Whoever has had that has something to give, and waits for its turn as all others do.
 *
 * Which pieces are in the set is `peer/AllowedFast.ts`'s matter.
 */
import type { PieceIndex } from "../base/PieceGeometry.ts"

/** How many times each piece is given. */
export const copies = 2

/** What is left for one peer. */
export interface FastAllowance {
  /** Empty when nothing is left. */
  readonly pieces: Set<PieceIndex>
  bytes: number
}

/** A peer that has had nothing yet, in a torrent of pieces of `pieceLength` bytes. */
export const make = (pieces: Iterable<PieceIndex>, pieceLength: number): FastAllowance => {
  const set = new Set(pieces)
  return { pieces: set, bytes: copies * set.size * pieceLength }
}

/** So many bytes were sent to the choked peer. */
export const spend = (self: FastAllowance, bytes: number): void => {
  self.bytes -= bytes
  if (self.bytes <= 0) self.pieces.clear()
}
