import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as IpAddress from "../../src/base/IpAddress.ts"
import * as IpRanges from "../../src/base/IpRanges.ts"

const textOf4 = (value: number): string =>
  IpAddress.format(Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value))!

const textOf6 = (value: bigint): string =>
  IpAddress.format(Uint8Array.from({ length: 16 }, (_, index) => Number((value >> BigInt(8 * (15 - index))) & 0xffn)))!

const setOf = (...texts: ReadonlyArray<string>) => IpRanges.make(texts.map((text) => IpRanges.parse(text)!))

describe("IpRanges.parse", () => {
  it.each<[string, string | undefined]>([
    ["10.0.0.0/8", "10.0.0.0-10.255.255.255"],
    ["10.1.2.3/8", "10.0.0.0-10.255.255.255"],
    ["0.0.0.0/0", "0.0.0.0-255.255.255.255"],
    ["255.255.255.255/32", "255.255.255.255-255.255.255.255"],
    ["1.2.3.4", "1.2.3.4-1.2.3.4"],
    ["1.2.3.4 - 1.2.3.9", "1.2.3.4-1.2.3.9"],
    ["::ffff:10.0.0.0/104", "10.0.0.0-10.255.255.255"],
    ["::ffff:10.0.0.1", "10.0.0.1-10.0.0.1"],
    ["1.2.3.9-1.2.3.4", undefined],
    ["1.2.3.4-::1", undefined],
    ["1.2.3.4/33", undefined],
    ["1.2.3.4/-1", undefined],
    ["1.2.3.4/", undefined],
    ["1.2.3/24", undefined],
    ["01.2.3.4", undefined],
    ["::1/129", undefined],
    ["::ffff:1.2.3.4/129", undefined],
    ["peer.example", undefined],
    ["", undefined],
    ["-", undefined]
  ])("reads %j as IPv4 %j", (text, expected) => {
    const range = IpRanges.parse(text)

    const { first, last } = range ?? {}
    assert.strictEqual(range && `${textOf4(Number(first))}-${textOf4(Number(last))}`, expected)
    if (range !== undefined) assert.typeOf(first, "number")
  })

  it.each<[string, string]>([
    ["fd00::/8", "fd00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    ["2001:db8::1/64", "2001:db8::-2001:db8::ffff:ffff:ffff:ffff"],
    ["::/0", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    ["fe80::1%eth0", "fe80::1-fe80::1"],
    ["2001:db8::1-2001:db8::9", "2001:db8::1-2001:db8::9"]
  ])("reads %j as IPv6 %j", (text, expected) => {
    const { first, last } = IpRanges.parse(text)!

    assert.strictEqual(`${textOf6(first as bigint)}-${textOf6(last as bigint)}`, expected)
  })
})

/** Values near each other, so that ranges touch, overlap and nest. */
const ranges4 = fc.array(
  fc
    .tuple(fc.nat(60), fc.nat(12))
    .map(([first, length]) => [first + 0xa000_0000, first + length + 0xa000_0000] as const)
)
const ranges6 = fc.array(
  fc.tuple(fc.nat(60), fc.nat(12)).map(([first, length]) => {
    const start = (0x2001n << 112n) + BigInt(first)
    return [start, start + BigInt(length)] as const
  })
)

describe("IpRanges", () => {
  it("has exactly the addresses of its ranges, in any order and however they overlap", () => {
    fc.assert(
      fc.property(ranges4, ranges6, (given4, given6) => {
        const texts = [
          ...given4.map(([first, last]) => `${textOf4(first)}-${textOf4(last)}`),
          ...given6.map(([first, last]) => `${textOf6(first)}-${textOf6(last)}`)
        ]
        const set = setOf(...texts)

        for (let offset = 0; offset < 80; offset++) {
          const [value4, value6] = [0xa000_0000 + offset, (0x2001n << 112n) + BigInt(offset)]
          const expected = [
            given4.some(([first, last]) => first <= value4 && value4 <= last),
            given6.some(([first, last]) => first <= value6 && value6 <= last)
          ]
          const [text4, text6] = [textOf4(value4), textOf6(value6)]
          assert.deepStrictEqual([IpRanges.has(set, text4), IpRanges.has(set, text6)], expected)
          assert.strictEqual(IpRanges.has(set, `::ffff:${text4}`), expected[0])
          assert.strictEqual(IpRanges.hasBytes(set, IpAddress.parse(text6)!), expected[1])
        }
      })
    )
  })

  it("has exactly the addresses with the bits of a prefix", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.nat(128), fc.nat(127), (bytes, prefix, bit) => {
        bytes[0] = 0x20
        const flipped = bytes.map((byte, index) => (index === bit >>> 3 ? byte ^ (0x80 >>> (bit & 7)) : byte))
        const set = setOf(`${IpAddress.format(bytes)}/${prefix}`)

        assert.isTrue(IpRanges.hasBytes(set, bytes))
        assert.strictEqual(IpRanges.hasBytes(set, flipped), bit >= prefix)
      })
    )
  })

  it("has no name, and nothing if it is empty", () => {
    const set = setOf("0.0.0.0/0", "::/0")

    assert.deepStrictEqual(
      ["peer.example", "", "1.2.3.4.5"].map((host) => IpRanges.has(set, host)),
      [false, false, false]
    )
    assert.isTrue(IpRanges.isEmpty(IpRanges.make([])))
    assert.isFalse(IpRanges.has(IpRanges.make([]), "1.2.3.4"))
  })

  it("looks at 20 of 500,000 ranges to find an address", () => {
    const set = IpRanges.make(
      (function* () {
        for (let index = 0; index < 500_000; index++) yield { first: index * 8_000, last: index * 8_000 + 3_999 }
      })()
    )
    let looks = 0
    const firsts = new Proxy(set.ipv4.firsts, {
      get: (target, key) => {
        if (key !== "length") looks++
        return Reflect.get(target, key)
      }
    })
    const counted = { ...set, ipv4: { ...set.ipv4, firsts } }

    const found = [0, 3_999, 4_000, 499_999 * 8_000 + 1].map((value) => IpRanges.has(counted, textOf4(value)))

    assert.deepStrictEqual(found, [true, true, false, true])
    assert.isAtMost(looks, 4 * 20)
  })
})

describe("IpRanges.parseList", () => {
  it("fault 94: says which line is the first that is no range", () => {
    const list = (...lines: ReadonlyArray<string>) => IpRanges.parseList(lines.join("\n")).firstInvalid

    assert.deepStrictEqual(list("# a comment", "", "10.0.0.0/8", " 10.0.0.0/33 ", "x"), {
      line: 4,
      text: "10.0.0.0/33"
    })
    assert.deepStrictEqual(list("x".repeat(1_000_000)), { line: 1, text: "x".repeat(80) })
    assert.isUndefined(list("10.0.0.0/8", "a name: 1.2.3.4-1.2.3.9"))
  })

  it("fault 94: reads 300,000 ranges, and finds an address among them", () => {
    const lines = Array.from({ length: 300_000 }, (_, index) => {
      const start = `${1 + (index >>> 16)}.${(index >>> 8) & 255}.${index & 255}`
      return `somebody, number ${index}:${start}.16-${start}.31`
    })

    const { invalidLines, ranges } = IpRanges.parseList(lines.join("\n"))
    const set = IpRanges.make(ranges)

    assert.deepStrictEqual([invalidLines, ranges.length], [0, 300_000])
    for (const [index, host] of [
      [0, "1.0.0"],
      [299_999, "5.147.223"]
    ] as const) {
      assert.include(lines[index]!, `:${host}.16-`)
      for (const last of [16, 31]) assert.isTrue(IpRanges.has(set, `${host}.${last}`))
      for (const last of [15, 32]) assert.isFalse(IpRanges.has(set, `${host}.${last}`))
    }
  })

  it("reads lists of eMule, of PeerGuardian, and of subnets", () => {
    const { invalidLines, ranges } = IpRanges.parseList(
      [
        "# a comment",
        "001.002.003.000 - 001.002.003.255 , 000 , somebody: 1.1.1.1",
        "009.000.000.000 - 009.000.000.255 , 200 , allowed",
        "3Com, Inc: sales:4.0.0.0-4.0.0.9",
        "10.0.0.0/8\r",
        "2001:db8::/32",
        "",
        "<html>"
      ].join("\n")
    )

    const set = IpRanges.make(ranges)
    const hosts = ["1.2.3.4", "9.0.0.1", "4.0.0.9", "10.9.9.9", "2001:db8::1", "1.1.1.1"]
    assert.deepStrictEqual(
      hosts.map((host) => IpRanges.has(set, host)),
      [true, false, true, true, true, false]
    )
    assert.strictEqual(invalidLines, 1)
  })

  it("takes any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("1", "0", ".", ":", "-", ",", "/", " ", "\n") }), (text) => {
        const { invalidLines, ranges } = IpRanges.parseList(text)

        assert.isAtMost(invalidLines + ranges.length, text.split("\n").length)
      })
    )
  })
})
