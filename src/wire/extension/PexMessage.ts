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
      const list = Bencode.getBytes(root, key) ?? new Uint8Array()
      if (list.length % size !== 0) {
        return Result.fail(new WireError({ why: `a list of ${list.length} bytes of contacts of ${size}` }))
      }
      for (let index = 0; index < Math.min(list.length / size, maxContacts); index++) {
        const address = CompactPeers.decodeEntry(list.subarray(index * size, (index + 1) * size))
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
  const flags: { readonly [family in CompactPeers.Family]: Array<number> } = { ipv4: [], ipv6: [] }
  for (const contact of message.added) {
    const entry = CompactPeers.encodeEntry(contact.address)
    if (entry !== undefined) flags[entry.length === CompactPeers.entryLength.ipv4 ? "ipv4" : "ipv6"].push(contact.flags)
  }
  return Bencode.encode({
    added: unlessEmpty(added.ipv4),
    "added.f": unlessEmpty(Uint8Array.from(flags.ipv4)),
    added6: unlessEmpty(added.ipv6),
    "added6.f": unlessEmpty(Uint8Array.from(flags.ipv6)),
    dropped: unlessEmpty(dropped.ipv4),
    dropped6: unlessEmpty(dropped.ipv6)
  })
}

const unlessEmpty = (list: Uint8Array): Uint8Array | undefined => (list.length === 0 ? undefined : list)
