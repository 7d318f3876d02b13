/**
 * The state of every piece of a torrent. Each piece is in exactly one state:
 *
 *   missing -> active -> complete -> verified -> stored
 *      ^---------'----------'----------'----------'
 *
 * active` holds a buffer and is being requested. `complete` has all its blocks and waits for its digest. `verified` has
 * passed and waits for the storage. `stored` means that the storage confirmed the write. A verified piece keeps its
 * buffer until it is stored, or the torrent stops or is paused. A stored piece goes back if somebody
 * deletes or changes it on the medium.
 *
 * Besides, a piece is wanted or not. An unwanted piece may be in any state: it may have been stored or started before.
 *
 * Plain data, changed only by the fibers and tasks of the torrent. `PiecePicker.ts` chooses among the pieces.
 */
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"

/** The name of a state. */
export type PieceState = "missing" | "active" | "complete" | "verified" | "stored"

const states: ReadonlyArray<PieceState> = ["missing", "active", "complete", "verified", "stored"]
const code = { missing: 0, active: 1, complete: 2, verified: 3, stored: 4 } as const

/** The states of all pieces of a torrent. */
export interface PieceTable {
  readonly geometry: PieceGeometry.PieceGeometry
  readonly codes: Uint8Array
  /** The pieces in state `stored`. */
  readonly stored: Bitfield.Bitfield
  /** How many pieces are in each state. */
  readonly counts: Record<PieceState, number>
  /** The pieces that are wanted. Changed only by `setWanted`. */
  readonly wanted: Bitfield.Bitfield
  /** How many wanted pieces are not stored. */
  unstoredWanted: number
  /** Those whose interesting pieces are counted. Changed only by `watch` and `unwatch`. Present once there was one. */
  holders: Set<Holder> | undefined
}

/** Somebody who has pieces. */
export interface Holder {
  readonly has: Bitfield.Bitfield
  /** How many of its pieces are wanted and not stored. */
  interesting: number
}

/** Makes a table of missing pieces that are all wanted. */
export const make = (geometry: PieceGeometry.PieceGeometry): PieceTable => ({
  geometry,
  codes: new Uint8Array(geometry.pieceCount),
  stored: Bitfield.make(geometry.pieceCount),
  counts: { missing: geometry.pieceCount, active: 0, complete: 0, verified: 0, stored: 0 },
  wanted: Bitfield.full(geometry.pieceCount),
  unstoredWanted: geometry.pieceCount,
  holders: undefined
})

/** Counts what is interesting about a holder, and goes on counting. To be called again if its pieces were replaced. */
export const watch = (self: PieceTable, holder: Holder): void => {
  self.holders ??= new Set()
  self.holders.add(holder)
  holder.interesting = Bitfield.isFull(holder.has)
    ? self.unstoredWanted
    : Bitfield.countOfBothWithout(holder.has, self.wanted, self.stored)
}

/** Stops counting what is interesting about a holder. */
export const unwatch = (self: PieceTable, holder: Holder): void => void self.holders?.delete(holder)

const isInteresting = (self: PieceTable, piece: PieceIndex): boolean =>
  Bitfield.has(self.wanted, piece) && !Bitfield.has(self.stored, piece)

/** Notes that a watched holder has one more piece. */
export const noteGained = (self: PieceTable, holder: Holder, piece: PieceIndex): void => {
  if (isInteresting(self, piece)) holder.interesting++
}

/** Notes that a watched holder has one piece less. */
export const noteLacked = (self: PieceTable, holder: Holder, piece: PieceIndex): void => {
  if (isInteresting(self, piece)) holder.interesting--
}

/** Makes exactly the pieces in `wanted` (one bit a piece) wanted. */
export const setWanted = (self: PieceTable, wanted: Bitfield.Bitfield): void => {
  Bitfield.replace(self.wanted, wanted)
  self.unstoredWanted = 0
  for (const piece of Bitfield.indices(wanted)) if (!Bitfield.has(self.stored, piece)) self.unstoredWanted++
  for (const holder of self.holders ?? none) watch(self, holder)
}

/** The state of a piece. */
export const stateOf = (self: PieceTable, piece: PieceIndex): PieceState => states[self.codes[piece]!]!

const move = (self: PieceTable, piece: PieceIndex, from: PieceState, to: PieceState): void => {
  if (self.codes[piece] !== code[from]) {
    throw new Error(`piece ${piece} is ${stateOf(self, piece)}, so it cannot go from ${from} to ${to}`)
  }
  self.codes[piece] = code[to]
  self.counts[from]--
  self.counts[to]++
}

/** Notes that a buffer was borrowed for the piece. */
export const start = (self: PieceTable, piece: PieceIndex): void => move(self, piece, "missing", "active")

/** Notes that the last block of the piece arrived. */
export const complete = (self: PieceTable, piece: PieceIndex): void => move(self, piece, "active", "complete")

/** Notes that the piece matched its digest. */
export const verify = (self: PieceTable, piece: PieceIndex): void => move(self, piece, "complete", "verified")

/** Notes that the storage confirmed the write of the piece. */
export const store = (self: PieceTable, piece: PieceIndex): void => {
  move(self, piece, "verified", "stored")
  noteStored(self, piece)
}

const noteStored = (self: PieceTable, piece: PieceIndex): void => {
  Bitfield.add(self.stored, piece)
  if (Bitfield.has(self.wanted, piece)) countUnstored(self, piece, -1)
}

/** Notes that the active or complete piece lost its buffer, because it was stale or did not match its digest. */
export const reset = (self: PieceTable, piece: PieceIndex): void =>
  move(self, piece, stateOf(self, piece) === "complete" ? "complete" : "active", "missing")

/** Notes that the verified piece lost its buffer, because the torrent was paused and the storage took no writes. */
export const giveUp = (self: PieceTable, piece: PieceIndex): void => move(self, piece, "verified", "missing")

/** Notes that the piece was found stored before the torrent started, in resume data or by a recheck. */
export const restore = (self: PieceTable, piece: PieceIndex): void => {
  move(self, piece, "missing", "stored")
  noteStored(self, piece)
}

/** Notes that the stored piece is gone from the medium, or wrong there. */
export const lose = (self: PieceTable, piece: PieceIndex): void => {
  move(self, piece, "stored", "missing")
  Bitfield.remove(self.stored, piece)
  if (Bitfield.has(self.wanted, piece)) countUnstored(self, piece, 1)
}

const none: ReadonlySet<Holder> = new Set()

const countUnstored = (self: PieceTable, piece: PieceIndex, by: 1 | -1): void => {
  self.unstoredWanted += by
  for (const holder of self.holders ?? none) if (Bitfield.has(holder.has, piece)) holder.interesting += by
}

/** Whether every piece is stored. */
export const isComplete = (self: PieceTable): boolean => Bitfield.isFull(self.stored)

/** Whether every wanted piece is stored, so that there is nothing left to fetch. */
export const isFinished = (self: PieceTable): boolean => self.unstoredWanted === 0

/**
 * The bytes of so many pieces. `isLastAmong` says whether the torrent's last piece, which may be shorter, is one of
 * them.
 */
const bytesOf = ({ geometry }: PieceTable, pieces: number, isLastAmong: boolean): number => {
  const missing = geometry.pieceLength - PieceGeometry.pieceSize(geometry, lastOf(geometry))
  return pieces * geometry.pieceLength - (isLastAmong ? missing : 0)
}

const lastOf = ({ pieceCount }: PieceGeometry.PieceGeometry): PieceIndex => (pieceCount - 1) as PieceIndex

/** The bytes of a set of pieces. */
export const bytesIn = (self: PieceTable, pieces: Bitfield.Bitfield): number =>
  bytesOf(self, pieces.count, Bitfield.has(pieces, lastOf(self.geometry)))

/** Bytes of the stored pieces. */
export const storedBytes = (self: PieceTable): number => bytesIn(self, self.stored)

/** Bytes of the wanted pieces. */
export const wantedBytes = (self: PieceTable): number => bytesIn(self, self.wanted)

/** Bytes of the wanted pieces that are not stored. */
const unstoredBytes = (self: PieceTable): number => {
  const last = lastOf(self.geometry)
  return bytesOf(self, self.unstoredWanted, Bitfield.has(self.wanted, last) && !Bitfield.has(self.stored, last))
}

/** Bytes of those of some pieces that are wanted. */
export const wantedBytesIn = (self: PieceTable, pieces: Bitfield.Bitfield): number => {
  const last = lastOf(self.geometry)
  const isLastAmong = Bitfield.has(self.wanted, last) && Bitfield.has(pieces, last)
  return bytesOf(self, Bitfield.countOfBoth(self.wanted, pieces), isLastAmong)
}

/** Bytes of the wanted pieces that are not stored, or that have to be verified before they count (`suspects`). */
export const missingBytes = (self: PieceTable, suspects: Bitfield.Bitfield): number =>
  unstoredBytes(self) + wantedBytesIn(self, suspects)
