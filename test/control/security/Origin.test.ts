import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as HostName from "../../../src/control/security/HostName.ts"
import * as Origin from "../../../src/control/security/Origin.ts"

const sender = (host: string, facts: Partial<Origin.Facts> & { readonly allowed?: ReadonlyArray<string> } = {}) =>
  Origin.senderOf({
    origin: undefined,
    fetchSite: undefined,
    protocol: undefined,
    ...facts,
    host: HostName.parse(host)!,
    allowedOrigins: new Set(facts.allowed)
  })

describe("Origin", () => {
  it("of a program is none", () => {
    assert.equal(sender("localhost:1"), "own")
  })

  it("is own if scheme, host and port are, as far as they are known", () => {
    for (const [origin, host] of [
      ["http://localhost:1", "localhost:1"],
      ["http://localhost", "localhost"],
      ["http://localhost", "localhost:80"],
      ["https://a.example", "a.example"],
      ["https://a.example", "A.EXAMPLE.:443"],
      ["http://[::1]:1", "[::1]:1"],
      ["http://127.0.0.1:1", "127.0.0.1:1"]
    ] as const) {
      assert.equal(sender(host, { origin }), "own", origin)
    }
  })

  it("fault 100: is foreign if one of them is not, or if it is none", () => {
    for (const [origin, host] of [
      ["http://localhost:2", "localhost:1"],
      ["http://localhost", "localhost:1"],
      ["http://127.0.0.1:1", "localhost:1"],
      ["http://evil.example:1", "localhost:1"],
      ["http://localhost.evil.example", "localhost"],
      ["http://localhost:1/", "localhost:1"],
      ["http://evil.example@localhost:1", "localhost:1"],
      ["file://localhost:1", "localhost:1"],
      ["null", "localhost:1"],
      ["", "localhost:1"],
      ["http://localhost:1, http://localhost:1", "localhost:1"]
    ] as const) {
      assert.equal(sender(host, { origin }), "foreign", origin)
    }
    assert.equal(sender("a.example", { origin: "http://a.example", protocol: "https" }), "foreign")
  })

  it("does not make up for what the browser says about the site", () => {
    const origin = "http://localhost:1"
    for (const fetchSite of ["cross-site", "same-site", "", "SAME-ORIGIN"]) {
      assert.equal(sender("localhost:1", { origin, fetchSite }), "foreign", fetchSite)
      assert.equal(sender("localhost:1", { fetchSite }), "foreign", fetchSite)
    }
    for (const fetchSite of ["same-origin", "none"]) assert.equal(sender("localhost:1", { origin, fetchSite }), "own")
  })

  it("is allowed only as it was listed", () => {
    const allowed = ["https://panel.example", "chrome-extension://abcdef"]
    for (const origin of allowed) {
      assert.equal(sender("localhost:1", { origin, fetchSite: "cross-site", allowed }), "allowed")
      assert.isTrue(Origin.isOrigin(origin))
    }
    assert.equal(sender("localhost:1", { fetchSite: "cross-site", allowed }), "foreign")
    assert.equal(sender("localhost:1", { origin: "https://panel.example:443", allowed }), "foreign")
    for (const text of [
      "*",
      "null",
      "",
      "panel.example",
      "https://panel.example/",
      "https://a@b",
      "HTTPS://a",
      "http://a b"
    ]) {
      assert.isFalse(Origin.isOrigin(text), text)
    }
  })

  it("of another port is never own", () => {
    const port = fc.integer({ min: 1, max: 65_535 })
    fc.assert(
      fc.property(port, port, (own, other) => {
        const found = sender(`localhost:${own}`, { origin: new URL(`http://localhost:${other}`).origin })
        assert.equal(found, own === other ? "own" : "foreign")
      })
    )
  })
})
