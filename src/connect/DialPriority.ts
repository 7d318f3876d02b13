/**
 * Canonical peer priority (BEP 40): a number for each pair of peers that both compute alike without exchanging it. If
 * all peers dial and keep those of high priority, every newcomer has the same chance, and no group of addresses can
 * fill up a swarm.
 *
 * Pure. The swarm decides how to use it, within one torrent. Our own address is the one that others see: trackers (BEP
 * 24) and peers (`yourip`, BEP 10) report it, and may lie.
 */
import * as Bytes from "../base/Bytes.ts"
import * as PeerAddress from "../base/PeerAddress.ts"

/** How peers see us: an address of each family, if it is known. Both use the same port. */
export interface Ourselves {
  readonly ipv4Host: string | undefined
  readonly ipv6Host: string | undefined
  readonly port: number
}

/** Bytes of an address that name a network. Of the bytes after them only every second bit counts (BEP 40). */
const networkLength = { 4: 2, 16: 6 } as const

/** Selects every second bit of the bytes after the network. */
const hostMask = 0x55

/**
 * The priority of the pair, 0 to 2^32 - 1, the same from both sides. `undefined` if `peer` is a name, or of a family in
 * which our own address is unknown. The higher it is, the sooner the peer is dialled and the longer it is kept.
 */
export const of = (ourselves: Ourselves, peer: PeerAddress.PeerAddress): number | undefined => {
  const host = peer.host.includes(":") ? ourselves.ipv6Host : ourselves.ipv4Host
  return host === undefined ? undefined : between({ host, port: ourselves.port }, peer)
}

/** The priority of two addresses, in either order. `undefined` if one is a name, or if their families differ. */
export const between = (one: PeerAddress.PeerAddress, other: PeerAddress.PeerAddress): number | undefined => {
  const a = PeerAddress.ipBytes(one)
  const b = PeerAddress.ipBytes(other)
  if (a === undefined || b === undefined || a.length !== b.length) return undefined
  let common = 0
  while (common < a.length && a[common] === b[common]) common++
  if (common === a.length) return crc32c(sorted(portBytes(one.port), portBytes(other.port)))
  // The byte in which they differ counts whole, so that neighbours differ in what follows their common network.
  const whole = Math.max(networkLength[a.length as 4 | 16], common + 1)
  return crc32c(sorted(masked(a, whole), masked(b, whole)))
}

const portBytes = (port: number): Uint8Array => {
  const bytes = new Uint8Array(2)
  Bytes.writeUint16Unsafe(bytes, 0, port)
  return bytes
}

const masked = (ip: Uint8Array, whole: number): Uint8Array =>
  ip.map((byte, index) => (index < whole ? byte : byte & hostMask))

/** Joins both, which have the same length, with the smaller one first. */
const sorted = (a: Uint8Array, b: Uint8Array): Uint8Array => {
  for (let index = 0; index < a.length; index++) {
    if (a[index] !== b[index]) return a[index]! < b[index]! ? Bytes.concat([a, b]) : Bytes.concat([b, a])
  }
  return Bytes.concat([a, b])
}

/**
 * For each byte, what it does to the remainder. 0x82f63b78 is the Castagnoli polynomial, bits reversed (RFC 3720 12.1).
 */
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte
  for (let bit = 0; bit < 8; bit++) remainder = (remainder & 1) === 0 ? remainder >>> 1 : (remainder >>> 1) ^ 0x82f63b78
  return remainder
})

/** Computes the CRC-32C of `bytes` (RFC 3720 section 12.1), 0 to 2^32 - 1. */
export const crc32c = (bytes: Uint8Array): number => {
  let remainder = 0xffffffff
  for (let index = 0; index < bytes.length; index++) {
    remainder = (remainder >>> 8) ^ table[(remainder ^ bytes[index]!) & 0xff]!
  }
  return ~remainder >>> 0
}
