/**
 * Who gets a place: which peers of which torrents an engine is connected to. Pure: `now` is an argument.
 *
 * A place is a connection with a peer that has introduced itself. Dials take no place, because most addresses are dead:
 * they have a budget of their own, which the torrents use in turn. While places are short (the engine's or a
 * torrent's), a newcomer displaces, in this order:
 *
 * 1. A peer that has been of no use for long.
 * 2. If the newcomer connected to us: a peer of the host with most places. A host is an IPv4 address or an IPv6 /64.
 * 3. A peer of the torrent with most places, if it keeps at least as many as the newcomer's torrent then has.
 * 4. If there are more torrents than places: the peer of a torrent whose turn is over.
 * 5. A peer of its own torrent that is preferred less (`swarm/PeerPolicy.ts`). By 2 to 5 none leaves that is preferred.
 *
 * By 1 and 2 another torrent does not lose its last place to one that has any. By 1 to 3 and 5 a host takes no place
 * from one that has fewer, but a torrent that has had no place for as long as a turn may give one to any host.
 *
 * Places are also given up, and become fewer for a while, when the process runs out of descriptors.
 */
import * as IpAddress from "../base/IpAddress.ts"
import type { Newcomer, Occupant, Why } from "./Occupant.ts"

export type { Newcomer, Occupant, Use, Why } from "./Occupant.ts"

/** The most dials of all torrents at once. Home routers fail with too many half-open connections. */
export const maxDialing = 40

/**
 * How long a torrent keeps its only place if others have none (milliseconds). As long as a peer may be of no use: in a
 * shorter time many peers unchoke nobody.
 */
export const turn = 120_000

/** How soon after a shortage of descriptors, or after it grew, the number of places grows again (milliseconds). */
export const growthInterval = 10_000

/** How often places are reviewed (milliseconds). */
const reviewInterval = 1_000

/** A place of a torrent. It is no longer held when it was released or displaced. */
export interface Place {
  readonly share: Share
  readonly host: string
  /** How much its peer is preferred to others of its torrent. */
  readonly rank: number
  occupant: Occupant
  state: "held" | "released" | "displaced"
  why: Why | undefined
}

/** The places of one torrent. Made by `share`, changed only here. */
export interface Share {
  readonly max: number
  /** Called when the torrent may dial after all. Must not dial within the call. */
  readonly wake: () => void
  readonly hosts: Map<string, number>
  /** Its places, by the ranks of their peers. */
  readonly ranks: Map<number, number>
  held: number
  /** The rank of the peer that it dials next. */
  wantedRank: number
  /** Its dials, including one that was granted and has not begun. */
  dialing: number
  isGranted: boolean
  /** Of those who have as many places and dials, the one with the lowest number dials next. */
  turn: number
  /** Since when it has had no place, and how long it had none before it got one (milliseconds). */
  emptySince: number
  placedAt: number
  lackedFor: number
  /** How many of its peers were useless at the last review. */
  useless: number
}

/** The shares that hold the same number of places, at the last review. */
interface Level {
  shares: number
  useless: number
  /** Places that their torrent holds alone and whose turn is over. */
  over: number
}

/** The places of one engine. */
export interface Places {
  readonly max: number
  /** How many there may be now: fewer than `max` while descriptors are short. */
  capacity: number
  readonly held: Set<Place>
  readonly hosts: Map<string, number>
  dialing: number
  /** Torrents that have somebody to dial. */
  readonly waiting: Set<Share>
  levels: ReadonlyMap<number, Level>
  turns: number
  reviewAt: number
  /** When the number of places last changed for want of descriptors (milliseconds). */
  resizedAt: number
}

/** Makes `max` places, none of which is held. */
export const make = (max: number): Places => ({
  max,
  capacity: max,
  held: new Set(),
  hosts: new Map(),
  dialing: 0,
  waiting: new Set(),
  levels: new Map(),
  turns: 0,
  reviewAt: 0,
  resizedAt: 0
})

/** Makes the share of a torrent that may have `max` places and has none yet. */
export const share = (max: number, now: number, wake: () => void): Share => ({
  max,
  wake,
  hosts: new Map(),
  ranks: new Map(),
  held: 0,
  wantedRank: 0,
  dialing: 0,
  isGranted: false,
  turn: 0,
  emptySince: now,
  placedAt: 0,
  lackedFor: 0,
  useless: 0
})

const count = <K>(counts: Map<K, number>, key: K, change: 1 | -1): void => {
  const number = (counts.get(key) ?? 0) + change
  if (number === 0) counts.delete(key)
  else counts.set(key, number)
}

const hold = (self: Places, place: Place, now: number): void => {
  const { host, rank, share } = place
  self.held.add(place)
  count(self.hosts, host, 1)
  count(share.hosts, host, 1)
  count(share.ranks, rank, 1)
  if (share.held++ > 0) return
  share.placedAt = now
  share.lackedFor = now - share.emptySince
}

const vacate = (self: Places, place: Place, now: number): void => {
  const { host, rank, share } = place
  self.held.delete(place)
  count(self.hosts, host, -1)
  count(share.hosts, host, -1)
  count(share.ranks, rank, -1)
  if (--share.held > 0) return
  share.emptySince = now
  share.useless = 0
}

/**
 * Takes a place for a peer that has introduced itself, displacing another one if there is none; `undefined` if this
 * peer has to wait. The caller has to `release` it.
 */
export const claim = (self: Places, share: Share, peer: Newcomer, now: number): Place | undefined => {
  const { isIncoming, occupant, rank = 0 } = peer
  const place: Place = { share, host: IpAddress.network(peer.host), rank, occupant, state: "held", why: undefined }
  if (self.held.size < self.capacity && share.held < share.max) {
    hold(self, place, now)
    return place
  }
  const displaced = victim(self, place, isIncoming, now)
  if (displaced === undefined) return undefined
  displaced.place.state = "displaced"
  displaced.place.why = displaced.why
  vacate(self, displaced.place, now)
  hold(self, place, now)
  displaced.place.occupant.leave(displaced.why)
  return place
}

/** Somebody who can be displaced. Of two, the one with the higher numbers is, the first number counting most. */
interface Victim {
  readonly place: Place
  readonly why: Why
  readonly order: ReadonlyArray<number>
}

const isBefore = (one: Victim, other: Victim): boolean => {
  for (const [index, number] of one.order.entries()) {
    if (number !== other.order[index]) return number > other.order[index]!
  }
  return false
}

/** Returns who has to leave for `newcomer`, if anybody. */
const victim = (self: Places, newcomer: Place, isIncoming: boolean, now: number): Victim | undefined => {
  const isTorrentFull = newcomer.share.held >= newcomer.share.max
  let first: Victim | undefined
  for (const place of isTorrentFull || self.held.size >= self.capacity ? self.held : []) {
    if (isTorrentFull && place.share !== newcomer.share) continue
    const hosts = isTorrentFull ? newcomer.share.hosts : self.hosts
    const candidate = candidateFor(place, newcomer, isIncoming, hosts, now)
    if (candidate !== undefined && (first === undefined || isBefore(candidate, first))) first = candidate
  }
  return first
}

const candidateFor = (
  place: Place,
  { host, rank, share }: Place,
  isIncoming: boolean,
  hosts: ReadonlyMap<string, number>,
  now: number
): Victim | undefined => {
  const { idleMillis, isUseless } = place.occupant.useOf(now)
  const [theirs, ours] = [hosts.get(place.host) ?? 0, hosts.get(host) ?? 0]
  const difference = place.share.held - share.held
  const isSpared = place.share !== share && difference <= 0 && place.share.held === 1
  // A host does not get more places by being new again and again.
  if (isUseless && !isSpared && theirs >= ours) return { place, why: "useless", order: [4, -place.rank, idleMillis] }
  const isPreferred = place.share === share && place.rank > rank
  if (isIncoming && !isSpared && !isPreferred && theirs >= ours + 2) {
    return { place, why: "host", order: [3, theirs, -place.rank, idleMillis] }
  }
  // Nor by asking for another torrent, unless that has gone without for long.
  const isFair = theirs >= ours || (share.held === 0 && now - share.emptySince >= turn)
  if ((difference >= 2 && isFair) || (difference === 1 && share.held === 0 && isTurnOver(place.share, share, now))) {
    return { place, why: "torrent", order: [2, difference, -place.rank, theirs, idleMillis] }
  }
  if (place.share === share && place.rank < rank && theirs >= ours)
    return { place, why: "rank", order: [1, -place.rank, idleMillis] }
  return undefined
}

/** Whether a torrent with one place has to pass it on to one with none. */
const isTurnOver = (holder: Share, newcomer: Share, now: number): boolean =>
  now - holder.placedAt >= turn || holder.lackedFor < now - newcomer.emptySince - (now - holder.placedAt)

/** Ends a place. A second call does nothing. */
export const release = (self: Places, place: Place, now: number): void => {
  if (place.state !== "held") return
  place.state = "released"
  vacate(self, place, now)
  grant(self)
}

/**
 * Asks for a dial of a peer of some rank; `false` if the torrent has to wait. It is then woken when it may ask again,
 * unless it leaves the line before. Each dial has to end with `endDial`.
 */
export const takeDial = (self: Places, share: Share, rank = 0): boolean => {
  share.wantedRank = rank
  if (!share.isGranted) {
    self.waiting.add(share)
    grant(self)
  }
  if (!share.isGranted) return false
  share.isGranted = false
  return true
}

/** Ends a dial: it failed, or it became a connection with a peer that has introduced itself. */
export const endDial = (self: Places, share: Share): void => {
  self.dialing--
  share.dialing--
  grant(self)
}

/** Notes that a torrent has nobody to dial. */
export const leaveLine = (self: Places, share: Share): void => {
  self.waiting.delete(share)
  if (!share.isGranted) return
  share.isGranted = false
  endDial(self, share)
}

/** The dials of a torrent that have begun. */
export const dials = (share: Share): number => share.dialing - (share.isGranted ? 1 : 0)

const grant = (self: Places): void => {
  while (self.dialing < Math.min(maxDialing, self.capacity)) {
    const next = nextInLine(self)
    if (next === undefined) return
    self.waiting.delete(next)
    next.turn = ++self.turns
    next.isGranted = true
    next.dialing++
    self.dialing++
    next.wake()
  }
}

const nextInLine = (self: Places): Share | undefined => {
  let next: Share | undefined
  for (const share of self.waiting) {
    if ((next === undefined || isPoorer(share, next)) && mayDial(self, share)) next = share
  }
  return next
}

const isPoorer = (one: Share, other: Share): boolean => {
  const difference = one.held + one.dialing - other.held - other.dialing
  return difference === 0 ? one.turn < other.turn : difference < 0
}

/** Whether one more peer could get a place. A few more are dialled than there are free places: most do not answer. */
const mayDial = (self: Places, share: Share): boolean => {
  const lower = heldBelow(share)
  if (share.dialing >= share.max - share.held + share.useless + lower) return false
  const free = self.capacity - self.held.size
  return self.dialing < (free > 0 ? free + Math.floor(self.capacity / 10) : displaceable(self, share) + lower)
}

/** How many places of a torrent have peers of a lower rank than the one that it dials next. */
const heldBelow = ({ ranks, wantedRank }: Share): number => {
  let places = 0
  for (const [rank, held] of ranks) if (rank < wantedRank) places += held
  return places
}

/** How many places the torrent could get from others, and from useless peers of its own. */
const displaceable = (self: Places, share: Share): number => {
  let places = share.useless
  for (const [held, { over, shares, useless }] of self.levels) {
    // Its own are counted. Of torrents with no more than it has, each may keep one.
    const others = held === share.held ? Math.max(0, useless - share.useless) : useless
    places += held > share.held ? others : Math.floor((others * (held - 1)) / held)
    places += Math.max(0, Math.floor((held - share.held - share.dialing) / 2)) * shares
    if (share.held === 0 && share.dialing === 0) places += over
  }
  return places
}

/** Reviews how useful the peers are, and lets torrents dial that can get a place from others. To be called often. */
export const step = (self: Places, now: number): void => {
  if (now < self.reviewAt) return
  self.reviewAt = now + reviewInterval
  if (self.capacity < self.max && now - self.resizedAt >= growthInterval) {
    self.capacity = Math.min(self.max, self.capacity + Math.max(1, self.capacity >>> 3))
    self.resizedAt = now
  }
  review(self, now)
  grant(self)
}

const review = (self: Places, now: number): void => {
  const levels = new Map<number, Level>()
  const shares = new Set<Share>()
  for (const { share } of self.held) shares.add(share)
  for (const share of shares) {
    share.useless = 0
    const level = levels.get(share.held) ?? { shares: 0, useless: 0, over: 0 }
    levels.set(share.held, level)
    level.shares++
    if (share.held === 1 && now - share.placedAt >= turn) level.over++
  }
  for (const { occupant, share } of self.held) {
    if (!occupant.useOf(now).isUseless) continue
    share.useless++
    levels.get(share.held)!.useless++
  }
  self.levels = levels
}

/** Notes that the process has no descriptor left, so that there are no more places than are held. */
export const noteShortage = (self: Places, now: number): void => {
  self.capacity = Math.max(1, Math.min(self.capacity, self.held.size))
  self.resizedAt = now
}

/** Gives up the least useful connection for its descriptor. Returns `false` if there is at most one. */
export const giveUp = (self: Places, now: number): boolean => {
  if (self.held.size <= 1) {
    noteShortage(self, now)
    return false
  }
  let first: Victim | undefined
  for (const place of self.held) {
    const { idleMillis, isUseless } = place.occupant.useOf(now)
    const order = [isUseless ? 1 : 0, place.share.held, -place.rank, self.hosts.get(place.host)!, idleMillis]
    const candidate: Victim = { place, why: "descriptors", order }
    if (first === undefined || isBefore(candidate, first)) first = candidate
  }
  const { place } = first!
  place.state = "displaced"
  place.why = "descriptors"
  vacate(self, place, now)
  noteShortage(self, now)
  place.occupant.leave("descriptors")
  return true
}
