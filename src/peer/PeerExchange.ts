/**
 * What one peer is told of our other peers, and what is taken of what it tells (BEP 11). A pure machine: `now`, in
 * milliseconds, comes in.
 *
 * Told is who we are connected to: what has changed since the last message, at most once a minute, at most 50 added and
 * 50 dropped. Taken are addresses that could be somebody's, bounded in rate and in number, as a peer may lie. Addresses of
 * a local network are told to and taken from peers in it only. A private torrent tells and takes nothing (BEP 27).
 *
 * Leaves to the session that both sides speak `ut_pex`, to the swarm to know by which address an incoming peer can be
 * dialled (its `port` in the extension handshake), and to `swarm/PeerBook.ts` what becomes of an address.
 */
import * as CompactPeers from "../base/CompactPeers.ts"
import * as PeerAddress from "../base/PeerAddress.ts"
import * as Reach from "../base/Reach.ts"
import type { Contact, PexMessage } from "../wire/extension/PexMessage.ts"

/** Milliseconds between two messages to a peer (BEP 11). */
export const interval = 60_000

/** Milliseconds between two messages of a peer that are read: some hold a minute a little shorter. */
export const minInterval = 45_000

/** Contacts that a message adds, and that it drops, at most (BEP 11). */
export const maxContacts = 50

/** Contacts taken of a peer's first message, which may hold all that it is connected to (BEP 11). */
export const maxFirstContacts = 100

/**
 * Addresses taken from one peer in all: a swarm is told of by many, and `PeerBook.maxAddresses` is four times as many, so
 * one liar cannot fill the book.
 */
export const maxTaken = 500

/** The exchange with one peer. Owned by its session. */
export interface PeerExchange {
  /** The host of the peer, as we see it. */
  readonly host: string
  readonly isPrivate: boolean
  /** Who the peer believes that we are connected to, by `PeerAddress.format`. */
  readonly told: Map<string, PeerAddress.PeerAddress>
  /** When the last message went out. */
  sentAt: number
  /** When the last message that was read came in. */
  readAt: number
  /** What of the peer's addresses has been taken, by `keyOf`. */
  readonly taken: Set<string>
}

/** An exchange in which nothing has been said. `isPrivate`: the torrent is (BEP 27). */
export const make = (options: { readonly host: string; readonly isPrivate: boolean }): PeerExchange => ({
  host: options.host,
  isPrivate: options.isPrivate,
  told: new Map(),
  sentAt: Number.NEGATIVE_INFINITY,
  readAt: Number.NEGATIVE_INFINITY,
  taken: new Set()
})

/** Whether an address makes sense to a peer at `host`: it is public, or no farther from this machine than `host` is. */
const isWithinReach = (address: PeerAddress.PeerAddress, host: string): boolean => {
  if (!PeerAddress.isDialable(address)) return false
  const reach = Reach.of(address.host)
  if (reach === "public") return true
  const from = Reach.of(host)
  return from === "loopback" || (from === "private" && reach === "private")
}

/**
 * The message that is due to the peer; `undefined` where it is too early or nothing has changed. `connected` holds the
 * peers that we are connected to now, but for this one, each with the address at which it can be dialled; it is not read
 * before a minute has passed. What is given counts as told: it must be sent.
 */
export const next = (self: PeerExchange, connected: Iterable<Contact>, now: number): PexMessage | undefined => {
  if (self.isPrivate || now - self.sentAt < interval) return undefined
  const current = new Map<string, Contact>()
  for (const contact of connected) {
    const { address } = contact
    const isTellable = isWithinReach(address, self.host) && CompactPeers.encodeEntry(address) !== undefined
    if (isTellable) current.set(PeerAddress.format(address), contact)
  }
  const dropped = Array.from(self.told)
    .filter(([text]) => !current.has(text))
    .slice(0, maxContacts)
  const added = Array.from(current)
    .filter(([text]) => !self.told.has(text))
    .slice(0, maxContacts)
  if (added.length === 0 && dropped.length === 0) return undefined
  for (const [text] of dropped) self.told.delete(text)
  for (const [text, { address }] of added) self.told.set(text, address)
  self.sentAt = now
  return { added: added.map(([, contact]) => contact), dropped: dropped.map(([, address]) => address) }
}

/**
 * The contacts that are taken of a peer's message, each of them news from it; empty where it comes too early or the peer
 * has told enough. Of several ports of one public host the first is taken (BEP 11): nobody shall make us knock at them all.
 */
export const take = (self: PeerExchange, message: PexMessage, now: number): ReadonlyArray<Contact> => {
  if (self.isPrivate || now - self.readAt < minInterval) return []
  const isFirst = self.readAt === Number.NEGATIVE_INFINITY
  const room = Math.min(isFirst ? maxFirstContacts : maxContacts, maxTaken - self.taken.size)
  self.readAt = now
  const contacts: Array<Contact> = []
  for (const contact of message.added) {
    if (contacts.length >= room) break
    const key = keyOf(contact.address)
    if (self.taken.has(key) || !isWithinReach(contact.address, self.host)) continue
    self.taken.add(key)
    contacts.push(contact)
  }
  return contacts
}

/** On a local network, and above all on one machine, several ports of a host are several peers. */
const keyOf = (address: PeerAddress.PeerAddress): string =>
  Reach.of(address.host) === "public" ? address.host : PeerAddress.format(address)
