/**
 * What a peer says about its pieces: a bitfield or the short forms of BEP 6, each have, and pieces that it lost (BEP
 * 54). It is checked and reported to the assembly; whether we are interested in the peer follows from it.
 */
import * as Assembly from "../assembly/Assembly.ts"
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type * as Supplier from "../supply/Supplier.ts"
import type * as FrameDecoder from "../wire/FrameDecoder.ts"
import * as FrameEncoder from "../wire/FrameEncoder.ts"
import { WireError } from "../wire/WireError.ts"
import * as AllowedFast from "./AllowedFast.ts"
import * as BlockBounds from "./BlockBounds.ts"
import type * as FastAllowance from "./FastAllowance.ts"
import type { Offer } from "./Offer.ts"

/** The pieces of one peer, which is a supplier of the assembly. */
export interface PeerPieces extends Supplier.Supplier {
  readonly assembly: Assembly.Assembly
  /** Frames that wait to be sent. */
  readonly outbox: FrameEncoder.FrameEncoder
  /** Present if the peer is offered a few pieces at a time (BEP 16). */
  readonly offer: Offer | undefined
  /** What the peer may request although we choke it (BEP 6). */
  readonly allowance: FastAllowance.FastAllowance
  /** Whether we have said that we are interested in the peer (BEP 3). */
  amInterested: boolean
  /** Whether the peer has reported its pieces; what it reports later may only add to that. */
  hasReportedPieces: boolean
}

/**
 * Reads the frames in which the peer reports pieces. What contradicts the torrent or an earlier frame is a `WireError`.
 */
export const sink = (self: PeerPieces): Pick<FrameDecoder.FrameSink, "have" | "bitfield" | "haveAll" | "haveNone"> => ({
  have: (index) => {
    self.hasReportedPieces = true
    gain(self, BlockBounds.requirePiece(self.assembly.geometry, index, "a have"))
    if (!self.amInterested) updateInterest(self)
  },
  bitfield: (bits) => {
    const has = Bitfield.fromBytes(bits, self.assembly.geometry.pieceCount)
    if (has === undefined) {
      throw new WireError({ why: `a bitfield of ${bits.length} bytes that does not fit the torrent` })
    }
    reportAll(self, "a bitfield", has)
  },
  haveAll: () => reportAll(self, "have all", Bitfield.full(self.assembly.geometry.pieceCount)),
  haveNone: () => reportFirst(self, "have none", Bitfield.make(self.assembly.geometry.pieceCount))
})

const reportAll = (self: PeerPieces, what: string, has: Bitfield.Bitfield): void => {
  if (self.hasReportedPieces) reportMore(self, what, has)
  else reportFirst(self, what, has)
}

const reportFirst = (self: PeerPieces, what: string, has: Bitfield.Bitfield): void => {
  if (self.hasReportedPieces) throw new WireError({ why: `${what} after the peer had reported its pieces` })
  self.hasReportedPieces = true
  Assembly.gainAll(self.assembly, self, has)
  if (self.offer !== undefined) for (const piece of Bitfield.indices(has)) self.offer.gained(piece as PieceIndex)
  updateInterest(self)
  // A peer that has as many pieces already needs no help to begin (BEP 6).
  if (has.count >= AllowedFast.defaultSize) return
  for (const piece of self.allowance.pieces) {
    if (!Bitfield.has(has, piece)) FrameEncoder.allowedFast(self.outbox, piece)
  }
}

/**
 * A later bitfield or have all stands for several haves, or for none: aria2 sends a bitfield instead of haves if it is
 * shorter, and to a new peer it may repeat what it has just sent. It must name every piece that was reported before.
 */
const reportMore = (self: PeerPieces, what: string, has: Bitfield.Bitfield): void => {
  const takesBack = self.has.bytes.some((byte, at) => (byte & ~has.bytes[at]!) !== 0)
  if (takesBack) throw new WireError({ why: `${what} that takes back pieces that the peer had reported` })
  for (const piece of Bitfield.indices(has)) if (!Bitfield.has(self.has, piece)) gain(self, piece as PieceIndex)
  if (!self.amInterested) updateInterest(self)
}

const gain = (self: PeerPieces, piece: PieceIndex): void => {
  Assembly.gain(self.assembly, self, piece)
  self.offer?.gained(piece)
}

/**
 * The peer has lost the piece of an unchecked index (BEP 54): what was requested of it is requested from others.
 * Returns whether the piece has to come from this peer alone, so that it should be abandoned. Throws `WireError` for a
 * piece that does not exist.
 */
export const lose = (self: PeerPieces, index: number): boolean =>
  Assembly.lose(self.assembly, self, BlockBounds.requirePiece(self.assembly.geometry, index, "a donthave"))

/** Writes to the outbox whether we are interested in the peer, if that has changed. */
export const updateInterest = (self: PeerPieces): void => {
  const isInteresting = self.pipeline.requests.size > 0 || Assembly.isInteresting(self.assembly, self.has)
  if (isInteresting === self.amInterested) return
  self.amInterested = isInteresting
  if (isInteresting) FrameEncoder.interested(self.outbox)
  else FrameEncoder.notInterested(self.outbox)
}
