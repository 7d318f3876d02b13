/**
 * The order in which the pieces of a torrent are started. Pieces with a deadline come first, the earliest first. After
 * them come, if the order is sequential, the lowest indices; otherwise a few at random and then the rarest. In each of
 * these, pieces of high priority come first. Skipped pieces are never started, whatever their deadline.
 *
 * Plain, called once a piece. Chooses only among the picker's candidates; the assembly decides which pieces those are.
 */
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PiecePicker from "./PiecePicker.ts"

/**
 * How many pieces of a torrent are picked at random (BEP 3 practice). The rarest pieces are held by few peers and
 * arrive slowly, while any complete piece is something to trade with.
 */
export const randomFirstPieces = 4

/** A time by which a piece is needed. */
export interface Deadline {
  readonly piece: PieceIndex
  /** Milliseconds of the caller's clock. Only the order counts. */
  readonly at: number
}

/** The order of one torrent. */
export interface PieceOrder {
  /**
   * Whether pieces are started by index, for a user who watches or listens during the download. Worse for the swarm
   * than rarest first.
   */
  readonly isSequential: boolean
  /** Pieces that come before all others, in this order. Changed only through this module. */
  readonly first: Set<PieceIndex>
  /** The earliest first, at most one a piece. Changed only through this module. */
  readonly deadlines: Array<Deadline>
}

/** Makes an order without deadlines: rarest first, unless it is sequential. */
export const make = (options: { readonly isSequential?: boolean | undefined } = {}): PieceOrder => ({
  isSequential: options.isSequential === true,
  first: new Set(),
  deadlines: []
})

/** Puts these pieces before all others. */
export const putFirst = (self: PieceOrder, pieces: Iterable<PieceIndex>): void => {
  for (const piece of pieces) self.first.add(piece)
}

/** Replaces all deadlines. */
export const setDeadlines = (self: PieceOrder, deadlines: Iterable<Deadline>): void => {
  self.deadlines.length = 0
  for (const { at, piece } of deadlines) setDeadline(self, piece, at)
}

/** Sets the deadline of `piece` (milliseconds), instead of its old one. */
export const setDeadline = (self: PieceOrder, piece: PieceIndex, at: number): void => {
  takeDeadline(self, piece)
  const later = self.deadlines.findIndex((deadline) => deadline.at > at)
  self.deadlines.splice(later === -1 ? self.deadlines.length : later, 0, { piece, at })
}

/** Removes the deadline of `piece`, if it has one. */
export const clearDeadline = (self: PieceOrder, piece: PieceIndex): void => {
  self.first.delete(piece)
  takeDeadline(self, piece)
}

const takeDeadline = (self: PieceOrder, piece: PieceIndex): void => {
  const known = self.deadlines.findIndex((deadline) => deadline.piece === piece)
  if (known !== -1) self.deadlines.splice(known, 1)
}

/**
 * Returns the piece to start next, of those that are in `has` and not in `except`; `undefined` if there is none.
 * `begun` is how many pieces of the torrent are active or stored.
 */
export const pick = (
  self: PieceOrder,
  picker: PiecePicker.PiecePicker,
  has: Bitfield.Bitfield,
  except: ReadonlySet<PieceIndex>,
  begun: number
): PieceIndex | undefined => {
  const canStart = (piece: PieceIndex): boolean =>
    PiecePicker.isCandidate(picker, piece) && Bitfield.has(has, piece) && !except.has(piece)
  for (const piece of self.first) if (canStart(piece)) return piece
  for (const { piece } of self.deadlines) {
    if (canStart(piece)) return piece
  }
  if (self.isSequential) return PiecePicker.pickLowest(picker, has, except)
  if (begun < randomFirstPieces) return PiecePicker.pickRandom(picker, has, except)
  return PiecePicker.pick(picker, has, except)
}
