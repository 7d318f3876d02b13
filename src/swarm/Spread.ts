/**
 * How far the pieces of a super-seed are spread (BEP 16): how many peers hold each, and to whom those that are not
 * spread are left. `SuperSeeding.ts` says who holds what, and picks what it offers.
 *
 * A seed reports every piece with five bytes and may do so again and again, so seeds are counted apart and a seed that
 * joins or leaves costs the same however many pieces there are. While there is one, a piece is spread that any other
 * peer holds, and the others are left to the seed as long as it uploads. While there are two, every piece is spread.
 */
import * as PiecePicker from "../assembly/PiecePicker.ts"
import type * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type * as Prng from "../base/Prng.ts"

/** How many peers hold a spread piece: the one that was offered it, and one that received it from there. */
export const spreadHolders = 2

/** What is known of a peer that holds pieces. */
export interface Holder {
  /** How many pieces only it holds. */
  alone: number
  /** When another peer last got a piece that only it held, or since when only it holds any. */
  forwardedAt: number
}

/** A piece that is left to a peer: to fetch it, or to upload it to others. */
interface Claim<H> {
  /** The peer; `undefined` if the other holders of the piece have left and it is not known who remains. */
  readonly owner: H | undefined
  readonly since: number
}

/** The pieces of one torrent and their holders. Changed only through this module. */
export interface Spread<H extends Holder> {
  /** Its candidates are the pieces that may be offered to any peer: neither spread among the counted nor claimed. */
  readonly picker: PiecePicker.PiecePicker
  /** All pieces that we can upload, by how many peers hold them: what isolated peers are offered. */
  readonly rarest: PiecePicker.PiecePicker
  /** Pieces that are left to a peer, the earliest first. A piece that one peer holds is claimed, too. */
  readonly claims: Map<PieceIndex, Claim<H>>
  /** Who holds a piece alone, apart from seeds. */
  readonly soleHolders: Map<PieceIndex, H>
  /** Pieces that we cannot upload, which are neither candidates nor claimed. */
  readonly withdrawn: Set<PieceIndex>
  /** How many pieces of those that we can upload have no counted holder, and how many have one. */
  readonly counts: [number, number]
  /** How many seeds there are, and when one of them last joined or uploaded something. */
  seeds: number
  seedsActiveAt: number
}

/** Makes it without holders. */
export const make = <H extends Holder>(pieceCount: number, random: Prng.Prng): Spread<H> => ({
  picker: PiecePicker.make(pieceCount, random),
  rarest: PiecePicker.make(pieceCount, random),
  claims: new Map(),
  soleHolders: new Map(),
  withdrawn: new Set(),
  counts: [pieceCount, 0],
  seeds: 0,
  seedsActiveAt: 0
})

/** How many of the pieces that we can upload are not spread. */
export const remaining = <H extends Holder>({ counts, seeds }: Spread<H>): number =>
  (seeds < spreadHolders ? counts[0] : 0) + (seeds === 0 ? counts[1] : 0)

/** Whether so much time has passed; the clock may have been set back. */
export const isPast = (since: number, patience: number, now: number): boolean => now - since >= patience || since > now

const holdersOf = <H extends Holder>({ picker }: Spread<H>, piece: PieceIndex): number => picker.availability[piece]!

const count = <H extends Holder>(self: Spread<H>, piece: PieceIndex, change: 1 | -1): void => {
  const holders = holdersOf(self, piece)
  if (holders < spreadHolders && !self.withdrawn.has(piece)) self.counts[holders as 0 | 1] += change
}

/** A peer holds one more piece. `isFromOthers` says whether another peer uploaded it. */
export const add = <H extends Holder>(
  self: Spread<H>,
  piece: PieceIndex,
  holder: H,
  isFromOthers: boolean,
  now: number
): void => {
  count(self, piece, -1)
  PiecePicker.gain(self.picker, piece)
  PiecePicker.gain(self.rarest, piece)
  count(self, piece, 1)
  const holders = holdersOf(self, piece)
  if (holders === 1) {
    if (isFromOthers && self.seeds > 0) self.seedsActiveAt = now
    if (holder.alone++ === 0) holder.forwardedAt = now
    self.soleHolders.set(piece, holder)
    claim(self, piece, holder, now)
    return
  }
  const giver = forgetSoleHolder(self, piece)
  if (isFromOthers && giver !== undefined) giver.forwardedAt = now
  if (holders !== spreadHolders) return
  self.claims.delete(piece)
  PiecePicker.remove(self.picker, piece)
}

const forgetSoleHolder = <H extends Holder>(self: Spread<H>, piece: PieceIndex): H | undefined => {
  const holder = self.soleHolders.get(piece)
  if (holder === undefined) return undefined
  self.soleHolders.delete(piece)
  holder.alone--
  return holder
}

/** A peer that held a piece has left. */
export const remove = <H extends Holder>(self: Spread<H>, piece: PieceIndex, now: number): void => {
  count(self, piece, -1)
  PiecePicker.lose(self.picker, piece)
  PiecePicker.lose(self.rarest, piece)
  count(self, piece, 1)
  const holders = holdersOf(self, piece)
  if (holders >= spreadHolders) return
  // Another peer that has it may upload it.
  if (holders === spreadHolders - 1) return claim(self, piece, undefined, now)
  forgetSoleHolder(self, piece)
  release(self, piece)
}

/** A peer that holds every piece has joined. */
export const addSeed = <H extends Holder>(self: Spread<H>, now: number): void => {
  self.seeds++
  self.seedsActiveAt = now
}

/** A seed has left; `others` are the peers that remain. Who held a piece beside seeds now has it alone. */
export const removeSeed = <H extends Holder>(self: Spread<H>, others: Iterable<H>, now: number): void => {
  if (--self.seeds > 0) return
  for (const holder of others) holder.forwardedAt = now
}

/** Whether a piece is left to nobody and not spread among the counted holders. */
export const isUnclaimed = <H extends Holder>({ picker }: Spread<H>, piece: PieceIndex): boolean =>
  PiecePicker.isCandidate(picker, piece)

/** Leaves a piece to a peer. */
export const claim = <H extends Holder>(
  self: Spread<H>,
  piece: PieceIndex,
  owner: H | undefined,
  since: number
): void => {
  self.claims.delete(piece)
  PiecePicker.remove(self.picker, piece)
  if (!self.withdrawn.has(piece)) self.claims.set(piece, { owner, since })
}

const release = <H extends Holder>(self: Spread<H>, piece: PieceIndex): void => {
  self.claims.delete(piece)
  if (!self.withdrawn.has(piece)) PiecePicker.insert(self.picker, piece)
}

/** Leaves a piece no longer to `owner`. */
export const releaseOf = <H extends Holder>(self: Spread<H>, piece: PieceIndex, owner: H): void => {
  if (self.claims.get(piece)?.owner === owner) release(self, piece)
}

/** Whether a peer uploads to others what only it holds, or need not: nothing, or what seeds hold, too. */
export const isForwarding = <H extends Holder>(self: Spread<H>, holder: H, patience: number, now: number): boolean =>
  holder.alone === 0 || self.seeds > 0 || !isPast(holder.forwardedAt, patience, now)

/** Leaves to nobody what its owner neither fetches nor forwards. */
export const releaseExpired = <H extends Holder>(self: Spread<H>, patience: number, now: number): void => {
  for (const [piece, { owner, since }] of self.claims) {
    // A claim of the future is from before the clock was set back.
    if (!isPast(since, patience, now)) return
    const isHeld = owner !== undefined && self.soleHolders.get(piece) === owner
    if (isHeld && !isPast(owner.forwardedAt, patience, now)) claim(self, piece, owner, owner.forwardedAt)
    else release(self, piece)
  }
}

/** We can upload a piece no longer. */
export const withdraw = <H extends Holder>(self: Spread<H>, piece: PieceIndex): void => {
  if (self.withdrawn.has(piece)) return
  count(self, piece, -1)
  self.withdrawn.add(piece)
  self.claims.delete(piece)
  PiecePicker.remove(self.picker, piece)
  PiecePicker.remove(self.rarest, piece)
}

/** We can upload a piece again. */
export const restore = <H extends Holder>(self: Spread<H>, piece: PieceIndex, now: number): void => {
  if (!self.withdrawn.delete(piece)) return
  count(self, piece, 1)
  PiecePicker.insert(self.rarest, piece)
  const holders = holdersOf(self, piece)
  if (holders === 1) claim(self, piece, self.soleHolders.get(piece), now)
  else if (holders === 0) release(self, piece)
}

const nothing: ReadonlySet<PieceIndex> = new Set()

/** Picks a piece of `among` that is neither spread nor left to a peer. */
export const pick = <H extends Holder>(
  self: Spread<H>,
  among: Bitfield.Bitfield,
  patience: number,
  now: number
): PieceIndex | undefined => {
  if (self.seeds > 0 && !isPast(self.seedsActiveAt, patience, now)) return undefined
  const piece = PiecePicker.pick(self.picker, among, nothing)
  // The picker knows no seeds, but if any piece is without another holder, it picks such a piece.
  return piece === undefined || holdersOf(self, piece) + self.seeds >= spreadHolders ? undefined : piece
}

/** Picks the rarest piece of `among`, whoever holds it. */
export const pickRarest = <H extends Holder>(self: Spread<H>, among: Bitfield.Bitfield): PieceIndex | undefined =>
  PiecePicker.pick(self.rarest, among, nothing)

/** Forgets what was found out about `among`: nothing is picked of it any more. */
export const forget = <H extends Holder>(self: Spread<H>, among: Bitfield.Bitfield): void => {
  PiecePicker.forget(self.picker, among)
  PiecePicker.forget(self.rarest, among)
}
