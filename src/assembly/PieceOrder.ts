/**
 * In what order the pieces of a torrent are started: those with a deadline, the earliest first; then, if a user reads
 * along, from the first on; else a few at random and from then on the rarest. Within each of the latter, pieces of high
 * priority come first. Pieces that are skipped are never started, whatever their deadline.
 *
 * Plain, called once a piece. It only chooses among the picker's candidates: what is under way, and for how long, is
 * the assembly's matter.
 */
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PiecePicker from "./PiecePicker.ts"

/**
 * So many pieces of a torrent are picked at random (BEP 3 practice): the rarest are held by few, and slow to come, while
 * any whole piece gives us something to trade with.
 */
export const randomFirstPieces = 4

/** A piece that is needed by a time. */
export interface Deadline {
  readonly piece: PieceIndex
  /** Milliseconds of the caller's clock; only the order counts. */
  readonly at: number
}

/** The order of one torrent. */
export interface PieceOrder {
  /** From the first piece on, for whoever watches or listens meanwhile. Worse for the swarm than rarest first. */
  readonly isSequential: boolean
  /** Pieces that come before all others, in this order. Change it only through this module. */
  readonly first: Set<PieceIndex>
  /** The earliest first, at most one a piece. Change it only through this module. */
  readonly deadlines: Array<Deadline>
}

/** Makes an order without deadlines: rarest first, unless it is sequential. */
export const make = (options: { readonly isSequential?: boolean | undefined } = {}): PieceOrder => ({
  isSequential: options.isSequential === true,
  first: new Set(),
  deadlines: []
})

/** These pieces come before all others. */
export const putFirst = (self: PieceOrder, pieces: Iterable<PieceIndex>): void => {
  for (const piece of pieces) self.first.add(piece)
}

/** These are the deadlines, instead of those there were. */
export const setDeadlines = (self: PieceOrder, deadlines: Iterable<Deadline>): void => {
  self.deadlines.length = 0
  for (const { at, piece } of deadlines) setDeadline(self, piece, at)
}

/** `piece` is needed at `at` (milliseconds), instead of when it was needed before. */
export const setDeadline = (self: PieceOrder, piece: PieceIndex, at: number): void => {
  takeDeadline(self, piece)
  const later = self.deadlines.findIndex((deadline) => deadline.at > at)
  self.deadlines.splice(later === -1 ? self.deadlines.length : later, 0, { piece, at })
}

/** `piece` is stored, or not needed by any time. */
export const clearDeadline = (self: PieceOrder, piece: PieceIndex): void => {
  self.first.delete(piece)
  takeDeadline(self, piece)
}

const takeDeadline = (self: PieceOrder, piece: PieceIndex): void => {
  const known = self.deadlines.findIndex((deadline) => deadline.piece === piece)
  if (known !== -1) self.deadlines.splice(known, 1)
}

/**
 * The piece to start next of those that are in `has` and not in `except`; `undefined` if there is none. `begun` is how
 * many pieces of the torrent are under way or stored.
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
