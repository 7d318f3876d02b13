/**
 * The addresses a torrent knows, and what came of each: when to dial which, and whom never again. Pure: `now` comes in.
 *
 * The key is the address, not the peer id, which can be changed at will. Each address gets a small number, its key, that
 * stands for it in hot code. A ban holds for host and port, as good peers may sit behind the same NAT; a host whose
 * third address is banned is banned whole, but for its peers that have already given us right pieces.
 */
import * as PeerAddress from "../base/PeerAddress.ts"

/**
 * Addresses that are remembered at most. Beyond that a new one takes the place of the peer that is gone for longest, else
 * of the one that failed most and was never reached; where there is none it is dropped, as sources repeat themselves.
 */
export const maxAddresses = 2_000

/** First wait after a failed or short connection; it doubles up to `maxDelay` (milliseconds). */
export const firstDelay = 1_000

/** The longest wait between two attempts at an address (milliseconds). */
export const maxDelay = 600_000

/** Banned addresses of one host after which the host is banned. */
export const maxBannedPorts = 3

/** A known address. */
export interface Peer {
  readonly key: number
  readonly address: PeerAddress.PeerAddress
  /** `gone`: there is nothing to dial it for; `ourselves`: this client listens there. */
  state: "idle" | "connecting" | "connected" | "gone" | "banned" | "ourselves"
  /** Whether somebody may listen there: not at the port that a peer connected to us from. */
  isDialable: boolean
  /** Attempts in a row that came to nothing. */
  failures: number
  /** When it may be dialled (milliseconds). */
  dialAt: number
  /** Whether a handshake with it was ever done: then its key may stand in pieces and suspicions, and is kept. */
  isMet: boolean
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
  nextKey: number
  readonly bannedPorts: Map<string, number>
  readonly random: () => number
  readonly priorityOf: (address: PeerAddress.PeerAddress) => number | undefined
}

/** An empty book; `random` spreads the attempts of many torrents, `priorityOf` says who is dialled first (BEP 40). */
export const make = (random: () => number, priorityOf: PeerBook["priorityOf"] = () => undefined): PeerBook => ({
  byAddress: new Map(),
  peers: new Map(),
  nextKey: 0,
  bannedPorts: new Map(),
  random,
  priorityOf
})

/** Priority of an address of which nothing can be said: after all others. */
const unranked = -1

/** What `priorityOf` says has changed: asks it anew for every address, 1.6 ms for 2,000. */
export const rank = (self: PeerBook): void => {
  for (const peer of self.peers.values()) peer.priority = self.priorityOf(peer.address) ?? unranked
}

const isHostBanned = (self: PeerBook, host: string): boolean => (self.bannedPorts.get(host) ?? 0) >= maxBannedPorts

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
    key: self.nextKey++,
    address,
    state: "idle",
    isDialable: true,
    failures: 0,
    dialAt: now,
    isMet: false,
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

/** This client was found at the address: it is never dialled again, and nothing is held against its host. */
export const exclude = (peer: Peer): void => {
  peer.state = "ourselves"
}

/** The peer is never to be dialled again; `true` where that is news. */
export const ban = (self: PeerBook, peer: Peer): boolean => {
  if (peer.state === "banned") return false
  peer.state = "banned"
  const { host } = peer.address
  self.bannedPorts.set(host, (self.bannedPorts.get(host) ?? 0) + 1)
  if (!isHostBanned(self, host)) return true
  for (const other of self.peers.values()) {
    if (other.address.host === host && !other.isProven && other.state !== "ourselves") other.state = "banned"
  }
  return true
}

/** How many addresses are banned. */
export const bannedCount = (self: PeerBook): number => {
  let count = 0
  for (const peer of self.peers.values()) if (peer.state === "banned") count++
  return count
}
