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
})
