/**
 * Messages of `ut_pex`, by which peers send each other the addresses that they are connected to (BEP 11).
 *
 * A bencoded dictionary of byte strings: `added`, `dropped` (IPv4, 6 bytes a contact), `added6`, `dropped6` (IPv6, 18),
 * as in `base/CompactPeers.ts`, and `added.f`, `added6.f` with a byte of flags for each added contact.
 *
 * Leaves to `peer/PeerExchange.ts` how often a message may come, and which of its addresses are accepted.
 */
import * as Result from "effect/Result"
import * as CompactPeers from "../../base/CompactPeers.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import * as Bencode from "../../bencode/Bencode.ts"
import { WireError } from "../WireError.ts"

/** Its name in the extension handshake. */
export const extensionName = "ut_pex"

/** Bits of a contact's flags. */
export const flag = {
  prefersEncryption: 0x01,
  /** It is a seed, or wants nothing more. */
  uploadOnly: 0x02,
  supportsUtp: 0x04,
  supportsHolepunch: 0x08,
  /** The sender has dialled it, so it can be reached. */
  isReachable: 0x10
} as const

/** A peer to which the sender is connected. `flags` are bits of `flag`, 0 if the sender says nothing about it. */
export interface Contact {
  readonly address: PeerAddress
  readonly flags: number
}

/** The peers that the sender connected to and disconnected from since its last message. */
export interface PexMessage {
  readonly added: ReadonlyArray<Contact>
  readonly dropped: ReadonlyArray<PeerAddress>
}

/** Contacts of each list that are read: the first message of a connection may hold more than the 50 of later ones. */
export const maxContacts = 200

/** Bytes of a message; 50 contacts in each list take 3,000. */
export const maxLength = 65_536

/**
 * Reads the payload of an `extended` frame. Contacts of port 0 are left out, and so are those beyond `maxContacts` in a
 * list. Nothing in the result refers to `payload`. Fails with `WireError` if it is not a dictionary, or if a list does
 * not consist of whole contacts.
 */
export const decode = (payload: Uint8Array): Result.Result<PexMessage, WireError> => {
  const decoded = Bencode.decode(payload, { maxBytes: maxLength, maxDepth: 8, maxTokens: 64, trailing: "ignore" })
  if (Result.isFailure(decoded) || !Bencode.isDictionary(decoded.success.value)) {
    return Result.fail(new WireError({ why: "a peer exchange message that is no dictionary" }))
  }
  const root = decoded.success.value
  const added: Array<Contact> = []
  const dropped: Array<PeerAddress> = []
  for (const [family, suffix] of [["ipv4", ""] as const, ["ipv6", "6"] as const]) {
    const size = CompactPeers.entryLength[family]
    const flags = Bencode.getBytes(root, `added${suffix}.f`)
    for (const key of [`added${suffix}`, `dropped${suffix}`]) {
      const list = Bencode.getBytes(root, key)
      if (list === undefined) continue
      if (list.length % size !== 0) {
        return Result.fail(new WireError({ why: `a list of ${list.length} bytes of contacts of ${size}` }))
      }
      for (let index = 0; index < Math.min(list.length / size, maxContacts); index++) {
        const address = CompactPeers.read(list, index * size, family)
        if (address === undefined) continue
        if (key.startsWith("added")) added.push({ address, flags: flags?.[index] ?? 0 })
        else dropped.push(address)
      }
    }
  }
  return Result.succeed({ added, dropped })
}

/** Encodes the payload of an `extended` frame. Empty lists are left out, and so are contacts by name. */
export const encode = (message: PexMessage): Uint8Array => {
  const added = CompactPeers.encode(message.added.map((contact) => contact.address))
  const dropped = CompactPeers.encode(message.dropped)
  const flags = {
    ipv4: new Uint8Array(added.ipv4.length / CompactPeers.entryLength.ipv4),
    ipv6: new Uint8Array(added.ipv6.length / CompactPeers.entryLength.ipv6)
  }
  const ends = { ipv4: 0, ipv6: 0 }
  for (const { address, flags: bits } of message.added) {
    const family = CompactPeers.familyOf(address)
    if (family !== undefined) flags[family][ends[family]++] = bits
  }
  const lists = new Map<string, Uint8Array>()
  const put = (key: string, list: Uint8Array): void => void (list.length > 0 && lists.set(key, list))
  put("added", added.ipv4)
  put("added.f", flags.ipv4)
  put("added6", added.ipv6)
  put("added6.f", flags.ipv6)
  put("dropped", dropped.ipv4)
  put("dropped6", dropped.ipv6)
  return Bencode.encode(lists)
}
