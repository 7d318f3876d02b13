import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import * as Streaming from "../../src/assembly/Streaming.ts"
import * as Intake from "../../src/webseed/Intake.ts"
import type * as SeedAnswer from "../../src/webseed/SeedAnswer.ts"
import * as SeedBody from "../../src/webseed/SeedBody.ts"
import * as SeedProgress from "../../src/webseed/SeedProgress.ts"
import { assemblyOf, budget } from "../assembly/assemblies.ts"
import { blockLength, contentOf, geometryOf, piece } from "../assembly/pieces.ts"
import { idOf, join } from "../supply/ScriptedSupplier.ts"
import * as Bodies from "./bodies.ts"

/** Two pieces of two blocks; the last one is short. Nothing stores them, so they stay in their buffers. */
const geometry = geometryOf(2, 2, blockLength + 100)
const { pieceLength, totalLength } = geometry
const content = new Uint8Array(totalLength)
for (const index of [0, 1]) content.set(contentOf(geometry, index), index * pieceLength)

const whole: SeedAnswer.Body = { begin: 0, end: totalLength, ignoresRange: false }

/** A connection over which bodies are read, of a torrent that lacks everything but the drawn pieces. */
const reader = Effect.fnUntraced(function* (options?: { readonly cap?: number; readonly stored?: string }) {
  const assembly = yield* assemblyOf(geometry, { ...options, isSequential: true })
  const supplier = join(assembly, idOf(1))
  const served = { times: 0 }
  const self: SeedBody.Reader = {
    assembly,
    supplier,
    run: Streaming.make(),
    intake: Intake.make(assembly, supplier),
    notes: { bytes: 0, hasWaited: false, isWaiting: false, isLeaving: false },
    progress: SeedProgress.make(0),
    clock: yield* Clock.Clock,
    awake: Latch.makeUnsafe(true),
    onServed: () => void served.times++
  }
  const read = (body: Bodies.Body, { isWhole = false, range = whole } = {}) =>
    Effect.result(Effect.scoped(SeedBody.read(self, body.response, range, isWhole)))
  /** The pieces that are complete and right. */
  const complete = () =>
    [0, 1].filter((index) => {
      const buffer = assembly.pool.loans.get(piece(index))?.buffer
      return (
        buffer !== undefined && buffer.freeBlocks === 0 && Buffer.from(buffer.bytes).equals(contentOf(geometry, index))
      )
    })
  return { self, assembly, served, read, complete }
})

/** Runs a property so many times. */
const holds = <A>(property: fc.IAsyncProperty<A>, numRuns: number) =>
  Effect.promise(() => fc.assert(property, { numRuns }))

describe("SeedBody", () => {
  it.effect("puts a body to its places, however it is cut and however many chunks come together", () =>
    holds(
      fc.asyncProperty(Bodies.cuts, ({ lengths, together }) =>
        Effect.runPromise(
          Effect.gen(function* () {
            const { assembly, complete, read, self, served } = yield* reader()

            const result = yield* read(Bodies.make(Bodies.cut(content, lengths, together)))

            assert.strictEqual(result._tag, "Success")
            assert.deepStrictEqual(complete(), [0, 1])
            assert.strictEqual(self.notes.bytes, totalLength)
            assert.deepStrictEqual([assembly.downloadedBytes, assembly.wastedBytes], [totalLength, 0])
            assert.strictEqual(served.times, 1)
          }).pipe(budget, Effect.scoped)
        )
      ),
      100
    )
  )

  it.effect("keeps the whole blocks of a body that ends too early or breaks, wherever that is", () =>
    holds(
      fc.asyncProperty(
        Bodies.cuts,
        fc.oneof(fc.integer({ min: 0, max: totalLength - 1 }), fc.constantFrom(0, 1, blockLength, pieceLength)),
        fc.constantFrom<Bodies.End>("done", "broken"),
        ({ lengths, together }, length, end) =>
          Effect.runPromise(
            Effect.gen(function* () {
              const { assembly, complete, read, self } = yield* reader()

              const result = yield* read(Bodies.make(Bodies.cut(content.subarray(0, length), lengths, together), end))

              assert.isTrue(result._tag === "Failure" && result.failure.kind === "Unreachable")
              assert.strictEqual(self.notes.bytes, length)
              assert.strictEqual(self.intake.blocks, Math.floor(length / blockLength))
              assert.deepStrictEqual(complete(), length < pieceLength ? [] : [0])
              assert.strictEqual(assembly.wastedBytes, 0)
            }).pipe(budget, Effect.scoped)
          )
      ),
      100
    )
  )

  it.effect("takes what was promised of a body that goes on, and finds fault with it", () =>
    holds(
      fc.asyncProperty(Bodies.cuts, fc.integer({ min: 1, max: 50_000 }), ({ lengths, together }, more) =>
        Effect.runPromise(
          Effect.gen(function* () {
            const { assembly, complete, read, self } = yield* reader()
            const longer = new Uint8Array(totalLength + more)
            longer.set(content)

            const result = yield* read(Bodies.make(Bodies.cut(longer, lengths, together)))

            assert.isTrue(result._tag === "Failure" && result.failure.kind === "Strange")
            assert.deepStrictEqual(complete(), [0, 1])
            assert.strictEqual(self.notes.bytes, totalLength)
            assert.strictEqual(assembly.downloadedBytes, totalLength)
          }).pipe(budget, Effect.scoped)
        )
      ),
      100
    )
  )

  it.effect("does not wait for long for the end of a body whose bytes have all arrived", () =>
    Effect.gen(function* () {
      const { complete, read } = yield* reader()

      const fiber = yield* Effect.forkChild(read(Bodies.make([[content]], "open")))
      yield* TestClock.adjust("1 second")
      const isReading = fiber.pollUnsafe() === undefined
      yield* TestClock.adjust("1 second")

      assert.isTrue(isReading)
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "Success")
      assert.deepStrictEqual(complete(), [0, 1])
    }).pipe(budget)
  )

  it.effect("reads a body no farther than blocks are requested, and leaves it after 5 seconds", () =>
    Effect.gen(function* () {
      const { complete, read, self } = yield* reader({ cap: 1 })
      const body = Bodies.make(Bodies.cut(content, [blockLength], 1))

      const fiber = yield* Effect.forkChild(read(body))
      yield* TestClock.adjust("4 seconds")
      const before = [fiber.pollUnsafe() === undefined, self.notes.isWaiting, body.pulls()]
      yield* TestClock.adjust("1 second")

      assert.deepStrictEqual(before, [true, true, 2])
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "Success")
      assert.deepStrictEqual(complete(), [0])
      assert.deepStrictEqual([self.notes.isWaiting, self.notes.hasWaited], [false, true])
    }).pipe(budget)
  )

  it.effect("passes over the begin of a file whose later pieces alone are needed", () =>
    holds(
      fc.asyncProperty(Bodies.cuts, ({ lengths, together }) =>
        Effect.runPromise(
          Effect.gen(function* () {
            const { assembly, complete, read } = yield* reader({ stored: "* " })

            const result = yield* read(Bodies.make(Bodies.cut(content, lengths, together)), { isWhole: true })

            assert.strictEqual(result._tag, "Success")
            assert.deepStrictEqual(complete(), [1])
            assert.strictEqual(assembly.wastedBytes, pieceLength)
          }).pipe(budget, Effect.scoped)
        )
      ),
      50
    )
  )

  it.effect("finds fault with a file of which nothing is needed, and reads nothing of it", () =>
    Effect.gen(function* () {
      const { read } = yield* reader({ stored: "* " })
      const body = Bodies.make([[content.subarray(0, pieceLength)]])

      const result = yield* read(body, { isWhole: true, range: { ...whole, end: pieceLength } })

      assert.isTrue(result._tag === "Failure" && result.failure.kind === "Slow")
      assert.strictEqual(body.pulls(), 0)
    }).pipe(budget)
  )

  it.effect("leaves a range in which nothing is needed", () =>
    Effect.gen(function* () {
      const { complete, read, self } = yield* reader({ stored: "* " })
      const body = Bodies.make([[content.subarray(0, pieceLength)]])

      const result = yield* read(body, { range: { ...whole, end: pieceLength } })

      assert.strictEqual(result._tag, "Success")
      assert.strictEqual(body.pulls(), 0)
      assert.deepStrictEqual([self.notes.bytes, complete()], [0, []])
    }).pipe(budget)
  )
})
