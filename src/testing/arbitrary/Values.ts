/**
 * Arbitraries of values of `base` and of bencode, for property tests of modules that use them.
 */
import * as fc from "fast-check"
import * as InfoHash from "../../base/InfoHash.ts"
import * as IpAddress from "../../base/IpAddress.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import type * as Bencode from "../../bencode/Bencode.ts"

/** A dictionary key: one character a byte, most often a word that BEPs use, sometimes any bytes. */
export const bencodeKey: fc.Arbitrary<string> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom("info", "length", "name", "path", "pieces", "a", "b", "") },
  {
    weight: 1,
    arbitrary: fc
      .array(fc.integer({ min: 0, max: 0xff }), { maxLength: 40 })
      .map((codes) => String.fromCharCode(...codes))
  }
)

const bencodeInteger: fc.Arbitrary<number | bigint> = fc.oneof(
  fc.integer(),
  // Not -0, for which bencode has no form.
  fc.maxSafeInteger().map((value) => value + 0),
  fc
    .bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n })
    .map((value) => (Number.isSafeInteger(Number(value)) ? Number(value) : value))
)

const byKey = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1)

/** Any value as `Bencode.decode` returns it for a canonical encoding: keys ascend, integers have at most 64 bits. */
export const bencodeValue: fc.Arbitrary<Bencode.Value> = fc.letrec<{ value: Bencode.Value }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    bencodeInteger,
    fc.uint8Array({ maxLength: 40 }),
    fc.array(tie("value"), { maxLength: 5 }),
    fc
      .uniqueArray(fc.tuple(bencodeKey, tie("value")), { maxLength: 5, selector: ([key]) => key })
      .map((entries) => new Map(entries.sort(byKey)))
  )
})).value

/** Any v1 info hash. */
export const infoHash: fc.Arbitrary<InfoHash.InfoHash> = fc
  .uint8Array({ minLength: InfoHash.length, maxLength: InfoHash.length })
  .map((bytes) => InfoHash.fromBytes(bytes)!)

/** The bytes of an IPv4 or IPv6 address; in IPv6 with runs of zeros, as real ones have. */
export const ipBytes: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc
    .array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), { minLength: 8, maxLength: 8 })
    .map((groups) => Uint8Array.from(groups.flatMap((value) => [value >>> 8, value & 0xff])))
)

/** Any address with an IPv4 or IPv6 host, in canonical form; some of them cannot be dialled. */
export const peerAddress: fc.Arbitrary<PeerAddress> = fc.record(
  { host: ipBytes.map((bytes) => IpAddress.format(bytes)!), port: fc.integer({ min: 1, max: 65_535 }) },
  { noNullPrototype: true }
)
