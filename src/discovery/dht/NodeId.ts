/**
 * Ids of nodes, 20 bytes as info hashes (BEP 5), the distance between them, and how an id follows from an IP address
 * (BEP 42), so that nobody can choose where in the table his nodes are.
 */
import type * as Brand from "effect/Brand"
import * as IpAddress from "../../base/IpAddress.ts"
import type { Prng } from "../../base/Prng.ts"
import * as Random from "../../base/Prng.ts"
import * as Reach from "../../base/Reach.ts"

/** The id of a node, 20 bytes. */
export type NodeId = Uint8Array & Brand.Brand<"piecewise/NodeId">

/** Bytes in an id. */
export const length = 20

/** Bits in an id. */
export const bits = length * 8

/** Types 20 bytes as an id, the same array and no copy; `undefined` for another length. */
export const fromBytes = (bytes: Uint8Array): NodeId | undefined =>
  bytes.length === length ? (bytes as NodeId) : undefined

/** A random id. */
export const random = (prng: Prng): NodeId =>
  Uint8Array.from({ length }, () => Random.integer(prng, 256)) as Uint8Array as NodeId

/** How many bits two ids have in common from the first on, 0 to 160. */
export const sharedBits = (self: Uint8Array, that: Uint8Array): number => {
  for (let index = 0; index < length; index++) {
    const difference = self[index]! ^ that[index]!
    if (difference !== 0) return index * 8 + Math.clz32(difference) - 24
  }
  return bits
}

/** Orders two ids by their distance to `target` (XOR, BEP 5): negative if `a` is closer, 0 if they are equal. */
export const compare = (target: Uint8Array, a: Uint8Array, b: Uint8Array): number => {
  for (let index = 0; index < length; index++) {
    const order = (a[index]! ^ target[index]!) - (b[index]! ^ target[index]!)
    if (order !== 0) return order
  }
  return 0
}

/** A random id that shares exactly the first `shared` bits (less than 160) with `self`. */
export const randomSharing = (self: Uint8Array, shared: number, prng: Prng): NodeId => {
  const id = random(prng)
  for (let bit = 0; bit <= shared; bit++) {
    const mask = 0x80 >>> (bit & 7)
    const ours = self[bit >>> 3]! & mask
    const wanted = bit < shared ? ours : ours ^ mask
    id[bit >>> 3] = (id[bit >>> 3]! & ~mask) | wanted
  }
  return id
}

/**
 * Another id for each `number` from 0, which is the id itself, to 255, far away from one another (BEP 45): numbers differ
 * in the first bits, beginning with the very first.
 */
export const apart = (self: NodeId, number: number): NodeId => {
  const id = new Uint8Array(self) as Uint8Array as NodeId
  for (let bit = 0; bit < 8; bit++) if ((number >>> bit) & 1) id[0] = id[0]! ^ (0x80 >>> bit)
  return id
}

/** The bits of an address that count (BEP 42). */
const mask4 = Uint8Array.of(0x03, 0x0f, 0x3f, 0xff)
const mask6 = Uint8Array.of(0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff)

const crcTable = Int32Array.from({ length: 256 }, (_, index) => {
  let value = index
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1
  return value
})

/** CRC-32C (Castagnoli, RFC 3720 appendix B.4). */
export const crc32c = (bytes: Uint8Array): number => {
  let crc = -1
  for (const byte of bytes) crc = crcTable[(crc ^ byte) & 0xff]! ^ (crc >>> 8)
  return ~crc >>> 0
}

/** The first 21 bits of an id of the node at `ip` (4 or 16 bytes) are those of this number. `r` is 0 to 7. */
const prefixOf = (ip: Uint8Array, r: number): number => {
  const mask = ip.length === 4 ? mask4 : mask6
  const masked = mask.map((bits, index) => bits & ip[index]!)
  masked[0] = masked[0]! | ((r & 7) << 5)
  return crc32c(masked)
}

/**
 * An id of the node at `ip`, 4 or 16 bytes (BEP 42). The low three bits of `rand`, 0 to 255, which is the last byte of
 * the id, choose one of eight prefixes.
 */
export const ofAddress = (ip: Uint8Array, rand: number, prng: Prng): NodeId => {
  const prefix = prefixOf(ip, rand)
  const id = random(prng)
  id[0] = prefix >>> 24
  id[1] = prefix >>> 16
  id[2] = ((prefix >>> 8) & 0xf8) | (id[2]! & 7)
  id[19] = rand
  return id
}

/**
 * Whether the id suits the host of its node (BEP 42). Every id suits a host that is not public, as in a local network,
 * where nodes share few addresses. A name has no id.
 */
export const suits = (id: Uint8Array, host: string): boolean => {
  if (Reach.of(host) !== "public") return true
  const ip = IpAddress.parse(host)
  if (ip === undefined) return false
  const prefix = prefixOf(ip, id[19]!)
  return id[0] === prefix >>> 24 && id[1] === ((prefix >>> 16) & 0xff) && ((id[2]! ^ (prefix >>> 8)) & 0xf8) === 0
}
