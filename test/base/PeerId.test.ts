import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bytes from "../../src/base/Bytes.ts"
import * as PeerId from "../../src/base/PeerId.ts"

const client = (text: string) => PeerId.client(PeerId.fromBytes(Bytes.fromLatin1Unsafe(text.padEnd(20, "x")))!)

describe("PeerId", () => {
  it("of ours begins with our prefix and needs no escape in a URL, whatever is drawn", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), (dice) => {
        const text = Bytes.toLatin1(PeerId.make((bytes) => bytes.set(dice)))

        assert.match(text, /^-PW0100-[A-Za-z0-9_-]{12}$/)
      })
    )
  })

  it("of ours differs if a draw differs", () => {
    const ids = Array.from({ length: 64 }, (_, die) => Bytes.toHex(PeerId.make((bytes) => bytes.fill(die, 19))))

    assert.strictEqual(new Set(ids).size, 64)
  })

  it("has exactly 20 bytes", () => {
    assert.isUndefined(PeerId.fromBytes(new Uint8Array(19)))
    assert.isDefined(PeerId.fromBytes(new Uint8Array(20)))
    assert.isUndefined(PeerId.fromBytes(new Uint8Array(21)))
  })

  it("shows common clients and their versions", () => {
    assert.strictEqual(client("-PW0100-"), "piecewise 0.1.0")
    assert.strictEqual(client("-qB4650-"), "qBittorrent 4.6.5")
    assert.strictEqual(client("-TR4060-"), "Transmission 4.0.6")
    assert.strictEqual(client("-lt0D80-"), "rTorrent 0.13.8")
    assert.strictEqual(client("-LT20B0-"), "libtorrent 2.0.11")
    assert.strictEqual(client("-UT355W-"), "µTorrent 3.5.5.32")
    assert.strictEqual(client("-DE211s-"), "Deluge 2.1.1")
    assert.strictEqual(client("-WW0208-"), "WebTorrent 0.2.0.8")
    assert.strictEqual(client("A2-1-36-0-"), "aria2 1.36.0")
    assert.strictEqual(client("M7-10-5--"), "BitTorrent 7.10.5")
  })

  it("shows an unknown client's letters, and no version if it has none", () => {
    assert.strictEqual(client("-ZZ1234-"), "ZZ 1.2.3.4")
    assert.strictEqual(client("-ZZabcd-"), "ZZ")
    assert.strictEqual(client("exbc"), "unknown client")
  })

  it("has a name that is safe to log for any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), fc.boolean(), (bytes, dressed) => {
        if (dressed) for (const [index, byte] of [[0, 0x2d] as const, [7, 0x2d] as const]) bytes[index] = byte

        assert.match(PeerId.client(PeerId.fromBytes(bytes)!), /^[\p{L}\d/~ .]{2,40}$/u)
      })
    )
  })
})
