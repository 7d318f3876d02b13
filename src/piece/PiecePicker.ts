/**
 * Which piece to start next: the rarest that the peer has (BEP 3 practice), and among equally rare ones by salt.
 * Blocks of pieces that are already under way come before any new piece; that is `piece/Download.ts`'s matter.
 *
 * The candidates stand in one array ordered by availability, shuffled within one availability by the seed. A `have`
 * moves a piece by a swap to a random place in the neighbouring section, so following a swarm costs the same for ten
 * pieces and for two million, and a bitfield read from its start does not leave equally rare pieces in its own order.
 * Peers that have everything change no order and are not counted.
 */
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as Prng from "../base/Prng.ts"

const absent = -1

/** The candidates, rarest first. */
export interface PiecePicker {
  /** Candidate pieces by availability; only the first `count` entries are meant. */
  readonly order: Int32Array
  /** Where in `order` a piece stands; -1 for a piece that is no candidate. */
  readonly positions: Int32Array
  /** How many peers have each piece, peers that have every piece not counted. */
  readonly availability: Uint16Array
  /** End of each availability's section in `order`. */
  readonly sectionEnds: Array<number>
  readonly random: Prng.Prng
  /** Candidates. */
  count: number
  /** Grows when a piece becomes a candidate, so that a peer for which a search found nothing knows when to try again. */
  version: number
}

/** All `pieceCount` pieces are candidates, in an order drawn from `random`. */
export const make = (pieceCount: number, random: Prng.Prng): PiecePicker => {
  const order = Int32Array.from({ length: pieceCount }, (_, piece) => piece)
  Prng.shuffle(random, order)
  const positions = new Int32Array(pieceCount)
  for (let position = 0; position < pieceCount; position++) positions[order[position]!] = position
  return {
    order,
    positions,
    availability: new Uint16Array(pieceCount),
    sectionEnds: [pieceCount],
    random,
    count: pieceCount,
    version: 0
  }
}

const place = (self: PiecePicker, piece: number, position: number): void => {
  self.order[position] = piece
  self.positions[piece] = position
}

const swap = (self: PiecePicker, piece: number, position: number): void => {
  const other = self.order[position]!
  place(self, other, self.positions[piece]!)
  place(self, piece, position)
}

/** Moves a candidate from the end of section `level` to the start of the next one. */
const raise = (self: PiecePicker, piece: number, level: number): void => {
  if (level + 1 === self.sectionEnds.length) self.sectionEnds.push(self.sectionEnds[level]!)
  swap(self, piece, --self.sectionEnds[level]!)
}

/** Moves a candidate from the start of section `level` to the end of the one before. */
const lower = (self: PiecePicker, piece: number, level: number): void =>
  swap(self, piece, self.sectionEnds[level - 1]!++)

/** Gives a candidate that came to section `level` a random place in it. */
const mix = (self: PiecePicker, piece: PieceIndex, level: number): void => {
  const begin = level === 0 ? 0 : self.sectionEnds[level - 1]!
  swap(self, piece, begin + Prng.integer(self.random, self.sectionEnds[level]! - begin))
}

/** One more peer has `piece`. */
export const gain = (self: PiecePicker, piece: PieceIndex): void => {
  const level = self.availability[piece]!++
  if (self.positions[piece] === absent) return
  raise(self, piece, level)
  mix(self, piece, level + 1)
}

/** One peer less has `piece`. */
export const lose = (self: PiecePicker, piece: PieceIndex): void => {
  const level = self.availability[piece]!--
  if (self.positions[piece] === absent) return
  lower(self, piece, level)
  mix(self, piece, level - 1)
}

/** `piece` is no candidate any more: it is under way or stored. */
export const remove = (self: PiecePicker, piece: PieceIndex): void => {
  if (self.positions[piece] === absent) return
  for (let level = self.availability[piece]!; level < self.sectionEnds.length; level++) {
    swap(self, piece, --self.sectionEnds[level]!)
  }
  self.positions[piece] = absent
  self.count--
}

/** `piece` is a candidate again. */
export const insert = (self: PiecePicker, piece: PieceIndex): void => {
  if (self.positions[piece] !== absent) return
  const level = self.availability[piece]!
  while (self.sectionEnds.length <= level) self.sectionEnds.push(self.count)
  place(self, piece, self.count)
  self.count++
  self.sectionEnds[self.sectionEnds.length - 1]!++
  for (let above = self.sectionEnds.length - 1; above > level; above--) lower(self, piece, above)
  mix(self, piece, level)
  self.version++
}

/** The rarest candidate that is in `has` and not in `except`; `undefined` where there is none. */
export const pick = (
  self: PiecePicker,
  has: Bitfield.Bitfield,
  except: ReadonlySet<PieceIndex>
): PieceIndex | undefined => {
  for (let position = 0; position < self.count; position++) {
    const piece = self.order[position]! as PieceIndex
    if (Bitfield.has(has, piece) && !except.has(piece)) return piece
  }
  return undefined
}
