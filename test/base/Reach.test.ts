import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as IpAddress from "../../src/base/IpAddress.ts"
import * as Reach from "../../src/base/Reach.ts"
import * as Values from "../../src/testing/arbitrary/Values.ts"

const each = (reach: Reach.Reach, hosts: ReadonlyArray<string>) => {
  for (const host of hosts) assert.strictEqual(Reach.of(host), reach, host)
}

/** Ways to write an IPv4 address as IPv6, as bytes `a.b.c.d`; the io-daemon's tests have the same. */
const within = (address: string): ReadonlyArray<string> => {
  const bytes = address.split(".").map(Number)
  const hex = (...numbers: ReadonlyArray<number>) => numbers.map((byte) => byte.toString(16).padStart(2, "0")).join("")
  const [a, b, c, d] = bytes as [number, number, number, number]
  const [high, low] = [hex(a, b), hex(c, d)]
  return [
    `::${high}:${low}`,
    `::ffff:${high}:${low}`,
    `::ffff:0:${high}:${low}`,
    `64:ff9b::${high}:${low}`,
    `2002:${high}:${low}::1`,
    `2001:0:${high}:${low}::f7f7:f7f7`,
    `2001:0:808:808:0:0:${hex(255 - a, 255 - b)}:${hex(255 - c, 255 - d)}`,
    `2001:db8::5efe:${high}:${low}`,
    `2001:db8::200:5efe:${high}:${low}`
  ]
}

/** The same behind a NAT64 prefix of one network (RFC 8215), which is private itself. */
const withinNat64 = (address: string): ReadonlyArray<string> => {
  const hex = (byte: number) => byte.toString(16).padStart(2, "0")
  const [a, b, c, d] = address.split(".").map((text) => hex(Number(text)))
  return [
    `64:ff9b:1::${a}${b}:${c}${d}`,
    `64:ff9b:1:${a}${b}:${c}:${d}00::`,
    `64:ff9b:1:12${a}:${b}:${c}${d}::`,
    `64:ff9b:1:1234:${a}:${b}${c}:${d}00::`
  ]
}

describe("Reach", () => {
  it("recognizes this machine, by number and by name", () => {
    each("loopback", ["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "[::1]", "localhost", "a.LOCALHOST."])
    each("public", ["126.255.255.255", "128.0.0.0", "1::1", "notlocalhost", "localhost.example"])
  })

  it("recognizes what has a meaning only in the network around, at the edges of each block", () => {
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

  it("recognizes what no stranger may name", () => {
    each("none", ["0.0.0.0", "0.1.2.3", "0.255.255.255", "::", "[::]", "::ffff:0.0.0.0", "::2"])
    each("none", ["224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "ff02::1", "::ffff:255.255.255.255"])
    each("public", ["1.0.0.0", "223.255.255.255", "fe00::", "peer.example"])
  })

  it("recognizes the services in which clouds keep credentials, and not their neighbours", () => {
    each("none", ["169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192"])
    each("none", ["fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:42::42", "fd00:c1::a9fe:a9fe"])
    each("public", ["168.63.129.17", "192.0.0.191"])
    each("private", ["169.254.169.253", "100.100.100.201", "fd20:ce::253", "fd00:ec1::254"])
  })

  it("counts IPv6 that leads to an IPv4 address as no more public than that", () => {
    for (const address of ["127.0.0.1", "127.8.9.1"]) each("loopback", within(address))
    for (const address of ["10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.1.1", "100.64.0.1"]) {
      each("private", within(address))
    }
    for (const address of ["169.254.169.254", "168.63.129.16", "192.0.0.192", "100.100.100.200", "224.0.0.1"]) {
      each("none", within(address))
    }
    for (const address of ["169.254.169.254", "168.63.129.16", "192.0.0.192", "100.100.100.200"]) {
      each("none", withinNat64(address))
    }
    each("loopback", withinNat64("127.0.0.1"))
    for (const address of ["8.8.8.8", "192.0.2.1"]) each("public", within(address))
    for (const address of ["8.8.8.8", "10.1.2.3"]) each("private", withinNat64(address))
    each("private", ["64:ff9b:1::1", "64:ff9b:1:ffff::8.8.8.8"])
    each("none", ["64:ff9b::", "2002::1"])
    each("public", ["64:ff9b:2::10.1.2.3", "65:ff9b::10.1.2.3", "2001:db8::a9fe:a9fe", "2003:7f00:1::"])
  })

  it("recognizes what is link-local, even within IPv6", () => {
    for (const host of ["169.254.1.1", "fe80::1", "[fe80::1%25eth0]", "febf::1", ...within("169.254.1.1")]) {
      assert.isTrue(Reach.isLinkLocal(host), host)
    }
    for (const host of ["169.253.1.1", "10.0.0.1", "fec0::1", "fe00::1", "peer.example", ...within("10.0.0.1")]) {
      assert.isFalse(Reach.isLinkLocal(host), host)
    }
  })

  it("does not depend on how an address is written", () => {
    fc.assert(
      fc.property(Values.ipBytes, (bytes) => {
        const text = IpAddress.format(bytes)!

        assert.strictEqual(Reach.of(`[${text}]`), Reach.of(text))
        if (bytes.length === 4) {
          for (const form of within(text)) assert.isFalse(Reach.isLessPublic(Reach.of(text), Reach.of(form)), form)
        }
      })
    )
  })

  it("is ordered from public to none", () => {
    const order = ["public", "private", "loopback", "none"] as const

    for (const [low, self] of order.entries()) {
      for (const [high, that] of order.entries()) assert.strictEqual(Reach.isLessPublic(self, that), low > high)
    }
  })
})
