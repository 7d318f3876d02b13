/**
 * Whether blocks of a piece may be requested from a supplier, and whether it may start a piece.
 *
 * After a wrong copy to which several suppliers contributed, a piece must come from one supplier alone, because then a
 * wrong copy shows who sent it. That supplier is the sole source of the piece.
 *
 * Hot path: the functions run once for each request or piece, and they are plain.
 */
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type * as PieceBuffer from "../supply/PieceBuffer.ts"
import * as Supplier from "../supply/Supplier.ts"
import * as Assembly from "./Assembly.ts"
import * as Distrust from "./Distrust.ts"
import * as PiecePicker from "./PiecePicker.ts"
import * as PieceTable from "./PieceTable.ts"

/**
 * Returns whether this supplier must leave the piece to others. That is so if the piece needs a sole source, and
 * another supplier that could send it now has failed to send it less often than this one.
 */
export const isLeftToOthers = (self: Assembly.Assembly, supplier: Supplier.Supplier, piece: PieceIndex): boolean =>
  Distrust.isLeftToOthers(Assembly.distrustOf(self), self.suppliers, supplier, piece)

/**
 * Returns whether this supplier may replace the sole source of a piece. It may if no block of the piece has arrived, no
 * request for one is out, and the piece is not left to others.
 */
const mayTakeOver = (self: Assembly.Assembly, supplier: Supplier.Supplier, buffer: PieceBuffer.PieceBuffer): boolean =>
  buffer.freeBlocks === buffer.blockCount && !isLeftToOthers(self, supplier, buffer.piece)

/**
 * Returns whether blocks of an active piece may be requested from the supplier. Four conditions must hold:
 *
 * - It has the piece.
 * - It does not choke us, or it allows this piece although it does (allowed fast, BEP 6).
 * - The piece needs no sole source, or the supplier is it or may replace it.
 * - The piece does not rest with the supplier, which it does for a while after a refusal or a damaged copy.
 */
export const mayAsk = (
  self: Assembly.Assembly,
  supplier: Supplier.Supplier,
  buffer: PieceBuffer.PieceBuffer
): boolean =>
  Bitfield.has(supplier.has, buffer.piece) &&
  (!supplier.peerChoking || supplier.allowedFast.has(buffer.piece)) &&
  (buffer.soleSource === undefined || buffer.soleSource === supplier.id || mayTakeOver(self, supplier, buffer)) &&
  !Supplier.isResting(supplier, buffer.piece)

/** Returns whether a supplier that may start pieces may start this one. */
export const isStartable = (self: Assembly.Assembly, supplier: Supplier.Supplier, piece: PieceIndex): boolean =>
  PiecePicker.isCandidate(self.picker, piece) &&
  Bitfield.has(supplier.has, piece) &&
  (!supplier.peerChoking || supplier.allowedFast.has(piece)) &&
  !Supplier.isResting(supplier, piece) &&
  !isLeftToOthers(self, supplier, piece)

/** Returns whether requests to the supplier are out, or it sent blocks of a piece that is not verified yet. */
const isOnTrial = (self: Assembly.Assembly, supplier: Supplier.Supplier): boolean => {
  if (supplier.pipeline.requests.size > 0) return true
  for (const { buffer } of self.pool.loans.values()) {
    const state = PieceTable.stateOf(self.table, buffer.piece)
    if ((state === "active" || state === "complete") && buffer.contributors.includes(supplier.id)) return true
  }
  return false
}

/** Returns whether the supplier must not start a piece now, whatever piece it is. */
export const mustNotStart = (self: Assembly.Assembly, supplier: Supplier.Supplier): boolean =>
  // A supplier whose last verified piece was damaged starts another piece only after its next one has been verified.
  (supplier.standing.damagedInARow > 0 && isOnTrial(self, supplier)) ||
  // A supplier that lets requests time out starts no piece that it could delay.
  (supplier.pipeline.isSnubbed && self.table.counts.active > 0)
