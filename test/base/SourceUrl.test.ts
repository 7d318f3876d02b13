import { assert, describe, it } from "@effect/vitest"
import * as SourceUrl from "../../src/base/SourceUrl.ts"

describe("SourceUrl", () => {
  it("accepts the schemes of trackers and web seeds", () => {
    for (const scheme of ["http", "https", "HTTP", "udp", "ws", "wss"]) {
      assert.strictEqual(SourceUrl.parseTracker(`${scheme}://t.example:80/announce`)?.hostname, "t.example", scheme)
    }
    for (const scheme of ["http", "https"]) assert.isTrue(SourceUrl.isWebSeed(`${scheme}://s.example/f`), scheme)
    for (const scheme of ["udp", "ws", "wss"]) assert.isFalse(SourceUrl.isWebSeed(`${scheme}://s.example/f`), scheme)
  })

  it("fault 24: accepts nothing that leads elsewhere, or nowhere", () => {
    const texts = ["", "t.example", "/announce", "http://", "udp:///announce", "file:///etc/passwd", "javascript:1"]

    for (const text of [...texts, "data:,x", "ftp://t.example/"]) {
      assert.isFalse(SourceUrl.isTracker(text), text)
      assert.isFalse(SourceUrl.isWebSeed(text), text)
    }
  })

  it("fault 77: removes the password from the URL of a torrent file", () => {
    assert.strictEqual(SourceUrl.parseTorrentFile("http://a:b@nas.lan/t.torrent")?.href, "http://nas.lan/t.torrent")
    assert.isUndefined(SourceUrl.parseTorrentFile("file:///t.torrent"))
  })

  it("shows the host and port of a URL, and nothing else of it", () => {
    const place = SourceUrl.placeOf("https://me:secret@t.example:8443/secret/announce?passkey=secret#secret")

    assert.deepStrictEqual(place, { host: "t.example", port: 8443 })
    assert.deepStrictEqual(SourceUrl.placeOf("udp://[::1]:80"), { host: "[::1]", port: 80 })
    assert.deepStrictEqual(SourceUrl.placeOf("http://t.example/"), { host: "t.example", port: undefined })
    assert.isUndefined(SourceUrl.placeOf("a list"))
  })

  it.each([
    ["http://t.example/announce", "https://t.example/announce"],
    ["http://t.example:80/announce", "https://T.Example.:443/announce"],
    ["http://t.example:6969/announce", "udp://T.EXAMPLE:6969/announce"],
    ["http://t.example/announce", "udp://t.example:80/announce"],
    ["https://t.example/announce", "udp://t.example:443/announce"],
    ["http://t.example:6969", "udp://t.example:6969"],
    ["http://t.example/a/../%61nnounce#x", " https://t.example/announce "],
    ["http://t.example/%7Ea%2f", "http://t.example/~a%2F"],
    ["http://t.example/a.php?passkey=1", "http://me:secret@t.example/a.php?passkey=2"],
    ["http://[2001:DB8::1]/a", "https://[2001:db8:0::1]/a"],
    ["not a URL", "not a URL"]
  ])("takes %s and %s for one tracker", (one, other) => {
    assert.deepStrictEqual([SourceUrl.isSameTracker(one, other), SourceUrl.isSameTracker(other, one)], [true, true])
  })

  it.each([
    ["http://t.example/announce", "http://u.example/announce"],
    ["http://t.example/announce", "http://t.example:8080/announce"],
    ["http://t.example/announce", "udp://t.example:6969/announce"],
    ["http://127.0.0.1:1001/announce", "http://127.0.0.1:1002/announce"],
    ["http://t.example/0123456789abcdef/announce", "http://t.example/fedcba9876543210/announce"],
    ["http://t.example/a", "http://t.example/A"],
    ["http://t.example/a%2Fb", "http://t.example/a/b"],
    ["a URL", "another one"],
    ["http://t.example/announce", "t.example/announce"]
  ])("takes %s and %s for two trackers", (one, other) => {
    assert.deepStrictEqual([SourceUrl.isSameTracker(one, other), SourceUrl.isSameTracker(other, one)], [false, false])
  })

  it("hides a key without a value, and what stands behind a semicolon", () => {
    for (const url of [
      "http://t.example/announce?0123456789abcdef",
      "http://t.example/x;auth=0123456789abcdef/announce"
    ]) {
      assert.strictEqual(SourceUrl.withoutSecrets("unknown passkey 0123456789abcdef", url), "unknown passkey ...")
    }
  })

  it("hides what may be a secret of a URL where a text repeats it, encoded or not", () => {
    const url = "http://us%20er1:pass%2Fword@t.example/a%20secret/announce?key=9f8e7d&port=80"
    const shown = (text: string) => SourceUrl.withoutSecrets(text, url)

    assert.strictEqual(shown("no key 9f8e7d"), "no key ...")
    assert.strictEqual(shown("a secret, or a%20secret"), "..., or ...")
    assert.strictEqual(shown("pass/word of us er1"), "... of ...")
    assert.strictEqual(shown(`cannot fetch ${url}`), "cannot fetch ...")
    assert.strictEqual(
      shown("its URL does not end in /announce, on port 80"),
      "its URL does not end in /announce, on port 80"
    )
    assert.strictEqual(SourceUrl.withoutSecrets("a list is empty", "a list"), "... is empty")
    assert.strictEqual(SourceUrl.withoutSecrets("why", ""), "why")
  })

  it("makes a text only shorter, however many parts a hostile URL has", () => {
    const url = `http://t.example/${Array.from({ length: 20_000 }, (_, index) => `......${index}`).join("/")}`
    const text = "......1".repeat(30)

    assert.isAtMost(SourceUrl.withoutSecrets(text, url).length, text.length)
  })
})
