/**
 * Arbitraries of floor 0 values and of bencode, for property tests of whatever is built on them.
 */
import * as fc from "fast-check"
import type * as Bencode from "../../bencode/Bencode.ts"

/** A dictionary key: one character a byte, most often a word as the BEPs use them, sometimes any bytes. */
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
  // Not -0, which bencode has no form for.
  fc.maxSafeInteger().map((value) => value + 0),
  fc
    .bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n })
    .map((value) => (Number.isSafeInteger(Number(value)) ? Number(value) : value))
)

const byKey = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1)

/** Any value as `Bencode.decode` gives it from a canonical encoding: keys ascend, integers have at most 64 bits. */
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
