/**
 * The codecs of frames and of the messages in them: 16 KiB blocks in chunks like a socket's, each copied to its place
 * in a piece as the engine does, and the same without the copy, which is the decoder alone; small frames; frames that
 * are encoded and taken in batches; and peer exchange.
 */
import * as Result from "effect/Result"
import * as PeerExchange from "../../src/peer/PeerExchange.ts"
import * as PexMessage from "../../src/wire/extension/PexMessage.ts"
import * as FrameDecoder from "../../src/wire/FrameDecoder.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"
import { type Operation, plain, seen } from "./Operation.ts"

const blockLength = 16_384
const pieceLength = 1_048_576
const blocks = 64
const haves = 512
const batch = 32

const block = new Uint8Array(blockLength).fill(7)
const bits = new Uint8Array(1_250).fill(0xaa)

const onTheWire = (write: (encoder: FrameEncoder.FrameEncoder) => void): Uint8Array => {
  const encoder = FrameEncoder.make()
  write(encoder)
  return FrameEncoder.take(encoder)
}

const pieces = onTheWire((encoder) => {
  for (let turn = 0; turn < blocks; turn++) {
    FrameEncoder.piece(encoder, turn >>> 6, (turn & 63) * blockLength, block)
  }
})

const havesOnTheWire = onTheWire((encoder) => {
  for (let index = 0; index < haves; index++) FrameEncoder.have(encoder, index)
})

/** Feeds `stream` in chunks that were copied into one read buffer beforehand. The decoder sees only views. */
const feed = (decoder: FrameDecoder.FrameDecoder, stream: Uint8Array, chunkLength: number) => () => {
  for (let at = 0; at < stream.length; at += chunkLength) {
    FrameDecoder.push(decoder, stream.subarray(at, at + chunkLength))
  }
}

const destination = new Uint8Array(pieceLength)
let begin = 0

const copying: FrameDecoder.FrameSink = {
  ...FrameDecoder.ignoreAll,
  pieceBegin: (_, at) => {
    begin = at
  },
  pieceData: (view, offset) => destination.set(view, begin + offset)
}

const counting: FrameDecoder.FrameSink = {
  ...FrameDecoder.ignoreAll,
  have: (index) => {
    seen.value += index
  },
  pieceBegin: (_, at) => {
    seen.value += at
  },
  pieceData: (view, offset) => {
    seen.value += view.length + offset
  }
}

const decoding = (name: string, count: number, sink: FrameDecoder.FrameSink, stream: Uint8Array, chunkLength: number) =>
  plain(`FrameDecoder: ${name}, chunks of ${chunkLength}`, count, feed(FrameDecoder.make(sink), stream, chunkLength), 4)

const encoder = FrameEncoder.make()

const encoding = (name: string, write: (turn: number) => void): Operation =>
  plain(`FrameEncoder: ${name}, batches of ${batch}`, batch, () => {
    for (let turn = 0; turn < batch; turn++) write(turn)
    seen.value += FrameEncoder.take(encoder).length
  })

const contacts = (from: number): ReadonlyArray<PexMessage.Contact> =>
  Array.from({ length: PeerExchange.maxContacts }, (_, index) => ({
    address: { host: `203.0.${from}.${index + 1}`, port: 6_881 },
    flags: PexMessage.flag.isReachable
  }))

const known = { added: contacts(113), dropped: [] }
const others = contacts(114)
const pex = PexMessage.encode(known)

export const operations: ReadonlyArray<Operation> = [
  ...[262_144, 65_536, 1_448].flatMap((chunkLength) => [
    decoding("a block copied to its place", blocks, copying, pieces, chunkLength),
    decoding("a block", blocks, counting, pieces, chunkLength)
  ]),
  decoding("a have", haves, counting, havesOnTheWire, 65_536),
  decoding("a have", haves, counting, havesOnTheWire, 1),
  encoding("a request", (turn) => FrameEncoder.request(encoder, 5, turn * blockLength, blockLength)),
  encoding("a have", (turn) => FrameEncoder.have(encoder, turn)),
  encoding("a bitfield of 10,000 pieces", () => FrameEncoder.bitfield(encoder, bits)),
  encoding("a block", (turn) => FrameEncoder.piece(encoder, 5, turn * blockLength, block)),
  plain("PexMessage: a message of 50 contacts decoded", 1, () => {
    seen.value += Result.getOrThrow(PexMessage.decode(pex)).added.length
  }),
  plain("PexMessage: a message of 50 contacts encoded", 1, () => {
    seen.value += PexMessage.encode(known).length
  }),
  plain("PeerExchange: a message with 50 new contacts made and taken", 1, () => {
    const sender = PeerExchange.make({ host: "203.0.113.1", isPrivate: false })
    const receiver = PeerExchange.make({ host: "203.0.113.2", isPrivate: false })
    const message = PeerExchange.next(sender, others, 0)
    seen.value += PeerExchange.take(receiver, message!, 0).length
  })
]
