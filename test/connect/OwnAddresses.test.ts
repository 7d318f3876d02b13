import { assert, describe, it } from "@effect/vitest"
import * as OwnAddresses from "../../src/connect/OwnAddresses.ts"

const nobody = { ipv4Host: undefined, ipv6Host: undefined, port: 0 }
const seen = { ipv4Host: "198.51.100.7", ipv6Host: "2001:db8::7", port: 7_001 }

describe("OwnAddresses (fault 92)", () => {
  it("has the address that we listen on, and no other port or host", () => {
    const own = OwnAddresses.make({ host: "192.168.1.7", port: 6_881 })

    assert.isTrue(OwnAddresses.has(own, { host: "192.168.1.7", port: 6_881 }, nobody, 0))
    assert.isFalse(OwnAddresses.has(own, { host: "192.168.1.7", port: 6_882 }, nobody, 0))
    assert.isFalse(OwnAddresses.has(own, { host: "192.168.1.8", port: 6_881 }, nobody, 0))
    assert.isFalse(OwnAddresses.has(own, { host: "127.0.0.1", port: 6_881 }, nobody, 0))
  })

  it("has every address of this machine if we listen on all", () => {
    for (const host of ["::", "0.0.0.0"]) {
      const own = OwnAddresses.make({ host, port: 6_881 })

      for (const host of ["127.0.0.1", "127.1.2.3", "::1"]) {
        assert.isTrue(OwnAddresses.has(own, { host, port: 6_881 }, nobody, 0), host)
        assert.isFalse(OwnAddresses.has(own, { host, port: 6_882 }, nobody, 0), host)
      }
      assert.isFalse(OwnAddresses.has(own, { host: "192.168.1.7", port: 6_881 }, nobody, 0))
      // A gateway takes it for 127.0.0.1, which is then the gateway.
      assert.isFalse(OwnAddresses.has(own, { host: "64:ff9b::7f00:1", port: 6_881 }, nobody, 0))
    }
  })

  it("has the addresses under which others see us, at the port that they are told", () => {
    const own = OwnAddresses.make({ host: "::", port: 6_881 })
    const [ipv4, ipv6] = ["198.51.100.7", "2001:db8::7"].map((host) => (port: number) => ({ host, port })) as [
      (port: number) => { host: string; port: number },
      (port: number) => { host: string; port: number }
    ]

    for (const address of [ipv4(7_001), ipv6(7_001)]) assert.isTrue(OwnAddresses.has(own, address, seen, 0))
    // The router has the open port of this machine at another one, and leads this one to another client.
    assert.isFalse(OwnAddresses.has(own, ipv4(6_881), seen, 0))
    // No router changes ports of IPv6.
    assert.isTrue(OwnAddresses.has(own, ipv6(6_881), seen, 0))
    for (const address of [ipv4(6_882), ipv6(6_882)]) assert.isFalse(OwnAddresses.has(own, address, seen, 0))
    assert.isFalse(OwnAddresses.has(OwnAddresses.make(), { host: "198.51.100.7", port: 6_881 }, seen, 0))
  })

  it("has an address at which we were found for an hour", () => {
    const own = OwnAddresses.make()
    const address = { host: "198.51.100.7", port: 9_000 }
    OwnAddresses.note(own, address, 1_000)

    assert.isTrue(OwnAddresses.has(own, address, nobody, 1_000 + OwnAddresses.memory - 1))
    assert.isFalse(OwnAddresses.has(own, address, nobody, 1_000 + OwnAddresses.memory))
    assert.isFalse(OwnAddresses.has(own, { ...address, port: 9_001 }, nobody, 1_000))
  })

  it("forgets the oldest of too many, because anybody can say that it is us", () => {
    const own = OwnAddresses.make()
    const at = (port: number) => ({ host: "198.51.100.7", port })
    for (let port = 1; port <= OwnAddresses.maxFound; port++) OwnAddresses.note(own, at(port), port)
    OwnAddresses.note(own, at(1), 100)

    OwnAddresses.note(own, at(1_000), 101)

    assert.strictEqual(own.found.size, OwnAddresses.maxFound)
    assert.isFalse(OwnAddresses.has(own, at(2), nobody, 102))
    assert.isTrue(OwnAddresses.has(own, at(1), nobody, 102))
  })
})
