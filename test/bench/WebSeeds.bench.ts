/**
 * A body of a web seed per block, without HTTP, digests and disks: requests for the pieces that follow each other, and
 * the chunks that are put to their places.
 */
import * as Effect from "effect/Effect"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as BufferBudget from "../../src/assembly/BufferBudget.ts"
import * as BufferPool from "../../src/assembly/BufferPool.ts"
import * as PieceTable from "../../src/assembly/PieceTable.ts"
import * as Streaming from "../../src/assembly/Streaming.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as RequestPipeline from "../../src/supply/RequestPipeline.ts"
import * as Supplier from "../../src/supply/Supplier.ts"
import * as Intake from "../../src/webseed/Intake.ts"
import { idOf } from "../supply/ScriptedSupplier.ts"
import { type Operation, scoped } from "./Operation.ts"

const geometry = PieceGeometry.make({ totalLength: 8_388_608, pieceLength: 262_144 })

/** A connection to a seed that has every piece, and is asked for them by the loop below. */
const join = (assembly: Assembly.Assembly): Supplier.Supplier => {
  const id = idOf(0)
  const supplier = Supplier.make({
    id,
    geometry,
    standing: Assembly.standingOf(assembly, id),
    request: () => {},
    cancel: () => {},
    wake: () => {},
    now: 0
  })
  supplier.peerChoking = false
  Assembly.join(assembly, supplier)
  Assembly.gainAll(assembly, supplier, Bitfield.full(geometry.pieceCount))
  return supplier
}

/**
 * Downloads 8 MiB from a seed whose bodies come in chunks of `chunkLength`. Every piece counts as stored once it is
 * complete.
 */
const download = (chunkLength: number): Operation => {
  const body = new Uint8Array(chunkLength).fill(7)
  const turn = Effect.gen(function* () {
    const self = yield* Assembly.make({
      geometry,
      stored: Bitfield.make(geometry.pieceCount),
      random: Prng.make(1)
    })
    const supplier = join(self)
    const run = Streaming.make()
    const intake = Intake.make(self, supplier)
    for (let now = 1; !PieceTable.isComplete(self.table); now++) {
      if (RequestPipeline.isLow(supplier.pipeline)) Streaming.refill(self, supplier, run, now)
      const at = Intake.needed(intake)!
      Intake.take(intake, at, body.subarray(0, geometry.totalLength - at), now)
      for (const buffer of self.completed.waiting.splice(0)) {
        PieceTable.verify(self.table, buffer.piece)
        PieceTable.store(self.table, buffer.piece)
        yield* BufferPool.close(self.pool, buffer.piece)
      }
    }
  }).pipe(Effect.scoped)
  return scoped(
    `Intake: a block of a web seed, chunks of ${chunkLength}, with its share of a torrent`,
    geometry.totalLength / PieceGeometry.blockLength,
    Effect.map(BufferBudget.BufferBudget, (budget) => Effect.provideService(turn, BufferBudget.BufferBudget, budget)),
    1
  )
}

export const operations: ReadonlyArray<Operation> = [65_536, 5_000].map(download)
