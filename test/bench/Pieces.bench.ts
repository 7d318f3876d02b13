/**
 * The engine's bookkeeping per block, without sockets, digests and disks: putting a block into its buffer, sending and
 * answering a request, picking a piece, bitfields, and the whole path of a block through an assembly, with pieces of 1
 * MiB and 64 KiB, and with one supplier and fifty.
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
import { type Operation, plain, scoped, seen } from "./Operation.ts"

const { blockLength } = PieceGeometry
const blocks = 64
const piece = 3 as PieceIndex

const memory = new Uint8Array(blocks * blockLength)
const block = new Uint8Array(blockLength).fill(7)

let now = 0
const pipeline = RequestPipeline.make(blocks, now)

/** What a peer has: every second piece. */
const half = (pieceCount: number): Bitfield.Bitfield => {
  const bits = Bitfield.make(pieceCount)
  for (let index = 0; index < pieceCount; index += 2) Bitfield.add(bits, index)
  return bits
}

const haves = scoped(
  "PiecePicker: a have added and removed, 10,000 pieces",
  200,
  Effect.sync(() => {
    const pieceCount = 10_000
    const picker = PiecePicker.make(pieceCount, Prng.make(1))
    const draw = Prng.make(2)
    return () => {
      for (let turn = 0; turn < 100; turn++) {
        const index = Prng.integer(draw, pieceCount) as PieceIndex
        PiecePicker.gain(picker, index)
        PiecePicker.lose(picker, index)
      }
    }
  })
)

/** Picks 50 pieces for a peer, each of which is a candidate again afterwards. */
const pickFor = (picker: PiecePicker.PiecePicker, has: Bitfield.Bitfield) => {
  const except = new Set<PieceIndex>()
  return () => {
    for (let turn = 0; turn < 50; turn++) {
      const picked = PiecePicker.pick(picker, has, except)!
      PiecePicker.remove(picker, picked)
      PiecePicker.insert(picker, picked)
      seen.value += picked
    }
  }
}

const picks = (pieceCount: number): Operation =>
  scoped(
    `PiecePicker: a pick of ${pieceCount.toLocaleString("en")} pieces for one of 200 peers`,
    50,
    Effect.sync(() => {
      const picker = PiecePicker.make(pieceCount, Prng.make(1))
      const has = half(pieceCount)
      const draw = Prng.make(2)
      // The other peers have 100 pieces each, so that rarities differ.
      for (let have = 0; have < 20_000; have++) PiecePicker.gain(picker, Prng.integer(draw, pieceCount) as PieceIndex)
      return pickFor(picker, has)
    }),
    1
  )

/** Every candidate of the lower half is rarer than those of the upper half, and the peer has only these. */
const withoutRarest = (pieceCount: number): Operation =>
  scoped(
    `PiecePicker: a pick of ${pieceCount.toLocaleString("en")} pieces for a peer without the rarest half`,
    50,
    Effect.sync(() => {
      const picker = PiecePicker.make(pieceCount, Prng.make(1))
      const has = Bitfield.make(pieceCount)
      for (let index = 0; index < pieceCount; index++) {
        PiecePicker.gain(picker, index as PieceIndex)
        if (index < pieceCount / 2) continue
        PiecePicker.gain(picker, index as PieceIndex)
        if (index % 10 === 0) Bitfield.add(has, index)
      }
      return pickFor(picker, has)
    }),
    1
  )

const bits = half(10_000)
const none = Bitfield.make(10_000)

/**
 * Downloads 8 MiB in pieces of `pieceLength` from `supplierCount` seeds through an assembly. Every piece counts as
 * stored once it is complete.
 */
const download = (pieceLength: number, supplierCount: number) => {
  const totalLength = 8_388_608
  const geometry = PieceGeometry.make({ totalLength, pieceLength })
  const turn = Effect.gen(function* () {
    const self = yield* Assembly.make({
      geometry,
      stored: Bitfield.make(geometry.pieceCount),
      random: Prng.make(1)
    })
    const suppliers = Array.from({ length: supplierCount }, (_, id) => join(self, idOf(id)))
    let clock = 0
    while (!PieceTable.isComplete(self.table)) {
      clock++
      for (const supplier of suppliers) {
        while (RequestPipeline.room(supplier.pipeline) > 0) {
          if (Requests.nextBlock(self, supplier, clock) !== undefined) continue
          const next = Requests.nextPiece(self, supplier)
          if (next === undefined || Requests.begin(self, supplier, next) === undefined) break
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
  }).pipe(Effect.scoped)
  return scoped(
    `Assembly: a block of ${pieceLength >>> 10} KiB pieces, ${supplierCount} seeds, with its share of a torrent`,
    totalLength / blockLength,
    Effect.map(BufferBudget.BufferBudget, (budget) => Effect.provideService(turn, BufferBudget.BufferBudget, budget)),
    1
  )
}

export const operations: ReadonlyArray<Operation> = [
  plain("PieceBuffer: a block put into its place", blocks, () => {
    const buffer = PieceBuffer.make(piece, memory, 0)
    for (let index = 0; index < blocks; index++) PieceBuffer.put(buffer, index * blockLength, block, idOf(1), 0)
    seen.value += buffer.received.count
  }),
  plain("PieceBuffer: a block put into its place without the copy", blocks, () => {
    const buffer = PieceBuffer.make(piece, memory, 0)
    for (let index = 0; index < blocks; index++) PieceBuffer.finish(buffer, index, idOf(1), 0)
    seen.value += buffer.received.count
  }),
  plain("RequestPipeline: a request sent and answered", blocks, () => {
    const buffer = PieceBuffer.make(piece, memory, 0)
    for (let index = 0; index < blocks; index++) RequestPipeline.send(pipeline, buffer, index, now)
    now++
    for (let index = 0; index < blocks; index++) RequestPipeline.arrive(pipeline, piece, index, now)
    seen.value += pipeline.depth
  }),
  haves,
  picks(10_000),
  { ...picks(1_000_000), isTimedOnly: true },
  withoutRarest(10_000),
  { ...withoutRarest(1_000_000), isTimedOnly: true },
  plain("Bitfield: a set bit of 10,000 read, added and removed", 5_000, () => {
    for (const index of Bitfield.indicesWithout(bits, none)) {
      Bitfield.add(none, index)
      if (Bitfield.remove(none, index)) seen.value++
    }
  }),
  plain("Bitfield: 10,000 bits copied from the wire", 1, () => {
    seen.value += Bitfield.fromBytes(bits.bytes, bits.length)!.count
  }),
  ...[1_048_576, 65_536].flatMap((pieceLength) => [1, 50].map((suppliers) => download(pieceLength, suppliers)))
]
