import { assert, describe, it } from "@effect/vitest"
import * as TrackerHosts from "../../src/session/TrackerHosts.ts"

describe("TrackerHosts", () => {
  it("are those of the trackers of all schemes, each once and in their order", () => {
    const trackers = [
      "udp://Tracker.Example:6969/announce",
      "https://b\u00fccher.example/passkey/announce",
      "http://tracker.example./announce",
      "udp://b\u00fccher.example:80",
      "wss://[2001:DB8::1]:443",
      "udp://192.0.2.1:1",
      "no url",
      "udp://:80"
    ]

    assert.deepStrictEqual(TrackerHosts.of(trackers), [
      "tracker.example",
      "xn--bcher-kva.example",
      "2001:db8::1",
      "192.0.2.1"
    ])
  })

  it("are twenty at most", () => {
    const trackers = Array.from({ length: 50 }, (_, index) => `http://${index + 1}.example/`)

    assert.strictEqual(TrackerHosts.of(trackers).length, TrackerHosts.maxHosts)
  })

  it.each([
    ["Tracker.Example", "tracker.example"],
    ["tracker.example.", "tracker.example"],
    ["B\u00dcCHER.example", "xn--bcher-kva.example"],
    ["[2001:DB8::1]", "2001:db8::1"],
    ["2001:db8:0::1", "2001:db8::1"],
    ["192.0.2.1", "192.0.2.1"]
  ])("parses %s", (text, host) => {
    assert.strictEqual(TrackerHosts.parse(text), host)
  })

  it.each([
    "",
    "http://a.example",
    "a.example:80",
    "a.example:6969",
    "a.example/b",
    "u@a.example",
    "a b",
    "[]",
    "[a]",
    "a".repeat(254)
  ])("refuses %j", (text) => {
    assert.isUndefined(TrackerHosts.parse(text))
  })
})
