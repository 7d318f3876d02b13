import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as AuthorizationHeader from "../../../src/control/security/AuthorizationHeader.ts"

const base64 = (text: string | Uint8Array) => Buffer.from(text as string).toString("base64")

describe("AuthorizationHeader", () => {
  it("is read whatever the case of its scheme", () => {
    assert.deepEqual(AuthorizationHeader.parse("Bearer abc-_"), { _tag: "Bearer", token: "abc-_" })
    assert.deepEqual(AuthorizationHeader.parse("bearer  abc"), { _tag: "Bearer", token: "abc" })
    assert.deepEqual(AuthorizationHeader.parse(`BASIC ${base64("a:b")}`), { _tag: "Basic", password: "b" })
  })

  it("has a password that may have colons and any characters, and a user that counts for nothing", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "grapheme" }),
        fc.string().filter((user) => !user.includes(":")),
        (password, user) => {
          const header = `Basic ${base64(`${user}:${password}`)}`
          assert.deepEqual(AuthorizationHeader.parse(header), { _tag: "Basic", password })
        }
      )
    )
  })

  it("is nothing if it is malformed, too long or of another scheme", () => {
    for (const text of [
      [
        "",
        "Bearer",
        "Bearer ",
        "abc",
        "Digest abc",
        "Bearer a b",
        "Bearer a,Basic b",
        "Basic",
        "Basic ====",
        "Basic a"
      ],
      [
        `Basic ${base64("no colon")}`,
        `Basic ${base64(Uint8Array.of(0xff, 0x3a))}`,
        `Bearer ${"a".repeat(4_096)}`,
        "Bearer é"
      ]
    ].flat()) {
      assert.isUndefined(AuthorizationHeader.parse(text), text)
    }
  })
})
