/**
 * Super-seeding (BEP 16): the first seed of a torrent uploads little more than one copy instead of several.
 *
 * We claim to have nothing, and offer each peer one piece at a time: one that no other peer has or was offered. When a
 * second peer has that piece, the first has proved that it uploads what it receives, and is offered another one. A
 * piece that two peers have is spread, and is left to them. When all pieces are spread and half of the peers have
 * everything, we go on as an ordinary seed.
 *
 * A proof may never come, so the seed does not insist on it. A peer that has its piece is offered another one after a
 * while, or at once if all others have the piece too. A piece that its peer does not fetch is offered to another peer.
 * A peer that receives nothing from others is offered spread pieces too.
 *
 * A pure machine; `now` is in milliseconds. The caller begins each session with no pieces (an empty bitfield or `have
 * none`, BEP 6), reports which pieces peers have and receive, sends a `have` for each offer, and serves each peer only
 * the pieces that `mayServe` allows. At the end it announces the pieces in `unoffered` to each peer.
 */

import * as PiecePicker from "../assembly/PiecePicker.ts"
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type * as Prng from "../base/Prng.ts"

/** How many peers hold a spread piece: the one that was offered it, and one that received it from there. */
const spreadHolders = 2

/**
 * How long a piece is left to the peer that was offered it or has it, since the last sign of activity (milliseconds).
 * If it is shorter, pieces of slow peers are sent twice; if it is longer, peers that cannot reach each other wait for
 * nothing.
 */
export const defaultPatience = 120_000

/** A peer that takes part. */
export interface Recipient<P> {
  readonly peer: P
  /** The pieces that it has announced. */
  readonly has: Bitfield.Bitfield
  /** The pieces that it neither has nor was offered. */
  readonly unoffered: Bitfield.Bitfield
  /** The piece that it was offered last. */
  offered: PieceIndex | undefined
  /** When it last joined, got a piece, or was offered one. */
  lastProgress: number
}

/** A piece to announce to a peer. */
export interface Offer<P> {
  readonly peer: P
  readonly piece: PieceIndex
}

/** The state of one torrent's super-seeding. Changed only through this module. */
export interface SuperSeeding<P> {
  /** Its candidates are the pieces that may be offered: neither spread nor claimed. */
  readonly picker: PiecePicker.PiecePicker
  /** Pieces that are left to a peer, and until when; the earliest first. */
  readonly claims: Map<PieceIndex, number>
  /** By peer, compared by identity. */
  readonly recipients: Map<P, Recipient<P>>
  readonly patience: number
  /** How many pieces are not spread. */
  remaining: number
}

/** Makes it without peers and without spread pieces. */
export const make = <P>(options: {
  readonly pieceCount: number
  readonly random: Prng.Prng
  /** Milliseconds; default `defaultPatience`. */
  readonly patience?: number | undefined
}): SuperSeeding<P> => ({
  picker: PiecePicker.make(options.pieceCount, options.random),
  claims: new Map(),
  recipients: new Map(),
  patience: options.patience ?? defaultPatience,
  remaining: options.pieceCount
})

/**
 * Whether super-seeding has nothing more to do: every piece is spread, and half of the peers have everything. If it
 * ended with the first peer that has everything, the seed would upload to all others what they still lack, which peers
 * can upload to each other.
 */
export const isDone = <P>(self: SuperSeeding<P>): boolean => {
  if (self.remaining > 0) return false
  let complete = 0
  for (const { has } of self.recipients.values()) if (Bitfield.isFull(has)) complete++
  return complete > 0 && complete * 2 >= self.recipients.size
}

/** Adds a peer that has the pieces in `has`, which is copied. */
export const join = <P>(self: SuperSeeding<P>, peer: P, has: Bitfield.Bitfield, now: number): void => {
  const recipient: Recipient<P> = {
    peer,
    has: Bitfield.make(has.length),
    unoffered: Bitfield.full(has.length),
    offered: undefined,
    lastProgress: now
  }
  self.recipients.set(peer, recipient)
  for (const piece of Bitfield.indices(has)) gain(self, peer, piece as PieceIndex, now)
}

/** Notes that a peer has announced `piece`. */
export const gain = <P>(self: SuperSeeding<P>, peer: P, piece: PieceIndex, now: number): void => {
  const recipient = self.recipients.get(peer)
  if (recipient === undefined || !Bitfield.add(recipient.has, piece)) return
  Bitfield.remove(recipient.unoffered, piece)
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

/** Notes that a part of `piece` was sent to the peer, so that it is fetching the piece, however slowly. */
export const sent = <P>(self: SuperSeeding<P>, peer: P, piece: PieceIndex, now: number): void => {
  if (self.recipients.get(peer)?.offered === piece && self.claims.has(piece)) claim(self, piece, now)
}

/** Removes a peer. Pieces that only it had, or was offered, may be offered to others. */
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
    // Another peer that has it may upload it.
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
    // A claim that ends later than any can is from before the clock was set back.
    if (until > now && until <= now + self.patience) return
    release(self, piece)
  }
}

/** Whether a peer should be offered another piece. */
const isReady = <P>(self: SuperSeeding<P>, { has, offered }: Recipient<P>): boolean => {
  if (offered === undefined) return true
  const holders = self.picker.availability[offered]!
  if (holders >= spreadHolders) return true
  return Bitfield.has(has, offered) && (holders === self.recipients.size || !self.claims.has(offered))
}

const nothing: ReadonlySet<PieceIndex> = new Set()

/** The rarest spread piece that the peer neither has nor was offered. */
const rarestSpread = <P>(self: SuperSeeding<P>, { unoffered }: Recipient<P>): PieceIndex | undefined => {
  const { availability } = self.picker
  let rarest: PieceIndex | undefined
  for (const index of Bitfield.indices(unoffered)) {
    const holders = availability[index]!
    if (holders < spreadHolders) continue
    if (rarest === undefined || holders < availability[rarest]!) rarest = index as PieceIndex
  }
  return rarest
}

const choose = <P>(self: SuperSeeding<P>, recipient: Recipient<P>, now: number): PieceIndex | undefined => {
  if (!isReady(self, recipient)) return undefined
  const piece = PiecePicker.pick(self.picker, recipient.unoffered, nothing)
  if (piece !== undefined) return piece
  const idle = now - recipient.lastProgress
  return idle >= self.patience || idle < 0 ? rarestSpread(self, recipient) : undefined
}

/** Returns the offers that are due now. To be called about once a second, and when a peer has a new piece. */
export const offers = <P>(self: SuperSeeding<P>, now: number): ReadonlyArray<Offer<P>> => {
  releaseExpired(self, now)
  const made: Array<Offer<P>> = []
  for (const recipient of self.recipients.values()) {
    const piece = choose(self, recipient, now)
    if (piece === undefined) continue
    recipient.offered = piece
    recipient.lastProgress = now
    Bitfield.remove(recipient.unoffered, piece)
    if (self.picker.availability[piece]! < spreadHolders) claim(self, piece, now)
    made.push({ peer: recipient.peer, piece })
  }
  return made
}

/** Whether a peer may be served `piece`: it was offered the piece, or has it anyway. */
export const mayServe = <P>(self: SuperSeeding<P>, peer: P, piece: PieceIndex): boolean => {
  const recipient = self.recipients.get(peer)
  return recipient !== undefined && !Bitfield.has(recipient.unoffered, piece)
}

/** The pieces to announce to a peer when super-seeding ends: those that it neither has nor was offered. */
export const unoffered = <P>(self: SuperSeeding<P>, peer: P): Iterable<PieceIndex> => {
  const recipient = self.recipients.get(peer)
  return recipient === undefined ? [] : (Bitfield.indices(recipient.unoffered) as Iterable<PieceIndex>)
}
