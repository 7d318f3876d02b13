/**
 * Chooses the piece to start next: the rarest that the peer has (BEP 3 practice), and in a random order among equally
 * rare ones. Pieces of high priority come before all others, and skipped ones never. `PieceOrder.ts` decides when
 * another order than rarity applies, and `Requests.ts` requests blocks of active pieces before any new piece.
 *
 * The candidates of a priority stand in one array ordered by availability, shuffled within one availability by the
 * seed. A `have` swaps a piece to a random place in the next section. So following a swarm costs the same for ten
 * pieces and for two million, and reading a bitfield from its start does not order equally rare pieces by index. Peers
 * that have everything do not change the order and are not counted.
 */
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as Prng from "../base/Prng.ts"
import type { PiecePriority } from "./PiecePriority.ts"

/** Position of a piece that is no candidate: active, stored, or missing and skipped. */
const absent = -1
const skipped = -2

const code = { skip: 0, normal: 1, high: 2 } as const
const highCode = code.high

/** The candidates of one priority, rarest first. */
export interface Candidates {
  /** Pieces by availability; only the first `count` entries are valid. Empty until there is a candidate. */
  order: Int32Array
  /** The end of each availability's section in `order`. */
  readonly sectionEnds: Array<number>
  count: number
  /** No candidate has a lower index. */
  lowest: number
}

/** All candidates. */
export interface PiecePicker {
  readonly normal: Candidates
  readonly high: Candidates
  /** The index of each piece in the `order` of its priority; negative for a piece that is no candidate. */
  readonly positions: Int32Array
  /** How many peers have each piece, without peers that have every piece. */
  readonly availability: Uint16Array
  /** The priority of each piece, as a number. */
  readonly priorities: Uint8Array
  readonly random: Prng.Prng
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
    normal: { order, sectionEnds: [pieceCount], count: pieceCount, lowest: 0 },
    high: { order: noOrder, sectionEnds: [0], count: 0, lowest: 0 },
    positions,
    availability: new Uint16Array(pieceCount),
    priorities: new Uint8Array(pieceCount).fill(code.normal),
    random,
    count: pieceCount,
    version: 0
  }
}

/** Whether `piece` may be started: it is missing and not skipped. */
export const isCandidate = (self: PiecePicker, piece: PieceIndex): boolean => self.positions[piece]! >= 0

const candidatesOf = (self: PiecePicker, piece: PieceIndex): Candidates =>
  self.priorities[piece] === highCode ? self.high : self.normal

const place = (self: PiecePicker, candidates: Candidates, piece: number, position: number): void => {
  candidates.order[position] = piece
  self.positions[piece] = position
}

const swap = (self: PiecePicker, candidates: Candidates, piece: number, position: number): void => {
  const other = candidates.order[position]!
  place(self, candidates, other, self.positions[piece]!)
  place(self, candidates, piece, position)
}

/** Moves a candidate from the end of section `level` to the start of the next one. */
const raise = (self: PiecePicker, candidates: Candidates, piece: number, level: number): void => {
  const { sectionEnds } = candidates
  if (level + 1 === sectionEnds.length) sectionEnds.push(sectionEnds[level]!)
  swap(self, candidates, piece, --sectionEnds[level]!)
}

/** Moves a candidate from the start of section `level` to the end of the one before. */
const lower = (self: PiecePicker, candidates: Candidates, piece: number, level: number): void =>
  swap(self, candidates, piece, candidates.sectionEnds[level - 1]!++)

/** Swaps a candidate that was moved to section `level` to a random place in it. */
const mix = (self: PiecePicker, candidates: Candidates, piece: PieceIndex, level: number): void => {
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
}

const withdraw = (self: PiecePicker, piece: PieceIndex): void => {
  const candidates = candidatesOf(self, piece)
  const { sectionEnds } = candidates
  for (let level = self.availability[piece]!; level < sectionEnds.length; level++) {
    swap(self, candidates, piece, --sectionEnds[level]!)
  }
  candidates.count--
  self.count--
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
  candidates.lowest = Math.min(candidates.lowest, piece)
  self.count++
  self.version++
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
 * Candidates that are looked at in their order before the peer's own pieces are looked at instead. A peer that has one
 * piece in a hundred nearly always has one of them.
 */
const maxWalked = 1_024

/** Finds the first candidate from `start` that the peer has, among `maxWalked`; `undefined` if there is none. */
const findByPosition = (
  candidates: Candidates,
  start: number,
  has: Bitfield.Bitfield,
  except: ReadonlySet<PieceIndex>
): PieceIndex | undefined => {
  const end = Math.min(candidates.count, start + maxWalked)
  for (let position = start; position < end; position++) {
    const piece = candidates.order[position]! as PieceIndex
    if (Bitfield.has(has, piece) && !except.has(piece)) return piece
  }
  return undefined
}

/** Finds the peer's candidate of the lowest position from `start`, by looking at the pieces that the peer has. */
const findByPiece = (
  self: PiecePicker,
  candidates: Candidates,
  start: number,
  has: Bitfield.Bitfield,
  except: ReadonlySet<PieceIndex>
): PieceIndex | undefined => {
  let found: PieceIndex | undefined
  let lowest = candidates.count
  for (let index = Bitfield.next(has, 0); index >= 0; index = Bitfield.next(has, index + 1)) {
    const piece = index as PieceIndex
    const position = self.positions[piece]!
    if (position < start || position >= lowest || except.has(piece)) continue
    if (candidatesOf(self, piece) !== candidates) continue
    found = piece
    lowest = position
  }
  return found
}

/** Finds the first candidate from `start` that the peer has. Costs no more than the pieces of the peer. */
const find = (
  self: PiecePicker,
  candidates: Candidates,
  start: number,
  has: Bitfield.Bitfield,
  except: ReadonlySet<PieceIndex>
): PieceIndex | undefined => {
  const piece = findByPosition(candidates, start, has, except)
  if (piece !== undefined || candidates.count - start <= maxWalked) return piece
  return findByPiece(self, candidates, start + maxWalked, has, except)
}

/**
 * Picks the rarest candidate of the highest priority, of those in `has` and not in `except`; `undefined` if there is
 * none.
 */
export const pick: Choice = (self, has, except) =>
  (self.high.count > 0 ? find(self, self.high, 0, has, except) : undefined) ?? find(self, self.normal, 0, has, except)

/** As `pick`, but a random candidate instead of the rarest. */
export const pickRandom: Choice = (self, has, except) => {
  for (const candidates of [self.high, self.normal]) {
    if (candidates.count === 0) continue
    const start = Prng.integer(self.random, candidates.count)
    const piece = find(self, candidates, start, has, except) ?? find(self, candidates, 0, has, except)
    if (piece !== undefined) return piece
  }
  return undefined
}

/** As `pick`, but the candidate of the lowest index instead of the rarest. */
export const pickLowest: Choice = (self, has, except) => {
  for (const candidates of [self.high, self.normal]) {
    if (candidates.count === 0) continue
    const isOne = (piece: PieceIndex) => isCandidate(self, piece) && candidatesOf(self, piece) === candidates
    while (!isOne(candidates.lowest as PieceIndex)) candidates.lowest++
    for (let index = Bitfield.next(has, candidates.lowest); index >= 0; index = Bitfield.next(has, index + 1)) {
      const piece = index as PieceIndex
      if (isOne(piece) && !except.has(piece)) return piece
    }
  }
  return undefined
}
