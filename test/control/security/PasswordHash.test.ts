import { assert, describe, it } from "@effect/vitest"
import * as PasswordHash from "../../../src/control/security/provider/node/PasswordHash.ts"

const cheap = { ln: 4, r: 8, p: 1 }
const bytes = (text: string) => new TextEncoder().encode(text)

describe("PasswordHash", () => {
  it("matches the vectors of RFC 7914 section 12", async () => {
    const vectors = [
      [
        { ln: 14, r: 8, p: 1 },
        "pleaseletmein",
        "SodiumChloride",
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
      ],
      [
        { ln: 10, r: 8, p: 16 },
        "password",
        "NaCl",
        "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
      ]
    ] as const
    for (const [cost, password, salt, hex] of vectors) {
      const hash = { cost, salt: bytes(salt), hash: Buffer.from(hex, "hex") }
      assert.isTrue(await PasswordHash.matches(bytes(password), hash))
      assert.isFalse(await PasswordHash.matches(bytes(`${password} `), hash))
    }
  })

  it("is a line with its parameters and its own salt", async () => {
    const [first, second] = [await PasswordHash.make(bytes("a"), cheap), await PasswordHash.make(bytes("a"), cheap)]
    const line = PasswordHash.format(first)
    assert.match(line, /^\$scrypt\$ln=4,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}\n$/)
    assert.notEqual(line, PasswordHash.format(second))
    const parsed = PasswordHash.parse(line)!
    assert.isTrue(await PasswordHash.matches(bytes("a"), parsed))
    assert.equal(PasswordHash.format(parsed), line)
  })

  it("costs what OWASP recommends unless told otherwise", () => {
    assert.deepEqual(PasswordHash.defaultCost, { ln: 17, r: 8, p: 1 })
  })

  it("is refused if it is none, or if it would take all memory or time", () => {
    const end = `$${"a".repeat(22)}$${"a".repeat(43)}`
    assert.isDefined(PasswordHash.parse(`$scrypt$ln=20,r=8,p=1${end}`))
    for (const line of [
      "",
      "password",
      end,
      `$argon2id$ln=17,r=8,p=1${end}`,
      `$scrypt$ln=21,r=8,p=1${end}`,
      `$scrypt$ln=99,r=1,p=1${end}`,
      `$scrypt$ln=0,r=8,p=1${end}`,
      `$scrypt$ln=17,r=0,p=1${end}`,
      `$scrypt$ln=17,r=8,p=17${end}`,
      `$scrypt$ln=17,r=8,p=1$$${"a".repeat(43)}`,
      `$scrypt$ln=17,r=8,p=1$${"a".repeat(22)}$`,
      `$scrypt$ln=17,r=8,p=1${end}\n\n`
    ]) {
      assert.isUndefined(PasswordHash.parse(line), line)
    }
  })
})
