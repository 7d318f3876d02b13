import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as IpAddress from "../../../src/base/IpAddress.ts"
import * as HostName from "../../../src/control/security/HostName.ts"

const answers = (header: string, patterns: ReadonlyArray<string> = []): boolean => {
  const host = HostName.parse(header)
  return host !== undefined && HostName.isAllowed(HostName.allow(patterns), host)
}

/** Names of at least two labels, none of them a number alone. */
const name = fc
  .array(fc.stringMatching(/^[a-z][a-z0-9-]{0,8}[a-z]$/), { minLength: 2, maxLength: 4 })
  .map((labels) => labels.join("."))

const port = fc.option(fc.integer({ min: 1, max: 65_535 }), { nil: undefined })

const withPort = (host: string, number: number | undefined) => (number === undefined ? host : `${host}:${number}`)

describe("HostName", () => {
  it("answers to IP addresses and localhost, with and without a port", () => {
    for (const host of ["127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:65535", "[FE80::1]", "localhost", "LocalHost:1"]) {
      assert.isTrue(answers(host), host)
    }
    // RFC 6761: the root is part of the name, and browsers send it.
    assert.isTrue(answers("localhost."))
  })

  it("fault 101: does not take other spellings of addresses for addresses", () => {
    for (const host of [
      "127.1",
      "2130706433",
      "0x7f.0.0.1",
      "0177.0.0.1",
      "127.0.0.1.",
      "127.0.0.01",
      "::1",
      "[127.0.0.1"
    ]) {
      assert.isFalse(answers(host), host)
    }
  })

  it("refuses what is no host", () => {
    const texts = [
      "",
      ":80",
      "a:",
      "a:0",
      "a:65536",
      "a:b",
      "a b",
      "a,b",
      "a/b",
      "user@a",
      "a..b",
      ".a",
      "-a",
      "[::1]x",
      "[]",
      "a\n"
    ]
    for (const text of [...texts, "é.example", `${"a".repeat(64)}.b`, `${"a.".repeat(130)}b`]) {
      assert.isUndefined(HostName.parse(text), text)
    }
  })

  it("answers to names below a domain, and not to the domain or to names that end like it", () => {
    const patterns = ["*.example.org"]
    assert.isTrue(answers("a.example.org", patterns))
    assert.isTrue(answers("A.B.EXAMPLE.ORG.:80", patterns))
    assert.isFalse(answers("example.org", patterns))
    assert.isFalse(answers("aexample.org", patterns))
    assert.isFalse(answers("a.example.org.evil.example", patterns))
  })

  it("has no pattern for every name", () => {
    for (const text of ["*", "*.", "**.a", "*a.b", "a.*", "a:80", "http://a", "", " a"]) {
      assert.isFalse(HostName.isPattern(text), text)
      assert.isFalse(answers("a.b", [text]), text)
    }
    for (const text of ["a", "A.example.", "*.example.org", "a_b.local"]) assert.isTrue(HostName.isPattern(text), text)
  })

  it("answers to every IP address in every spelling", () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), port, (address, number) => {
        const bytes = IpAddress.parse(address)!
        const text = address.includes(":") ? `[${address}]` : address
        const host = HostName.parse(withPort(text, number))
        assert.deepEqual(host, { host: IpAddress.format(bytes)!, isAddress: true, port: number })
        assert.isTrue(answers(withPort(text.toUpperCase(), number)))
      })
    )
  })

  it("answers to a name if it is allowed, however it is written, and to no other name", () => {
    fc.assert(
      fc.property(name, name, port, (allowed, other, number) => {
        for (const text of [allowed, allowed.toUpperCase(), `${allowed}.`]) {
          assert.isTrue(answers(withPort(text, number), [allowed]))
          assert.isTrue(answers(withPort(allowed, number), [text]))
        }
        assert.isTrue(answers(withPort(`${other}.${allowed}`, number), [`*.${allowed}`]))
        assert.isFalse(answers(withPort(allowed, number)))
        assert.equal(answers(withPort(other, number), [allowed]), other === allowed)
        assert.isFalse(
          answers(withPort(`${allowed}.${other}`, number), [allowed, `*.${allowed}`]) && !other.endsWith(allowed)
        )
      })
    )
  })
})
