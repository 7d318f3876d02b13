import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import * as Bytes from "../../src/base/Bytes.ts"
import * as CompactPeers from "../../src/base/CompactPeers.ts"
import * as Values from "../../src/testing/arbitrary/Values.ts"

const decode = (hex: string, family: CompactPeers.Family) =>
  Result.getOrThrow(CompactPeers.decode(Bytes.fromHex(hex)!, family))

describe("CompactPeers", () => {
  it("reads IPv4 entries of 6 bytes (BEP 23)", () => {
    assert.deepStrictEqual(decode("7f0000011ae1c0000202ffff", "ipv4"), [
      { host: "127.0.0.1", port: 6881 },
      { host: "192.0.2.2", port: 65_535 }
    ])
    assert.deepStrictEqual(decode("", "ipv4"), [])
  })

  it("reads IPv6 entries of 18 bytes (BEP 7)", () => {
    assert.deepStrictEqual(decode("20010db80000000000000000000000011ae1", "ipv6"), [
      { host: "2001:db8::1", port: 6881 }
    ])
  })

  it("reads IPv4 inside IPv6 as the IPv4 address", () => {
    assert.deepStrictEqual(decode("00000000000000000000ffffc00002011ae1", "ipv6"), [{ host: "192.0.2.1", port: 6881 }])
  })

  it("writes IPv4 in the form of IPv6 as the IPv4 address", () => {
    const mapped = { host: "::ffff:1.2.3.4", port: 6881 }

    const { ipv4, ipv6 } = CompactPeers.encode([mapped, { host: "2001:db8::1", port: 1 }])

    assert.deepStrictEqual([Bytes.toHex(ipv4), ipv6.length], ["010203041ae1", 18])
    assert.strictEqual(CompactPeers.familyOf(mapped), "ipv4")
  })

  it("drops addresses of port 0", () => {
    assert.deepStrictEqual(decode("c00002010000c00002020001", "ipv4"), [{ host: "192.0.2.2", port: 1 }])
    assert.isUndefined(CompactPeers.read(Bytes.fromHex("c00002010000")!, 0, "ipv4"))
  })

  it("refuses every length that is no multiple of an entry's", () => {
    for (const [family, size] of Object.entries(CompactPeers.entryLength) as Array<[CompactPeers.Family, number]>) {
      for (let length = 0; length <= 3 * size; length++) {
        const result = CompactPeers.decode(new Uint8Array(length), family)

        assert.strictEqual(Result.isSuccess(result), length % size === 0, `${family}, ${length} bytes`)
      }
    }
  })

  it("reports what is wrong in one sentence", () => {
    const error = Result.getOrThrow(Result.flip(CompactPeers.decode(new Uint8Array(7), "ipv4")))

    assert.strictEqual(error.message, "A compact peer list of 7 bytes is not made of entries of 6.")
  })

  it("writes addresses by family and leaves names out", () => {
    const { ipv4, ipv6 } = CompactPeers.encode([
      { host: "192.0.2.1", port: 1 },
      { host: "peer.example", port: 2 },
      { host: "fe80::1%eth0", port: 3 },
      { host: "192.0.2.4", port: 4 }
    ])

    assert.strictEqual(Bytes.toHex(ipv4), "c00002010001c00002040004")
    assert.strictEqual(Bytes.toHex(ipv6), "fe8000000000000000000000000000010003")
  })

  it("reads the addresses that it wrote, in order", () => {
    fc.assert(
      fc.property(fc.array(Values.peerAddress), (addresses) => {
        const { ipv4, ipv6 } = CompactPeers.encode(addresses)

        const again = (["ipv4", "ipv6"] as const).flatMap((family) =>
          Result.getOrThrow(CompactPeers.decode(family === "ipv4" ? ipv4 : ipv6, family))
        )
        const is6 = ({ host }: { readonly host: string }) => host.includes(":")
        assert.deepStrictEqual(again, [...addresses.filter((address) => !is6(address)), ...addresses.filter(is6)])
      })
    )
  })
})
