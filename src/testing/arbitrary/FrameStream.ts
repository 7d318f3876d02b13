/**
 * Arbitrary peer wire traffic after the handshake: mostly valid frames, now and then a labelled damage, so that a
 * property knows the right outcome; and ways to cut bytes into chunks.
 */
import * as fc from "fast-check"
import * as FrameDecoder from "../../wire/FrameDecoder.ts"
import * as WireMessage from "../WireMessage.ts"

/** What is wrong with a stream. Every kind but `truncated` must fail a decoder with the default limits. */
export type Damage = "overlong frame" | "overlong block" | "wrong payload size" | "truncated"

/** Bytes of one direction of a connection. */
export interface FrameStream {
  /** What a decoder returns before the damage; everything if there is none. */
  readonly messages: ReadonlyArray<WireMessage.WireMessage>
  readonly damage: Damage | undefined
  /** The frames of `messages`, then the damage, then frames that no decoder may return. */
  readonly bytes: Uint8Array
}

const u32 = fc.oneof(fc.nat(4_096), fc.constantFrom(0, 16_384, 131_072, 0x7fffffff, 0x80000000, 0xffffffff))

const bytes = (maxLength: number) => fc.uint8Array({ maxLength, size: "max" })

const range = <Tag extends string>(tag: Tag) =>
  fc.record({ _tag: fc.constant(tag), index: u32, begin: u32, length: u32 })

const indexed = <Tag extends string>(tag: Tag) => fc.record({ _tag: fc.constant(tag), index: u32 })

const bare = fc.constantFrom(
  { _tag: "KeepAlive" as const },
  { _tag: "Choke" as const },
  { _tag: "Unchoke" as const },
  { _tag: "Interested" as const },
  { _tag: "NotInterested" as const },
  { _tag: "HaveAll" as const },
  { _tag: "HaveNone" as const }
)

/** Ids without a meaning in any BEP before BEP 52, which we do not speak. */
const unassigned = fc.constantFrom(10, 11, 12, 18, 19, 21, 22, 23, 99, 255)

/** Any message; blocks of up to 300 bytes, so that a stream has many boundaries to be cut at. */
export const message: fc.Arbitrary<WireMessage.WireMessage> = fc.oneof(
  { weight: 4, arbitrary: bare },
  { weight: 2, arbitrary: fc.oneof(indexed("Have"), indexed("Suggest"), indexed("AllowedFast")) },
  { weight: 3, arbitrary: fc.oneof(range("Request"), range("Cancel"), range("Reject")) },
  {
    weight: 3,
    arbitrary: fc.record({ _tag: fc.constant("Piece" as const), index: u32, begin: u32, block: bytes(300) })
  },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("Bitfield" as const), bits: bytes(200) }) },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("Port" as const), port: fc.nat(65_535) }) },
  {
    weight: 1,
    arbitrary: fc.record({ _tag: fc.constant("Extended" as const), id: fc.nat(255), payload: bytes(200) })
  },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("Unknown" as const), id: unassigned, length: fc.nat(200) }) }
)

/** Payload sizes that are wrong for an id (BEP 3, 5, 6, 10); one below and one above where both exist. */
const wrongSizes: ReadonlyArray<readonly [id: number, payloadLength: number]> = [
  ...[0, 1, 2, 3, 14, 15].map((id) => [id, 1] as const),
  ...[4, 13, 17].flatMap((id) => [[id, 0] as const, [id, 3] as const, [id, 5] as const]),
  ...[6, 8, 16].flatMap((id) => [[id, 11] as const, [id, 13] as const]),
  [7, 0],
  [7, 7],
  [9, 1],
  [9, 3],
  [20, 0]
]

const lengthPrefix = (length: number): Uint8Array => {
  const prefix = new Uint8Array(4)
  new DataView(prefix.buffer).setUint32(0, length)
  return prefix
}

const damaged: fc.Arbitrary<readonly [Damage, Uint8Array]> = fc.oneof(
  fc
    .constantFrom(FrameDecoder.defaults.maxFrameLength + 1, 0x7fffffff, 0x80000000, 0xffffffff)
    .map((length) => ["overlong frame" as const, lengthPrefix(length)] as const),
  fc
    .constant(FrameDecoder.defaults.maxBlockLength + 1)
    .map((length) => ["overlong block" as const, WireMessage.frame(7, 8 + length).subarray(0, 13)] as const),
  fc
    .constantFrom(...wrongSizes)
    .map(([id, payloadLength]) => ["wrong payload size" as const, WireMessage.frame(id, payloadLength)] as const),
  fc
    .tuple(
      message.filter((value) => value._tag !== "Unknown"),
      fc.nat()
    )
    .map(([value, at]) => {
      const whole = WireMessage.encodeAll([value])
      return ["truncated" as const, whole.subarray(0, at % whole.length)] as const
    })
)

const concat = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** Up to 30 messages, one stream in five with damage behind them. */
export const frameStream: fc.Arbitrary<FrameStream> = fc
  .tuple(
    fc.array(message, { maxLength: 30 }),
    fc.option(damaged, { freq: 4, nil: undefined }),
    fc.array(message, { maxLength: 3 })
  )
  .map(([messages, damage, unseen]) => ({
    messages,
    damage: damage?.[0],
    bytes: concat([
      WireMessage.encodeAll(messages),
      ...(damage === undefined ? [] : [damage[1]]),
      ...(damage === undefined || damage[0] === "truncated" ? [] : [WireMessage.encodeAll(unseen)])
    ])
  }))

/** Sizes of chunks, at least 1 each, to be used cyclically; mostly small ones, because they cut within headers. */
export const cutting: fc.Arbitrary<ReadonlyArray<number>> = fc.array(
  fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 2_000 })),
  { minLength: 1, maxLength: 12 }
)

/** `bytes` in chunks of those sizes; views of the same memory. */
export const cut = (bytes: Uint8Array, sizes: ReadonlyArray<number>): Array<Uint8Array> => {
  const chunks: Array<Uint8Array> = []
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length]!
    chunks.push(bytes.subarray(at, at + size))
    at += size
  }
  return chunks
}
