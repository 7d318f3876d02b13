/**
 * A frame on a connection, without sockets and digests: a `have`, a refused request, a block that was not requested,
 * and a whole block from its request through the decoder to its place in the piece.
 */
import * as Effect from "effect/Effect"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as BufferBudget from "../../src/assembly/BufferBudget.ts"
import * as BufferPool from "../../src/assembly/BufferPool.ts"
import * as PieceTable from "../../src/assembly/PieceTable.ts"
import * as Requests from "../../src/assembly/Requests.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as PeerProtocol from "../../src/peer/PeerProtocol.ts"
import * as FrameDecoder from "../../src/wire/FrameDecoder.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"
import { type Operation, scoped } from "./Operation.ts"
import { join } from "./peers.ts"

const { blockLength } = PieceGeometry
const pieceLength = 1_048_576
const frameCount = 100

const assemblyOf = (pieceCount: number, stored: Bitfield.Bitfield) =>
  Assembly.make({
    geometry: PieceGeometry.make({ pieceLength, totalLength: pieceCount * pieceLength }),
    stored,
    random: Prng.make(1)
  })

const onTheWire = (write: (encoder: FrameEncoder.FrameEncoder) => void): Uint8Array => {
  const encoder = FrameEncoder.make()
  write(encoder)
  return FrameEncoder.take(encoder)
}

const frames = (write: (encoder: FrameEncoder.FrameEncoder, index: number) => void): Uint8Array =>
  onTheWire((encoder) => {
    for (let index = 0; index < frameCount; index++) write(encoder, index)
  })

/** Frames of one kind, received by a seed again and again. */
const received = (
  name: string,
  write: (encoder: FrameEncoder.FrameEncoder, index: number) => void,
  reset: (protocol: PeerProtocol.PeerProtocol) => void
): Operation =>
  scoped(
    `PeerProtocol: ${name}`,
    frameCount,
    Effect.map(assemblyOf(64, Bitfield.full(64)), (assembly) => {
      const protocol = join(assembly)
      const bytes = frames(write)
      let now = 0
      return () => {
        reset(protocol)
        PeerProtocol.receive(protocol, bytes, now++)
        FrameEncoder.clear(protocol.outbox)
      }
    })
  )

/** New connections, each of which tells us of a hundred pieces that it has. */
const newHaves = scoped(
  "PeerProtocol: a first have of a piece that we lack",
  frameCount,
  Effect.map(assemblyOf(frameCount, Bitfield.make(frameCount)), (assembly) => {
    const bytes = frames((encoder, index) => FrameEncoder.have(encoder, index))
    return Effect.suspend(() => {
      const protocol = join(assembly)
      PeerProtocol.receive(protocol, bytes, 0)
      return Assembly.leave(assembly, protocol)
    })
  })
)

/** Downloads a torrent of 4 MiB from one seed. Every piece counts as stored once it is complete. */
const download = (chunkLength: number): Operation => {
  const pieceCount = 4
  const greeting = onTheWire((encoder) => {
    FrameEncoder.haveAll(encoder)
    FrameEncoder.unchoke(encoder)
  })
  const block = new Uint8Array(blockLength).fill(7)
  const turn = Effect.gen(function* () {
    const assembly = yield* assemblyOf(pieceCount, Bitfield.make(pieceCount))
    const protocol = join(assembly)
    PeerProtocol.receive(protocol, greeting, 0)
    FrameEncoder.clear(protocol.outbox)
    const answers = FrameEncoder.make()
    const decoder = FrameDecoder.make({
      ...FrameDecoder.ignoreAll,
      request: (index, begin) => FrameEncoder.piece(answers, index, begin, block)
    })
    let now = 0
    while (!PieceTable.isComplete(assembly.table)) {
      now++
      Requests.refill(assembly, protocol, now)
      FrameDecoder.push(decoder, FrameEncoder.take(protocol.outbox))
      const bytes = FrameEncoder.take(answers)
      for (let at = 0; at < bytes.length; at += chunkLength) {
        PeerProtocol.receive(protocol, bytes.subarray(at, at + chunkLength), now)
      }
      for (const buffer of assembly.completed.waiting.splice(0)) {
        PieceTable.verify(assembly.table, buffer.piece)
        PieceTable.store(assembly.table, buffer.piece)
        yield* BufferPool.close(assembly.pool, buffer.piece)
      }
    }
  }).pipe(Effect.scoped)
  return scoped(
    `PeerProtocol: a block requested and received in chunks of ${chunkLength}, with its peer`,
    (pieceCount * pieceLength) / blockLength,
    Effect.map(BufferBudget.BufferBudget, (budget) => Effect.provideService(turn, BufferBudget.BufferBudget, budget)),
    1
  )
}

export const operations: ReadonlyArray<Operation> = [
  newHaves,
  received(
    "a repeated have",
    (encoder, index) => FrameEncoder.have(encoder, index % 64),
    () => {}
  ),
  received(
    "a request while we choke, refused",
    (encoder, index) => FrameEncoder.request(encoder, index % 64, 0, blockLength),
    (protocol) => {
      // Otherwise the peer would be disconnected for too many refused requests.
      protocol.uploads.refused = 0
    }
  ),
  received(
    "a block of a byte that was not requested",
    (encoder, index) => FrameEncoder.piece(encoder, index % 64, 0, new Uint8Array(1)),
    (protocol) => {
      // Otherwise the peer would be disconnected for unrequested blocks.
      protocol.patience.unaskedBlocks = -frameCount
    }
  ),
  download(65_536),
  download(1_448)
]
