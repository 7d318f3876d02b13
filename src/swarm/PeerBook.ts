/**
 * The addresses that a torrent knows, and what happened at each: which to dial when, and which not for now. Pure: `now`
 * is an argument.
 *
 * The key is the address, because a peer can change its id at will. Each address gets a small number, its key, that
 * stands for it in hot code. A ban applies to host and port, because good peers may be behind the same NAT. A host with
 * three banned addresses is banned as a whole, except peers on it that have sent right pieces. Nothing lasts for ever:
 * every ban ends, and an address at which this client was found may belong to another one later.
 */
import * as PeerAddress from "../base/PeerAddress.ts"
import type { SupplierIds } from "../supply/SupplierId.ts"
import * as SupplierId from "../supply/SupplierId.ts"

/**
 * The most addresses that are remembered. Beyond that a new one replaces the peer that has been gone for longest, else
 * the one that failed most and was never reached. If there is none, the new one is dropped, because sources repeat
 * themselves.
 */
export const maxAddresses = 2_000

/** First wait after a failed or short connection (milliseconds). It doubles up to `maxDelay`. */
export const firstDelay = 1_000

/** The longest wait between two attempts at an address (milliseconds). */
export const maxDelay = 600_000

/**
 * How long an address is banned at first (milliseconds): as long as an unreachable address waits, because it may be an
 * honest peer with a damaged disk. It doubles with each further ban up to `longestBan`, so that a liar can send eight
 * wrong pieces on its first day, and one a day from then on.
 */
export const firstBan = maxDelay

/** The longest ban (milliseconds). An address that was not banned for as long begins with the first ban again. */
export const longestBan = 86_400_000

/** How long an address at which this client itself was found is not dialled (milliseconds). */
export const selfRest = 3_600_000

/** With this many banned addresses of one host, the whole host is banned. */
export const maxBannedPorts = 3

/** A known address. */
export interface Peer {
  /** Its id as a supplier of blocks: blame outlives the connection. */
  readonly key: SupplierId.SupplierId
  readonly address: PeerAddress.PeerAddress
  /** `gone`: there is no reason to dial it; `ourselves`: this client listens there, as far as is known. */
  state: "idle" | "connecting" | "connected" | "gone" | "banned" | "ourselves"
  /** Whether it may be dialled. Not the port from which a peer connected to us. */
  isDialable: boolean
  /** How many attempts in a row have failed. */
  failures: number
  /** When it may be dialled (milliseconds). */
  dialAt: number
  /** Whether a handshake with it ever succeeded. Then pieces and suspicions may refer to its key, so it is kept. */
  isMet: boolean
  /** How often it was banned lately. */
  bans: number
  /** When its ban, or its time as `ourselves`, ends (milliseconds). */
  excludedUntil: number
  /** Whether it contributed to a piece that passed. */
  isProven: boolean
  /** Among addresses that failed as often, the one of the highest priority is dialled first (BEP 40). */
  priority: number
}

/** All known addresses. */
export interface PeerBook {
  /** By `PeerAddress.format`. */
  readonly byAddress: Map<string, Peer>
  /** By key. A key is never used again. */
  readonly peers: Map<number, Peer>
  readonly ids: SupplierIds
  /** The peers that are banned or ourselves. */
  readonly excluded: Set<Peer>
  /** By host: banned peers that sent wrong bytes themselves. */
  readonly guilty: Map<string, Set<Peer>>
  readonly random: () => number
  readonly priorityOf: (address: PeerAddress.PeerAddress) => number | undefined
}

/**
 * Makes an empty book. `random` spreads the attempts of many torrents, `priorityOf` ranks the addresses (BEP 40), and
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
  excluded: new Set(),
  guilty: new Map(),
  random,
  priorityOf
})

/** The priority of an address that cannot be ranked: after all others. */
const unranked = -1

/** Ranks every address again after `priorityOf` has changed. Takes 1.6 ms for 2,000 addresses. */
export const rank = (self: PeerBook): void => {
  for (const peer of self.peers.values()) peer.priority = self.priorityOf(peer.address) ?? unranked
}

const isHostBanned = (self: PeerBook, host: string): boolean => (self.guilty.get(host)?.size ?? 0) >= maxBannedPorts

/** Adds an address that may be dialled at once; `undefined` if it is known, refused or one too many. */
export const add = (self: PeerBook, address: PeerAddress.PeerAddress, now: number): Peer | undefined => {
  const known = self.byAddress.get(PeerAddress.format(address))
  if (known === undefined) return insert(self, address, now)
  if (known.isDialable) return undefined
  // The peer connected to us from the port at which it listens, so it can be dialled after all.
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
    excludedUntil: 0,
    isProven: false,
    priority: self.priorityOf(address) ?? unranked
  }
  self.byAddress.set(PeerAddress.format(address), peer)
  self.peers.set(peer.key, peer)
  return peer
}

/**
 * Notes that a peer connected to us from `address`; `undefined` if it is banned, connected already, one too many, or
 * ourselves. The peer chose the port for this connection, so the address is never dialled unless a source names it as
 * well.
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

/** Makes room for one address. Returns `false` if every address is still useful or has something held against it. */
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

/**
 * The peer to dial next: of those that are due, the one that failed least, and among these the one of the highest
 * priority.
 */
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

/** When the next address may be dialled; `undefined` if none is waiting. */
export const nextDialAt = (self: PeerBook): number | undefined => {
  let first: number | undefined
  for (const peer of self.peers.values()) {
    if (peer.state === "idle" && (first === undefined || peer.dialAt < first)) first = peer.dialAt
  }
  return first
}

/** Notes that a dial begins. */
export const dialing = (peer: Peer): void => {
  peer.state = "connecting"
}

/** Notes that the handshake is done. */
export const connected = (peer: Peer): void => {
  peer.state = "connected"
  peer.isMet = true
}

/**
 * Notes that the attempt or connection ended. If it brought blocks, it counts as no failure, and the peer is soon
 * dialled again.
 */
export const disconnected = (self: PeerBook, peer: Peer, now: number, wasUseful: boolean): void => {
  if (peer.state === "banned" || peer.state === "ourselves") return
  // Peers that only connect, from one port after the other, must not fill the book.
  if (!peer.isDialable && !peer.isMet) return forget(self, peer)
  peer.state = peer.isDialable ? "idle" : "gone"
  peer.failures = wasUseful ? 0 : peer.failures + 1
  const delay = Math.min(maxDelay, firstDelay * 2 ** Math.max(0, peer.failures - 1))
  // In whole milliseconds, because clocks and timers have no fractions: a sleep until a fraction would end too early.
  peer.dialAt = now + Math.round(delay * (0.75 + self.random() / 2))
}

/** Notes that there is no reason to dial the peer any more: it has everything, and we want nothing. */
export const leave = (peer: Peer): void => {
  if (peer.state === "idle") peer.state = "gone"
}

/** Notes that we want something again. Peers that were left may be dialled again when they are due. */
export const recall = (self: PeerBook): void => {
  for (const peer of self.peers.values()) if (peer.state === "gone" && peer.isDialable) peer.state = "idle"
}

const excludeUntil = (self: PeerBook, peer: Peer, state: "banned" | "ourselves", until: number): void => {
  peer.state = state
  peer.excludedUntil = until
  self.excluded.add(peer)
}

/**
 * Notes that this client was found at the address. It is not dialled for an hour, and nothing is held against its host.
 */
export const exclude = (self: PeerBook, peer: Peer, now: number): void =>
  excludeUntil(self, peer, "ourselves", now + selfRest)

/** Bans a peer until `pardon` ends the ban. Returns `false` if it was banned already. */
export const ban = (self: PeerBook, peer: Peer, now: number): boolean => {
  if (peer.state === "banned") return false
  if (now - peer.excludedUntil >= longestBan) peer.bans = 0
  excludeUntil(self, peer, "banned", now + Math.min(longestBan, firstBan * 2 ** peer.bans++))
  const { host } = peer.address
  const guilty = self.guilty.get(host) ?? new Set()
  self.guilty.set(host, guilty.add(peer))
  if (!isHostBanned(self, host)) return true
  for (const other of self.peers.values()) {
    if (other.address.host !== host || other.isProven || self.excluded.has(other)) continue
    excludeUntil(self, other, "banned", peer.excludedUntil)
  }
  return true
}

/** Notes that the peers contributed to a piece that passed. */
export const prove = (self: PeerBook, keys: Iterable<number>): void => {
  for (const key of keys) {
    const peer = self.peers.get(key)
    if (peer !== undefined) peer.isProven = true
  }
}

/**
 * Ends bans whose time is over. With the ban of a host, those of its other addresses end. They may be dialled at once,
 * as may an address that was ourselves. Returns whether any ban ended.
 */
export const pardon = (self: PeerBook, now: number): boolean => {
  let isAny = false
  const hosts = new Set<string>()
  for (const peer of self.excluded) {
    if (now < peer.excludedUntil) continue
    const { host } = peer.address
    const guilty = self.guilty.get(host)
    if (guilty?.delete(peer)) hosts.add(host)
    if (guilty?.size === 0) self.guilty.delete(host)
    takeBack(self, peer, now)
    isAny = true
  }
  for (const peer of hosts.size === 0 ? [] : self.excluded) {
    const { host } = peer.address
    const isBystander = hosts.has(host) && peer.state === "banned" && !self.guilty.get(host)?.has(peer)
    if (isBystander && !isHostBanned(self, host)) takeBack(self, peer, now)
  }
  return isAny
}

const takeBack = (self: PeerBook, peer: Peer, now: number): void => {
  self.excluded.delete(peer)
  peer.state = peer.isDialable ? "idle" : "gone"
  peer.failures = 0
  peer.dialAt = now
}

/** How many addresses are banned. */
export const bannedCount = (self: PeerBook): number => {
  let count = 0
  for (const peer of self.excluded) if (peer.state === "banned") count++
  return count
}
