/**
 * Cost of a frame on a connection, without sockets and digests: a repeated `have`, a refused request, a block that was
 * not requested, and a whole block from its request through the decoder to its place in the piece.
 *
 * `node test/bench/PeerProtocol.bench.ts`
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
import * as Uploads from "../peer/uploads.ts"
import { idOf } from "../supply/ScriptedSupplier.ts"
import { measure, print } from "./measure.ts"

const { blockLength } = PieceGeometry
const pieceLength = 1_048_576

const join = (assembly: Assembly.Assembly): PeerProtocol.PeerProtocol =>
  PeerProtocol.make({
    assembly,
    upload: Uploads.make(assembly.geometry),
    id: idOf(0),
    isFast: true,
    wake: () => {},
    serve: () => {},
    interestChanged: () => {},
    now: 0
  })

const assemblyOf = (pieceCount: number, stored: Bitfield.Bitfield) =>
  Assembly.make({
    geometry: PieceGeometry.make({ pieceLength, totalLength: pieceCount * pieceLength }),
    stored,
    random: Prng.make(1)
  })

const frames = (write: (encoder: FrameEncoder.FrameEncoder) => void): Uint8Array => {
  const encoder = FrameEncoder.make()
  write(encoder)
  return FrameEncoder.take(encoder)
}

const control = Effect.gen(function* () {
  const assembly = yield* assemblyOf(64, Bitfield.full(64))
  const protocol = join(assembly)
  const count = 100
  const haves = frames((encoder) => {
    for (let index = 0; index < count; index++) FrameEncoder.have(encoder, index % 64)
  })
  const requests = frames((encoder) => {
    for (let index = 0; index < count; index++) FrameEncoder.request(encoder, index % 64, 0, blockLength)
  })
  const unasked = frames((encoder) => {
    for (let index = 0; index < count; index++) FrameEncoder.piece(encoder, index % 64, 0, new Uint8Array(1))
  })
  let now = 0
  measure("PeerProtocol: a repeated have", count, () => PeerProtocol.receive(protocol, haves, now++))
  measure("PeerProtocol: a request while we choke, refused", count, () => {
    // Without this reset the peer would be disconnected for too many refused requests.
    protocol.uploads.refused = 0
    PeerProtocol.receive(protocol, requests, now++)
    FrameEncoder.clear(protocol.outbox)
  })
  measure("PeerProtocol: a block of a byte that was not requested", count, () => {
    // Without this reset the peer would be disconnected for unrequested blocks.
    protocol.patience.unaskedBlocks = -count
    PeerProtocol.receive(protocol, unasked, now++)
  })
}).pipe(Effect.scoped, Effect.provide(BufferBudget.layer()))

/** Downloads a torrent of 2 GiB from one seed. Every piece counts as stored once it is complete. */
const download = Effect.gen(function* () {
  const pieceCount = 2_048
  const assembly = yield* assemblyOf(pieceCount, Bitfield.make(pieceCount))
  const protocol = join(assembly)
  const greeting = frames((encoder) => {
    FrameEncoder.haveAll(encoder)
    FrameEncoder.unchoke(encoder)
  })
  PeerProtocol.receive(protocol, greeting, 0)
  FrameEncoder.clear(protocol.outbox)
  const block = new Uint8Array(blockLength).fill(7)
  const answers = FrameEncoder.make()
  const decoder = FrameDecoder.make({
    ...FrameDecoder.ignoreAll,
    request: (index, begin) => FrameEncoder.piece(answers, index, begin, block)
  })
  let now = 0
  let spent = 0
  while (!PieceTable.isComplete(assembly.table)) {
    now++
    for (;;) {
      const next = Requests.refill(assembly, protocol, now)
      if (next === undefined || (yield* Requests.begin(assembly, protocol, next)) === undefined) break
    }
    FrameDecoder.push(decoder, FrameEncoder.take(protocol.outbox))
    const bytes = FrameEncoder.take(answers)
    const start = performance.now()
    for (let at = 0; at < bytes.length; at += 65_536) {
      PeerProtocol.receive(protocol, bytes.subarray(at, at + 65_536), now)
    }
    spent += performance.now() - start
    for (const buffer of assembly.completed.waiting.splice(0)) {
      PieceTable.verify(assembly.table, buffer.piece)
      PieceTable.store(assembly.table, buffer.piece)
      yield* BufferPool.close(assembly.pool, buffer.piece)
    }
  }
  return (spent * 1e6) / ((pieceCount * pieceLength) / blockLength)
}).pipe(Effect.scoped, Effect.provide(BufferBudget.layer()))

await Effect.runPromise(control)
let best = Number.POSITIVE_INFINITY
for (let run = 0; run < 8; run++) best = Math.min(best, await Effect.runPromise(download))
print("PeerProtocol: a block, received in chunks of 64 KiB", best)
