import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as UploadOnly from "../../../src/wire/extension/UploadOnly.ts"
import { decodeDamaged } from "./mutations.ts"

describe("UploadOnly", () => {
  it("reads what it wrote", () => {
    for (const value of [true, false]) {
      assert.strictEqual(Result.getOrThrow(UploadOnly.decode(UploadOnly.encode(value))), value)
    }
  })

  it("is one byte, of which only 0 means no", () => {
    assert.deepStrictEqual(UploadOnly.encode(true), Uint8Array.of(1))
    for (let byte = 0; byte < 256; byte++) {
      assert.strictEqual(decodeDamaged(UploadOnly.decode, Uint8Array.of(byte)), byte !== 0)
    }
  })

  it("refuses every length but one", () => {
    for (const length of [0, 2, 4]) {
      assert.isUndefined(decodeDamaged(UploadOnly.decode, new Uint8Array(length)), `${length} bytes`)
    }
  })
})
