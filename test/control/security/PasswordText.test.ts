import { assert, describe, it } from "@effect/vitest"
import * as PasswordText from "../../../src/control/security/PasswordText.ts"

describe("PasswordText", () => {
  it("is the same however a keyboard writes it", () => {
    assert.deepEqual(PasswordText.bytesOf("Ångström ①"), PasswordText.bytesOf("A\u030angstro\u0308m 1"))
    assert.deepEqual(PasswordText.bytesOf("ｐａｓｓ"), PasswordText.bytesOf("pass"))
    assert.notDeepEqual(PasswordText.bytesOf("Pass"), PasswordText.bytesOf("pass"))
  })

  it("has eight characters at least, and 1,024 bytes at most", () => {
    assert.isDefined(PasswordText.whyNot("1234567"))
    assert.isUndefined(PasswordText.whyNot("12345678"))
    // Four characters of two code units each.
    assert.isDefined(PasswordText.whyNot("🧩🧩🧩🧩"))
    assert.isUndefined(PasswordText.whyNot("é".repeat(512)))
    assert.isDefined(PasswordText.whyNot("é".repeat(513)))
    assert.isDefined(PasswordText.whyNot("12345678\ud800"))
  })

  it("that is too long is not looked at, also if one character becomes many", () => {
    assert.isUndefined(PasswordText.bytesOf("a".repeat(1_025)))
    assert.isUndefined(PasswordText.bytesOf("\ufdfa".repeat(100)))
    assert.isUndefined(PasswordText.bytesOf("a".repeat(10_000_000)))
    assert.equal(PasswordText.bytesOf("a".repeat(1_024))?.length, 1_024)
  })
})
