/**
 * Chooses which piece of a torrent is started next. There are three groups:
 *
 * 1. The pieces that were put first (`putFirst`) come first, in the order in which they were put there.
 * 2. Pieces with a deadline follow, the earliest deadline first.
 * 3. All others follow. If the order is sequential, the lowest index comes first. Otherwise the first few pieces of the
 *    torrent are chosen at random, and then the rarest piece comes first. In this group, pieces of high priority come
 *    before pieces of normal priority.
 *
 * Skipped pieces are never started, even if they were put first or have a deadline. The functions are plain and called
 * once for each piece. They choose only among the candidates of the `PiecePicker`, which the assembly maintains.
 */
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PiecePicker from "./PiecePicker.ts"

/**
 * How many pieces of a torrent are picked at random, as clients usually do (BEP 3). The rarest pieces are held by few
 * peers and arrive slowly. A new peer needs some complete piece soon, because then it has something to upload.
 */
export const randomFirstPieces = 4

/** A time by which a piece is needed. */
export interface Deadline {
  readonly piece: PieceIndex
  /** Milliseconds of any clock, the same clock for all deadlines. Only their order matters. */
  readonly at: number
}

/** The state of the order for one torrent. Change it only through this module. */
export interface PieceOrder {
  /**
   * Whether pieces are started in the order of their indices, for a user who watches or listens during the download.
   * This serves the swarm worse than rarest first, because it does not spread the rare pieces.
   */
  readonly isSequential: boolean
  /** The pieces that come before all others, in this order. Present once there was one. */
  first: Set<PieceIndex> | undefined
  /** The pieces with a deadline, the earliest first. Present once there was one. */
  due: Set<PieceIndex> | undefined
}

/** Makes an order without deadlines. The rarest piece comes first unless `isSequential` is `true`. */
export const make = (options: { readonly isSequential?: boolean | undefined } = {}): PieceOrder => ({
  isSequential: options.isSequential === true,
  first: undefined,
  due: undefined
})

/**
 * Puts these pieces before all others, except those that earlier calls put there. A piece stays first until
 * `clearDeadline` is called for it.
 */
export const putFirst = (self: PieceOrder, pieces: Iterable<PieceIndex>): void => {
  for (const piece of pieces) {
    self.first ??= new Set()
    self.first.add(piece)
  }
}

/**
 * Replaces all deadlines. Of several for one piece, the last counts. The pieces that were put first stay there.
 */
export const setDeadlines = (self: PieceOrder, deadlines: Iterable<Deadline>): void => {
  const times = new Map<PieceIndex, number>()
  for (const { at, piece } of deadlines) {
    times.delete(piece)
    times.set(piece, at)
  }
  const sorted = Array.from(times).sort(([, one], [, other]) => (one < other ? -1 : one > other ? 1 : 0))
  self.due = sorted.length === 0 ? undefined : new Set(sorted.map(([piece]) => piece))
}

/** Removes the deadline of `piece`, if it has one, and its place among the pieces that were put first. */
export const clearDeadline = (self: PieceOrder, piece: PieceIndex): void => {
  self.first?.delete(piece)
  self.due?.delete(piece)
}

const none: ReadonlySet<PieceIndex> = new Set()

/**
 * Returns the piece to start next, among the candidates that are in `has` and not in `except`; `undefined` if there is
 * none. `begun` is how many pieces of the torrent are not missing, which decides whether a random one is chosen.
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
  for (const piece of self.first ?? none) if (canStart(piece)) return piece
  for (const piece of self.due ?? none) if (canStart(piece)) return piece
  if (self.isSequential) return PiecePicker.pickLowest(picker, has, except)
  if (begun < randomFirstPieces) return PiecePicker.pickRandom(picker, has, except)
  return PiecePicker.pick(picker, has, except)
}
