/**
 * Chooses which piece of a torrent is started next. There are three groups:
 *
 * 1. The pieces that were put first (`putFirst`) come first, in the order in which they were put there.
 * 2. Pieces with a deadline follow, the earliest deadline first. Several owners have deadlines of their own.
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
  /** Milliseconds of the monotonic clock. */
  readonly at: number
}

/** Who set deadlines: the user of a torrent, or a reader of its bytes. Only its identity matters. */
export type Owner = object

/** The state of the order for one torrent. Change it only through this module. */
export interface PieceOrder {
  /**
   * Whether pieces are started in the order of their indices, for a user who watches or listens during the download.
   * This serves the swarm worse than rarest first, because it does not spread the rare pieces.
   */
  readonly isSequential: boolean
  /** The pieces that come before all others, in this order. Present once there was one. */
  first: Set<PieceIndex> | undefined
  /** The deadlines of each owner, the earliest first. Present once there was one. */
  owners: Map<Owner, Map<PieceIndex, number>> | undefined
  /** The earliest deadline of each piece that has one, the earliest first. Absent if no piece has one. */
  due: Map<PieceIndex, number> | undefined
}

/** Makes an order without deadlines. The rarest piece comes first unless `isSequential` is `true`. */
export const make = (options: { readonly isSequential?: boolean | undefined } = {}): PieceOrder => ({
  isSequential: options.isSequential === true,
  first: undefined,
  owners: undefined,
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
 * Replaces the deadlines of an owner, and merges those of all owners. Of several for one piece, the last of an owner and
 * the earliest of all owners counts. Owners take turns among pieces that are due at the same time. The pieces that were
 * put first stay there.
 */
export const setDeadlines = (self: PieceOrder, owner: Owner, deadlines: Iterable<Deadline>): void => {
  const times = new Map<PieceIndex, number>()
  for (const { at, piece } of deadlines) {
    times.delete(piece)
    times.set(piece, at)
  }
  self.owners ??= new Map()
  if (times.size === 0) {
    if (!self.owners.delete(owner)) return
  } else self.owners.set(owner, new Map(Array.from(times).sort(([, one], [, other]) => compare(one, other))))
  self.due = merge(self.owners)
}

const compare = (one: number, other: number): number => (one < other ? -1 : one > other ? 1 : 0)

/** A deadline among those of its owner. */
interface Turn extends Deadline {
  /** How many deadlines of its owner are at the same time and before it. */
  readonly turn: number
}

const merge = (owners: ReadonlyMap<Owner, ReadonlyMap<PieceIndex, number>>): PieceOrder["due"] => {
  const lists = [...owners.values()]
  if (lists.length <= 1) return lists[0] && new Map(lists[0])
  const turns: Array<Turn> = []
  for (const list of lists) {
    let last: Turn | undefined
    for (const [piece, at] of list) {
      last = { piece, at, turn: last?.at === at ? last.turn + 1 : 0 }
      turns.push(last)
    }
  }
  // Deadlines of one time and turn stay in the order of their owners.
  turns.sort((one, other) => compare(one.at, other.at) || one.turn - other.turn)
  const due = new Map<PieceIndex, number>()
  for (const { at, piece } of turns) if (!due.has(piece)) due.set(piece, at)
  return due
}

/** Removes the deadlines of `piece`, if it has any, and its place among the pieces that were put first. */
export const clearDeadline = (self: PieceOrder, piece: PieceIndex): void => {
  self.first?.delete(piece)
  if (self.due?.delete(piece) !== true) return
  if (self.due.size === 0) self.due = undefined
  for (const [owner, times] of self.owners!) {
    if (times.delete(piece) && times.size === 0) self.owners!.delete(owner)
  }
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
  if (self.due !== undefined) for (const piece of self.due.keys()) if (canStart(piece)) return piece
  if (self.isSequential) return PiecePicker.pickLowest(picker, has, except)
  if (begun < randomFirstPieces) return PiecePicker.pickRandom(picker, has, except)
  return PiecePicker.pick(picker, has, except)
}
