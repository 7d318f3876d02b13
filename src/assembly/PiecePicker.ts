/**
 * Chooses the piece to start next: the rarest that the peer has (BEP 3 practice), and in a random order among equally
 * rare ones. Pieces of high priority come before all others, and skipped ones never. `PieceOrder.ts` decides when
 * another order than rarity applies, and `Requests.ts` requests blocks of active pieces before any new piece.
 * `PieceSearch.ts` finds the candidates that a peer has.
 *
 * The candidates of a priority stand in one array ordered by availability, shuffled within one availability by the
 * seed. A `have` swaps a piece to a random place in the next section. So following a swarm costs the same for ten
 * pieces and for two million, and reading a bitfield from its start does not order equally rare pieces by index. Peers
 * that have everything do not change the order and are not counted.
 */
import type * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as Prng from "../base/Prng.ts"
import type { PiecePriority } from "./PiecePriority.ts"
import * as PieceSearch from "./PieceSearch.ts"

/** Position of a piece that is no candidate: active, stored, or missing and skipped. */
const absent = -1
const skipped = -2

const code = { skip: 0, normal: 1, high: PieceSearch.highCode } as const

/** All candidates. */
export interface PiecePicker extends PieceSearch.Searched {
  /** How many candidates there are, of all priorities. */
  count: number
  /**
   * Grows when a piece becomes a candidate. So a caller whose search for a peer found nothing knows when to search
   * again.
   */
  version: number
}

const noOrder = new Int32Array(0)

/** Makes a picker with all `pieceCount` pieces as candidates of normal priority, in an order drawn from `random`. */
export const make = (pieceCount: number, random: Prng.Prng): PiecePicker => {
  const order = Int32Array.from({ length: pieceCount }, (_, piece) => piece)
  Prng.shuffle(random, order)
  const positions = new Int32Array(pieceCount)
  for (let position = 0; position < pieceCount; position++) positions[order[position]!] = position
  return {
    normal: { order, sectionEnds: [pieceCount], count: pieceCount },
    high: { order: noOrder, sectionEnds: [0], count: 0 },
    positions,
    availability: new Uint16Array(pieceCount),
    priorities: new Uint8Array(pieceCount).fill(code.normal),
    random,
    memory: undefined,
    count: pieceCount,
    version: 0
  }
}

/** Whether `piece` may be started: it is missing and not skipped. */
export const isCandidate = (self: PiecePicker, piece: PieceIndex): boolean => self.positions[piece]! >= 0

const candidatesOf = (self: PiecePicker, piece: PieceIndex): PieceSearch.Candidates =>
  self.priorities[piece] === code.high ? self.high : self.normal

const place = (self: PiecePicker, candidates: PieceSearch.Candidates, piece: number, position: number): void => {
  candidates.order[position] = piece
  self.positions[piece] = position
}

const swap = (self: PiecePicker, candidates: PieceSearch.Candidates, piece: number, position: number): void => {
  const other = candidates.order[position]!
  place(self, candidates, other, self.positions[piece]!)
  place(self, candidates, piece, position)
}

/** Moves a candidate from the end of section `level` to the start of the next one. */
const raise = (self: PiecePicker, candidates: PieceSearch.Candidates, piece: number, level: number): void => {
  const { sectionEnds } = candidates
  if (level + 1 === sectionEnds.length) sectionEnds.push(sectionEnds[level]!)
  swap(self, candidates, piece, --sectionEnds[level]!)
}

/** Moves a candidate from the start of section `level` to the end of the one before. */
const lower = (self: PiecePicker, candidates: PieceSearch.Candidates, piece: number, level: number): void =>
  swap(self, candidates, piece, candidates.sectionEnds[level - 1]!++)

/** Swaps a candidate that was moved to section `level` to a random place in it. */
const mix = (self: PiecePicker, candidates: PieceSearch.Candidates, piece: PieceIndex, level: number): void => {
  const begin = level === 0 ? 0 : candidates.sectionEnds[level - 1]!
  swap(self, candidates, piece, begin + Prng.integer(self.random, candidates.sectionEnds[level]! - begin))
}

/** Notes that one more peer has `piece`. */
export const gain = (self: PiecePicker, piece: PieceIndex): void => {
  const level = self.availability[piece]!++
  if (self.positions[piece]! < 0) return
  const candidates = candidatesOf(self, piece)
  raise(self, candidates, piece, level)
  mix(self, candidates, piece, level + 1)
}

/** Notes that one peer less has `piece`. */
export const lose = (self: PiecePicker, piece: PieceIndex): void => {
  const level = self.availability[piece]!--
  if (self.positions[piece]! < 0) return
  const candidates = candidatesOf(self, piece)
  lower(self, candidates, piece, level)
  mix(self, candidates, piece, level - 1)
  PieceSearch.noteChange(self, piece)
}

/** Notes that `has`, by which a peer is known to `pick`, has one more piece, after `gain`. */
export const gained = (self: PiecePicker, has: Bitfield.Bitfield, piece: PieceIndex): void =>
  PieceSearch.noteGained(self, has, piece)

/** Forgets what `pick` found out about `has`: the peer left, or its pieces were replaced or removed. */
export const forget = (self: PiecePicker, has: Bitfield.Bitfield): void => PieceSearch.forget(self, has)

const withdraw = (self: PiecePicker, piece: PieceIndex): void => {
  const candidates = candidatesOf(self, piece)
  const { sectionEnds } = candidates
  for (let level = self.availability[piece]!; level < sectionEnds.length; level++) {
    swap(self, candidates, piece, --sectionEnds[level]!)
  }
  candidates.count--
  if (--self.count === 0) PieceSearch.clear(self)
}

const enter = (self: PiecePicker, piece: PieceIndex): void => {
  const candidates = candidatesOf(self, piece)
  const { sectionEnds } = candidates
  if (candidates.order.length === 0) candidates.order = new Int32Array(self.positions.length)
  const level = self.availability[piece]!
  while (sectionEnds.length <= level) sectionEnds.push(candidates.count)
  place(self, candidates, piece, candidates.count)
  candidates.count++
  sectionEnds[sectionEnds.length - 1]!++
  for (let above = sectionEnds.length - 1; above > level; above--) lower(self, candidates, piece, above)
  mix(self, candidates, piece, level)
  self.count++
  self.version++
  PieceSearch.noteChange(self, piece)
}

/** Removes a piece that is now active or stored from the candidates. */
export const remove = (self: PiecePicker, piece: PieceIndex): void => {
  if (isCandidate(self, piece)) withdraw(self, piece)
  self.positions[piece] = absent
}

/** Adds a piece that is missing again to the candidates, unless it is skipped. */
export const insert = (self: PiecePicker, piece: PieceIndex): void => {
  if (self.positions[piece] !== absent) return
  if (self.priorities[piece] === code.skip) self.positions[piece] = skipped
  else enter(self, piece)
}

/**
 * Sets how much `piece` is wanted. An active piece stays active, and has its new priority if it becomes missing again.
 */
export const setPriority = (self: PiecePicker, piece: PieceIndex, priority: PiecePriority): void => {
  if (self.priorities[piece] === code[priority]) return
  const isMissing = self.positions[piece] !== absent
  if (isCandidate(self, piece)) withdraw(self, piece)
  self.priorities[piece] = code[priority]
  if (!isMissing) return
  self.positions[piece] = absent
  insert(self, piece)
}

type Choice = (self: PiecePicker, has: Bitfield.Bitfield, except: ReadonlySet<PieceIndex>) => PieceIndex | undefined

/**
 * Picks the rarest candidate of the highest priority, of those in `has` and not in `except`; `undefined` if there is
 * none. What it finds out about `has` is kept until `forget`. `gained` has to report each piece that is added to `has`.
 */
export const pick: Choice = (self, has, except) =>
  (self.high.count > 0 ? PieceSearch.rarest(self, self.high, has, except) : undefined) ??
  PieceSearch.rarest(self, self.normal, has, except)

/** As `pick`, but a random candidate instead of the rarest, unless the peer has few of them. */
export const pickRandom: Choice = (self, has, except) => {
  for (const candidates of [self.high, self.normal]) {
    if (candidates.count === 0) continue
    const piece = PieceSearch.random(self, candidates, has, except) ?? PieceSearch.rarest(self, candidates, has, except)
    if (piece !== undefined) return piece
  }
  return undefined
}

/** As `pick`, but the candidate of the lowest index instead of the rarest. */
export const pickLowest: Choice = (self, has, except) => {
  for (const candidates of [self.high, self.normal]) {
    if (candidates.count === 0) continue
    const piece = PieceSearch.lowest(self, candidates, has, except)
    if (piece !== undefined) return piece
  }
  return undefined
}
