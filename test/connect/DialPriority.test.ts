import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bytes from "../../src/base/Bytes.ts"
import * as PeerAddress from "../../src/base/PeerAddress.ts"
import * as DialPriority from "../../src/connect/DialPriority.ts"
import * as Values from "../../src/testing/arbitrary/Values.ts"

const at = (text: string) => PeerAddress.parse(text)!

const between = (one: string, other: string) => DialPriority.between(at(one), at(other))

/** The checksum of bytes in hex. */
const sumOf = (hex: string) => DialPriority.crc32c(Bytes.fromHex(hex)!)

describe("DialPriority.crc32c", () => {
  it("returns the check value of CRC-32C and the vectors of RFC 3720", () => {
    assert.strictEqual(DialPriority.crc32c(Bytes.fromText("123456789")), 0xe3069283)
    // RFC 3720 B.4, which shows the bytes of each sum in the order of transmission.
    assert.strictEqual(DialPriority.crc32c(new Uint8Array(32)), 0x8a9136aa)
    assert.strictEqual(DialPriority.crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43)
    assert.strictEqual(DialPriority.crc32c(Uint8Array.from({ length: 32 }, (_, index) => index)), 0x46dd794e)
  })
})

describe("DialPriority.between", () => {
  it("returns the examples of BEP 40", () => {
    assert.strictEqual(between("123.213.32.10:1", "98.76.54.32:2"), 0xec2d7224)
    assert.strictEqual(between("123.213.32.10:1", "123.213.32.234:2"), 0x99568189)
  })

  it("returns the numbers of Transmission's own tests for IPv6, of which BEP 40 has no example", () => {
    const peer = "[2a03:2880:f177:185:face:b00c:0:25de]:6881"

    assert.strictEqual(between("[2a03:2880:f277:1cd:face:b00c:0:167]:51413", peer), 0xe4d0f2e2)
    assert.strictEqual(between("[2a03:2880:f177:1cd:face:b00c:0:167]:51413", peer), 0xf47e9889)
  })

  it.each([
    // The sums follow from the text of BEP 40: the mask after each length of a common network.
    ["98.76.54.32", "123.213.32.10", "624c14007bd50000"],
    ["123.213.32.10", "123.213.33.234", "7bd520007bd52140"],
    ["123.213.32.10", "123.213.32.234", "7bd5200a7bd520ea"],
    ["2001:db8:1:ffff::1", "2001:db8:2:ffff::2", "20010db800015555000000000000000120010db8000255550000000000000000"],
    ["2001:db8:1:a0ff::1", "2001:db8:1:b0ff::2", "20010db80001a055000000000000000120010db80001b0550000000000000000"],
    ["2001:db8:1:a0f1::1", "2001:db8:1:a0f2::2", "20010db80001a0f1000000000000000120010db80001a0f20000000000000000"],
    [
      "2001:db8::1:0:0:ff",
      "2001:db8::2:0:0:ff",
      "20010db8000000000001000000000055" + "20010db8000000000002000000000055"
    ],
    ["2001:db8::fe", "2001:db8::ff", "20010db80000000000000000000000fe20010db80000000000000000000000ff"]
  ])("sums %s and %s under the mask of their common network", (one, other, hex) => {
    assert.strictEqual(DialPriority.between({ host: one, port: 1 }, { host: other, port: 2 }), sumOf(hex))
  })

  it("uses the ports of two peers at one address, the lower one first", () => {
    assert.strictEqual(between("123.213.32.10:51413", "123.213.32.10:6881"), sumOf("1ae1c8d5"))
    assert.strictEqual(between("[2001:db8::1]:51413", "[2001:db8::1]:6881"), sumOf("1ae1c8d5"))
  })

  it("does not depend on the port of another address", () => {
    assert.strictEqual(between("123.213.32.10:1", "98.76.54.32:2"), between("123.213.32.10:3", "98.76.54.32:4"))
  })

  it("is the same from both sides, for any two addresses of one family", () => {
    fc.assert(
      fc.property(Values.peerAddress, Values.peerAddress, (one, other) => {
        const priority = DialPriority.between(one, other)

        assert.strictEqual(DialPriority.between(other, one), priority)
        assert.strictEqual(priority === undefined, one.host.includes(":") !== other.host.includes(":"))
        if (priority !== undefined) assert.isTrue(Number.isInteger(priority) && priority >= 0 && priority < 2 ** 32)
      })
    )
  })

  it("is undefined for a name", () => {
    assert.isUndefined(between("peer.example:1", "98.76.54.32:2"))
  })
})

describe("DialPriority.of", () => {
  it("uses our address of the peer's family", () => {
    const ourselves = { ipv4Host: "123.213.32.10", ipv6Host: "2001:db8:1::1", port: 6881 }

    assert.strictEqual(DialPriority.of(ourselves, at("98.76.54.32:2")), 0xec2d7224)
    assert.strictEqual(
      DialPriority.of(ourselves, at("[2001:db8:2::2]:2")),
      between("[2001:db8:1::1]:6881", "[2001:db8:2::2]:2")
    )
  })

  it("is undefined if our own address of that family is unknown", () => {
    const ourselves = { ipv4Host: undefined, ipv6Host: "2001:db8:1::1", port: 6881 }

    assert.isUndefined(DialPriority.of(ourselves, at("98.76.54.32:2")))
    assert.isUndefined(DialPriority.of({ ...ourselves, ipv6Host: undefined }, at("[2001:db8:2::2]:2")))
  })

  it("does not favour neighbours: peers of one /16 network share few priorities", () => {
    const ourselves = { ipv4Host: "123.213.32.10", ipv6Host: undefined, port: 6881 }
    const priorities = new Set<number>()

    for (let host = 0; host < 65_536; host++) {
      priorities.add(DialPriority.of(ourselves, { host: `98.76.${host >>> 8}.${host & 0xff}`, port: 1 })!)
    }

    // The mask 55.55 leaves 8 bits of 16.
    assert.strictEqual(priorities.size, 256)
  })
})
