/**
 * What a torrent knows about an address: the pieces of which it alone sent a damaged copy, and how its latest pieces
 * were. It outlives the connections to that address, so a reconnection erases nothing. Whom to ban is decided
 * elsewhere: a peer that is the only source of a piece is kept, because it may be an honest one with a damaged disk.
 *
 * A peer that sends only damaged pieces could make us fetch a whole torrent in vain. So from its first damaged piece to
 * its next right one it is asked for one new piece at a time, and from the second damaged piece in a row on it pauses
 * in between, each time twice as long.
 *
 * Pure: `now`, in milliseconds, is an argument.
 */
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as Resting from "./Resting.ts"

/** How long a peer pauses after its second damaged piece in a row (milliseconds); it doubles with each. */
export const firstPause = 1_000

/** The longest pause (milliseconds). */
export const longestPause = 600_000

/** What is known of one address. */
export interface Standing {
  /** The pieces of which its copy was damaged. */
  readonly damaged: Resting.Resting
  /** Whether it ever sent a right piece, or a part of one. */
  isProven: boolean
  /** Damaged pieces since its last right one, without those that were under way when a pause began. */
  damagedInARow: number
  /** Whether nothing is requested from it now. */
  isPaused: boolean
  pausedUntil: number
}

/** Makes the standing of an address about which nothing is known. */
export const make = (): Standing => ({
  damaged: Resting.make(),
  isProven: false,
  damagedInARow: 0,
  isPaused: false,
  pausedUntil: 0
})

/** Notes that it sent a damaged copy of a piece. */
export const damage = (self: Standing, piece: PieceIndex, now: number): void => {
  Resting.rest(self.damaged, piece, Resting.afterDamage, now)
  if (self.isPaused) return
  const pauses = self.damagedInARow++
  if (pauses === 0) return
  self.isPaused = true
  self.pausedUntil = now + Math.min(longestPause, firstPause * 2 ** (pauses - 1))
}

/** Notes that it sent a right piece, or a part of one. Returns whether more may be requested from it than before. */
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

/** Whether its last copy of `piece` was damaged. */
export const hasDamaged = (self: Standing, piece: PieceIndex): boolean => self.damaged.rests.has(piece)

/** Whether no damaged piece of it is remembered. */
export const isClean = (self: Standing): boolean => self.damaged.rests.size === 0 && self.damagedInARow === 0
