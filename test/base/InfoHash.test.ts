import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bytes from "../../src/base/Bytes.ts"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as Values from "../../src/testing/arbitrary/Values.ts"

const hex = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"
const base32 = "VL2MMHO4YXUKFWV63YHTWSBM3GXKSQ2N"

describe("InfoHash", () => {
  it("is read from hexadecimal and base32 in either case", () => {
    const expected = Bytes.fromHex(hex)!

    for (const text of [hex, hex.toUpperCase(), base32, base32.toLowerCase()]) {
      assert.deepStrictEqual(InfoHash.parse(text), expected as Uint8Array as InfoHash.InfoHash, text)
    }
    assert.isUndefined(InfoHash.fromHex(base32))
  })

  it("is not read from a text that is short, long or of other characters", () => {
    const hostile = ["", hex.slice(1), `${hex}0`, hex.slice(2), ` ${hex.slice(1)}`, `${hex.slice(1)}g`]

    for (const text of [...hostile, base32.slice(1), `${base32}A`, `1${base32.slice(1)}`]) {
      assert.isUndefined(InfoHash.parse(text), text)
    }
  })

  it("has exactly 20 bytes, a v2 one 32", () => {
    assert.isUndefined(InfoHash.fromBytes(new Uint8Array(19)))
    assert.isDefined(InfoHash.fromBytes(new Uint8Array(20)))
    assert.isUndefined(InfoHash.fromBytes(new Uint8Array(21)))
    assert.isUndefined(InfoHash.v2FromBytes(new Uint8Array(31)))
    assert.isDefined(InfoHash.v2FromBytes(new Uint8Array(32)))
    assert.isUndefined(InfoHash.v2FromBytes(new Uint8Array(33)))
  })

  it("is restored from its own text", () => {
    fc.assert(
      fc.property(Values.infoHash, (infoHash) => {
        assert.isTrue(InfoHash.equals(InfoHash.parse(InfoHash.toHex(infoHash))!, infoHash))
      })
    )
  })
})
