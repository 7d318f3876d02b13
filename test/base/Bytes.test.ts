import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bytes from "../../src/base/Bytes.ts"

const ascii = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0))

describe("Bytes", () => {
  it("are equal when length and every byte are", () => {
    assert.isTrue(Bytes.equals(ascii("abc"), ascii("xabc").subarray(1)))
    assert.isFalse(Bytes.equals(ascii("abc"), ascii("abd")))
    assert.isFalse(Bytes.equals(ascii("abc"), ascii("ab")))
    assert.isTrue(Bytes.equals(ascii(""), ascii("")))
  })

  it("are joined in order into a new array", () => {
    const first = ascii("ab")

    const joined = Bytes.concat([first, ascii(""), ascii("c")])
    first[0] = 0

    assert.deepStrictEqual(joined, ascii("abc"))
    assert.deepStrictEqual(Bytes.concat([]), new Uint8Array(0))
  })

  it("are written as lower-case hexadecimal and read in either case", () => {
    assert.strictEqual(Bytes.toHex(Uint8Array.of(0, 0x0f, 0xa0, 0xff)), "000fa0ff")
    assert.deepStrictEqual(Bytes.fromHex("000Fa0fF"), Uint8Array.of(0, 0x0f, 0xa0, 0xff))
    fc.assert(fc.property(fc.uint8Array(), (bytes) => Bytes.equals(Bytes.fromHex(Bytes.toHex(bytes))!, bytes)))
  })

  it("are not read from what is not hexadecimal", () => {
    for (const text of ["0", "0g", "0x00", " 0", "00 0", "-1", "0\n"]) {
      assert.isUndefined(Bytes.fromHex(text), JSON.stringify(text))
    }
  })

  it("are read from the base32 of RFC 4648 section 10, in either case", () => {
    const vectors = {
      "": "",
      MY: "f",
      MZXQ: "fo",
      MZXW6: "foo",
      MZXW6YQ: "foob",
      MZXW6YTB: "fooba",
      MZXW6YTBOI: "foobar"
    }

    for (const [text, expected] of Object.entries(vectors)) {
      assert.deepStrictEqual(Bytes.fromBase32(text), ascii(expected), text)
      assert.deepStrictEqual(Bytes.fromBase32(text.toLowerCase()), ascii(expected), text)
    }
  })

  it("are not read from what no base32 encoder writes", () => {
    // A foreign character, impossible lengths, padding, left-over bits, and a letter that only lower-cases to "k".
    for (const text of ["M1", "M0", "M8", "M", "MZX", "MZXW6Y", "MY======", "MZ", "M\u212a"]) {
      assert.isUndefined(Bytes.fromBase32(text), text)
    }
  })

  it("carry text as UTF-8, a byte order mark included", () => {
    assert.deepStrictEqual(Bytes.fromText("é\u{1f600}"), Uint8Array.of(0xc3, 0xa9, 0xf0, 0x9f, 0x98, 0x80))
    fc.assert(
      fc.property(
        fc.string({ unit: "binary" }).map((text) => `\ufeff${text}`),
        (text) => {
          assert.strictEqual(Bytes.toText(Bytes.fromText(text)), text)
          assert.strictEqual(Bytes.toTextStrict(Bytes.fromText(text)), text)
        }
      )
    )
  })

  it("that are not UTF-8 are replaced in lossy text and refused in strict text", () => {
    const overlong = Uint8Array.of(0x61, 0xc0, 0xaf)
    const surrogate = Uint8Array.of(0xed, 0xa0, 0x80)

    assert.strictEqual(Bytes.toText(overlong), "a\ufffd\ufffd")
    assert.isUndefined(Bytes.toTextStrict(overlong))
    assert.isUndefined(Bytes.toTextStrict(surrogate))
    assert.isUndefined(Bytes.toTextStrict(Uint8Array.of(0xe2, 0x82)))
  })

  it("are held as one character each, even if there are many", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        assert.deepStrictEqual(Bytes.fromLatin1Unsafe(Bytes.toLatin1(bytes)), bytes)
      })
    )
    const many = new Uint8Array(10_000).map((_, index) => index)
    assert.deepStrictEqual(Bytes.fromLatin1Unsafe(Bytes.toLatin1(many)), many)
    assert.strictEqual(Bytes.toLatin1(ascii("abcdef"), 2, 4), "cd")
    assert.throws(() => Bytes.fromLatin1Unsafe("a\u0100"), RangeError)
  })

  it("hold big-endian integers of 16, 32 and 64 bits", () => {
    const bytes = new Uint8Array(16)

    Bytes.writeUint16Unsafe(bytes, 1, 0xfffe)
    Bytes.writeUint32Unsafe(bytes, 3, 0x8123_4567)
    Bytes.writeUint64Unsafe(bytes, 7, Number.MAX_SAFE_INTEGER)

    assert.strictEqual(Bytes.toHex(bytes), "00fffe81234567001fffffffffffff00")
    assert.strictEqual(Bytes.readUint16Unsafe(bytes, 1), 0xfffe)
    assert.strictEqual(Bytes.readUint32Unsafe(bytes, 3), 0x8123_4567)
  })

  it.each([
    ["a  b\u0000\u202ec", 10, "a b c"],
    ["  \n\t ", 10, undefined],
    ["", 10, undefined],
    ["áéíóú", 3, "áéí"],
    ["ab cd", 3, "ab"],
    ["🧩🧩🧩", 2, "🧩🧩"],
    // At most 16 bytes are read for 3 characters; these end within the last character.
    [`a${" ".repeat(14)}é`, 3, "a"],
    [`a${" ".repeat(12)}🧩`, 3, "a"],
    [`a${" ".repeat(13)}é`, 3, "a é"]
  ] as const)("shows %j of a stranger in %i characters as %j", (text, length, shown) =>
    assert.strictEqual(Bytes.toShownText(Bytes.fromText(text), length), shown)
  )
})
