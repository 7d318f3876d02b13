/**
 * Frames decoded per second: 16 KiB blocks in chunks like a socket's, each copied to its place in a piece as the engine
 * does; the same without the copy, which is the decoder alone; small frames; and requests encoded and taken in batches
 * of 32.
 *
 * `node test/bench/FrameDecoder.bench.ts`
 */
import * as FrameDecoder from "../../src/wire/FrameDecoder.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"
import { measure } from "./measure.ts"

const blockLength = 16_384
const pieceLength = 1_048_576
const blocks = 256

const piecesOnTheWire = (): Uint8Array => {
  const encoder = FrameEncoder.make()
  const block = new Uint8Array(blockLength).fill(7)
  for (let turn = 0; turn < blocks; turn++) {
    FrameEncoder.piece(encoder, turn >>> 6, (turn & 63) * blockLength, block)
  }
  return FrameEncoder.take(encoder)
}

const havesOnTheWire = (): Uint8Array => {
  const encoder = FrameEncoder.make()
  for (let index = 0; index < 4_096; index++) FrameEncoder.have(encoder, index)
  return FrameEncoder.take(encoder)
}

/** Feeds `stream` in chunks that were copied into one read buffer beforehand. The decoder sees only views. */
const feed = (decoder: FrameDecoder.FrameDecoder, stream: Uint8Array, chunkLength: number) => () => {
  for (let at = 0; at < stream.length; at += chunkLength) {
    FrameDecoder.push(decoder, stream.subarray(at, at + chunkLength))
  }
}

const pieces = piecesOnTheWire()
const destination = new Uint8Array(pieceLength)
let begin = 0
let seen = 0

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
    seen += index
  },
  pieceBegin: (_, at) => {
    seen += at
  },
  pieceData: (view, offset) => {
    seen += view.length + offset
  }
}

for (const chunkLength of [262_144, 65_536, 1_448]) {
  measure(
    `block copied to its place, chunks of ${chunkLength}`,
    blocks,
    feed(FrameDecoder.make(copying), pieces, chunkLength)
  )
  measure(
    `block, decoder alone, chunks of ${chunkLength}`,
    blocks,
    feed(FrameDecoder.make(counting), pieces, chunkLength)
  )
}
const haves = havesOnTheWire()
measure("have, chunks of 65536", 4_096, feed(FrameDecoder.make(counting), haves, 65_536))
measure("have, chunks of 1 (worst case)", 4_096, feed(FrameDecoder.make(counting), haves, 1))

const encoder = FrameEncoder.make()
measure("request encoded, batches of 32", 32, () => {
  for (let turn = 0; turn < 32; turn++) FrameEncoder.request(encoder, 5, turn * blockLength, blockLength)
  seen += FrameEncoder.take(encoder).length
})
if (seen === 0) throw new Error("nothing was decoded")
