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
    if (self.hasReportedPieces) reportMore(self, has)
    else reportFirst(self, has)
  },
  haveAll: () => {
    // Five bytes that a peer may repeat without end, so they cost nothing if it has every piece.
    if (self.hasReportedPieces && Bitfield.isFull(self.has)) return
    self.hasReportedPieces = true
    Assembly.gainEverything(self.assembly, self)
    self.offer?.gainedEverything()
    updateInterest(self)
    allowSome(self)
  },
  haveNone: () => {
    requireFirst(self, "have none")
    allowSome(self)
  }
})

const requireFirst = (self: PeerPieces, what: string): void => {
  if (self.hasReportedPieces) throw new WireError({ why: `${what} after the peer had reported its pieces` })
  self.hasReportedPieces = true
}

const reportFirst = (self: PeerPieces, has: Bitfield.Bitfield): void => {
  requireFirst(self, "a bitfield")
  Assembly.gainAll(self.assembly, self, has)
  if (Bitfield.isFull(has)) self.offer?.gainedEverything()
  else if (self.offer !== undefined) {
    for (const piece of Bitfield.indices(has)) self.offer.gained(piece as PieceIndex)
  }
  updateInterest(self)
  allowSome(self)
}

/** A peer that has a few pieces needs no help to begin (BEP 6). Others hear what they may request although we choke. */
const allowSome = (self: PeerPieces): void => {
  if (self.has.count >= AllowedFast.defaultSize) return
  for (const piece of self.allowance.pieces) {
    if (!Bitfield.has(self.has, piece)) FrameEncoder.allowedFast(self.outbox, piece)
  }
}

/**
 * A later bitfield or have all stands for several haves, or for none: aria2 sends a bitfield instead of haves if it is
 * shorter, and to a new peer it may repeat what it has just sent. It must name every piece that was reported before.
 */
const reportMore = (self: PeerPieces, has: Bitfield.Bitfield): void => {
  if (!Bitfield.isSubset(self.has, has)) {
    throw new WireError({ why: "a bitfield that takes back pieces that the peer had reported" })
  }
  for (const piece of Bitfield.indicesWithout(has, self.has)) gain(self, piece as PieceIndex)
  if (!self.amInterested) updateInterest(self)
}

const gain = (self: PeerPieces, piece: PieceIndex): void => {
  if (Assembly.gain(self.assembly, self, piece)) self.offer?.gained(piece)
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
  const isInteresting = self.pipeline.requests.size > 0 || Assembly.isInteresting(self)
  if (isInteresting === self.amInterested) return
  self.amInterested = isInteresting
  if (isInteresting) FrameEncoder.interested(self.outbox)
  else FrameEncoder.notInterested(self.outbox)
}
