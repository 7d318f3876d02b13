/**
 * The exchange of addresses with one peer (BEP 11): which of our peers we send to it, and which of those that it sends
 * we accept. A pure machine: `now`, in milliseconds, is an argument.
 *
 * We send what has changed among our connections since the last message, at most once a minute, at most 50 added and 50
 * dropped. We accept addresses that could belong to a peer, bounded in rate and in number, because a peer may lie.
 * Addresses of a local network are sent to and accepted from peers in it only. A private torrent sends and accepts none
 * (BEP 27).
 *
 * Leaves to the session to know that both sides speak `ut_pex`, to the swarm to know at which address an incoming peer
 * can be dialled (its `port` in the extension handshake), and to `swarm/PeerBook.ts` what is done with an address.
 */
import * as CompactPeers from "../base/CompactPeers.ts"
import * as Naming from "../base/Naming.ts"
import * as PeerAddress from "../base/PeerAddress.ts"
import * as Reach from "../base/Reach.ts"
import type { Contact, PexMessage } from "../wire/extension/PexMessage.ts"

/** Milliseconds between two messages to a peer (BEP 11). */
export const interval = 60_000

/** Milliseconds between two messages of a peer that are read: some clients' minutes are a little short. */
export const minInterval = 45_000

/** The most contacts that a message adds, and the most that it drops (BEP 11). */
export const maxContacts = 50

/** Contacts accepted from a peer's first message, which may hold all peers that it is connected to (BEP 11). */
export const maxFirstContacts = 100

/**
 * Addresses accepted from one peer in all. Many peers report the same swarm, and `PeerBook.maxAddresses` is four times
 * as many, so one liar cannot fill the book.
 */
export const maxAccepted = 500

/** The exchange with one peer. Owned by its session. */
export interface PeerExchange {
  /** From where the host of the peer, as we see it, can be reached. */
  readonly reach: Reach.Reach
  readonly isPrivate: boolean
  /** The peers that we have said we are connected to, by `PeerAddress.format`. */
  readonly sent: Map<string, PeerAddress.PeerAddress>
  /** When we last sent a message. */
  sentAt: number
  /** The version of our connections of which the peer has been told everything. */
  toldVersion: number | undefined
  /** When the last message that was read arrived. */
  readAt: number
  /** The addresses that were accepted from the peer, by host, or by host and port on a local network. */
  readonly accepted: Set<string>
  /** How many addresses were refused that the peer may not name (`base/Naming.ts`). */
  refused: number
}

/** Makes an exchange without messages so far. `isPrivate`: whether the torrent is (BEP 27). */
export const make = (options: { readonly host: string; readonly isPrivate: boolean }): PeerExchange => ({
  reach: Reach.of(options.host),
  isPrivate: options.isPrivate,
  sent: new Map(),
  sentAt: Number.NEGATIVE_INFINITY,
  toldVersion: undefined,
  readAt: Number.NEGATIVE_INFINITY,
  accepted: new Set(),
  refused: 0
})

/**
 * The message that is due to the peer; `undefined` if it is too early or nothing has changed. The caller must send it.
 * `connected` holds the peers that we are connected to now, except for this one, each with the address at which it can
 * be dialled. It is not read before a minute has passed, nor if the peer was told everything of this `version` of it.
 * Without a version it may have changed.
 */
export const next = (
  self: PeerExchange,
  connected: Iterable<Contact>,
  now: number,
  version?: number | undefined
): PexMessage | undefined => {
  if (self.isPrivate || now - self.sentAt < interval) return undefined
  if (version !== undefined && version === self.toldVersion) return undefined
  const current = new Map<string, Contact>()
  for (const contact of connected) {
    const { address } = contact
    // What the peer may not name would mean nothing to it.
    const isSendable = CompactPeers.familyOf(address) !== undefined && Naming.mayName(self.reach, address)
    if (isSendable) current.set(PeerAddress.format(address), contact)
  }
  const dropped: Array<PeerAddress.PeerAddress> = []
  const added: Array<Contact> = []
  let isAll = true
  for (const [text, address] of self.sent) {
    if (current.has(text)) continue
    isAll &&= dropped.length < maxContacts
    if (!isAll) break
    dropped.push(address)
    self.sent.delete(text)
  }
  for (const [text, contact] of current) {
    if (self.sent.has(text)) continue
    if (added.length === maxContacts) {
      isAll = false
      break
    }
    added.push(contact)
    self.sent.set(text, contact.address)
  }
  self.toldVersion = isAll ? version : undefined
  if (added.length === 0 && dropped.length === 0) return undefined
  self.sentAt = now
  return { added, dropped }
}

/**
 * The contacts that are accepted from a peer's message, without those that it sent before; empty if it comes too early
 * or the peer has sent enough. Of several ports of one public host only the first is accepted (BEP 11), so that no peer
 * can make us dial them all.
 */
export const take = (self: PeerExchange, message: PexMessage, now: number): ReadonlyArray<Contact> => {
  if (self.isPrivate || now - self.readAt < minInterval) return []
  const isFirst = self.readAt === Number.NEGATIVE_INFINITY
  const room = Math.min(isFirst ? maxFirstContacts : maxContacts, maxAccepted - self.accepted.size)
  self.readAt = now
  const contacts: Array<Contact> = []
  for (const contact of message.added) {
    if (contacts.length >= room) break
    if (!Naming.mayName(self.reach, contact.address)) {
      self.refused++
      continue
    }
    // Several ports of one host are several peers on a local network, and above all on one machine.
    const key =
      PeerAddress.reachOf(contact.address) === "public" ? contact.address.host : PeerAddress.format(contact.address)
    if (self.accepted.has(key)) continue
    self.accepted.add(key)
    contacts.push(contact)
  }
  return contacts
}
