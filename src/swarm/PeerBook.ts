/**
 * The addresses that a torrent knows, and what happened at each: which to dial when, and which not for now. Pure: `now`
 * is an argument.
 *
 * The key is the address, because a peer can change its id at will. Each address gets a small number, its key, that
 * stands for it in hot code. A ban (`Bans.ts`) applies to host and port, because good peers may be behind the same NAT. A
 * host with three banned addresses is banned as a whole, except peers on it that have sent right pieces. A host is an
 * IPv4 address or an IPv6 /64, because a peer can take any address of its /64. Nothing here is final: every ban ends,
 * and an address at which this client was found may belong to another one later.
 *
 * The book is bounded, and forgets the least useful addresses first. A connected peer always has an entry, as there is
 * a place for it (`connect/Places.ts`). No operation but `rank` and `recall` takes time in proportion to the book.
 */
import * as IpAddress from "../base/IpAddress.ts"
import * as PeerAddress from "../base/PeerAddress.ts"
import type { SupplierIds } from "../supply/SupplierId.ts"
import * as SupplierId from "../supply/SupplierId.ts"
import type { Origin } from "./Candidate.ts"
import * as Candidate from "./Candidate.ts"
import * as DialQueue from "./DialQueue.ts"
import * as Shelves from "./Shelves.ts"

/**
 * The most addresses that are remembered, besides those of connected and banned peers. Beyond that the least useful one
 * is forgotten (`Shelves.ts`). A new one is never more useful than one that was met, nor than another new one: sources
 * repeat themselves, so a flood of addresses pushes out only those that failed.
 */
export const maxAddresses = 2_000

/** First wait after a failed or short connection (milliseconds). It doubles up to `maxDelay`. */
export const firstDelay = 1_000

/** The longest wait between two attempts at an address (milliseconds). */
export const maxDelay = 600_000

/**
 * How long a peer that had to leave for another one is not dialled (milliseconds): as long as a peer may be of no use,
 * so that the other one has a chance.
 */
export const restWithoutPlace = 120_000

/** How long a peer waits that could not be dialled for want of descriptors (milliseconds). */
const restNotTried = 5_000

/** How long a peer that the policy did not admit is not dialled (milliseconds). */
export const restWhenNotAdmitted = 3_600_000

/** With this many banned addresses of one host, the whole host is banned. */
export const maxBannedPorts = 3

/** A known address. */
export interface Peer {
  /** Its id as a supplier of blocks: blame outlives the connection. */
  readonly key: SupplierId.SupplierId
  readonly address: PeerAddress.PeerAddress
  /** Of those who named it, who is trusted with most, and of these the first. Not who named it before it was given up. */
  origin: Origin
  /** `gone`: there is no reason to dial it; `ourselves`: this client listens there, as far as is known. */
  state: "idle" | "connecting" | "connected" | "gone" | "banned" | "ourselves"
  /** Whether it may be dialled. Not the port from which a peer connected to us. */
  isDialable: boolean
  /** How many attempts in a row have failed. */
  failures: number
  /** When it may be dialled (milliseconds). */
  dialAt: number
  /** Whether a handshake with it ever succeeded. Then pieces and suspicions may refer to its key. */
  isMet: boolean
  /** How often it was banned lately. */
  bans: number
  /** When its ban, or its time as `ourselves`, ends (milliseconds). */
  excludedUntil: number
  /** Whether it contributed to a piece that passed. */
  isProven: boolean
  /** Whether it was given up during an encounter, and is forgotten at its end unless it is named again. */
  isFormer: boolean
  /** How much it is preferred (`PeerPolicy.rank`). */
  rank: number
  /** Among addresses that failed as often, the one of the highest priority is dialled first (BEP 40). */
  priority: number
  /** Its ticket in the queue of dials, and its shelf, if it can be forgotten. */
  ticket: number
  shelf: Set<Peer> | undefined
}

/**
 * How a dial or session ended. `without a place`: it had to leave, or could not begin, because others took the places.
 * `useless`: it had to leave because it was of no use for long. `not tried`: there was no descriptor to dial it with.
 * `not admitted`: the policy does not want it. `cancelled`: we ended it before the peer was connected.
 */
export type EncounterEnd =
  | "useful"
  | "failed"
  | "without a place"
  | "useless"
  | "not tried"
  | "not admitted"
  | "cancelled"

/** All known addresses. */
export interface PeerBook {
  /** By `PeerAddress.format`. */
  readonly byAddress: Map<string, Peer>
  /** By key. A key is never used again. */
  readonly peers: Map<number, Peer>
  /** By host. */
  readonly byHost: Map<string, Set<Peer>>
  readonly ids: SupplierIds
  readonly queue: DialQueue.DialQueue<Peer>
  /** The peers that can be forgotten: those that are idle or gone. */
  readonly shelves: Shelves.Shelves<Peer>
  /** The peers that are banned or ourselves, and when the first of these may be dialled again (milliseconds). */
  readonly excluded: Set<Peer>
  pardonAt: number
  /** By host: banned peers that sent wrong bytes themselves. */
  readonly guilty: Map<string, Set<Peer>>
  readonly random: () => number
  readonly priorityOf: (address: PeerAddress.PeerAddress, origin: Origin) => number | undefined
  readonly rankOf: (address: PeerAddress.PeerAddress, origin: Origin) => number
}

/**
 * Makes an empty book. `random` spreads the attempts of many torrents, `rankOf` says which addresses are preferred,
 * `priorityOf` orders those of one rank (BEP 40), and keys are taken from `ids`.
 */
export const make = (
  random: () => number,
  priorityOf: PeerBook["priorityOf"] = () => undefined,
  ids: SupplierIds = SupplierId.makeIds(),
  rankOf: PeerBook["rankOf"] = () => 0
): PeerBook => ({
  byAddress: new Map(),
  peers: new Map(),
  byHost: new Map(),
  ids,
  queue: DialQueue.make(),
  shelves: Shelves.make(),
  excluded: new Set(),
  pardonAt: Number.POSITIVE_INFINITY,
  guilty: new Map(),
  random,
  priorityOf,
  rankOf
})

/** The priority of an address that cannot be ranked: after all others. */
const unranked = -1

/** Ranks every address again after `priorityOf` has changed. Takes some milliseconds for 2,000 addresses. */
export const rank = (self: PeerBook): void => {
  for (const peer of self.peers.values()) {
    peer.rank = self.rankOf(peer.address, peer.origin)
    peer.priority = self.priorityOf(peer.address, peer.origin) ?? unranked
  }
  DialQueue.rebuild(self.queue)
}

/** Puts a peer where its state belongs, after every change of it. */
export const sort = (self: PeerBook, peer: Peer): void => {
  if (peer.state === "idle") DialQueue.add(self.queue, peer)
  else DialQueue.remove(self.queue, peer)
  if (peer.state !== "idle" && peer.state !== "gone") return Shelves.remove(self.shelves, peer)
  Shelves.add(self.shelves, peer)
  while (self.shelves.size > maxAddresses) forget(self, Shelves.least(self.shelves)!)
}

/** The host of a peer: an IPv4 address, or the /64 of an IPv6 address. */
export const hostOf = ({ address }: Peer): string => IpAddress.network(address.host)

/** Whether the host of an address is banned as a whole. */
export const isHostBanned = (self: PeerBook, host: string): boolean =>
  (self.guilty.get(IpAddress.network(host))?.size ?? 0) >= maxBannedPorts

/** Adds an address that may be dialled at once; `undefined` if it is known, refused or one too many. */
export const add = (
  self: PeerBook,
  given: PeerAddress.PeerAddress,
  now: number,
  origin: Origin = Candidate.given
): Peer | undefined => {
  // One spelling of each address, whoever named it: IPv4 inside IPv6 is IPv4.
  const address = PeerAddress.make(given.host, given.port)
  if (address === undefined) return undefined
  const known = self.byAddress.get(PeerAddress.format(address))
  if (known === undefined) return hasRoom(self) ? insert(self, address, now, "idle", origin) : undefined
  known.isFormer = false
  if (known.isDialable) {
    trust(self, known.key, origin)
    return undefined
  }
  named(self, known, origin)
  // The peer connected to us from the port at which it listens, or was given up, so it can be dialled after all.
  known.isDialable = true
  if (known.state !== "gone") return undefined
  known.state = "idle"
  sort(self, known)
  return known
}

/** Notes that `origin` has named a known peer, too. */
export const trust = (self: PeerBook, key: number, origin: Origin): void => {
  const peer = self.peers.get(key)
  if (peer !== undefined && Candidate.isMoreTrusted(origin, peer.origin)) named(self, peer, origin)
}

/** Notes who an address is from, if that is not whoever named it first. */
const named = (self: PeerBook, peer: Peer, origin: Origin): void => {
  peer.origin = origin
  peer.rank = self.rankOf(peer.address, origin)
  peer.priority = self.priorityOf(peer.address, origin) ?? unranked
  if (peer.state === "idle") sort(self, peer)
}

/** Whether an address can be added without forgetting one that is worth as much. */
const hasRoom = (self: PeerBook): boolean => self.shelves.size < maxAddresses || Shelves.hasLessThanNew(self.shelves)

const insert = (
  self: PeerBook,
  address: PeerAddress.PeerAddress,
  now: number,
  state: "idle" | "connecting",
  origin: Origin
): Peer | undefined => {
  if (isHostBanned(self, address.host)) return undefined
  const peer: Peer = {
    key: SupplierId.nextId(self.ids),
    address,
    origin,
    state,
    isDialable: true,
    failures: 0,
    dialAt: now,
    isMet: false,
    bans: 0,
    excludedUntil: 0,
    isProven: false,
    isFormer: false,
    rank: self.rankOf(address, origin),
    priority: self.priorityOf(address, origin) ?? unranked,
    ticket: DialQueue.noTicket,
    shelf: undefined
  }
  self.byAddress.set(PeerAddress.format(address), peer)
  self.peers.set(peer.key, peer)
  const neighbours = self.byHost.get(hostOf(peer)) ?? new Set()
  self.byHost.set(hostOf(peer), neighbours.add(peer))
  sort(self, peer)
  return peer
}

/**
 * Notes that a peer connected to us from `address`; `undefined` if it is banned, connected already, or ourselves. The
 * peer chose the port for this connection, so the address is never dialled unless a source names it as well.
 */
export const arrive = (self: PeerBook, address: PeerAddress.PeerAddress, now: number): Peer | undefined => {
  const known = self.byAddress.get(PeerAddress.format(address))
  if (known !== undefined && known.state !== "idle" && known.state !== "gone") return undefined
  const peer = known ?? insert(self, address, now, "connecting", Candidate.incoming)
  if (peer === undefined) return undefined
  if (known === undefined) peer.isDialable = false
  dialing(self, peer)
  return peer
}

/** Notes that there was no place for a peer that connected to us. */
export const turnedAway = (self: PeerBook, peer: Peer): void => {
  if (peer.state === "connecting") backToRest(self, peer)
}

/** Notes that a peer which connected to us from an address was not admitted. */
export const notAdmitted = (self: PeerBook, address: PeerAddress.PeerAddress, now: number): void => {
  const known = self.byAddress.get(PeerAddress.format(address))
  if (known?.state === "idle") disconnected(self, known, now, "not admitted")
}

/** Forgets a peer that is banned only because its host is, once its connection has ended. */
export const forgetBystander = (self: PeerBook, peer: Peer): void => {
  if (!self.excluded.has(peer) && self.peers.get(peer.key) === peer) forget(self, peer)
}

const backToRest = (self: PeerBook, peer: Peer): void => {
  // Peers that only connect, from one port after the other, must not fill the book.
  if (!peer.isDialable && !peer.isMet) return forget(self, peer)
  peer.state = peer.isDialable ? "idle" : "gone"
  sort(self, peer)
}

/** Forgets a peer that is not connected. */
export const forget = (self: PeerBook, peer: Peer): void => {
  Shelves.remove(self.shelves, peer)
  DialQueue.remove(self.queue, peer)
  self.peers.delete(peer.key)
  self.byAddress.delete(PeerAddress.format(peer.address))
  const neighbours = self.byHost.get(hostOf(peer))
  neighbours?.delete(peer)
  if (neighbours?.size === 0) self.byHost.delete(hostOf(peer))
}

/**
 * The peer to dial next: of those that are due, the one of the highest rank, among these the one that failed least, and
 * among these the one of the highest priority.
 */
export const nextToDial = (self: PeerBook, now: number): Peer | undefined => DialQueue.next(self.queue, now)

/** When the next address may be dialled; `undefined` if none is waiting. */
export const nextDialAt = (self: PeerBook): number | undefined => DialQueue.nextAt(self.queue)

/** Notes that a dial begins. */
export const dialing = (self: PeerBook, peer: Peer): void => {
  peer.state = "connecting"
  sort(self, peer)
}

/** Notes that the handshake is done. */
export const connected = (peer: Peer): void => {
  peer.state = "connected"
  peer.isMet = true
}

/** How long a peer is not dialled at least after an encounter (milliseconds). */
const rests: Readonly<Partial<Record<EncounterEnd, number>>> = {
  useless: restWithoutPlace,
  "without a place": restWithoutPlace,
  "not tried": restNotTried,
  "not admitted": restWhenNotAdmitted
}

/**
 * Notes that the attempt or connection ended. If it brought blocks, it counts as no failure, and the peer is soon
 * dialled again. A peer that had to leave for others is dialled again after a while.
 */
export const disconnected = (self: PeerBook, peer: Peer, now: number, end: EncounterEnd): void => {
  if (peer.state === "banned" || peer.state === "ourselves") return forgetBystander(self, peer)
  if (peer.isFormer) return forget(self, peer)
  if (end === "useful") peer.failures = 0
  if (end === "failed" || end === "useless" || end === "not admitted") peer.failures++
  const delay = Math.min(maxDelay, firstDelay * 2 ** Math.max(0, peer.failures - 1))
  const rest = rests[end] ?? 0
  // In whole milliseconds, because clocks and timers have no fractions: a sleep until a fraction would end too early.
  const wait = Math.round(Math.max(delay, rest) * (0.75 + self.random() / 2))
  peer.dialAt = now + wait
  backToRest(self, peer)
}

/**
 * Gives up a peer: forgets it, now or when its encounter has ended. Returns whether it has an encounter, which the
 * caller must end. A ban stays, and the address is not dialled after it. If the peer is named again, it may be dialled.
 */
export const dismiss = (self: PeerBook, peer: Peer): boolean => {
  peer.isFormer = peer.state === "connecting" || peer.state === "connected"
  peer.isDialable = false
  if (peer.state === "idle" || peer.state === "gone") forget(self, peer)
  return peer.isFormer
}

/** Notes that there is no reason to dial the peer any more: it has everything, and we want nothing. */
export const leave = (self: PeerBook, peer: Peer): void => {
  // It may have been forgotten.
  if (peer.state !== "idle" || self.peers.get(peer.key) !== peer) return
  peer.state = "gone"
  sort(self, peer)
}

/** Notes that we want something again. Peers that were left may be dialled again when they are due. */
export const recall = (self: PeerBook): void => {
  for (const peer of self.peers.values()) {
    if (peer.state !== "gone" || !peer.isDialable) continue
    peer.state = "idle"
    sort(self, peer)
  }
}

/** Notes that the peers contributed to a piece that passed. */
export const prove = (self: PeerBook, keys: Iterable<number>): void => {
  for (const key of keys) {
    const peer = self.peers.get(key)
    if (peer === undefined || peer.isProven) continue
    peer.isProven = true
    sort(self, peer)
  }
}
