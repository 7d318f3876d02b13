import { assert, describe, it } from "@effect/vitest"
import * as ReservedName from "../../src/metainfo/ReservedName.ts"
import vectors from "../fixtures/reserved-names.json" with { type: "json" }

describe("ReservedName", () => {
  it("knows every spelling by which a file system finds the folder", () => {
    for (const name of vectors.reserved) assert.isTrue(ReservedName.is(name), JSON.stringify(name))
  })

  it("leaves all other names alone", () => {
    for (const name of vectors.free) assert.isFalse(ReservedName.is(name), JSON.stringify(name))
  })

  it("makes no character of two lone surrogates", () => {
    assert.isTrue(ReservedName.is(".\u{1d429}iecewise"))
    assert.isFalse(ReservedName.is(".\ud835\u200d\udc29iecewise"))
  })

  it("knows each character that HFS+ ignores", () => {
    const ranges = [
      [0x200c, 0x200f],
      [0x202a, 0x202e],
      [0x206a, 0x206f],
      [0xfeff, 0xfeff]
    ] as const
    for (const [first, last] of ranges) {
      for (let code = first; code <= last; code++) {
        assert.isTrue(ReservedName.is(`.piece${String.fromCodePoint(code)}wise`), code.toString(16))
      }
    }
  })
})
