import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bytes from "../../../src/base/Bytes.ts"
import * as IpAddress from "../../../src/base/IpAddress.ts"
import * as Prng from "../../../src/base/Prng.ts"
import * as NodeId from "../../../src/discovery/dht/NodeId.ts"
import * as Values from "../../../src/testing/arbitrary/Values.ts"

const id = Values.infoHash

describe("NodeId", () => {
  it("computes CRC-32C", () => {
    assert.strictEqual(NodeId.crc32c(Bytes.fromText("123456789")), 0xe3069283)
    assert.strictEqual(NodeId.crc32c(new Uint8Array(32)), 0x8a9136aa)
  })

  it("makes the ids of the vectors of BEP 42", () => {
    const vectors = [
      ["124.31.75.21", 1, "5fbfbf"],
      ["21.75.31.124", 86, "5a3ce9"],
      ["65.23.51.170", 22, "a5d432"],
      ["84.124.73.14", 65, "1b0321"],
      ["43.213.53.83", 90, "e56f6c"]
    ] as const
    for (const [host, rand, prefix] of vectors) {
      const made = NodeId.ofAddress(IpAddress.parse(host)!, rand, Prng.make(rand))

      assert.strictEqual(Bytes.toHex(made).slice(0, 5), prefix.slice(0, 5), host)
      // The last three bits of the third byte are free.
      assert.strictEqual(made[2]! & 0xf8, Number.parseInt(prefix.slice(4), 16) & 0xf8, host)
      assert.strictEqual(made[19], rand)
      assert.isTrue(NodeId.suits(made, host))
    }
  })

  it("accepts the whole ids of the vectors of BEP 42, and no other prefix", () => {
    const vectors = [
      ["124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"],
      ["21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"],
      ["65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"],
      ["84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"],
      ["43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"]
    ] as const
    for (const [host, hex] of vectors) {
      const bytes = Bytes.fromHex(hex)!

      assert.isTrue(NodeId.suits(bytes, host), host)
      for (let bit = 0; bit < 21; bit++) {
        const other = bytes.slice()
        other[bit >>> 3]! ^= 0x80 >>> (bit & 7)
        assert.isFalse(NodeId.suits(other, host), `${host}, bit ${bit}`)
      }
    }
  })

  it("makes ids that suit their address, of either family, and usually no other", () => {
    fc.assert(
      fc.property(Values.ipBytes, fc.nat(255), fc.nat(), (ip, rand, seed) => {
        const made = NodeId.ofAddress(ip, rand, Prng.make(seed))

        assert.isTrue(NodeId.suits(made, IpAddress.format(ip)!))
      })
    )
    const made = NodeId.ofAddress(IpAddress.parse("2001:470::1")!, 3, Prng.make(1))
    assert.isTrue(NodeId.suits(made, "2001:470::1"))
    assert.isFalse(NodeId.suits(made, "2001:471::1"))
  })

  it("lets any id suit a host of a local network", () => {
    for (const host of [
      "10.1.2.3",
      "192.168.0.1",
      "172.16.5.5",
      "169.254.1.1",
      "127.0.0.1",
      "::1",
      "fe80::1",
      "fd00::1"
    ])
      assert.isTrue(NodeId.suits(NodeId.random(Prng.make(1)), host), host)
    assert.isFalse(NodeId.suits(NodeId.random(Prng.make(1)), "8.8.8.8"))
  })

  it("orders by the distance as a number", () => {
    const distance = (a: Uint8Array, b: Uint8Array) =>
      BigInt(`0x${Bytes.toHex(a.map((byte, index) => byte ^ b[index]!))}`)
    fc.assert(
      fc.property(id, id, id, (target, a, b) => {
        const order = distance(target, a) - distance(target, b)

        assert.strictEqual(Math.sign(NodeId.compare(target, a, b)), order < 0n ? -1 : order > 0n ? 1 : 0)
      })
    )
  })

  it("makes ids that share exactly so many bits", () => {
    fc.assert(
      fc.property(id, fc.nat(159), fc.nat(), (self, shared, seed) => {
        assert.strictEqual(NodeId.sharedBits(self, NodeId.randomSharing(self, shared, Prng.make(seed))), shared)
      })
    )
    assert.strictEqual(NodeId.sharedBits(new Uint8Array(20), new Uint8Array(20)), 160)
  })

  it("BEP 45: makes ids apart from one, which differ in their first bits", () => {
    fc.assert(
      fc.property(id, fc.nat(255), fc.nat(255), (self, a, b) => {
        const given = NodeId.fromBytes(self.subarray(0, NodeId.length))!
        const shared = NodeId.sharedBits(NodeId.apart(given, a), NodeId.apart(given, b))

        assert.strictEqual(shared, a === b ? NodeId.bits : 31 - Math.clz32((a ^ b) & -(a ^ b)))
        assert.deepStrictEqual(NodeId.apart(given, 0), given)
      })
    )
  })
})
