import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bytes from "../../src/base/Bytes.ts"
import * as IpAddress from "../../src/base/IpAddress.ts"
import * as Values from "../../src/testing/arbitrary/Values.ts"

const canonical = (text: string) => {
  const bytes = IpAddress.parse(text)
  return bytes === undefined ? undefined : IpAddress.format(bytes)
}

describe("IpAddress", () => {
  it("is read into 4 or 16 bytes in network order", () => {
    assert.deepStrictEqual(IpAddress.parse("192.0.2.255"), Uint8Array.of(192, 0, 2, 255))
    assert.strictEqual(
      Bytes.toHex(IpAddress.parse("2001:db8::12:ff00")!),
      "20010db8000000000000000000 12ff00".replace(" ", "")
    )
  })

  it("is written as RFC 5952 sections 4 and 5 say", () => {
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

  it("is not read from what only some resolvers accept, or none", () => {
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

  it("is restored from its own text, and has one text", () => {
    fc.assert(
      fc.property(Values.ipBytes, (bytes) => {
        const text = IpAddress.format(bytes)!

        assert.strictEqual(canonical(text), text)
        // All except IPv4 inside IPv6, which is shortened.
        if (text.includes(":") || bytes.length === 4) assert.deepStrictEqual(IpAddress.parse(text), bytes)
      })
    )
  })

  it.each([
    ["192.0.2.1", "192.0.2.1"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["fe80::1", "fe80::1"],
    ["fe80::1%eth0", "fe80::1%eth0"],
    ["example.org", "example.org"]
  ])("%s belongs to the host %s", (host, network) => {
    assert.strictEqual(IpAddress.network(host), network)
  })

  it("has no text when it is not 4 or 16 bytes", () => {
    for (let length = 0; length <= 20; length++) {
      assert.strictEqual(IpAddress.format(new Uint8Array(length)) !== undefined, length === 4 || length === 16)
    }
  })
})
