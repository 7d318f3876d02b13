/**
 * How an address stands with a torrent: the pieces of which it sent a damaged copy, all by itself, and how it did
 * lately. It outlives the connections to that address, so that reconnecting wipes nothing away. Whom to ban is not decided
 * here: a peer that is the only source of a piece is kept, as it may be an honest one with a rotten disk.
 *
 * A peer that sends nothing but damaged pieces would have a whole torrent sent in vain. So from its first damaged piece to
 * its next right one it is trusted with one new piece at a time, and from the second in a row on it is left alone in
 * between, each time twice as long.
 *
 * Pure: `now` comes in, in milliseconds.
 */
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as Resting from "./Resting.ts"

/** How long a peer is left alone after its second damaged piece in a row (milliseconds); it doubles with each. */
export const firstPause = 1_000

/** The longest pause (milliseconds). */
export const longestPause = 600_000

/** What is known of one address. */
export interface Standing {
  /** The pieces of which its copy was damaged. */
  readonly damaged: Resting.Resting
  /** Whether a right piece ever came from it, or a part of one. */
  isProven: boolean
  /** Damaged pieces since its last right one; those that were on their way when a pause began do not count. */
  damagedInARow: number
  /** Whether it is asked for nothing now. */
  isPaused: boolean
  pausedUntil: number
}

/** Nothing is held against it. */
export const make = (): Standing => ({
  damaged: Resting.make(),
  isProven: false,
  damagedInARow: 0,
  isPaused: false,
  pausedUntil: 0
})

/** It sent a damaged copy of a piece. */
export const damage = (self: Standing, piece: PieceIndex, now: number): void => {
  Resting.rest(self.damaged, piece, Resting.afterDamage, now)
  if (self.isPaused) return
  const pauses = self.damagedInARow++
  if (pauses === 0) return
  self.isPaused = true
  self.pausedUntil = now + Math.min(longestPause, firstPause * 2 ** (pauses - 1))
}

/** It sent a right piece, or a part of one. Returns whether more may be requested from it than before. */
export const redeem = (self: Standing): boolean => {
  const wasOnTrial = self.damagedInARow > 0
  self.isProven = true
  self.damagedInARow = 0
  self.isPaused = false
  return wasOnTrial
}

/** Ends what is over at `now`. Returns whether more may be requested from it than before. */
export const wake = (self: Standing, now: number): boolean => {
  const isAny = Resting.wake(self.damaged, now)
  if (!self.isPaused || now < self.pausedUntil) return isAny
  self.isPaused = false
  return true
}

/** Whether its copy of `piece` was damaged when it was last seen. */
export const hasDamaged = (self: Standing, piece: PieceIndex): boolean => self.damaged.rests.has(piece)

/** Whether nothing is held against it. */
export const isClean = (self: Standing): boolean => self.damaged.rests.size === 0 && self.damagedInARow === 0
