/**
 * Super-seeding (BEP 16): how the first seed of a torrent gives little more than one copy away instead of several.
 *
 * We seem to have nothing, and tell each peer of one piece at a time: one that no other peer has or was told of. A peer
 * is told of another piece when a second peer has its last one, which proves that it passes on what it gets. A piece
 * that two peers have is spread, and left to them. When all are, and half of the peers have everything, the seed goes
 * on as an ordinary one.
 *
 * Where a proof may never come the seed is patient, not stubborn: who has its piece is told of another after a while,
 * or at once where all others have it too; a piece that its peer does not fetch is offered to somebody else; and who
 * gets nothing from others is told of spread pieces too.
 *
 * A pure machine; `now` is in milliseconds. The caller begins each session with no pieces (an empty bitfield or `have
 * none`, BEP 6), reports what peers have and what they are sent, sends the `have`s, and serves each peer only what it
 * was told of (`isTold`). At the end it tells each the pieces in `untold`.
 */

import * as PiecePicker from "../assembly/PiecePicker.ts"
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type * as Prng from "../base/Prng.ts"

/** Holders with which a piece is spread: the peer that was told of it, and one that has it from there. */
const spreadHolders = 2

/**
 * How long a piece is left to the peer that was told of it or has it, from the last sign of it on (milliseconds). Shorter,
 * and slow peers' pieces are given twice; longer, and peers that cannot reach each other wait for nothing.
 */
export const defaultPatience = 120_000

/** A peer that takes part. */
export interface Recipient<P> {
  readonly peer: P
  /** What it has, as far as it said so. */
  readonly has: Bitfield.Bitfield
  /** What it neither has nor was told of. */
  readonly untold: Bitfield.Bitfield
  /** The piece it was told of last. */
  offered: PieceIndex | undefined
  /** When it joined, came to a piece, or was told of one. */
  lastProgress: number
}

/** What a peer is to be told. */
export interface Offer<P> {
  readonly peer: P
  readonly piece: PieceIndex
}

/** The state of one torrent's super-seeding. Change it only through this module. */
export interface SuperSeeding<P> {
  /** Its candidates are the pieces that may be offered: neither spread nor claimed. */
  readonly picker: PiecePicker.PiecePicker
  /** Pieces that are left to somebody, and until when; the earliest first. */
  readonly claims: Map<PieceIndex, number>
  /** By peer, told apart by identity. */
  readonly recipients: Map<P, Recipient<P>>
  readonly patience: number
  /** Pieces that are not spread. */
  remaining: number
}

/** Nothing spread, nobody there. */
export const make = <P>(options: {
  readonly pieceCount: number
  readonly random: Prng.Prng
  /** Milliseconds; see `defaultPatience`. */
  readonly patience?: number | undefined
}): SuperSeeding<P> => ({
  picker: PiecePicker.make(options.pieceCount, options.random),
  claims: new Map(),
  recipients: new Map(),
  patience: options.patience ?? defaultPatience,
  remaining: options.pieceCount
})

/**
 * Whether super-seeding has nothing more to do: every piece is spread, and half of the peers have all. Ending with the
 * first that has all would give every other what it lacks still, which the peers give each other as well.
 */
export const isDone = <P>(self: SuperSeeding<P>): boolean => {
  if (self.remaining > 0) return false
  let complete = 0
  for (const { has } of self.recipients.values()) if (Bitfield.isFull(has)) complete++
  return complete > 0 && complete * 2 >= self.recipients.size
}

/** A peer joins that has the pieces in `has`, which is copied. */
export const join = <P>(self: SuperSeeding<P>, peer: P, has: Bitfield.Bitfield, now: number): void => {
  const recipient: Recipient<P> = {
    peer,
    has: Bitfield.make(has.length),
    untold: Bitfield.full(has.length),
    offered: undefined,
    lastProgress: now
  }
  self.recipients.set(peer, recipient)
  for (const piece of Bitfield.indices(has)) gain(self, peer, piece as PieceIndex, now)
}

/** A peer says that it has `piece`. */
export const gain = <P>(self: SuperSeeding<P>, peer: P, piece: PieceIndex, now: number): void => {
  const recipient = self.recipients.get(peer)
  if (recipient === undefined || !Bitfield.add(recipient.has, piece)) return
  Bitfield.remove(recipient.untold, piece)
  recipient.lastProgress = now
  PiecePicker.gain(self.picker, piece)
  const holders = self.picker.availability[piece]!
  if (holders < spreadHolders) claim(self, piece, now)
  else if (holders === spreadHolders) {
    self.remaining--
    self.claims.delete(piece)
    PiecePicker.remove(self.picker, piece)
  }
}

/** A part of `piece` was sent to the peer: it is slow perhaps, but it fetches what it was told of. */
export const sent = <P>(self: SuperSeeding<P>, peer: P, piece: PieceIndex, now: number): void => {
  if (self.recipients.get(peer)?.offered === piece && self.claims.has(piece)) claim(self, piece, now)
}

/** A peer is gone. What only it had, or was told of, is there for others. */
export const leave = <P>(self: SuperSeeding<P>, peer: P, now: number): void => {
  const recipient = self.recipients.get(peer)
  if (recipient === undefined) return
  self.recipients.delete(peer)
  for (const piece of Bitfield.indices(recipient.has)) lose(self, piece as PieceIndex, now)
  if (recipient.offered !== undefined && self.picker.availability[recipient.offered] === 0) {
    release(self, recipient.offered)
  }
}

const lose = <P>(self: SuperSeeding<P>, piece: PieceIndex, now: number): void => {
  PiecePicker.lose(self.picker, piece)
  const holders = self.picker.availability[piece]!
  if (holders === 0) release(self, piece)
  else if (holders === spreadHolders - 1) {
    self.remaining++
    // Who still has it may pass it on.
    claim(self, piece, now)
  }
}

const claim = <P>(self: SuperSeeding<P>, piece: PieceIndex, now: number): void => {
  self.claims.delete(piece)
  self.claims.set(piece, now + self.patience)
  PiecePicker.remove(self.picker, piece)
}

const release = <P>(self: SuperSeeding<P>, piece: PieceIndex): void => {
  self.claims.delete(piece)
  PiecePicker.insert(self.picker, piece)
}

const releaseExpired = <P>(self: SuperSeeding<P>, now: number): void => {
  for (const [piece, until] of self.claims) {
    // A claim that lies further ahead than any can is from before the clock was put back.
    if (until > now && until <= now + self.patience) return
    release(self, piece)
  }
}

/** Whether a peer is to be told of another piece. */
const isReady = <P>(self: SuperSeeding<P>, { has, offered }: Recipient<P>): boolean => {
  if (offered === undefined) return true
  const holders = self.picker.availability[offered]!
  if (holders >= spreadHolders) return true
  return Bitfield.has(has, offered) && (holders === self.recipients.size || !self.claims.has(offered))
}

const nothing: ReadonlySet<PieceIndex> = new Set()

/** The spread piece that fewest have, of those that the peer neither has nor was told of. */
const rarestSpread = <P>(self: SuperSeeding<P>, { untold }: Recipient<P>): PieceIndex | undefined => {
  const { availability } = self.picker
  let rarest: PieceIndex | undefined
  for (const index of Bitfield.indices(untold)) {
    const holders = availability[index]!
    if (holders < spreadHolders) continue
    if (rarest === undefined || holders < availability[rarest]!) rarest = index as PieceIndex
  }
  return rarest
}

const choose = <P>(self: SuperSeeding<P>, recipient: Recipient<P>, now: number): PieceIndex | undefined => {
  if (!isReady(self, recipient)) return undefined
  const piece = PiecePicker.pick(self.picker, recipient.untold, nothing)
  if (piece !== undefined) return piece
  const idle = now - recipient.lastProgress
  return idle >= self.patience || idle < 0 ? rarestSpread(self, recipient) : undefined
}

/** What peers are to be told now. To be asked once a second or so, and when a peer has a new piece. */
export const offers = <P>(self: SuperSeeding<P>, now: number): ReadonlyArray<Offer<P>> => {
  releaseExpired(self, now)
  const made: Array<Offer<P>> = []
  for (const recipient of self.recipients.values()) {
    const piece = choose(self, recipient, now)
    if (piece === undefined) continue
    recipient.offered = piece
    recipient.lastProgress = now
    Bitfield.remove(recipient.untold, piece)
    if (self.picker.availability[piece]! < spreadHolders) claim(self, piece, now)
    made.push({ peer: recipient.peer, piece })
  }
  return made
}

/** Whether a peer may be served `piece`: it was told of it, or has it anyway. */
export const isTold = <P>(self: SuperSeeding<P>, peer: P, piece: PieceIndex): boolean => {
  const recipient = self.recipients.get(peer)
  return recipient !== undefined && !Bitfield.has(recipient.untold, piece)
}

/** What a peer has to be told of when super-seeding ends: the pieces that it neither has nor was told of. */
export const untold = <P>(self: SuperSeeding<P>, peer: P): Iterable<PieceIndex> => {
  const recipient = self.recipients.get(peer)
  return recipient === undefined ? [] : (Bitfield.indices(recipient.untold) as Iterable<PieceIndex>)
}
