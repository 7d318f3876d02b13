/**
 * The peers that others announced to us (BEP 5), for half an hour each. Bounded in hashes, in peers, in peers of a hash
 * and in peers of a host, so that nobody can make it grow, or fill it for others. Time is in milliseconds.
 */
import * as Bytes from "../../base/Bytes.ts"
import * as IpAddress from "../../base/IpAddress.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import * as PeerAddresses from "../../base/PeerAddress.ts"
import type { Prng } from "../../base/Prng.ts"
import * as Random from "../../base/Prng.ts"
import * as Reach from "../../base/Reach.ts"
import * as BloomFilter from "./BloomFilter.ts"
import type { DhtLimits } from "./DhtLimits.ts"
import * as Krpc from "./Krpc.ts"
import * as Subnet from "./Subnet.ts"

/** How long an announced peer is kept, in milliseconds. Peers announce again every 15 to 30 minutes. */
export const lifetimeMillis = 1_800_000

/**
 * Most peers of one public host (as `DhtLimits` counts them) for one hash: those behind a NAT share an address. A further
 * one replaces that of the host that was announced longest ago, because a host can announce any port.
 */
export const maxPerHostOfHash = 8

interface Stored {
  /** In compact form. */
  readonly compact: Uint8Array
  readonly host: string
  readonly reach: Reach.Reach
  isSeed: boolean
  /** When it was announced last. */
  at: number
}

/** Peers by hash (hexadecimal) and address; both least recently announced first. */
export interface PeerStore {
  readonly limits: DhtLimits
  readonly hashes: Map<string, Map<string, Stored>>
  /** How many peers each host has here. */
  readonly hosts: Map<string, number>
  peers: number
}

/** Makes an empty store. */
export const make = (limits: DhtLimits): PeerStore => ({ limits, hashes: new Map(), hosts: new Map(), peers: 0 })

/** Stores a peer, or keeps it for longer. Returns whether it did: not if its public host has as many as one may have. */
export const add = (
  self: PeerStore,
  infoHash: Uint8Array,
  peer: PeerAddress,
  isSeed: boolean,
  now: number
): boolean => {
  const hash = Bytes.toHex(infoHash)
  const key = PeerAddresses.format(peer)
  const peers = self.hashes.get(hash)
  const known = peers?.get(key)
  if (peers !== undefined && known !== undefined) {
    known.at = now
    known.isSeed = isSeed
    touch(peers, key, known)
    touch(self.hashes, hash, peers)
    return true
  }
  const host = IpAddress.network(peer.host)
  if (Subnet.isLimited(peer.host)) {
    if (peers !== undefined) limitHost(self, hash, peers, host)
    // Some of them may be over.
    if (hasAll(self, host)) expire(self, now)
    if (hasAll(self, host)) return false
  }
  makeRoom(self, hash)
  const entries = self.hashes.get(hash) ?? new Map<string, Stored>()
  touch(self.hashes, hash, entries)
  entries.set(key, { compact: Krpc.compact(peer), host, reach: Reach.of(peer.host), isSeed, at: now })
  self.hosts.set(host, (self.hosts.get(host) ?? 0) + 1)
  self.peers++
  return true
}

/** Whether a host has as many peers as one may have. */
const hasAll = (self: PeerStore, host: string): boolean => (self.hosts.get(host) ?? 0) >= self.limits.storedPeersPerHost

const limitHost = (self: PeerStore, hash: string, peers: Map<string, Stored>, host: string): void => {
  let oldest: string | undefined
  let count = 0
  for (const [key, stored] of peers) {
    if (stored.host !== host) continue
    oldest ??= key
    count++
  }
  if (oldest !== undefined && count >= maxPerHostOfHash) remove(self, hash, peers, oldest)
}

/** Moves an entry to the end of its map. */
const touch = <A>(map: Map<string, A>, key: string, value: A): void => {
  map.delete(key)
  map.set(key, value)
}

const makeRoom = (self: PeerStore, hash: string): void => {
  const { storedHashes, storedPeers, storedPeersPerHash } = self.limits
  const peers = self.hashes.get(hash)
  if (peers !== undefined && peers.size >= storedPeersPerHash) removeOldest(self, hash, peers)
  if (peers === undefined && self.hashes.size >= storedHashes) {
    const [oldest, entries] = self.hashes.entries().next().value!
    for (const key of [...entries.keys()]) remove(self, oldest, entries, key)
  }
  if (self.peers >= storedPeers) {
    const [oldest, entries] = self.hashes.entries().next().value!
    removeOldest(self, oldest, entries)
  }
}

const removeOldest = (self: PeerStore, hash: string, peers: Map<string, Stored>): void =>
  remove(self, hash, peers, peers.keys().next().value!)

const remove = (self: PeerStore, hash: string, peers: Map<string, Stored>, key: string): void => {
  const { host } = peers.get(key)!
  peers.delete(key)
  if (peers.size === 0) self.hashes.delete(hash)
  const left = self.hosts.get(host)! - 1
  if (left === 0) self.hosts.delete(host)
  else self.hosts.set(host, left)
  self.peers--
}

/** Removes what was announced too long ago. */
export const expire = (self: PeerStore, now: number): void => {
  for (const [hash, peers] of self.hashes) {
    for (const [key, { at }] of peers) {
      if (now - at < lifetimeMillis) break
      remove(self, hash, peers, key)
    }
  }
}

/** The living peers of a hash. */
const living = (self: PeerStore, infoHash: Uint8Array, now: number): Array<Stored> =>
  [...(self.hashes.get(Bytes.toHex(infoHash))?.values() ?? [])].filter(({ at }) => now - at < lifetimeMillis)

/**
 * Up to `count` peers of a hash in compact form, chosen at random; without seeds if `noSeeds`, and without those that are
 * less public than `leastReach`.
 */
export const sample = (
  self: PeerStore,
  infoHash: Uint8Array,
  options: {
    readonly count: number
    readonly noSeeds: boolean
    readonly leastReach: Reach.Reach
    readonly random: Prng
    readonly now: number
  }
): ReadonlyArray<Uint8Array> => {
  const found = living(self, infoHash, options.now).filter(
    ({ isSeed, reach }) => !(options.noSeeds && isSeed) && !Reach.isLessPublic(reach, options.leastReach)
  )
  if (found.length > options.count) Random.shuffle(options.random, found)
  return found.slice(0, options.count).map(({ compact }) => compact)
}

/** The filters of the seeds and of the other peers of a hash (BEP 33); `undefined` if it has no peers. */
export const filters = (
  self: PeerStore,
  infoHash: Uint8Array,
  now: number
): { readonly seeds: Uint8Array; readonly downloaders: Uint8Array } | undefined => {
  const found = living(self, infoHash, now)
  if (found.length === 0) return undefined
  const seeds = BloomFilter.make()
  const downloaders = BloomFilter.make()
  // The address without its port.
  for (const { compact, isSeed } of found) BloomFilter.add(isSeed ? seeds : downloaders, compact.subarray(0, -2))
  return { seeds, downloaders }
}
