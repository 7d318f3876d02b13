import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as PeerAddress from "../../src/base/PeerAddress.ts"
import * as Values from "../../src/testing/arbitrary/Values.ts"

const key = (text: string) => {
  const address = PeerAddress.parse(text)
  return address === undefined ? undefined : PeerAddress.format(address)
}

const at = (host: string, port = 6881) => PeerAddress.make(host, port)!

describe("PeerAddress", () => {
  it("is read from host:port and [ipv6]:port", () => {
    assert.deepStrictEqual(PeerAddress.parse("192.0.2.1:6881"), { host: "192.0.2.1", port: 6881 })
    assert.deepStrictEqual(PeerAddress.parse("[2001:db8::1]:1"), { host: "2001:db8::1", port: 1 })
    assert.deepStrictEqual(PeerAddress.parse("peer.example:65535"), { host: "peer.example", port: 65_535 })
  })

  it("has one key however it was written", () => {
    assert.strictEqual(key("[2001:0DB8:0::1]:80"), "[2001:db8::1]:80")
    assert.strictEqual(key("[::ffff:192.0.2.1]:80"), "192.0.2.1:80")
    assert.strictEqual(key("Peer.EXAMPLE.:0080"), "peer.example:80")
    assert.strictEqual(key("[2001:db8::1%eth0]:80"), "[2001:db8::1]:80")
  })

  it("keeps the zone of a link-local host, which cannot be dialled without", () => {
    assert.strictEqual(key("[FE80::1%Eth0]:80"), "[fe80::1%Eth0]:80")
  })

  it("is not read without a host, with a bad port or with a host in disguise", () => {
    const ports = ["a:0", "a:65536", "a:", "a", "a:-1", "a:1.5", "a:123456", "a: 1"]
    const hosts = [
      ":80",
      "[]:80",
      "[a]:80",
      "a b:80",
      "a@b:80",
      "a/b:80",
      "a#:80",
      "a..b:80",
      ".a:80",
      "..:80",
      "a%b:80"
    ]
    const disguised = ["127.1:80", "2130706433:80", "0x7f000001:80", "a.0x1:80", "0177.0.0.1:80", "1.2.3.256:80"]
    const wrong6 = ["2001:db8::1:80", "[2001:db8::1]", "[2001:db8::1]80", "[1::2::3]:80", "[fe80::1%]:80", "[::1\n]:80"]

    for (const text of [...ports, ...hosts, ...disguised, ...wrong6, `${"a".repeat(254)}:80`]) {
      assert.isUndefined(PeerAddress.parse(text), text)
    }
  })

  it("accepts names that only contain digits", () => {
    assert.strictEqual(key("1337x.example:80"), "1337x.example:80")
    assert.strictEqual(key("10.0.0.1.example:80"), "10.0.0.1.example:80")
    assert.strictEqual(key("peer_1.bücher.example:80"), "peer_1.bücher.example:80")
  })

  it("is restored from its own text", () => {
    fc.assert(
      fc.property(Values.peerAddress, (address) => {
        assert.deepStrictEqual(PeerAddress.parse(PeerAddress.format(address)), address)
      })
    )
  })

  it("never fails on a text, and reads its own text again", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."a1.:[]%f-@ ") }), (text) => {
        const read = key(text)

        if (read !== undefined) assert.strictEqual(key(read), read)
      }),
      { numRuns: 500 }
    )
  })

  it("is equal by host and port", () => {
    assert.isTrue(PeerAddress.equals(at("::ffff:1.2.3.4"), at("1.2.3.4")))
    assert.isFalse(PeerAddress.equals(at("1.2.3.4"), at("1.2.3.5")))
    assert.isFalse(PeerAddress.equals(at("1.2.3.4", 1), at("1.2.3.4", 2)))
  })

  it("recognizes loopback by number and by name", () => {
    for (const host of ["127.8.9.1", "::1", "localhost", "LOCALHOST.", "a.localhost"]) {
      assert.strictEqual(PeerAddress.reachOf(at(host)), "loopback", host)
    }
    for (const host of ["10.0.0.1", "localhost.example", "notlocalhost", "fe80::1%lo"]) {
      assert.notStrictEqual(PeerAddress.reachOf(at(host)), "loopback", host)
    }
  })

  it("recognizes private hosts, zones included", () => {
    for (const host of ["10.1.2.3", "fe80::1%eth0", "fd00::1"]) {
      assert.strictEqual(PeerAddress.reachOf(at(host)), "private", host)
    }
    for (const host of ["8.8.8.8", "127.0.0.1", "10.example"]) {
      assert.notStrictEqual(PeerAddress.reachOf(at(host)), "private", host)
    }
  })

  it("recognizes what cannot be dialled", () => {
    for (const host of ["0.0.0.0", "::", "239.1.2.3", "ff02::1", "255.255.255.255"]) {
      assert.isFalse(PeerAddress.isDialable(at(host)), host)
    }
    assert.isFalse(PeerAddress.isDialable({ host: "192.0.2.1", port: 0 }))
    for (const host of ["192.0.2.1", "127.0.0.1", "peer.example", "fe80::1%eth0"]) {
      assert.isTrue(PeerAddress.isDialable(at(host)), host)
    }
  })
})
