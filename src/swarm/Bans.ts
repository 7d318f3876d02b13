/**
 * The bans of a book, and the addresses in it that are this client itself. Every ban ends. Pure: `now` is an argument.
 *
 * A ban applies to host and port. A host with `PeerBook.maxBannedPorts` banned addresses is banned as a whole, except
 * for peers on it that have sent right pieces.
 */
import type { Peer, PeerBook } from "./PeerBook.ts"
import * as Book from "./PeerBook.ts"

/**
 * The most addresses that are banned or ourselves. Beyond it, one that was ourselves or else the oldest is forgotten.
 */
export const maxExcluded = 1_000

/**
 * How long an address is banned at first (milliseconds): as long as an unreachable address waits, because it may be an
 * honest peer with a damaged disk. It doubles with each further ban up to `longestBan`, so that a liar can send eight
 * wrong pieces on its first day, and one a day from then on.
 */
export const firstBan = Book.maxDelay

/** The longest ban (milliseconds). An address that was not banned for as long begins with the first ban again. */
export const longestBan = 86_400_000

/** How long an address at which this client itself was found is not dialled (milliseconds). */
export const selfRest = 3_600_000

/** How long a lie is banned for after `bans` earlier bans (milliseconds). */
export const banAfter = (bans: number): number => Math.min(longestBan, firstBan * 2 ** bans)

/** How often an address was banned lately: counting begins again a day after its last ban. */
export const bansOf = (peer: Peer, now: number): number => (now - peer.excludedUntil >= longestBan ? 0 : peer.bans)

/** How long a ban is, and what it counts for. */
export interface Sentence {
  /** Milliseconds. */
  readonly millis: number
  /** Whether it counts against the host of the address. */
  readonly countsForHost: boolean
}

const excludeUntil = (self: PeerBook, peer: Peer, state: "banned" | "ourselves", until: number): void => {
  peer.state = state
  peer.excludedUntil = until
  Book.sort(self, peer)
  self.excluded.delete(peer)
  self.excluded.add(peer)
  self.pardonAt = Math.min(self.pardonAt, until)
  if (self.excluded.size <= maxExcluded) return
  // Anybody can say that it is this client, so that costs no ban.
  const oldest = self.excluded.values().find((other) => other.state === "ourselves") ?? [...self.excluded][0]!
  notGuilty(self, oldest)
  self.excluded.delete(oldest)
  Book.forget(self, oldest)
}

/** Ends what a peer counts against its host. */
const notGuilty = (self: PeerBook, peer: Peer): void => {
  const guilty = self.guilty.get(Book.hostOf(peer))
  guilty?.delete(peer)
  if (guilty?.size === 0) self.guilty.delete(Book.hostOf(peer))
}

/**
 * Notes that this client was found at the address. It is not dialled for an hour, and nothing is held against its host.
 */
export const exclude = (self: PeerBook, peer: Peer, now: number): void =>
  peer.state === "banned" ? Book.forgetBystander(self, peer) : excludeUntil(self, peer, "ourselves", now + selfRest)

/**
 * Bans a peer until `pardon` ends the ban; by default for a lie. Returns whom that bans: nobody if the peer was banned
 * already, and those who have to leave if its host is banned now. Other addresses of the host are forgotten, and
 * refused while the ban lasts.
 */
export const ban = (
  self: PeerBook,
  peer: Peer,
  now: number,
  sentence: Sentence = { millis: banAfter(bansOf(peer, now)), countsForHost: true }
): ReadonlyArray<Peer> => {
  if (peer.state === "banned") return []
  peer.bans = bansOf(peer, now) + 1
  const host = Book.hostOf(peer)
  if (sentence.countsForHost) {
    const guilty = self.guilty.get(host) ?? new Set()
    self.guilty.set(host, guilty.add(peer))
  }
  excludeUntil(self, peer, "banned", now + sentence.millis)
  if (!sentence.countsForHost || !Book.isHostBanned(self, host)) return [peer]
  const banned = [peer]
  for (const other of [...(self.byHost.get(host) ?? [])]) {
    if (other.isProven || other.state === "banned" || other.state === "ourselves") continue
    if (other.state === "idle" || other.state === "gone") Book.forget(self, other)
    else {
      other.state = "banned"
      banned.push(other)
    }
  }
  return banned
}

/**
 * Ends bans whose time is over. The address may be dialled at once, as may one that was ourselves. Returns whether any
 * ban ended.
 */
export const pardon = (self: PeerBook, now: number): boolean => {
  if (now < self.pardonAt) return false
  for (const peer of [...self.excluded]) {
    if (now < peer.excludedUntil) continue
    notGuilty(self, peer)
    takeBack(self, peer, now)
  }
  self.pardonAt = Number.POSITIVE_INFINITY
  for (const { excludedUntil } of self.excluded) self.pardonAt = Math.min(self.pardonAt, excludedUntil)
  return true
}

const takeBack = (self: PeerBook, peer: Peer, now: number): void => {
  self.excluded.delete(peer)
  peer.state = peer.isDialable ? "idle" : "gone"
  peer.failures = 0
  peer.dialAt = now
  Book.sort(self, peer)
}

/** How many addresses are banned. */
export const bannedCount = (self: PeerBook): number => {
  let count = 0
  for (const peer of self.excluded) if (peer.state === "banned") count++
  return count
}
