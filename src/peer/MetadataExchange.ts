/**
 * Fetches the info dict of a magnet link from several peers at once, some of which may lie (BEP 9). A pure machine:
 * facts come in with `now` in milliseconds, and `step` returns what to do. Its shell computes the digests.
 *
 * At first all peers that name the most common size fill one shared copy. If that fails, because its digest is wrong or
 * because it makes no progress, nobody can be blamed. From then on a few peers at a time fill a copy each, alone,
 * whatever size they name; a peer that sends a wrong one is banned. When a copy is right, the peers whose pieces of the
 * failed shared copy differ from it are banned too. Peers take turns. A peer that is silent or rejects is left alone
 * for a while and has twice the time next, so a slow honest peer has its turn however many liars there are.
 *
 * Nothing is allocated for a size beyond the limit of the exchange. There are at most `maxSoleCopies` and the failed
 * one. Of copies longer than `largeSize` there is at most one, and it is not kept after it failed.
 *
 * Leaves to the session to report which peers speak `ut_metadata`, to the shell to compute digests and to call `step`
 * after each fact and once a second, to `metainfo/` to read the info dict, and to `MetadataServer.ts` to serve it.
 */
import * as Bytes from "../base/Bytes.ts"
import * as MetadataLimit from "../base/MetadataLimit.ts"
import * as MetadataMessage from "../wire/extension/MetadataMessage.ts"
import type { MetadataCopy as Copy } from "./MetadataCopy.ts"
import * as MetadataCopy from "./MetadataCopy.ts"

/**
 * The most requests to one peer that it has not answered. rTorrent 0.9.8 holds one answer at a time: at a second
 * request it stops reading from the connection and never resumes. A large info dict is requested faster, because a
 * distant peer would need a round trip for every 16 KiB.
 */
export const maxRequests = 1
export const maxRequestsOfLarge = 4

/** Copies that one peer each fills at the same time. */
export const maxSoleCopies = 3

/** Milliseconds that a peer may be silent while requests are out to it; doubled with each of its failures. */
export const timeoutAfter = 10_000

/** Bytes of a copy beyond which there is only one at a time. Real info dicts have at most a few MiB. */
export const largeSize = 16_777_216

/** Milliseconds that a peer is left alone after its first failure; doubled with each, up to `maxPause`. */
export const firstPause = 5_000
export const maxPause = 300_000

/** The number of a peer's failures beyond which nothing is doubled any more. */
const maxDoublings = 8

/** Rejects in a row after which a peer is dropped: it says that it has the info dict, and sends none of it. */
export const maxRejects = 16

interface Peer {
  readonly key: number
  /** The size that it names. */
  readonly size: number
  /** The copy that it fills. */
  copy: Copy | undefined
  /** Pieces of `copy` that are requested from it. */
  readonly asked: Set<number>
  /** By piece: requests that it has not answered, including those that nobody waits for any more. */
  readonly owed: Map<number, number>
  /** Since when it has been silent while requests are out to it. */
  silentSince: number
  /** When pieces may be requested from it again. */
  pausedUntil: number
  failures: number
  /** Rejects since it last sent a piece. */
  rejects: number
  /** The peer that has waited longest has the lowest. */
  turn: number
}

/** The exchange for one info dict. Owned by one fiber; any other may read `info`. */
export interface MetadataExchange {
  /** The size of the longest info dict that is fetched. */
  readonly maxSize: number
  /** The right info dict, once there is one. */
  info: Uint8Array | undefined
  readonly peers: Map<number, Peer>
  readonly copies: Set<Copy>
  /** Whether a shared copy has failed. */
  isSole: boolean
  /**
   * Peers for which `Ban` was returned and that have not joined again since. The shell decides how long a ban lasts.
   */
  readonly banned: Set<number>
  /** The shared copy whose digest was wrong, which shows whom to blame once a right one is known. */
  failed: Copy | undefined
  nextTurn: number
  actions: Array<Action>
}

/** What the shell is to do. `peer` is a key, possibly of a peer that has left. `why` is the end of a sentence. */
export type Action =
  /** Request a piece from the peer. */
  | { readonly _tag: "Request"; readonly peer: number; readonly piece: number }
  /** Compare the digest of `copy.bytes` with the info hash, and call `verified`. The bytes do not change any more. */
  | { readonly _tag: "Verify"; readonly copy: Copy }
  /** The peer broke the protocol or is of no use: end its session. */
  | { readonly _tag: "Drop"; readonly peer: number; readonly why: string }
  /** The peer sent wrong bytes: ban its address. */
  | { readonly _tag: "Ban"; readonly peer: number; readonly why: string }

/** Makes an exchange without peers that fetches an info dict of at most `maxSize` bytes. */
export const make = (maxSize = MetadataLimit.defaultMaxBytes): MetadataExchange => ({
  maxSize,
  info: undefined,
  peers: new Map(),
  copies: new Set(),
  isSole: false,
  banned: new Set(),
  failed: undefined,
  nextTurn: 0,
  actions: []
})

/**
 * A peer says that it has an info dict of `size` bytes. Impossible sizes are ignored. `peer` is its key, which stands
 * for its address. A peer that names another size later on is dropped, and so is one whose size exceeds the limit.
 */
export const join = (self: MetadataExchange, peer: number, size: number, now: number): void => {
  if (self.info !== undefined || !MetadataMessage.isSize(size)) return
  const known = self.peers.get(peer)
  if (known !== undefined) {
    if (known.size !== size) drop(self, known, "it names another size of the metadata than before")
    return
  }
  if (size > self.maxSize) {
    self.actions.push({ _tag: "Drop", peer, why: MetadataLimit.whyTooLong(self.maxSize) })
    return
  }
  self.banned.delete(peer)
  self.peers.set(peer, {
    key: peer,
    size,
    copy: undefined,
    asked: new Set(),
    owed: new Map(),
    silentSince: now,
    pausedUntil: now,
    failures: 0,
    rejects: 0,
    turn: self.nextTurn++
  })
}

/** The peer is gone. The pieces that it sent stay in the shared copy. */
export const leave = (self: MetadataExchange, peer: number): void => {
  const known = self.peers.get(peer)
  if (known === undefined) return
  detach(self, known)
  self.peers.delete(peer)
}

/** Reads a message of `ut_metadata` from the peer. Requests are ignored; `MetadataServer.ts` answers them. */
export const receive = (
  self: MetadataExchange,
  peer: number,
  message: MetadataMessage.MetadataMessage,
  now: number
): void => {
  const known = self.peers.get(peer)
  if (known === undefined || message._tag === "Request" || message._tag === "Unknown") return
  const { piece } = message
  const owed = known.owed.get(piece)
  if (owed === undefined) return drop(self, known, "it answers a request for metadata that nobody made")
  if (owed === 1) known.owed.delete(piece)
  else known.owed.set(piece, owed - 1)
  if (message._tag === "Reject") return reject(self, known, piece, now)
  if (message.totalSize !== known.size) {
    return drop(self, known, "it names another size of the metadata than before")
  }
  if (message.bytes.length !== MetadataMessage.pieceSize(known.size, piece)) {
    return drop(self, known, `it sent ${message.bytes.length} bytes of metadata for a piece`)
  }
  known.silentSince = now
  known.rejects = 0
  // An answer that comes too late is no offence, but the piece may be requested from another peer by now.
  if (known.copy === undefined || !known.asked.delete(piece)) return
  MetadataCopy.put(known.copy, known.key, piece, message.bytes)
}

const reject = (self: MetadataExchange, peer: Peer, piece: number, now: number): void => {
  if (++peer.rejects > maxRejects) return drop(self, peer, "it goes on rejecting requests for metadata")
  if (peer.asked.has(piece)) pause(self, peer, now)
}

/** Reports whether a copy has the right digest, in answer to `Verify`. */
export const verified = (self: MetadataExchange, copy: Copy, isRight: boolean): void => {
  if (!self.copies.has(copy)) return
  abandon(self, copy)
  if (isRight) return succeed(self, copy)
  const senders = new Set(copy.senders)
  if (senders.size > 1) {
    self.isSole = true
    if (copy.bytes.length <= largeSize) self.failed = copy
    return
  }
  for (const sender of senders) ban(self, sender!)
}

const succeed = (self: MetadataExchange, { bytes }: Copy): void => {
  self.info = bytes
  for (const guilty of self.failed === undefined ? [] : guiltyOf(self.failed, bytes)) ban(self, guilty)
  self.failed = undefined
  self.copies.clear()
  self.peers.clear()
}

/** The peers that sent a piece of a failed copy that differs from the right one. */
const guiltyOf = (failed: Copy, right: Uint8Array): ReadonlySet<number> => {
  const guilty = new Set<number>()
  for (const [piece, sender] of failed.senders.entries()) {
    const begin = piece * MetadataMessage.pieceLength
    const end = begin + MetadataMessage.pieceLength
    const isRight =
      failed.bytes.length === right.length &&
      Bytes.equals(failed.bytes.subarray(begin, end), right.subarray(begin, end))
    if (!isRight) guilty.add(sender!)
  }
  return guilty
}

/** Returns what to do now. Each action is returned once. */
export const step = (self: MetadataExchange, now: number): ReadonlyArray<Action> => {
  if (self.info === undefined) {
    expire(self, now)
    if (self.isSole) beginSoleCopies(self, now)
    else beginSharedCopy(self, now)
    request(self, now)
    for (const copy of self.copies) {
      if (copy.missing > 0 || copy.isVerifying) continue
      copy.isVerifying = true
      self.actions.push({ _tag: "Verify", copy })
    }
  }
  const { actions } = self
  self.actions = []
  return actions
}

const doubled = (peer: Peer): number => 2 ** Math.min(peer.failures, maxDoublings)

const expire = (self: MetadataExchange, now: number): void => {
  for (const peer of self.peers.values()) {
    if (peer.asked.size > 0 && now - peer.silentSince >= timeoutAfter * doubled(peer)) pause(self, peer, now)
  }
  for (const copy of self.copies) {
    if (copy.missing === 0 || now < MetadataCopy.deadline(copy)) continue
    const sole = copy.sole === undefined ? undefined : self.peers.get(copy.sole)
    if (sole !== undefined) pause(self, sole, now)
    else {
      // Some peer holds it up, and it may be any of them.
      self.isSole = true
      abandon(self, copy)
    }
  }
}

/** The peer failed to send what was requested: it is left alone for a while, and others take over. */
const pause = (self: MetadataExchange, peer: Peer, now: number): void => {
  detach(self, peer)
  peer.pausedUntil = now + Math.min(maxPause, firstPause * doubled(peer))
  peer.failures++
}

/** Releases what is requested from the peer. A copy that it fills alone is abandoned. */
const detach = (self: MetadataExchange, peer: Peer): void => {
  const { copy } = peer
  if (copy === undefined) return
  peer.copy = undefined
  for (const piece of peer.asked) MetadataCopy.release(copy, piece)
  peer.asked.clear()
  // A complete copy is verified even if its sender has left.
  if (copy.sole === peer.key && copy.missing > 0) self.copies.delete(copy)
}

const abandon = (self: MetadataExchange, copy: Copy): void => {
  for (const peer of self.peers.values()) if (peer.copy === copy) detach(self, peer)
  self.copies.delete(copy)
}

const drop = (self: MetadataExchange, peer: Peer, why: string): void => {
  leave(self, peer.key)
  self.actions.push({ _tag: "Drop", peer: peer.key, why })
}

const ban = (self: MetadataExchange, peer: number): void => {
  if (self.banned.has(peer)) return
  self.banned.add(peer)
  leave(self, peer)
  self.actions.push({ _tag: "Ban", peer, why: "its metadata does not have the digest of the torrent" })
}

const makeCopy = (self: MetadataExchange, size: number, sole: Peer | undefined, now: number): Copy => {
  const copy = MetadataCopy.make(size, sole?.key, sole === undefined ? 1 : doubled(sole), now)
  self.copies.add(copy)
  return copy
}

const isReady = (peer: Peer, now: number): boolean => peer.copy === undefined && peer.pausedUntil <= now

/** Begins the shared copy if there is none that a peer could go on with; the peers that name its size join it. */
const beginSharedCopy = (self: MetadataExchange, now: number): void => {
  const ready = Array.from(self.peers.values()).filter((peer) => isReady(peer, now))
  if (ready.length === 0) return
  let [copy] = self.copies
  if (copy !== undefined && isStuck(self, copy, ready)) {
    abandon(self, copy)
    copy = undefined
  }
  copy ??= makeCopy(self, commonSize(ready), undefined, now)
  for (const peer of ready) if (peer.size === copy.bytes.length) peer.copy = copy
}

/** Whether no peer fills the copy, and none that is ready could. */
const isStuck = (self: MetadataExchange, copy: Copy, ready: ReadonlyArray<Peer>): boolean =>
  copy.missing > 0 &&
  !ready.some((peer) => peer.size === copy.bytes.length) &&
  !Array.from(self.peers.values()).some((peer) => peer.copy === copy)

/** The size that most peers name; of two that equally many name, the one that was named first. */
const commonSize = (peers: ReadonlyArray<Peer>): number => {
  const votes = new Map<number, number>()
  for (const { size } of peers) votes.set(size, (votes.get(size) ?? 0) + 1)
  let common = 0
  for (const [size, count] of votes) if (count > (votes.get(common) ?? 0)) common = size
  return common
}

const beginSoleCopies = (self: MetadataExchange, now: number): void => {
  const ready = Array.from(self.peers.values()).filter((peer) => isReady(peer, now))
  ready.sort((a, b) => a.turn - b.turn)
  for (const peer of ready) {
    if (self.copies.size >= maxSoleCopies) break
    if (peer.size > largeSize && Array.from(self.copies).some(({ bytes }) => bytes.length > largeSize)) continue
    peer.turn = self.nextTurn++
    peer.copy = makeCopy(self, peer.size, peer, now)
  }
}

/** Requests what is missing, one piece from each peer in turn, so that a short info dict comes from several. */
const request = (self: MetadataExchange, now: number): void => {
  for (let round = 0; round < maxRequestsOfLarge; round++) {
    for (const peer of self.peers.values()) {
      const { copy } = peer
      if (copy === undefined || peer.asked.size > round) continue
      if (round >= maxRequests && peer.size <= largeSize) continue
      const piece = MetadataCopy.nextPiece(copy)
      if (piece === undefined) continue
      if (peer.asked.size === 0) peer.silentSince = now
      peer.asked.add(piece)
      copy.asked.add(piece)
      peer.owed.set(piece, (peer.owed.get(piece) ?? 0) + 1)
      self.actions.push({ _tag: "Request", peer: peer.key, piece })
    }
  }
}
