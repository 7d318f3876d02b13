import { createHash } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bytes from "../../src/base/Bytes.ts"
import * as Sha1 from "../../src/hash/Sha1.ts"

const hexOf = (text: string) => Bytes.toHex(Sha1.digest(Bytes.fromText(text)))

describe("Sha1", () => {
  it("computes the digests that RFC 3174 lists", () => {
    assert.deepStrictEqual(
      [
        hexOf("abc"),
        hexOf("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
        hexOf("a".repeat(1_000_000)),
        hexOf("0123456701234567012345670123456701234567012345670123456701234567".repeat(10))
      ],
      [
        "a9993e364706816aba3e25717850c26c9cd0d89d",
        "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
        "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
        "dea356a2cddd90c7a7ecedc5ebb563934f460452"
      ]
    )
  })

  it("computes what Node computes, however the input is split", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 150 }), { maxLength: 4 }), (parts) => {
        const digest = createHash("sha1").update(Bytes.concat(parts)).digest("hex")
        assert.strictEqual(Bytes.toHex(Sha1.digest(...parts)), digest)
      }),
      { numRuns: 300 }
    )
  })
})
