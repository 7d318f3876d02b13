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
 * The addresses of a list, in order, without those of port 0. If positions count, as in PEX flags, use `decodeEntry`.
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
  for (let offset = 0; offset < bytes.length; offset += size) {
    const address = decodeEntry(bytes.subarray(offset, offset + size))
    if (address !== undefined) addresses.push(address)
  }
  return Result.succeed(addresses)
}

/** The address of one entry of 6 or 18 bytes; `undefined` for another length and for port 0. */
export const decodeEntry = (bytes: Uint8Array): PeerAddress.PeerAddress | undefined => {
  if (bytes.length !== entryLength.ipv4 && bytes.length !== entryLength.ipv6) return undefined
  const ipLength = bytes.length - 2
  const port = Bytes.readUint16Unsafe(bytes, ipLength)
  return port === 0 ? undefined : { host: IpAddress.format(bytes.subarray(0, ipLength))!, port }
}

/** Addresses in compact form, by family and in order. Names, which have none, are left out. */
export const encode = (addresses: Iterable<PeerAddress.PeerAddress>): { readonly [family in Family]: Uint8Array } => {
  const ipv4: Array<Uint8Array> = []
  const ipv6: Array<Uint8Array> = []
  for (const address of addresses) {
    const entry = encodeEntry(address)
    if (entry !== undefined) (entry.length === entryLength.ipv4 ? ipv4 : ipv6).push(entry)
  }
  return { ipv4: Bytes.concat(ipv4), ipv6: Bytes.concat(ipv6) }
}

/** One address as 6 or 18 bytes; `undefined` if the host is a name. A zone is left out. */
export const encodeEntry = (address: PeerAddress.PeerAddress): Uint8Array<ArrayBuffer> | undefined => {
  const ip = PeerAddress.ipBytes(address)
  if (ip === undefined) return undefined
  const entry = new Uint8Array(ip.length + 2)
  entry.set(ip)
  Bytes.writeUint16Unsafe(entry, ip.length, address.port)
  return entry
}
