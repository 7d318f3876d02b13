import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import * as Bytes from "../../../src/base/Bytes.ts"
import * as DontHave from "../../../src/wire/extension/DontHave.ts"
import { decodeDamaged } from "./mutations.ts"

describe("DontHave", () => {
  it("is the index in four bytes, as BEP 54 lays it out", () => {
    assert.strictEqual(Bytes.toHex(DontHave.encode(0x01020304)), "01020304")
    assert.strictEqual(Result.getOrThrow(DontHave.decode(Bytes.fromHex("01020304")!)), 0x01020304)
  })

  it("reads what it wrote", () => {
    fc.assert(
      fc.property(fc.nat(0xffffffff), (piece) => {
        assert.strictEqual(Result.getOrThrow(DontHave.decode(DontHave.encode(piece))), piece)
      })
    )
  })

  it("refuses every length but four", () => {
    for (let length = 0; length <= 8; length++) {
      const piece = decodeDamaged(DontHave.decode, new Uint8Array(length))

      assert.strictEqual(piece, length === 4 ? 0 : undefined, `${length} bytes`)
    }
  })
})
