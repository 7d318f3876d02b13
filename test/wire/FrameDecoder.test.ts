import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as FrameStream from "../../src/testing/arbitrary/FrameStream.ts"
import * as WireMessage from "../../src/testing/WireMessage.ts"
import * as FrameDecoder from "../../src/wire/FrameDecoder.ts"
import { WireError } from "../../src/wire/WireError.ts"

const hex = (text: string) => Uint8Array.from(text.match(/[0-9a-f]{2}/g) ?? [], (pair) => Number.parseInt(pair, 16))

/** Frames as BEP 3, BEP 5, BEP 6 and BEP 10 lay them out, byte for byte. */
const golden: ReadonlyArray<readonly [string, WireMessage.WireMessage]> = [
  ["00000000", { _tag: "KeepAlive" }],
  ["00000001 00", { _tag: "Choke" }],
  ["00000001 01", { _tag: "Unchoke" }],
  ["00000001 02", { _tag: "Interested" }],
  ["00000001 03", { _tag: "NotInterested" }],
  ["00000005 04 01020304", { _tag: "Have", index: 0x01020304 }],
  ["00000003 05 80c0", { _tag: "Bitfield", bits: hex("80c0") }],
  ["0000000d 06 00000001 00004000 00004000", { _tag: "Request", index: 1, begin: 16_384, length: 16_384 }],
  ["0000000c 07 00000002 00008000 aabbcc", { _tag: "Piece", index: 2, begin: 32_768, block: hex("aabbcc") }],
  ["0000000d 08 ffffffff 80000000 00004000", { _tag: "Cancel", index: 0xffffffff, begin: 2 ** 31, length: 16_384 }],
  ["00000003 09 1ae1", { _tag: "Port", port: 6_881 }],
  ["00000005 0d 00000007", { _tag: "Suggest", index: 7 }],
  ["00000001 0e", { _tag: "HaveAll" }],
  ["00000001 0f", { _tag: "HaveNone" }],
  ["0000000d 10 00000001 00004000 00004000", { _tag: "Reject", index: 1, begin: 16_384, length: 16_384 }],
  ["00000005 11 00000009", { _tag: "AllowedFast", index: 9 }],
  ["00000004 14 00 6465", { _tag: "Extended", id: 0, payload: hex("6465") }],
  ["00000003 63 0000", { _tag: "Unknown", id: 99, length: 2 }]
]

interface Outcome {
  readonly messages: ReadonlyArray<WireMessage.WireMessage>
  readonly failed: boolean
}

/** Pushes the chunks and returns what they yielded. Each chunk is wiped afterwards, like a reused read buffer. */
const decode = (chunks: ReadonlyArray<Uint8Array>, options?: FrameDecoder.Options): Outcome => {
  const messages: Array<WireMessage.WireMessage> = []
  const decoder = FrameDecoder.make(
    WireMessage.sink((message) => messages.push(message)),
    options
  )
  try {
    for (const chunk of chunks) {
      const readBuffer = chunk.slice()
      FrameDecoder.push(decoder, readBuffer)
      readBuffer.fill(0xee)
    }
    return { messages, failed: false }
  } catch (error) {
    assert.instanceOf(error, WireError)
    return { messages, failed: true }
  }
}

const concat = (...parts: ReadonlyArray<Uint8Array>) => Uint8Array.from(parts.flatMap((part) => Array.from(part)))

const goldenBytes = concat(...golden.map(([text]) => hex(text)))
const goldenMessages = golden.map(([, message]) => message)

/** Length field and id of a frame whose payload never arrives. */
const announce = (length: number, id?: number) => {
  const bytes = WireMessage.frame(id ?? 0, 0)
  new DataView(bytes.buffer).setUint32(0, length)
  return id === undefined ? bytes.subarray(0, 4) : bytes
}

describe("FrameDecoder", () => {
  for (const [text, message] of golden) {
    it(`decodes ${message._tag} as the BEPs write it`, () => {
      assert.deepStrictEqual(decode([hex(text)]), { messages: [message], failed: false })
    })
  }

  it("decodes many frames of one chunk in order", () => {
    assert.deepStrictEqual(decode([goldenBytes]), { messages: goldenMessages, failed: false })
  })

  it("yields the same for every split point of a stream", () => {
    for (let split = 0; split <= goldenBytes.length; split++) {
      const outcome = decode([goldenBytes.subarray(0, split), goldenBytes.subarray(split)])

      assert.deepStrictEqual(outcome, { messages: goldenMessages, failed: false }, `split at ${split}`)
    }
  })

  it("fault 26: yields the same one byte at a time as all at once", () => {
    fc.assert(
      fc.property(FrameStream.frameStream, ({ bytes }) => {
        assert.deepStrictEqual(decode(FrameStream.cut(bytes, [1])), decode([bytes]))
      })
    )
  })

  it("fault 26: yields the messages before the damage however it is cut, and fails exactly for damage", () => {
    fc.assert(
      fc.property(FrameStream.frameStream, FrameStream.cutting, (stream, sizes) => {
        const outcome = decode(FrameStream.cut(stream.bytes, sizes))

        assert.deepStrictEqual(outcome.messages, stream.messages)
        assert.strictEqual(outcome.failed, stream.damage !== undefined && stream.damage !== "truncated")
      }),
      { numRuns: 500 }
    )
  })

  it("yields no message for a frame that lacks its last byte", () => {
    for (const [text, message] of golden) {
      if (message._tag === "Unknown") continue
      const whole = hex(text)

      for (let length = 0; length < whole.length; length++) {
        const outcome = decode([whole.subarray(0, length)])

        assert.deepStrictEqual(outcome, { messages: [], failed: false }, `${message._tag}, ${length} bytes`)
      }
    }
  })

  it("passes a block on as it arrives, each byte once, with its offset", () => {
    const block = Uint8Array.from({ length: 1_000 }, (_, index) => index)
    const frame = WireMessage.encodeAll([{ _tag: "Piece", index: 3, begin: 16_384, block }])
    const calls: Array<string> = []
    const decoder = FrameDecoder.make({
      ...FrameDecoder.ignoreAll,
      pieceBegin: (index, begin, length) => calls.push(`begin ${index} ${begin} ${length}`),
      pieceData: (view, offset) => calls.push(`${view.length} at ${offset}`),
      pieceEnd: () => calls.push("end")
    })

    for (const chunk of [frame.subarray(0, 113), frame.subarray(113, 114), frame.subarray(114)]) {
      FrameDecoder.push(decoder, chunk)
    }

    assert.deepStrictEqual(calls, ["begin 3 16384 1000", "100 at 0", "1 at 100", "899 at 101", "end"])
  })

  it("copies no block, but passes on views of the chunk", () => {
    const frame = WireMessage.encodeAll([{ _tag: "Piece", index: 0, begin: 0, block: new Uint8Array(64) }])
    const views: Array<Uint8Array> = []
    const decoder = FrameDecoder.make({ ...FrameDecoder.ignoreAll, pieceData: (view) => views.push(view) })

    FrameDecoder.push(decoder, frame)

    assert.strictEqual(views[0]!.buffer, frame.buffer)
    assert.strictEqual(views[0]!.byteOffset, 13)
  })

  it("ends an empty block at once, without waiting for more bytes", () => {
    const outcome = decode([WireMessage.frame(7, 8)])

    assert.deepStrictEqual(outcome.messages, [{ _tag: "Piece", index: 0, begin: 0, block: new Uint8Array(0) }])
  })

  it("keeps a view valid until the sink returns, even if its frame was cut", () => {
    const long = { _tag: "Bitfield" as const, bits: new Uint8Array(5_000).fill(0xaa) }
    const bytes = WireMessage.encodeAll([long, { _tag: "Have", index: 1 }, long])

    for (const size of [1, 7, 4_999, 5_004, 5_005, 5_006]) {
      const { messages } = decode(FrameStream.cut(bytes, [size]))

      assert.deepStrictEqual(messages, [long, { _tag: "Have", index: 1 }, long], `chunks of ${size}`)
    }
  })

  it("skips a long frame of an unknown id without keeping a byte of it", () => {
    const decoder = FrameDecoder.make(FrameDecoder.ignoreAll)

    for (const chunk of FrameStream.cut(WireMessage.frame(99, 1_000_000), [4_001])) FrameDecoder.push(decoder, chunk)

    assert.isAtMost(decoder.carry.length, 64)
  })

  it("fault 25: fails at the length field of a frame above the limit, before anything is buffered", () => {
    for (const length of [1_048_577, 0x7fffffff, 0x80000000, 0xffffffff]) {
      const decoder = FrameDecoder.make(FrameDecoder.ignoreAll)

      assert.throws(() => FrameDecoder.push(decoder, announce(length)), WireError)
      assert.strictEqual(decoder.carry.length, 0)
    }
  })

  it("fault 25: accepts bitfields, extension messages and unknown frames as long as the limit, not longer", () => {
    for (const id of [5, 20, 99]) {
      const outcome = (length: number) => decode([WireMessage.frame(id, length - 1)], { maxFrameLength: 1_000 })

      assert.isFalse(outcome(999).failed)
      assert.strictEqual(outcome(1_000).messages.length, 1)
      assert.isFalse(outcome(1_000).failed)
      assert.deepStrictEqual(outcome(1_001), { messages: [], failed: true })
    }
  })

  it("fault 25: accepts a block of 128 KiB, and fails before the first byte of a longer one", () => {
    const limit = 131_072

    assert.isFalse(decode([announce(9 + limit - 1, 7)]).failed)
    assert.strictEqual(decode([WireMessage.frame(7, 8 + limit)]).messages.length, 1)
    assert.isTrue(decode([announce(9 + limit + 1, 7)]).failed)
  })

  it("fault 25: uses memory for an announced frame only as its bytes arrive", () => {
    const decoder = FrameDecoder.make(FrameDecoder.ignoreAll)

    FrameDecoder.push(decoder, announce(1_048_576, 20))
    const announced = decoder.carry.length
    for (let sent = 0; sent < 100; sent++) FrameDecoder.push(decoder, new Uint8Array(10))

    assert.isAtMost(announced, 64)
    assert.isAtMost(decoder.carry.length, 2 * 1_005)
  })

  it("frees a long carry once its frame is done", () => {
    const decoder = FrameDecoder.make(FrameDecoder.ignoreAll)

    for (const chunk of FrameStream.cut(WireMessage.frame(20, 500_000), [4_001])) FrameDecoder.push(decoder, chunk)

    assert.isAtMost(decoder.carry.length, 64)
  })

  it("fault 28: fails at the id of a frame with a wrong payload size, before the payload", () => {
    const right = new Map([
      ...[0, 1, 2, 3, 14, 15].map((id) => [id, 1] as const),
      ...[4, 13, 17].map((id) => [id, 5] as const),
      ...[6, 8, 16].map((id) => [id, 13] as const),
      [9, 3] as const
    ])

    for (const [id, only] of right) {
      for (let length = 1; length <= 40; length++) {
        assert.strictEqual(decode([announce(length, id)]).failed, length !== only, `id ${id}, length ${length}`)
      }
    }
  })

  it("fault 28: fails on a piece without index and begin, and on an extension message without id", () => {
    for (let length = 1; length <= 8; length++) assert.isTrue(decode([announce(length, 7)]).failed, `${length}`)
    assert.isFalse(decode([announce(9, 7)]).failed)
    assert.isTrue(decode([announce(1, 20)]).failed)
    assert.isFalse(decode([announce(2, 20)]).failed)
  })

  it("is finished once it has failed", () => {
    const messages: Array<WireMessage.WireMessage> = []
    const decoder = FrameDecoder.make(WireMessage.sink((message) => messages.push(message)))

    assert.throws(() => FrameDecoder.push(decoder, announce(2, 0)), WireError)
    FrameDecoder.push(decoder, goldenBytes)

    assert.isTrue(FrameDecoder.isFinished(decoder))
    assert.deepStrictEqual(messages, [])
  })

  it("is finished when its sink throws, and lets the error through", () => {
    let calls = 0
    const decoder = FrameDecoder.make({
      ...FrameDecoder.ignoreAll,
      have: () => {
        calls++
        throw new WireError({ why: "a have of a piece that does not exist" })
      }
    })
    const bytes = WireMessage.encodeAll([
      { _tag: "Have", index: 1 },
      { _tag: "Have", index: 2 }
    ])

    assert.throws(() => FrameDecoder.push(decoder, bytes), WireError)
    FrameDecoder.push(decoder, bytes)

    assert.strictEqual(calls, 1)
  })

  it("calls nothing more when it is stopped at the beginning of a block, empty or not", () => {
    for (const length of [0, 10]) {
      const calls: Array<string> = []
      const decoder: FrameDecoder.FrameDecoder = FrameDecoder.make({
        ...FrameDecoder.ignoreAll,
        pieceBegin: () => FrameDecoder.stop(decoder),
        pieceData: () => calls.push("data"),
        pieceEnd: () => calls.push("end")
      })

      FrameDecoder.push(decoder, WireMessage.frame(7, 8 + length))

      assert.deepStrictEqual(calls, [])
    }
  })

  it("calls nothing more after its sink stopped it, at any call and however the stream is cut", () => {
    fc.assert(
      fc.property(FrameStream.frameStream, FrameStream.cutting, fc.nat(20), ({ messages, bytes }, sizes, after) => {
        fc.pre(messages.length > after)
        let calls = 0
        const stopAfter = () => {
          if (calls++ === after) FrameDecoder.stop(decoder)
        }
        const sink = Object.fromEntries(Object.keys(FrameDecoder.ignoreAll).map((name) => [name, stopAfter]))
        const decoder = FrameDecoder.make(sink as unknown as FrameDecoder.FrameSink)

        for (const chunk of FrameStream.cut(bytes, sizes)) FrameDecoder.push(decoder, chunk)

        assert.strictEqual(calls, after + 1)
        assert.isTrue(FrameDecoder.isFinished(decoder))
      })
    )
  })
})
