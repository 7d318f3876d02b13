/**
 * The addresses a torrent knows, and what came of each: when to dial which, and whom never again. Pure: `now` comes in.
 *
 * The key is the address, not the peer id, which can be changed at will. Each address gets a small number, its key, that
 * stands for it in hot code. A ban holds for host and port, as good peers may sit behind the same NAT; a host whose
 * third address is banned is banned whole, but for its peers that have already given us right pieces.
 */
import * as PeerAddress from "../base/PeerAddress.ts"

/** Addresses that are remembered at most; beyond that new ones are dropped, as sources repeat themselves. */
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
  state: "idle" | "connecting" | "connected" | "banned"
  /** Attempts in a row that came to nothing. */
  failures: number
  /** When it may be dialled (milliseconds). */
  dialAt: number
  /** Whether it contributed to a piece that passed. */
  isProven: boolean
}

/** All known addresses. */
export interface PeerBook {
  /** By `PeerAddress.format`. */
  readonly byAddress: Map<string, Peer>
  /** By key. */
  readonly peers: Array<Peer>
  readonly bannedPorts: Map<string, number>
  readonly random: () => number
}

/** An empty book; `random` spreads the attempts of many torrents. */
export const make = (random: () => number): PeerBook => ({
  byAddress: new Map(),
  peers: [],
  bannedPorts: new Map(),
  random
})

const isHostBanned = (self: PeerBook, host: string): boolean => (self.bannedPorts.get(host) ?? 0) >= maxBannedPorts

/** Adds an address that may be dialled at once; `undefined` where it is known, refused or one too many. */
export const add = (self: PeerBook, address: PeerAddress.PeerAddress, now: number): Peer | undefined => {
  const text = PeerAddress.format(address)
  if (self.byAddress.has(text) || self.peers.length >= maxAddresses || isHostBanned(self, address.host)) {
    return undefined
  }
  const peer: Peer = {
    key: self.peers.length,
    address,
    state: "idle",
    failures: 0,
    dialAt: now,
    isProven: false
  }
  self.byAddress.set(text, peer)
  self.peers.push(peer)
  return peer
}

/** The peer to dial next: the one that failed least among those whose time has come. */
export const nextToDial = (self: PeerBook, now: number): Peer | undefined => {
  let best: Peer | undefined
  for (const peer of self.peers) {
    if (peer.state !== "idle" || peer.dialAt > now) continue
    if (best === undefined || peer.failures < best.failures) best = peer
  }
  return best
}

/** When the next address may be dialled; `undefined` where none is waiting. */
export const nextDialAt = (self: PeerBook): number | undefined => {
  let first: number | undefined
  for (const peer of self.peers) {
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
}

/** The attempt or connection is over. One that brought blocks counts as no failure, and is soon tried again. */
export const disconnected = (self: PeerBook, peer: Peer, now: number, wasUseful: boolean): void => {
  if (peer.state === "banned") return
  peer.state = "idle"
  peer.failures = wasUseful ? 0 : peer.failures + 1
  const delay = Math.min(maxDelay, firstDelay * 2 ** Math.max(0, peer.failures - 1))
  peer.dialAt = now + delay * (0.75 + self.random() / 2)
}

/** The peer is never to be dialled again; `true` where that is news. */
export const ban = (self: PeerBook, peer: Peer): boolean => {
  if (peer.state === "banned") return false
  peer.state = "banned"
  const { host } = peer.address
  self.bannedPorts.set(host, (self.bannedPorts.get(host) ?? 0) + 1)
  if (isHostBanned(self, host)) {
    for (const other of self.peers) if (other.address.host === host && !other.isProven) other.state = "banned"
  }
  return true
}

/** How many addresses are banned. */
export const bannedCount = (self: PeerBook): number =>
  self.peers.reduce((count, peer) => count + (peer.state === "banned" ? 1 : 0), 0)
