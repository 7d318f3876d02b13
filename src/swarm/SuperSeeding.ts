/**
 * Super-seeding (BEP 16): the first seed of a torrent uploads little more than one copy instead of several.
 *
 * We claim to have nothing, and offer each peer a few pieces at a time: as many as keep its connection busy, and none
 * that another peer has or was offered. A piece is taken when all of it was sent, or when the peer announces it. Then
 * the peer is offered another one. When every piece has two holders and half of the peers have everything, we go on as
 * an ordinary seed.
 *
 * What a peer has alone is left to it: it should upload that to others. Whether it does, others show by announcing a
 * piece that they were not offered. So a peer is judged by what happens around it, and no single piece needs a proof:
 *
 * - A peer forwards if another peer got a piece that it had alone. A peer that has not forwarded for a while is offered
 *   nothing more, and what it has alone is offered to others.
 * - A peer is isolated if it has received nothing from others for a while. It may be the only one, or know only us. It
 *   is offered what it lacks, rare pieces first, whether it forwards or not and whoever else has them.
 *
 * A peer that wants only some files leaves other offers alone. What it was offered keeps it from further offers only
 * while it may still fetch it: not if it fetches nothing for a while although nothing holds it up, and only shortly if
 * it says that it is not interested. It is offered other pieces then, and may still fetch the earlier ones.
 *
 * "A while" is some time longer than a piece takes to reach a peer. A peer that left when it had everything probably
 * goes on uploading, so it counts as a holder as long as others remain.
 *
 * A pure machine; `now` is in milliseconds. The caller begins each session with no pieces (an empty bitfield or `have
 * none`, BEP 6), reports which pieces peers have and receive, sends a `have` for each offer, and serves each peer only
 * the pieces that `mayServe` allows. At the end it announces the pieces in `unoffered` to each peer. A message of a
 * peer costs the same however many pieces there are; what searches for a piece is done once a second or for each piece
 * that was sent.
 */

import * as Bitfield from "../base/Bitfield.ts"
import type { PieceGeometry, PieceIndex } from "../base/PieceGeometry.ts"
import * as Geometry from "../base/PieceGeometry.ts"
import type * as Prng from "../base/Prng.ts"
import * as Spread from "./Spread.ts"

/**
 * How long nothing may happen, at least, until a peer counts as isolated or as not forwarding (milliseconds). Peers
 * find and unchoke each other in this time, and some choose only every ten seconds whom to unchoke.
 */
export const defaultPatience = 12_000

/** The longest patience with slow peers (milliseconds). */
const maxPatience = 120_000

/** How many times as long as a piece takes our patience is. */
const patiencePaces = 3

/** Bytes that are offered to a peer ahead: a fast peer fetches them in the time that the next offer takes. */
const windowBytes = 1_048_576

/** Pieces that are offered to a peer ahead, at least: one that it fetches, and the next one. */
const minWindow = 2

/**
 * A peer that was offered something and fetched nothing for this long (milliseconds) looks only now and then at what it
 * was offered, as rqbit does. From then on it is offered twice as much ahead, up to `maxGrowth` times as much. One that
 * is not interested for so long wants nothing of what it was offered.
 */
const idleMillis = 2_000
const maxGrowth = 16

/** Of few pieces, the first peers should not be offered all: they are divided into so many windows of each peer. */
const windowsPerPeer = 4

/**
 * What a peer does about its offers. `waiting`: it is interested, but choked, or has requests that we have not
 * answered. `interested`: nothing holds it up.
 */
export type Stance = "waiting" | "interested" | "not interested"

/** A piece that a peer was offered and has not taken. */
interface Outstanding {
  readonly since: number
  sentBytes: number
}

/** A peer that takes part. */
export interface Recipient<P> extends Spread.Holder {
  readonly peer: P
  /** The pieces that it has announced. */
  readonly has: Bitfield.Bitfield
  /** The pieces that it neither has nor was offered. */
  readonly unoffered: Bitfield.Bitfield
  /** The offers that it may be about to fetch. */
  readonly outstanding: Map<PieceIndex, Outstanding>
  /** When it was last offered something while it had nothing to fetch, fetched something, or waited for us. */
  busyAt: number
  /** How many times as much as others it is offered ahead. */
  growth: number
  /** Whether it reported every piece at once, so that it is counted as a seed. */
  isSeed: boolean
  /** Whether it had pieces before it had all. One that begins as a seed may have nothing to do with us. */
  hasGrown: boolean
  /** When it joined, or last got a piece from others. */
  receivedAt: number
}

/** A piece to announce to a peer. */
export interface Offer<P> {
  readonly peer: P
  readonly piece: PieceIndex
}

/** The state of one torrent's super-seeding. Changed only through this module. */
export interface SuperSeeding<P> {
  readonly geometry: PieceGeometry
  readonly spread: Spread.Spread<Recipient<P>>
  /** By peer, compared by identity. */
  readonly recipients: Map<P, Recipient<P>>
  readonly minPatience: number
  /** How long a piece takes from its offer until it is taken (milliseconds); the longest lately. */
  pace: number
  /** How many peers have left with everything, since there were none. */
  departed: number
  /** How many of these still count as seeds (`Spread.ts`). */
  departedSeeds: number
}

/** Makes it without peers and without spread pieces. */
export const make = <P>(options: {
  readonly geometry: PieceGeometry
  readonly random: Prng.Prng
  /** Milliseconds, at least; default `defaultPatience`. */
  readonly patience?: number | undefined
}): SuperSeeding<P> => ({
  geometry: options.geometry,
  spread: Spread.make(options.geometry.pieceCount, options.random),
  recipients: new Map(),
  minPatience: options.patience ?? defaultPatience,
  pace: 0,
  departed: 0,
  departedSeeds: 0
})

/**
 * Whether super-seeding has nothing more to do: every piece is spread, and half of the peers have everything. If it
 * ended with the first peer that has everything, the seed would upload to all others what they still lack, which peers
 * can upload to each other.
 */
export const isDone = <P>(self: SuperSeeding<P>): boolean => {
  if (Spread.remaining(self.spread) > 0) return false
  let complete = self.departed
  for (const { has } of self.recipients.values()) if (Bitfield.isFull(has)) complete++
  return complete > 0 && complete * 2 >= self.recipients.size + self.departed
}

const patienceOf = <P>(self: SuperSeeding<P>): number =>
  Math.min(maxPatience, Math.max(self.minPatience, patiencePaces * self.pace))

/** Adds a peer that has the pieces in `has`, which is copied. */
export const join = <P>(self: SuperSeeding<P>, peer: P, has: Bitfield.Bitfield, now: number): void => {
  const recipient: Recipient<P> = {
    peer,
    has: Bitfield.make(has.length),
    unoffered: Bitfield.full(has.length),
    outstanding: new Map(),
    busyAt: now,
    growth: 1,
    isSeed: false,
    hasGrown: false,
    receivedAt: now,
    forwardedAt: now,
    alone: 0
  }
  self.recipients.set(peer, recipient)
  if (Bitfield.isFull(has)) return gainEverything(self, peer, now)
  for (const piece of Bitfield.indices(has)) gain(self, peer, piece as PieceIndex, now)
}

/** Notes that a peer has announced `piece`. */
export const gain = <P>(self: SuperSeeding<P>, peer: P, piece: PieceIndex, now: number): void => {
  const recipient = self.recipients.get(peer)
  if (recipient === undefined || !Bitfield.add(recipient.has, piece)) return
  recipient.hasGrown = true
  const isFromOthers = Bitfield.remove(recipient.unoffered, piece)
  if (isFromOthers) recipient.receivedAt = now
  else take(self, recipient, piece, now)
  Spread.add(self.spread, piece, recipient, isFromOthers, now)
}

/** Notes that a peer has announced every piece at once. Costs no more than the pieces that it announced before. */
export const gainEverything = <P>(self: SuperSeeding<P>, peer: P, now: number): void => {
  const recipient = self.recipients.get(peer)
  if (recipient === undefined || Bitfield.isFull(recipient.has)) return
  forgetOffers(self, recipient)
  Spread.addSeed(self.spread, now)
  removeFrom(self, recipient, now)
  recipient.isSeed = true
  Bitfield.fill(recipient.has)
  Bitfield.clear(recipient.unoffered)
}

/** A peer is no holder any more of the pieces that are counted for it. */
const removeFrom = <P>(self: SuperSeeding<P>, { has }: Recipient<P>, now: number): void => {
  if (has.count > 0) for (const piece of Bitfield.indices(has)) Spread.remove(self.spread, piece as PieceIndex, now)
}

/** A peer needs no more of a piece that it was offered. */
const take = <P>(self: SuperSeeding<P>, recipient: Recipient<P>, piece: PieceIndex, now: number): boolean => {
  const outstanding = recipient.outstanding.get(piece)
  if (outstanding === undefined) return false
  recipient.outstanding.delete(piece)
  self.pace = Math.max(now - outstanding.since, self.pace * 0.9)
  return true
}

/**
 * Notes that bytes of `piece` were sent to the peer. Returns whether it has all of it, so that another offer may be due
 * (`offersTo`).
 */
export const sent = <P>(self: SuperSeeding<P>, peer: P, piece: PieceIndex, bytes: number, now: number): boolean => {
  const recipient = self.recipients.get(peer)
  if (recipient === undefined) return false
  if (now - recipient.busyAt >= idleMillis) grow(recipient)
  recipient.busyAt = now
  const outstanding = recipient.outstanding.get(piece)
  if (outstanding === undefined) return false
  outstanding.sentBytes += bytes
  if (self.spread.claims.get(piece)?.owner === recipient) Spread.claim(self.spread, piece, recipient, now)
  return outstanding.sentBytes >= Geometry.pieceSize(self.geometry, piece) && take(self, recipient, piece, now)
}

const grow = <P>(recipient: Recipient<P>): void => {
  recipient.growth = Math.min(maxGrowth, recipient.growth * 2)
}

/** Removes a peer. Pieces that only it had, or was offered, may be offered to others, unless it had everything. */
export const leave = <P>(self: SuperSeeding<P>, peer: P, now: number): void => {
  const recipient = self.recipients.get(peer)
  if (recipient === undefined) return
  self.recipients.delete(peer)
  Spread.forget(self.spread, recipient.unoffered)
  if (recipient.hasGrown && Bitfield.isFull(recipient.has) && self.recipients.size > 0) {
    self.departed++
    if (recipient.isSeed) self.departedSeeds++
  } else if (recipient.isSeed) Spread.removeSeed(self.spread, self.recipients.values(), now)
  else {
    removeFrom(self, recipient, now)
    forgetOffers(self, recipient)
  }
  if (self.recipients.size > 0) return
  // Nobody is left who could receive something from those that left with everything.
  for (; self.departedSeeds > 0; self.departedSeeds--, self.departed--) Spread.removeSeed(self.spread, [], now)
  for (; self.departed > 0; self.departed--) {
    for (let piece = 0; piece < self.geometry.pieceCount; piece++) Spread.remove(self.spread, piece as PieceIndex, now)
  }
}

/** Notes that we cannot upload a piece any more, so it is offered to nobody. */
export const withdraw = <P>(self: SuperSeeding<P>, piece: PieceIndex): void => {
  Spread.withdraw(self.spread, piece)
  for (const { outstanding } of self.recipients.values()) outstanding.delete(piece)
}

/** Notes that we can upload a piece again. */
export const restore = <P>(self: SuperSeeding<P>, piece: PieceIndex, now: number): void =>
  Spread.restore(self.spread, piece, now)

/** Offers to others what a peer was offered, and counts on the peer no more. */
const forgetOffers = <P>(self: SuperSeeding<P>, recipient: Recipient<P>): void => {
  for (const piece of recipient.outstanding.keys()) Spread.releaseOf(self.spread, piece, recipient)
  recipient.outstanding.clear()
}

/** Forgets the offers of a peer that leaves them alone. */
const forgetIgnored = <P>(self: SuperSeeding<P>, recipient: Recipient<P>, stance: Stance, now: number): void => {
  if (stance === "waiting") recipient.busyAt = now
  const patience = stance === "not interested" ? idleMillis : patienceOf(self)
  if (recipient.outstanding.size === 0 || !Spread.isPast(recipient.busyAt, patience, now)) return
  forgetOffers(self, recipient)
  grow(recipient)
}

/** How many pieces a peer is offered ahead. What isolated peers are offered is not divided among them. */
const windowOf = <P>({ geometry, recipients }: SuperSeeding<P>, growth: number, isIsolated: boolean): number => {
  const busy = Math.ceil((growth * windowBytes) / geometry.pieceLength)
  const part = Math.floor(geometry.pieceCount / (windowsPerPeer * recipients.size))
  return Math.max(minWindow, isIsolated ? busy : Math.min(busy, part))
}

/** Adds the offers that are due to one peer. */
const offerTo = <P>(self: SuperSeeding<P>, recipient: Recipient<P>, now: number, made: Array<Offer<P>>): void => {
  const { outstanding, peer, receivedAt, unoffered } = recipient
  const { spread } = self
  const patience = patienceOf(self)
  const isIsolated = Spread.isPast(receivedAt, patience, now)
  if (!isIsolated && !Spread.isForwarding(spread, recipient, patience, now)) return
  for (let room = windowOf(self, recipient.growth, isIsolated) - outstanding.size; room > 0; room--) {
    const piece =
      Spread.pick(spread, unoffered, patience, now) ?? (isIsolated ? Spread.pickRarest(spread, unoffered) : undefined)
    if (piece === undefined) return
    if (outstanding.size === 0) recipient.busyAt = now
    outstanding.set(piece, { since: now, sentBytes: 0 })
    Bitfield.remove(unoffered, piece)
    if (Spread.isUnclaimed(spread, piece)) Spread.claim(spread, piece, recipient, now)
    made.push({ peer, piece })
  }
}

/** Returns the offers that are due to all peers now. To be called about once a second. */
export const offers = <P>(
  self: SuperSeeding<P>,
  now: number,
  stanceOf: (peer: P) => Stance
): ReadonlyArray<Offer<P>> => {
  Spread.releaseExpired(self.spread, patienceOf(self), now)
  const made: Array<Offer<P>> = []
  for (const recipient of self.recipients.values()) {
    forgetIgnored(self, recipient, stanceOf(recipient.peer), now)
    offerTo(self, recipient, now, made)
  }
  return made
}

/** Returns the offers that are due to one peer now. */
export const offersTo = <P>(self: SuperSeeding<P>, peer: P, now: number): ReadonlyArray<Offer<P>> => {
  const recipient = self.recipients.get(peer)
  const made: Array<Offer<P>> = []
  if (recipient !== undefined) offerTo(self, recipient, now, made)
  return made
}

/** Whether a peer may be served `piece`: it was offered the piece, or has it anyway. */
export const mayServe = <P>(self: SuperSeeding<P>, peer: P, piece: PieceIndex): boolean => {
  const recipient = self.recipients.get(peer)
  return recipient !== undefined && !Bitfield.has(recipient.unoffered, piece)
}

/** The pieces to announce to a peer when super-seeding ends: those that it neither has nor was offered. */
export const unoffered = function* <P>(self: SuperSeeding<P>, peer: P): Iterable<PieceIndex> {
  const recipient = self.recipients.get(peer)
  if (recipient === undefined) return
  for (const index of Bitfield.indices(recipient.unoffered)) {
    const piece = index as PieceIndex
    if (!self.spread.withdrawn.has(piece)) yield piece
  }
}
