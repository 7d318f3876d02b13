import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as Requests from "../../src/assembly/Requests.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as PieceBuffer from "../../src/supply/PieceBuffer.ts"
import * as RequestPipeline from "../../src/supply/RequestPipeline.ts"
import * as Intake from "../../src/webseed/Intake.ts"
import { assemblyOf, begin, budget } from "../assembly/assemblies.ts"
import { blockLength, contentOf, geometryOf, piece } from "../assembly/pieces.ts"
import { idOf, join } from "../supply/ScriptedSupplier.ts"

const seed = idOf(1)

/** Two pieces of two blocks, the last of which is short; so many blocks of the first piece are requested. */
const geometry = geometryOf(2, 2, blockLength + 100)
const content = new Uint8Array(geometry.totalLength)
for (const index of [0, 1]) content.set(contentOf(geometry, index), index * geometry.pieceLength)

const asked = Effect.fnUntraced(function* (blocks: number) {
  const assembly = yield* assemblyOf(geometry)
  const supplier = join(assembly, seed)
  for (let block = 0; block < blocks; block++) {
    if (block % 2 === 0) begin(assembly, supplier, block / 2)
    Requests.nextBlock(assembly, supplier, 0)
  }
  return { assembly, supplier, intake: Intake.make(assembly, supplier) }
})

describe("Intake", () => {
  it.effect("puts a body to its place, however it is cut into chunks", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 30 }), (lengths) =>
          Effect.runPromise(
            Effect.gen(function* () {
              const { assembly, intake } = yield* asked(4)
              const buffers = [0, 1].map((index) => assembly.pool.loans.get(piece(index))!.buffer)
              let at = 0

              for (let turn = 0; at < content.length; turn++) {
                assert.strictEqual(Intake.needed(intake), at)
                const chunk = content.subarray(at, at + lengths[turn % lengths.length]!)
                assert.strictEqual(Intake.take(intake, at, chunk, 0), chunk.length)
                at += chunk.length
              }

              assert.isUndefined(Intake.needed(intake))
              for (const [index, buffer] of buffers.entries()) {
                assert.deepStrictEqual(Uint8Array.from(buffer.bytes), contentOf(geometry, index))
                assert.isTrue(PieceBuffer.isComplete(buffer))
              }
              assert.strictEqual(assembly.downloadedBytes, content.length)
              assert.strictEqual(assembly.wastedBytes, 0)
            }).pipe(budget, Effect.scoped)
          )
        ),
        { numRuns: 50 }
      )
    )
  )

  it.effect("takes no byte that was not requested", () =>
    Effect.gen(function* () {
      const { assembly, intake, supplier } = yield* asked(1)

      const taken = Intake.take(intake, 0, content, 0)
      const more = Intake.take(intake, taken, content.subarray(taken), 0)

      assert.strictEqual(taken, blockLength)
      assert.strictEqual(more, 0)
      assert.strictEqual(assembly.downloadedBytes, blockLength)
      assert.strictEqual(supplier.pipeline.requests.size, 0)
    }).pipe(budget)
  )

  it.effect("forgets a block that is not wanted any more, and needs the next one", () =>
    Effect.gen(function* () {
      const { assembly, intake, supplier } = yield* asked(2)
      Intake.take(intake, 0, content.subarray(0, 100), 0)

      RequestPipeline.release(supplier.pipeline, 0, 0)
      const needed = Intake.needed(intake)
      const taken = Intake.take(intake, 100, content.subarray(100, 200), 0)

      assert.strictEqual(needed, blockLength)
      assert.strictEqual(taken, 0)
      const { buffer } = assembly.pool.loans.get(piece(0))!
      assert.isTrue(PieceBuffer.beginWrite(buffer, 0, idOf(2)))
      assert.isFalse(Bitfield.has(buffer.received, 0))
    }).pipe(budget)
  )
})
