import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import * as Handshake from "../../src/wire/Handshake.ts"
import { WireError } from "../../src/wire/WireError.ts"

const ascii = (text: string) => new TextEncoder().encode(text)

const infoHash = Uint8Array.from({ length: 20 }, (_, index) => 0xa0 + index) as InfoHash
const peerId = ascii("-PW0100-abcdefghijkl")

/** BEP 3: `<19><name><8 reserved><info hash><peer id>`, with the bits of BEP 10 (0x10 in byte 5), 6 and 5 (byte 7). */
const golden = Uint8Array.from([
  19,
  ...ascii("BitTorrent protocol"),
  ...[0, 0, 0, 0, 0, 0x10, 0, 0x05],
  ...infoHash,
  ...peerId
])

const features = fc.record({ extensionProtocol: fc.boolean(), fast: fc.boolean(), dht: fc.boolean() })
const twenty = fc.uint8Array({ minLength: 20, maxLength: 20 })
const handshake = fc.record({ features, infoHash: twenty.map((bytes) => bytes as InfoHash), peerId: twenty })

describe("Handshake", () => {
  it("encodes the 68 bytes of BEP 3", () => {
    const bytes = Handshake.encode({ features: { extensionProtocol: true, fast: true, dht: true }, infoHash, peerId })

    assert.deepStrictEqual(bytes, golden)
    assert.strictEqual(bytes.length, Handshake.length)
  })

  it("sets each feature's own bit", () => {
    const reserved = (some: Partial<Handshake.Features>) =>
      Array.from(
        Handshake.encode({ features: { ...Handshake.noFeatures, ...some }, infoHash, peerId }).subarray(20, 28)
      )

    assert.deepStrictEqual(reserved({}), [0, 0, 0, 0, 0, 0, 0, 0])
    assert.deepStrictEqual(reserved({ extensionProtocol: true }), [0, 0, 0, 0, 0, 0x10, 0, 0])
    assert.deepStrictEqual(reserved({ fast: true }), [0, 0, 0, 0, 0, 0, 0, 0x04])
    assert.deepStrictEqual(reserved({ dht: true }), [0, 0, 0, 0, 0, 0, 0, 0x01])
  })

  it("decodes what it encodes", () => {
    fc.assert(
      fc.property(handshake, (value) => {
        assert.deepStrictEqual(Result.getOrThrow(Handshake.decode(Handshake.encode(value))), value)
      })
    )
  })

  it("ignores unknown reserved bits", () => {
    const bytes = golden.slice().fill(0xff, 20, 28)

    const decoded = Result.getOrThrow(Handshake.decode(bytes))

    assert.deepStrictEqual(decoded, {
      features: { extensionProtocol: true, fast: true, dht: true },
      infoHash,
      peerId
    })
  })

  it("keeps copies, so that the read buffer may be used again", () => {
    const bytes = golden.slice()
    const decoded = Result.getOrThrow(Handshake.decode(bytes))

    bytes.fill(0)

    assert.deepStrictEqual(decoded.infoHash, infoHash)
    assert.deepStrictEqual(decoded.peerId, peerId)
  })

  it("refuses every other length", () => {
    for (let length = 0; length < Handshake.length; length++) {
      assert.isTrue(Result.isFailure(Handshake.decode(golden.subarray(0, length))), `${length} bytes`)
    }
    assert.isTrue(Result.isFailure(Handshake.decode(Uint8Array.from([...golden, 0]))), "69 bytes")
  })

  it("refuses to encode an info hash or peer id that is not 20 bytes long", () => {
    const nineteen = new Uint8Array(19)
    const features = Handshake.noFeatures

    assert.throws(() => Handshake.encode({ features, infoHash: nineteen as InfoHash, peerId }), RangeError)
    assert.throws(() => Handshake.encode({ features, infoHash, peerId: nineteen }), RangeError)
  })

  it("has in common what both sides support", () => {
    fc.assert(
      fc.property(features, features, (ours, theirs) => {
        const both = Handshake.common(ours, theirs)

        assert.strictEqual(both.fast, ours.fast && theirs.fast)
        assert.strictEqual(both.dht, ours.dht && theirs.dht)
        assert.strictEqual(both.extensionProtocol, ours.extensionProtocol && theirs.extensionProtocol)
      })
    )
  })

  it("is complete with the 68th byte and leaves the rest of the chunk, wherever the stream is cut", () => {
    const stream = Uint8Array.from([...golden, 1, 2, 3])
    const expected = Result.getOrThrow(Handshake.decode(golden))

    for (let split = 1; split < stream.length; split++) {
      const decoder = Handshake.makeDecoder()

      const first = Handshake.push(decoder, stream.subarray(0, split))
      const early = Handshake.result(decoder)
      const second = Handshake.push(decoder, stream.subarray(split))

      assert.strictEqual(first, Math.min(split, 68))
      assert.strictEqual(first + second, 68)
      assert.strictEqual(early === undefined, split < 68)
      assert.deepStrictEqual(Handshake.result(decoder), expected)
    }
  })

  it("fault 32: reads a handshake that arrives byte by byte like a whole one, and no more than its 68 bytes", () => {
    const decoder = Handshake.makeDecoder()

    for (const byte of golden) assert.strictEqual(Handshake.push(decoder, Uint8Array.of(byte)), 1)

    assert.strictEqual(Handshake.push(decoder, new Uint8Array(1_000)), 0)
    assert.strictEqual(decoder.bytes.length, 68)
    assert.deepStrictEqual(Handshake.result(decoder), Result.getOrThrow(Handshake.decode(golden)))
  })

  it("fault 32: refuses another protocol at the first byte that differs", () => {
    for (let wrong = 0; wrong < 20; wrong++) {
      const bytes = golden.slice()
      bytes[wrong]! ^= 0x20
      const decoder = Handshake.makeDecoder()

      for (let at = 0; at < wrong; at++) Handshake.push(decoder, bytes.subarray(at, at + 1))

      assert.throws(() => Handshake.push(decoder, bytes.subarray(wrong, wrong + 1)), WireError)
      assert.throws(() => Handshake.push(Handshake.makeDecoder(), bytes), WireError)
    }
  })

  it("says in one sentence what was wrong", () => {
    const decoded = Handshake.decode(ascii("GET / HTTP/1.1\r\n\r\n"))

    assert.strictEqual(
      Result.isFailure(decoded) ? decoded.failure.message : "",
      "The peer broke the wire protocol: the handshake names another protocol (byte 0)."
    )
  })
})
