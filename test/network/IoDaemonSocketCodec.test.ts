import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bytes from "../../src/base/Bytes.ts"
import type { ClientFrame, DaemonFrame } from "../../src/network/provider/io-daemon/IoDaemonSocketCodec.ts"
import * as Codec from "../../src/network/provider/io-daemon/IoDaemonSocketCodec.ts"
import { SocketFrameError } from "../../src/network/provider/io-daemon/IoDaemonSocketCodec.ts"

const ofHex = (hex: string): Uint8Array => Bytes.fromHex(hex.replaceAll(" ", ""))!

const four = { host: "10.0.0.7", port: 6881 }
const six = { host: "::1", port: 65_535 }
const name = { host: "bücher.example", port: 0 }

/** Written by hand from the table in the codec's header. */
const clientFrames: ReadonlyArray<readonly [hex: string, ClientFrame]> = [
  ["01 00000001 1ae1 31302e302e302e37", { _tag: "Dial", id: 1, address: four }],
  ["01 00000002 0000 62c3bc636865722e6578616d706c65", { _tag: "Dial", id: 2, address: name }],
  ["02 00000003 1ae1 0040 31302e302e302e37", { _tag: "Listen", id: 3, address: four, backlog: 64 }],
  ["03 7fffffff ffff 3a3a31", { _tag: "Bind", id: 0x7fff_ffff, address: six }],
  ["04 80000000 0102ff", { _tag: "Data", id: 0x8000_0000, bytes: Uint8Array.of(1, 2, 255) }],
  ["05 00000001 00040000", { _tag: "Credit", id: 1, bytes: 262_144 }],
  ["06 ffffffff", { _tag: "Close", id: 0xffff_ffff }],
  ["07 00000004 1ae1 08 31302e302e302e37 0a0b", { _tag: "Send", id: 4, address: four, payload: Uint8Array.of(10, 11) }],
  ["07 00000004 ffff 03 3a3a31", { _tag: "Send", id: 4, address: six, payload: new Uint8Array() }]
]

const daemonFrames: ReadonlyArray<readonly [hex: string, DaemonFrame]> = [
  ["11 00000001 1ae1 31302e302e302e37", { _tag: "Opened", id: 1, address: four }],
  ["12 00000001 45434f4e4e52454655534544", { _tag: "Failed", id: 1, code: "ECONNREFUSED" }],
  ["13 80000000 0102ff", { _tag: "Data", id: 0x8000_0000, bytes: Uint8Array.of(1, 2, 255) }],
  ["13 80000000", { _tag: "Data", id: 0x8000_0000, bytes: new Uint8Array() }],
  ["14 00000001 ffffffff", { _tag: "Credit", id: 1, bytes: 0xffff_ffff }],
  ["15 00000001", { _tag: "Closed", id: 1, code: "" }],
  ["15 00000001 4550495045", { _tag: "Closed", id: 1, code: "EPIPE" }],
  ["16 00000003 80000001 ffff 3a3a31", { _tag: "Accepted", id: 3, accepted: 0x8000_0001, address: six }],
  ["17 00000004 1ae1 08 31302e302e302e37 0a", { _tag: "Datagram", id: 4, address: four, payload: Uint8Array.of(10) }]
]

const bytes = fc.uint8Array({ maxLength: 200 })
const id = fc.integer({ min: 1, max: 0xffff_ffff })
const uint16 = fc.nat(65_535)
const uint32 = fc.nat(0xffff_ffff)
const text = fc.string({ unit: "grapheme", maxLength: 40 })
const host = fc.oneof(text, fc.string({ minLength: 255, maxLength: 255 })).filter((host) => {
  const { length } = Bytes.fromText(host)
  return length > 0 && length <= Codec.maxHostBytes
})
const address = fc.record({ host, port: uint16 })
const tag = <const T extends string>(...tags: ReadonlyArray<T>) => fc.constantFrom(...tags)

const clientFrame: fc.Arbitrary<ClientFrame> = fc.oneof(
  fc.record({ _tag: tag("Data"), id, bytes }),
  fc.record({ _tag: tag("Credit"), id, bytes: uint32 }),
  fc.record({ _tag: tag("Dial", "Bind"), id, address }),
  fc.record({ _tag: tag("Listen"), id, address, backlog: uint16 }),
  fc.record({ _tag: tag("Close"), id }),
  fc.record({ _tag: tag("Send"), id, address, payload: bytes })
)

const daemonFrame: fc.Arbitrary<DaemonFrame> = fc.oneof(
  fc.record({ _tag: tag("Data"), id, bytes }),
  fc.record({ _tag: tag("Credit"), id, bytes: uint32 }),
  fc.record({ _tag: tag("Opened"), id, address }),
  fc.record({ _tag: tag("Failed", "Closed"), id, code: text }),
  fc.record({
    _tag: tag("Accepted"),
    id,
    accepted: fc.integer({ min: Codec.firstAcceptedId, max: 0xffff_ffff }),
    address
  }),
  fc.record({ _tag: tag("Datagram"), id, address, payload: bytes })
)

/** Bytes that are often nearly a frame. */
const message = fc.oneof(
  bytes,
  fc
    .tuple(fc.oneof(clientFrame.map(Codec.encodeClient), daemonFrame.map(Codec.encodeDaemon)), fc.nat(40), bytes)
    .map(([frame, cut, tail]) => Bytes.concat([frame.subarray(0, Math.max(0, frame.length - cut)), tail]))
)

describe("IoDaemonSocketCodec", () => {
  it.each(clientFrames)("encodes and decodes %s of a client", (hex, frame) => {
    assert.strictEqual(Bytes.toHex(Codec.encodeClient(frame)), hex.replaceAll(" ", ""))
    assert.deepStrictEqual(Codec.decodeClientUnsafe(ofHex(hex)), frame)
  })

  it.each(daemonFrames)("encodes and decodes %s of a daemon", (hex, frame) => {
    assert.strictEqual(Bytes.toHex(Codec.encodeDaemon(frame)), hex.replaceAll(" ", ""))
    assert.deepStrictEqual(Codec.decodeDaemonUnsafe(ofHex(hex)), frame)
  })

  it("decodes what it encodes, in both directions", () => {
    fc.assert(
      fc.property(clientFrame, (frame) => {
        assert.deepStrictEqual(Codec.decodeClientUnsafe(Codec.encodeClient(frame)), frame)
      })
    )
    fc.assert(
      fc.property(daemonFrame, (frame) => {
        assert.deepStrictEqual(Codec.decodeDaemonUnsafe(Codec.encodeDaemon(frame)), frame)
      })
    )
  })

  it("encodes what it decoded to the same bytes, and throws nothing but its error", () => {
    const readOrRefuse = <A>(
      decode: (message: Uint8Array) => A,
      encode: (frame: A) => Uint8Array,
      message: Uint8Array
    ) => {
      let frame: A
      try {
        frame = decode(message)
      } catch (error) {
        assert.instanceOf(error, SocketFrameError)
        return
      }
      assert.deepStrictEqual(encode(frame), message.slice())
    }
    fc.assert(
      fc.property(message, (message) => {
        readOrRefuse(Codec.decodeClientUnsafe, Codec.encodeClient, message)
        readOrRefuse(Codec.decodeDaemonUnsafe, Codec.encodeDaemon, message)
      }),
      { numRuns: 2000 }
    )
  })

  it.each([
    ["", "a frame of 0 bytes"],
    ["13 000000", "a frame of 4 bytes"],
    ["13 00000000 01", "a socket of id 0"],
    ["00 00000001", "a frame of op 0"],
    ["04 00000001 01", "a frame of op 4"],
    ["18 00000001", "a frame of op 24"],
    ["14 00000001 000000", "a frame of op 20 with 8 bytes instead of 9"],
    ["14 00000001 0000000001", "a frame of op 20 with 10 bytes instead of 9"],
    ["11 00000001 1a", "a frame of op 17 with only 6 bytes"],
    ["11 00000001 1ae1", "a host of 0 bytes"],
    [`11 00000001 1ae1 ${"61".repeat(256)}`, "a host of 256 bytes"],
    ["11 00000001 1ae1 ff", "text that is not UTF-8"],
    ["12 00000001 c0af", "text that is not UTF-8"],
    ["16 00000001 7fffffff 1ae1 61", "an accepted connection of id 2147483647"],
    ["17 00000001 1ae1", "a frame of op 23 with only 7 bytes"],
    ["17 00000001 1ae1 02 61", "a frame of op 23 with only 9 bytes"],
    ["17 00000001 1ae1 00 61", "a host of 0 bytes"]
  ])("refuses %s of a daemon", (hex, why) => {
    assert.throws(() => Codec.decodeDaemonUnsafe(ofHex(hex)), SocketFrameError, why)
  })

  it.each([
    ["06 00000001 00", "a frame of op 6 with 6 bytes instead of 5"],
    ["02 00000001 1ae1 00", "a frame of op 2 with only 8 bytes"],
    ["13 00000001 01", "a frame of op 19"]
  ])("refuses %s of a client", (hex, why) => {
    assert.throws(() => Codec.decodeClientUnsafe(ofHex(hex)), SocketFrameError, why)
  })

  it("returns views of the message, without a copy", () => {
    const message = ofHex("13 00000001 0102")

    const frame = Codec.decodeDaemonUnsafe(message)

    assert.isTrue(frame._tag === "Data" && frame.bytes.buffer === message.buffer)
  })

  it("says why no frame carries an address", () => {
    assert.isUndefined(Codec.whyNotCarried({ host: "é".repeat(127), port: 0 }))
    assert.strictEqual(Codec.whyNotCarried({ host: "é".repeat(128), port: 1 }), "address is not valid")
    assert.strictEqual(Codec.whyNotCarried({ host: "", port: 1 }), "address is not valid")
    for (const port of [-1, 65_536, 1.5, Number.NaN]) {
      assert.strictEqual(Codec.whyNotCarried({ host: "a", port }), "port is not valid")
    }
  })
})
