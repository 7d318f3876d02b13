/**
 * Peer addresses in compact form, as trackers (BEP 23, BEP 7), PEX (BEP 11) and the DHT (BEP 5, BEP 32) carry them:
 * 4 bytes of IPv4 or 16 of IPv6, then the port, big-endian; many are put end to end.
 *
 * `PeerAddress.isDialable` decides whether an address can be dialled; here only port 0 is dropped, with which clients
 * say that they cannot be reached.
 */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import * as Bytes from "./Bytes.ts"
import * as IpAddress from "./IpAddress.ts"
import * as PeerAddress from "./PeerAddress.ts"

/** Which kind of address a list holds. */
export type Family = "ipv4" | "ipv6"

/** Both kinds. */
export const families: ReadonlyArray<Family> = ["ipv4", "ipv6"]

/** Bytes an address takes in a list, port included. */
export const entryLength: { readonly [family in Family]: number } = { ipv4: 6, ipv6: 18 }

/** A list's length is not a multiple of its entries'. `length` and `entryLength` in bytes. */
export class CompactPeersError extends Data.TaggedError("CompactPeersError")<{
  readonly length: number
  readonly entryLength: number
}> {
  override get message() {
    return `A compact peer list of ${this.length} bytes is not made of entries of ${this.entryLength}.`
  }
}

/**
 * The addresses of a list, in order, without those of port 0. If positions count, as in PEX flags, use `read`.
 */
export const decode = (
  bytes: Uint8Array,
  family: Family
): Result.Result<ReadonlyArray<PeerAddress.PeerAddress>, CompactPeersError> => {
  const size = entryLength[family]
  if (bytes.length % size !== 0) {
    return Result.fail(new CompactPeersError({ length: bytes.length, entryLength: size }))
  }
  const addresses: Array<PeerAddress.PeerAddress> = []
  for (let at = 0; at < bytes.length; at += size) {
    const address = read(bytes, at, family)
    if (address !== undefined) addresses.push(address)
  }
  return Result.succeed(addresses)
}

/** The address of the entry at `at` of a list; `undefined` for port 0. */
export const read = (bytes: Uint8Array, at: number, family: Family): PeerAddress.PeerAddress | undefined => {
  const end = at + entryLength[family] - 2
  const port = Bytes.readUint16Unsafe(bytes, end)
  if (port === 0) return undefined
  return { host: family === "ipv4" ? IpAddress.format4(bytes, at) : IpAddress.format(bytes.subarray(at, end))!, port }
}

/** The kind of list that an address belongs in; `undefined` for a name, which has no compact form. */
export const familyOf = (address: Pick<PeerAddress.PeerAddress, "host">): Family | undefined => {
  if (IpAddress.ipv4(address.host) >= 0) return "ipv4"
  // No name has a colon.
  if (!address.host.includes(":")) return undefined
  return PeerAddress.ipBytes(address)?.length === 4 ? "ipv4" : "ipv6"
}

/** Addresses in compact form, by family and in order. Names, which have none, are left out. */
export const encode = (
  addresses: ReadonlyArray<PeerAddress.PeerAddress>
): { readonly [family in Family]: Uint8Array } => {
  const ipv4 = new Uint8Array(addresses.length * entryLength.ipv4)
  let end = 0
  const ipv6: Array<Uint8Array> = []
  for (const address of addresses) {
    const number = IpAddress.ipv4(address.host)
    if (number >= 0) {
      Bytes.writeUint32Unsafe(ipv4, end, number)
      Bytes.writeUint16Unsafe(ipv4, end + 4, address.port)
      end += entryLength.ipv4
      continue
    }
    const entry = encodeEntry(address)
    if (entry === undefined) continue
    if (entry.length === entryLength.ipv6) ipv6.push(entry)
    else {
      // An IPv4 address in the form of IPv6.
      ipv4.set(entry, end)
      end += entryLength.ipv4
    }
  }
  return { ipv4: end === ipv4.length ? ipv4 : ipv4.slice(0, end), ipv6: Bytes.concat(ipv6) }
}

/** One address as 6 or 18 bytes; `undefined` if the host is a name. A zone is left out. */
const encodeEntry = (address: PeerAddress.PeerAddress): Uint8Array<ArrayBuffer> | undefined => {
  const ip = PeerAddress.ipBytes(address)
  if (ip === undefined) return undefined
  const entry = new Uint8Array(ip.length + 2)
  entry.set(ip)
  Bytes.writeUint16Unsafe(entry, ip.length, address.port)
  return entry
}
