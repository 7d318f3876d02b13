import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bytes from "../../src/base/Bytes.ts"
import * as IpAddress from "../../src/base/IpAddress.ts"
import * as Values from "../../src/testing/arbitrary/Values.ts"

const canonical = (text: string) => {
  const bytes = IpAddress.parse(text)
  return bytes === undefined ? undefined : IpAddress.format(bytes)
}

const each = (reach: IpAddress.Reach, hosts: ReadonlyArray<string>) => {
  for (const host of hosts) assert.strictEqual(IpAddress.reach(host), reach, host)
}

describe("IpAddress", () => {
  it("is read into 4 or 16 bytes in network order", () => {
    assert.deepStrictEqual(IpAddress.parse("192.0.2.255"), Uint8Array.of(192, 0, 2, 255))
    assert.strictEqual(
      Bytes.toHex(IpAddress.parse("2001:db8::12:ff00")!),
      "20010db8000000000000000000 12ff00".replace(" ", "")
    )
  })

  it("is written as RFC 5952 section 4 and 5 tell", () => {
    const texts: Record<string, string> = {
      "2001:0db8::0001": "2001:db8::1",
      "2001:db8:0:0:0:0:2:1": "2001:db8::2:1",
      "2001:db8:0:1:1:1:1:1": "2001:db8:0:1:1:1:1:1",
      "2001:db8::1:1:1:1:1": "2001:db8:0:1:1:1:1:1",
      "2001:0:0:1:0:0:0:1": "2001:0:0:1::1",
      "2001:db8:0:0:1:0:0:1": "2001:db8::1:0:0:1",
      "2001:DB8::AAAA": "2001:db8::aaaa",
      "0:0:0:0:0:0:0:0": "::",
      "0:0:0:0:0:0:0:1": "::1",
      "1:0:0:0:0:0:0:0": "1::",
      "64:ff9b::192.0.2.33": "64:ff9b::c000:221"
    }

    for (const [text, expected] of Object.entries(texts)) assert.strictEqual(canonical(text), expected, text)
  })

  it("that is IPv4 inside IPv6 is the IPv4 address", () => {
    for (const text of ["::ffff:192.0.2.1", "::FFFF:c000:201", "0:0:0:0:0:ffff:192.0.2.1"]) {
      assert.strictEqual(canonical(text), "192.0.2.1", text)
    }
    const mapped = Bytes.fromHex("00000000000000000000ffffc0000201")!
    assert.strictEqual(IpAddress.format(mapped), "192.0.2.1")
  })

  it("is not read from what only some resolvers take, or nobody", () => {
    const disguised = ["127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.01", "127.0.0.1.", " 127.0.0.1"]
    const wrong4 = ["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.", "1.2.3.-4", "a.b.c.d", "1.2.3.4e0"]
    const wrong6 = [":", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4::5:6:7:8", "12345::", "g::"]
    const mixed = [
      "1.2.3.4::",
      "::1.2.3.4:5",
      "::1.2.3",
      "1:2:3:4:5:6:7:1.2.3.4",
      ":1:2:3:4:5:6:7",
      "::1%eth0",
      "[::1]"
    ]

    for (const text of [...disguised, ...wrong4, ...wrong6, ...mixed]) assert.isUndefined(IpAddress.parse(text), text)
  })

  it("comes back from its own text, and has one text", () => {
    fc.assert(
      fc.property(Values.ipBytes, (bytes) => {
        const text = IpAddress.format(bytes)!

        assert.strictEqual(canonical(text), text)
        // All but IPv4 inside IPv6, which is shortened.
        if (text.includes(":") || bytes.length === 4) assert.deepStrictEqual(IpAddress.parse(text), bytes)
      })
    )
  })

  it("has no text when it is not 4 or 16 bytes", () => {
    for (let length = 0; length <= 20; length++) {
      assert.strictEqual(IpAddress.format(new Uint8Array(length)) !== undefined, length === 4 || length === 16)
    }
  })

  it("tells this machine, by number and by name", () => {
    each("loopback", ["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "[::1]", "localhost", "a.LOCALHOST."])
    each("public", ["126.255.255.255", "128.0.0.0", "::2", "1::1", "notlocalhost", "localhost.example"])
  })

  it("tells what has a meaning only in the network around, at the edges of each block", () => {
    each("private", ["10.0.0.0", "10.255.255.255", "::ffff:10.0.0.1", "[::ffff:a00:1]"])
    each("public", ["9.255.255.255", "11.0.0.0"])
    each("private", ["172.16.0.0", "172.31.255.255"])
    each("public", ["172.15.255.255", "172.32.0.0"])
    each("private", ["192.168.0.0", "192.168.255.255", "169.254.0.0", "169.254.255.255"])
    each("public", ["192.167.255.255", "192.169.0.0", "169.253.255.255", "169.255.0.0"])
    each("private", ["100.64.0.0", "100.127.255.255"])
    each("public", ["100.63.255.255", "100.128.0.0"])
    each("private", ["fc00::", "fdff::1", "fe80::1", "fe80::1%eth0", "[fe80::1%25eth0]", "febf::1", "fec0::1"])
    each("public", ["fbff::1", "fe00::1", "2001:db8::1"])
  })

  it("takes an address of NAT64 for the IPv4 address in it", () => {
    each("loopback", ["64:ff9b::127.0.0.1", "[64:ff9b::7f00:1]"])
    each("private", ["64:ff9b::10.1.2.3", "64:ff9b::192.168.0.1", "64:ff9b:1::1", "64:ff9b:1:ffff::8.8.8.8"])
    each("none", ["64:ff9b::", "64:ff9b::224.0.0.1"])
    each("public", ["64:ff9b::8.8.8.8", "64:ff9b:2::10.1.2.3", "64:ff9b::1:a01:203", "65:ff9b::10.1.2.3"])
  })

  it("tells what no single host has", () => {
    each("none", ["0.0.0.0", "0.255.255.255", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "[::]", "ff02::1"])
    each("public", ["1.0.0.0", "223.255.255.255", "fe00::", "peer.example"])
  })
})
