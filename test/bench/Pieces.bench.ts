/**
 * Cost of the engine's bookkeeping per block, without sockets, digests and disks: putting a block into its buffer,
 * sending and answering a request, and the whole path of a block through an assembly, with pieces of 1 MiB and 64 KiB,
 * and with one supplier and fifty.
 *
 * `node test/bench/Pieces.bench.ts`
 */
import * as Effect from "effect/Effect"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as BufferBudget from "../../src/assembly/BufferBudget.ts"
import * as BufferPool from "../../src/assembly/BufferPool.ts"
import * as PiecePicker from "../../src/assembly/PiecePicker.ts"
import * as PieceTable from "../../src/assembly/PieceTable.ts"
import * as Requests from "../../src/assembly/Requests.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as PieceBuffer from "../../src/supply/PieceBuffer.ts"
import * as RequestPipeline from "../../src/supply/RequestPipeline.ts"
import { idOf, join } from "../supply/ScriptedSupplier.ts"
import { measure, print } from "./measure.ts"

const { blockLength } = PieceGeometry
const blocks = 64
const piece = 3 as PieceIndex

const memory = new Uint8Array(blocks * blockLength)
const block = new Uint8Array(blockLength).fill(7)
let seen = 0

measure("PieceBuffer: block put into its place", blocks, () => {
  const buffer = PieceBuffer.make(piece, memory, 0)
  for (let index = 0; index < blocks; index++) PieceBuffer.put(buffer, index * blockLength, block, idOf(1), 0)
  seen += buffer.received.count
})
measure("PieceBuffer: block put into its place without the copy", blocks, () => {
  const buffer = PieceBuffer.make(piece, memory, 0)
  for (let index = 0; index < blocks; index++) PieceBuffer.finish(buffer, index, idOf(1), 0)
  seen += buffer.received.count
})

let now = 0
const pipeline = RequestPipeline.make(blocks, now)
measure("RequestPipeline: request sent and answered", blocks, () => {
  const buffer = PieceBuffer.make(piece, memory, 0)
  for (let index = 0; index < blocks; index++) RequestPipeline.send(pipeline, buffer, index, now)
  now++
  for (let index = 0; index < blocks; index++) RequestPipeline.arrive(pipeline, piece, index, now)
  seen += pipeline.depth
})

const pieceCount = 100_000
const picker = PiecePicker.make(pieceCount, Prng.make(1))
const draw = Prng.make(2)
measure("PiecePicker: a have is added and removed, 100,000 pieces", 200, () => {
  for (let turn = 0; turn < 100; turn++) {
    const index = Prng.integer(draw, pieceCount) as PieceIndex
    PiecePicker.gain(picker, index)
    PiecePicker.lose(picker, index)
  }
})

/**
 * Downloads pieces of `pieceLength` from `supplierCount` seeds through an assembly. Every piece counts as stored once
 * it is complete.
 */
const download = (pieceLength: number, supplierCount: number) =>
  Effect.gen(function* () {
    const totalLength = 1_073_741_824
    const geometry = PieceGeometry.make({ totalLength, pieceLength })
    const self = yield* Assembly.make({
      geometry,
      stored: Bitfield.make(geometry.pieceCount),
      random: Prng.make(1)
    })
    const suppliers = Array.from({ length: supplierCount }, (_, id) => join(self, idOf(id)))
    let clock = 0
    const start = performance.now()
    while (!PieceTable.isComplete(self.table)) {
      clock++
      for (const supplier of suppliers) {
        while (RequestPipeline.room(supplier.pipeline) > 0) {
          if (Requests.nextBlock(self, supplier, clock) !== undefined) continue
          const next = Requests.nextPiece(self, supplier)
          if (next === undefined || (yield* Requests.begin(self, supplier, next)) === undefined) break
        }
        for (const request of [...supplier.pipeline.requests.values()])
          Assembly.received(self, supplier, request, clock)
      }
      for (const buffer of self.completed.waiting.splice(0)) {
        PieceTable.verify(self.table, buffer.piece)
        PieceTable.store(self.table, buffer.piece)
        yield* BufferPool.close(self.pool, buffer.piece)
      }
    }
    const nanoseconds = ((performance.now() - start) * 1e6) / (totalLength / blockLength)
    print(`Assembly: block of ${pieceLength >>> 10} KiB pieces, ${supplierCount} seeds, loan included`, nanoseconds)
  }).pipe(Effect.scoped, Effect.provide(BufferBudget.layer()))

for (const pieceLength of [1_048_576, 65_536]) {
  for (const supplierCount of [1, 50]) {
    for (let run = 0; run < 2; run++) await Effect.runPromise(download(pieceLength, supplierCount))
  }
}
if (seen === 0) throw new Error("nothing was measured")
