import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as IpAddress from "../../src/base/IpAddress.ts"
import * as Naming from "../../src/base/Naming.ts"
import * as Reach from "../../src/base/Reach.ts"
import * as Values from "../../src/testing/arbitrary/Values.ts"

/** Addresses of every class, and from where they may be named. */
const classes: ReadonlyArray<{ readonly what: string; readonly hosts: ReadonlyArray<string>; readonly by: string }> = [
  { what: "global", hosts: ["8.8.8.8", "2600::1", "64:ff9b::808:808", "2002:808:808::1"], by: "all" },
  { what: "documentation (RFC 5737, RFC 3849)", hosts: ["192.0.2.1", "203.0.113.9", "2001:db8::1"], by: "all" },
  { what: "a name", hosts: ["peer.example"], by: "all" },
  { what: "RFC 1918", hosts: ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"], by: "around" },
  { what: "unique local (RFC 4193)", hosts: ["fc00::1", "fdff::1"], by: "around" },
  { what: "link-local", hosts: ["169.254.1.1", "fe80::1%eth0"], by: "around" },
  { what: "carrier NAT (RFC 6598)", hosts: ["100.64.0.1", "100.127.255.255"], by: "around" },
  { what: "private inside IPv6", hosts: ["::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1"], by: "around" },
  { what: "loopback", hosts: ["127.0.0.1", "127.9.9.9", "::1", "localhost"], by: "here" },
  { what: "loopback inside IPv6", hosts: ["::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1"], by: "here" },
  { what: "unspecified", hosts: ["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0"], by: "nobody" },
  { what: "multicast", hosts: ["224.0.0.1", "239.192.152.143", "ff02::1", "::ffff:224.0.0.1"], by: "nobody" },
  { what: "broadcast and reserved", hosts: ["255.255.255.255", "240.0.0.1"], by: "nobody" },
  { what: "credentials of a cloud", hosts: ["169.254.169.254", "fd00:ec2::254"], by: "nobody" }
]

const allowed: Readonly<Record<string, ReadonlyArray<Reach.Reach>>> = {
  all: ["public", "private", "loopback", "none"],
  around: ["private", "loopback"],
  here: ["loopback"],
  nobody: []
}

describe("Naming (fault 91)", () => {
  for (const { by, hosts, what } of classes) {
    it(`lets ${by} name ${what}`, () => {
      for (const host of hosts) {
        for (const from of ["public", "private", "loopback", "none"] as const) {
          assert.strictEqual(Naming.mayName(from, { host, port: 6881 }), allowed[by]!.includes(from), `${from} ${host}`)
        }
      }
    })
  }

  it("says why", () => {
    const why = (from: Reach.Reach, host: string, port = 6881) => Naming.whyNot(from, { host, port })

    assert.strictEqual(why("public", "10.0.0.1"), Naming.lessPublic)
    assert.strictEqual(why("private", "127.0.0.1"), Naming.lessPublic)
    assert.strictEqual(why(Naming.anything, "224.0.0.1"), "no peer can have such an address")
    assert.strictEqual(why(Naming.anything, "192.0.2.1", 0), "it has no port")
    assert.strictEqual(why(Naming.anything, "127.0.0.1"), undefined)
  })

  it("refuses whatever is no port, whoever names it", () => {
    for (const port of [0, -1, 65_536, 1.5, Number.NaN]) {
      assert.isFalse(Naming.mayName(Naming.anything, { host: "192.0.2.1", port }), `${port}`)
    }
    for (const port of [1, 65_535]) assert.isTrue(Naming.mayName("public", { host: "192.0.2.1", port }))
  })

  it("lets every host name itself, and whatever more public hosts may name", () => {
    const host = Values.ipBytes.map((bytes) => IpAddress.format(bytes)!)
    fc.assert(
      fc.property(host, host, host, (one, other, named) => {
        const address = { host: named, port: 6881 }
        const [from, to] = [Reach.of(one), Reach.of(other)]

        if (from !== "none") assert.isTrue(Naming.mayName(from, { host: one, port: 1 }))
        if (to !== "none" && Reach.isLessPublic(to, from) && Naming.mayName(from, address)) {
          assert.isTrue(Naming.mayName(to, address))
        }
      })
    )
  })

  it("tells names from addresses", () => {
    for (const host of ["peer.example", "localhost", "1.2.3"]) assert.isTrue(Naming.isName({ host, port: 1 }), host)
    for (const host of ["1.2.3.4", "::1", "fe80::1%eth0"]) assert.isFalse(Naming.isName({ host, port: 1 }), host)
  })
})
