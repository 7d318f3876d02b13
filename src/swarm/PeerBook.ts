/**
 * The addresses a torrent knows, and what came of each: when to dial which, and whom not for now. Pure: `now` comes in.
 *
 * The key is the address, not the peer id, which can be changed at will. Each address gets a small number, its key, that
 * stands for it in hot code. A ban holds for host and port, as good peers may sit behind the same NAT; a host with three
 * banned addresses is banned whole, except its peers that have already given us right pieces. Nothing lasts for ever: every
 * ban ends, and an address at which this client was found may become another's.
 */
import * as PeerAddress from "../base/PeerAddress.ts"
import type { SupplierIds } from "../supply/SupplierId.ts"
import * as SupplierId from "../supply/SupplierId.ts"

/**
 * Addresses that are remembered at most. Beyond that a new one takes the place of the peer that is gone for longest, else
 * of the one that failed most and was never reached; where there is none it is dropped, as sources repeat themselves.
 */
export const maxAddresses = 2_000

/** First wait after a failed or short connection; it doubles up to `maxDelay` (milliseconds). */
export const firstDelay = 1_000

/** The longest wait between two attempts at an address (milliseconds). */
export const maxDelay = 600_000

/**
 * How long an address is banned at first (milliseconds): as long as one that never answers waits, since it may be an
 * honest peer with a rotten disk. It doubles with each further ban up to `longestBan`, so that a liar gets eight bad pieces
 * in on its first day, and one a day from then on.
 */
export const firstBan = maxDelay

/** The longest ban (milliseconds); an address that was free of bans for as long begins anew with the first. */
export const longestBan = 86_400_000

/** How long an address is left alone at which this client itself was found (milliseconds). */
export const selfRest = 3_600_000

/** Banned addresses of one host with which the whole host is banned. */
export const maxBannedPorts = 3

/** A known address. */
export interface Peer {
  /** As a supplier of blocks: blame outlives the connection. */
  readonly key: SupplierId.SupplierId
  readonly address: PeerAddress.PeerAddress
  /** `gone`: there is nothing to dial it for; `ourselves`: this client listens there, as far as it is known. */
  state: "idle" | "connecting" | "connected" | "gone" | "banned" | "ourselves"
  /** Whether somebody may listen there: not at the port that a peer connected to us from. */
  isDialable: boolean
  /** Attempts in a row that came to nothing. */
  failures: number
  /** When it may be dialled (milliseconds). */
  dialAt: number
  /** Whether a handshake with it was ever done: then its key may stand in pieces and suspicions, and is kept. */
  isMet: boolean
  /** How often it was banned lately. */
  bans: number
  /** When its ban ends, or when it need not be ourselves any more (milliseconds). */
  outUntil: number
  /** Whether it contributed to a piece that passed. */
  isProven: boolean
  /** Of those that failed as often, the one of the highest priority is dialled first (BEP 40). */
  priority: number
}

/** All known addresses. */
export interface PeerBook {
  /** By `PeerAddress.format`. */
  readonly byAddress: Map<string, Peer>
  /** By key; a key is never used again. */
  readonly peers: Map<number, Peer>
  readonly ids: SupplierIds
  /** Those that are banned or ourselves. */
  readonly out: Set<Peer>
  /** By host: the banned peers that sent wrong bytes themselves. */
  readonly guilty: Map<string, Set<Peer>>
  readonly random: () => number
  readonly priorityOf: (address: PeerAddress.PeerAddress) => number | undefined
}

/**
 * Makes an empty book. `random` spreads the attempts of many torrents, `priorityOf` says who is dialled first (BEP 40), and
 * keys are taken from `ids`.
 */
export const make = (
  random: () => number,
  priorityOf: PeerBook["priorityOf"] = () => undefined,
  ids: SupplierIds = SupplierId.makeIds()
): PeerBook => ({
  byAddress: new Map(),
  peers: new Map(),
  ids,
  out: new Set(),
  guilty: new Map(),
  random,
  priorityOf
})

/** Priority of an address of which nothing can be said: after all others. */
const unranked = -1

/** What `priorityOf` says has changed: asks it anew for every address, 1.6 ms for 2,000. */
export const rank = (self: PeerBook): void => {
  for (const peer of self.peers.values()) peer.priority = self.priorityOf(peer.address) ?? unranked
}

const isHostBanned = (self: PeerBook, host: string): boolean => (self.guilty.get(host)?.size ?? 0) >= maxBannedPorts

/** Adds an address that may be dialled at once; `undefined` where it is known, refused or one too many. */
export const add = (self: PeerBook, address: PeerAddress.PeerAddress, now: number): Peer | undefined => {
  const known = self.byAddress.get(PeerAddress.format(address))
  if (known === undefined) return insert(self, address, now)
  if (known.isDialable) return undefined
  // A peer that came from the very port it listens on: it can be dialled after all.
  known.isDialable = true
  if (known.state !== "gone") return undefined
  known.state = "idle"
  return known
}

const insert = (self: PeerBook, address: PeerAddress.PeerAddress, now: number): Peer | undefined => {
  if (isHostBanned(self, address.host)) return undefined
  if (self.peers.size >= maxAddresses && !forgetWorst(self)) return undefined
  const peer: Peer = {
    key: SupplierId.nextId(self.ids),
    address,
    state: "idle",
    isDialable: true,
    failures: 0,
    dialAt: now,
    isMet: false,
    bans: 0,
    outUntil: 0,
    isProven: false,
    priority: self.priorityOf(address) ?? unranked
  }
  self.byAddress.set(PeerAddress.format(address), peer)
  self.peers.set(peer.key, peer)
  return peer
}

/**
 * A peer connected to us from `address`; `undefined` where it is banned, connected already, one too many, or ourselves.
 * The port is of its choosing for this connection, so it is never dialled unless a source names it as well.
 */
export const arrive = (self: PeerBook, address: PeerAddress.PeerAddress, now: number): Peer | undefined => {
  const known = self.byAddress.get(PeerAddress.format(address))
  const peer = known ?? insert(self, address, now)
  if (peer === undefined || (peer.state !== "idle" && peer.state !== "gone")) return undefined
  if (known === undefined) peer.isDialable = false
  peer.state = "connecting"
  return peer
}

const forget = (self: PeerBook, peer: Peer): void => {
  self.peers.delete(peer.key)
  self.byAddress.delete(PeerAddress.format(peer.address))
}

/** Makes room for one address. `false` where every address is of use, or something is known about it. */
const forgetWorst = (self: PeerBook): boolean => {
  let worst: Peer | undefined
  for (const peer of self.peers.values()) {
    if (peer.state === "gone") {
      worst = peer
      break
    }
    if (peer.state !== "idle" || peer.isMet || peer.failures === 0) continue
    if (worst === undefined || peer.failures > worst.failures) worst = peer
  }
  if (worst === undefined) return false
  forget(self, worst)
  return true
}

/** The peer to dial next: of those whose time has come the one that failed least, and of these the one to prefer. */
export const nextToDial = (self: PeerBook, now: number): Peer | undefined => {
  let best: Peer | undefined
  for (const peer of self.peers.values()) {
    if (peer.state !== "idle" || peer.dialAt > now) continue
    if (best === undefined || isBefore(peer, best)) best = peer
  }
  return best
}

const isBefore = (one: Peer, other: Peer): boolean =>
  one.failures === other.failures ? one.priority > other.priority : one.failures < other.failures

/** When the next address may be dialled; `undefined` where none is waiting. */
export const nextDialAt = (self: PeerBook): number | undefined => {
  let first: number | undefined
  for (const peer of self.peers.values()) {
    if (peer.state === "idle" && (first === undefined || peer.dialAt < first)) first = peer.dialAt
  }
  return first
}

/** A dial begins. */
export const dialing = (peer: Peer): void => {
  peer.state = "connecting"
}

/** The handshake is done. */
export const connected = (peer: Peer): void => {
  peer.state = "connected"
  peer.isMet = true
}

/** The attempt or connection is over. One that brought blocks counts as no failure, and is soon tried again. */
export const disconnected = (self: PeerBook, peer: Peer, now: number, wasUseful: boolean): void => {
  if (peer.state === "banned" || peer.state === "ourselves") return
  // Whoever only knocks, from one port after the other, leaves nothing behind.
  if (!peer.isDialable && !peer.isMet) return forget(self, peer)
  peer.state = peer.isDialable ? "idle" : "gone"
  peer.failures = wasUseful ? 0 : peer.failures + 1
  const delay = Math.min(maxDelay, firstDelay * 2 ** Math.max(0, peer.failures - 1))
  // In whole milliseconds, as clocks and timers go: who sleeps until a fraction of one wakes too early.
  peer.dialAt = now + Math.round(delay * (0.75 + self.random() / 2))
}

/** There is nothing left to dial the peer for: it has everything, and we want nothing. */
export const leave = (peer: Peer): void => {
  if (peer.state === "idle") peer.state = "gone"
}

/** We want something again: peers that were left may be dialled, each when it was due. */
export const recall = (self: PeerBook): void => {
  for (const peer of self.peers.values()) if (peer.state === "gone" && peer.isDialable) peer.state = "idle"
}

const putOut = (self: PeerBook, peer: Peer, state: "banned" | "ourselves", until: number): void => {
  peer.state = state
  peer.outUntil = until
  self.out.add(peer)
}

/** This client was found at the address: it is left alone for an hour, and nothing is held against its host. */
export const exclude = (self: PeerBook, peer: Peer, now: number): void =>
  putOut(self, peer, "ourselves", now + selfRest)

/** The peer is not to be talked to until `pardon` ends that; `true` if that is news. */
export const ban = (self: PeerBook, peer: Peer, now: number): boolean => {
  if (peer.state === "banned") return false
  if (now - peer.outUntil >= longestBan) peer.bans = 0
  putOut(self, peer, "banned", now + Math.min(longestBan, firstBan * 2 ** peer.bans++))
  const { host } = peer.address
  const guilty = self.guilty.get(host) ?? new Set()
  self.guilty.set(host, guilty.add(peer))
  if (!isHostBanned(self, host)) return true
  for (const other of self.peers.values()) {
    if (other.address.host !== host || other.isProven || self.out.has(other)) continue
    putOut(self, other, "banned", peer.outUntil)
  }
  return true
}

/** The peers contributed to a piece that passed. */
export const prove = (self: PeerBook, keys: Iterable<number>): void => {
  for (const key of keys) {
    const peer = self.peers.get(key)
    if (peer !== undefined) peer.isProven = true
  }
}

/**
 * Ends the bans whose time is over, and with the ban of a host those of its other addresses. They may be dialled at once,
 * as may an address that was ourselves. Tells whether there is any.
 */
export const pardon = (self: PeerBook, now: number): boolean => {
  let isAny = false
  const hosts = new Set<string>()
  for (const peer of self.out) {
    if (now < peer.outUntil) continue
    const { host } = peer.address
    const guilty = self.guilty.get(host)
    if (guilty?.delete(peer)) hosts.add(host)
    if (guilty?.size === 0) self.guilty.delete(host)
    takeBack(self, peer, now)
    isAny = true
  }
  for (const peer of hosts.size === 0 ? [] : self.out) {
    const { host } = peer.address
    const isBystander = hosts.has(host) && peer.state === "banned" && !self.guilty.get(host)?.has(peer)
    if (isBystander && !isHostBanned(self, host)) takeBack(self, peer, now)
  }
  return isAny
}

const takeBack = (self: PeerBook, peer: Peer, now: number): void => {
  self.out.delete(peer)
  peer.state = peer.isDialable ? "idle" : "gone"
  peer.failures = 0
  peer.dialAt = now
}

/** How many addresses are banned. */
export const bannedCount = (self: PeerBook): number => {
  let count = 0
  for (const peer of self.out) if (peer.state === "banned") count++
  return count
}
