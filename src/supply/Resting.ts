/**
 * Pieces that a peer is not asked for, for a while: it refused them, or its copy was damaged. Nothing lasts for ever, as a
 * disk may recover and the only source of a rotten piece may be mended. Each rest that follows another is twice as long,
 * and the history of a piece is forgotten when it has been quiet for long.
 *
 * Pure: `now` comes in, in milliseconds. `resting` may be read anywhere; it is looked at once a block.
 */
import type { PieceIndex } from "../base/PieceGeometry.ts"

/**
 * The first rest after a refusal (milliseconds). What a peer refuses although it does not choke, it often cannot read at
 * the moment, and the question costs one message.
 */
export const afterRefusal = 5_000

/** The first rest after a damaged copy (milliseconds): asking again costs a whole piece, and a repair takes a while. */
export const afterDamage = 30_000

/** The longest rest (milliseconds), and so the longest that a piece waits once its source is mended. */
export const longest = 600_000

/** So long after a rest its piece begins anew with the first one (milliseconds). */
export const forgottenAfter = 3_600_000

interface Rest {
  readonly until: number
  readonly length: number
}

/** What one peer is not asked for. */
export interface Resting {
  /** The pieces that rest now. Change it only through this module. */
  readonly resting: Set<PieceIndex>
  /** The last rest of each piece that is not forgotten. */
  readonly rests: Map<PieceIndex, Rest>
}

/** Nothing rests. */
export const make = (): Resting => ({ resting: new Set(), rests: new Map() })

/** Begins a rest of `piece`, `first` milliseconds long if it is the first; one that rests already goes on as it does. */
export const rest = (self: Resting, piece: PieceIndex, first: number, now: number): void => {
  if (self.resting.has(piece)) return
  const before = self.rests.get(piece)
  const length = before === undefined ? first : Math.min(longest, before.length * 2)
  self.resting.add(piece)
  self.rests.set(piece, { until: now + length, length })
}

/** Ends the rests that are over, and forgets what is long past. Returns whether any ended. */
export const wake = (self: Resting, now: number): boolean => {
  let isAny = false
  for (const [piece, { until }] of self.rests) {
    if (now >= until && self.resting.delete(piece)) isAny = true
    if (now >= until + forgottenAfter) self.rests.delete(piece)
  }
  return isAny
}

/** Nothing is held against the peer for this piece any more. */
export const forget = (self: Resting, piece: PieceIndex): void => {
  self.resting.delete(piece)
  self.rests.delete(piece)
}

/** The same for every piece. */
export const forgetAll = (self: Resting): void => {
  self.resting.clear()
  self.rests.clear()
}
