/**
 * Pieces that are not requested from a peer for a while, because it refused them or its copy was damaged. Every rest
 * ends, because a disk may recover, and the only source of a damaged piece may be repaired. A rest that follows another
 * is twice as long. The history of a piece is forgotten after a long time without a rest.
 *
 * Pure: `now`, in milliseconds, is an argument. `resting` may be read anywhere; it is read once a block.
 */
import type { PieceIndex } from "../base/PieceGeometry.ts"

/**
 * The first rest after a refusal (milliseconds). A piece that a peer refuses although it does not choke is often
 * unreadable only for the moment, and another request costs one message.
 */
export const afterRefusal = 5_000

/** The first rest after a damaged copy (milliseconds): another try costs a whole piece, and a repair takes a while. */
export const afterDamage = 30_000

/** The longest rest (milliseconds), and so the longest that a piece waits once its source is repaired. */
export const longest = 600_000

/** How long after a rest its piece is forgotten, so that the next rest is a first one again (milliseconds). */
export const forgottenAfter = 3_600_000

interface Rest {
  readonly until: number
  readonly length: number
}

/** The pieces that are not requested from one peer. */
export interface Resting {
  /** The pieces that rest now. Change it only through this module. */
  readonly resting: Set<PieceIndex>
  /** The last rest of each piece that is not forgotten. */
  readonly rests: Map<PieceIndex, Rest>
}

/** Makes a state in which no piece rests. */
export const make = (): Resting => ({ resting: new Set(), rests: new Map() })

/** Begins a rest of `piece`, `first` milliseconds long if it is the first; a rest that has begun is not changed. */
export const rest = (self: Resting, piece: PieceIndex, first: number, now: number): void => {
  if (self.resting.has(piece)) return
  const before = self.rests.get(piece)
  const length = before === undefined ? first : Math.min(longest, before.length * 2)
  self.resting.add(piece)
  self.rests.set(piece, { until: now + length, length })
}

/** Ends the rests that are over, and forgets old ones. Returns whether any ended. */
export const wake = (self: Resting, now: number): boolean => {
  let isAny = false
  for (const [piece, { until }] of self.rests) {
    if (now >= until && self.resting.delete(piece)) isAny = true
    if (now >= until + forgottenAfter) self.rests.delete(piece)
  }
  return isAny
}

/** Ends the rest of this piece and forgets its history. */
export const forget = (self: Resting, piece: PieceIndex): void => {
  self.resting.delete(piece)
  self.rests.delete(piece)
}

/** Ends every rest and forgets the history of all pieces. */
export const forgetAll = (self: Resting): void => {
  self.resting.clear()
  self.rests.clear()
}
