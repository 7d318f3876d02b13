import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as FrameStream from "../../src/testing/arbitrary/FrameStream.ts"
import * as WireMessage from "../../src/testing/WireMessage.ts"
import * as FrameDecoder from "../../src/wire/FrameDecoder.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"

const decode = (bytes: Uint8Array) => {
  const messages: Array<WireMessage.WireMessage> = []
  FrameDecoder.push(FrameDecoder.make(WireMessage.sink((message) => messages.push(message))), bytes)
  return messages
}

describe("FrameEncoder", () => {
  it("writes a request as BEP 3 lays it out", () => {
    const encoder = FrameEncoder.make()

    FrameEncoder.request(encoder, 0x01020304, 0x00fc4000, 16_384)

    assert.deepStrictEqual(
      Array.from(FrameEncoder.take(encoder)),
      [0, 0, 0, 13, 6, 1, 2, 3, 4, 0, 0xfc, 0x40, 0, 0, 0, 0x40, 0]
    )
  })

  it("writes a piece, a port and an extension message as the BEPs lay them out", () => {
    const encoder = FrameEncoder.make()

    FrameEncoder.piece(encoder, 1, 16_384, Uint8Array.of(7, 8))
    FrameEncoder.port(encoder, 6_881)
    FrameEncoder.extended(encoder, 3, Uint8Array.of(9))

    assert.deepStrictEqual(
      Array.from(FrameEncoder.take(encoder)),
      [
        [0, 0, 0, 11, 7, 0, 0, 0, 1, 0, 0, 0x40, 0, 7, 8],
        [0, 0, 0, 3, 9, 0x1a, 0xe1],
        [0, 0, 0, 3, 20, 3, 9]
      ].flat()
    )
  })

  it("is undone by the decoder", () => {
    fc.assert(
      fc.property(fc.array(FrameStream.message, { maxLength: 60 }), (messages) => {
        assert.deepStrictEqual(decode(WireMessage.encodeAll(messages)), messages)
      })
    )
  })

  it("returns a batch that no later frame changes", () => {
    fc.assert(
      fc.property(fc.array(fc.array(fc.nat(60_000), { minLength: 1, maxLength: 4 }), { maxLength: 6 }), (batches) => {
        const encoder = FrameEncoder.make()
        const pieces = batches.map((sizes, index) =>
          sizes.map((size) => ({
            _tag: "Piece" as const,
            index,
            begin: 0,
            block: new Uint8Array(size).fill(index + 1)
          }))
        )

        const taken = pieces.map((batch) => {
          for (const piece of batch) WireMessage.encode(encoder, piece)
          return FrameEncoder.take(encoder)
        })

        assert.isTrue(FrameEncoder.isEmpty(encoder))
        assert.deepStrictEqual(taken.map(decode), pieces)
      }),
      { numRuns: 30 }
    )
  })

  it("knows its length, and is empty once taken or cleared", () => {
    const encoder = FrameEncoder.make()

    assert.isTrue(FrameEncoder.isEmpty(encoder))
    FrameEncoder.have(encoder, 1)
    FrameEncoder.keepAlive(encoder)
    assert.strictEqual(encoder.length, 13)
    FrameEncoder.clear(encoder)
    assert.isTrue(FrameEncoder.isEmpty(encoder))
    assert.strictEqual(FrameEncoder.take(encoder).length, 0)
  })

  it("keeps what it has when it makes room", () => {
    const encoder = FrameEncoder.make()
    FrameEncoder.have(encoder, 5)

    FrameEncoder.ensureRoom(encoder, 300_000)
    FrameEncoder.unchoke(encoder)

    assert.isAtLeast(encoder.buffer.length, 300_009)
    assert.deepStrictEqual(decode(FrameEncoder.take(encoder)), [{ _tag: "Have", index: 5 }, { _tag: "Unchoke" }])
  })
})
