import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as BufferPool from "../../src/assembly/BufferPool.ts"
import * as PieceTable from "../../src/assembly/PieceTable.ts"
import * as Requests from "../../src/assembly/Requests.ts"
import * as RateLimiter from "../../src/rate/RateLimiter.ts"
import * as RequestPipeline from "../../src/supply/RequestPipeline.ts"
import * as Resting from "../../src/supply/Resting.ts"
import type * as Supplier from "../../src/supply/Supplier.ts"
import { answer, ask, idOf, join } from "../supply/ScriptedSupplier.ts"
import { assemblyOf, begin, budget } from "./assemblies.ts"
import { blockLength, geometryOf, piece } from "./pieces.ts"

const alice = idOf(1)
const bob = idOf(2)
const carol = idOf(3)

describe("Requests", () => {
  it.effect("requests blocks of active pieces before it starts another", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(3, 2))
      const one = join(assembly, alice)
      const two = join(assembly, bob)
      begin(assembly, one, 1)

      const names = [...ask(assembly, one, 1), ...ask(assembly, two, 2)]

      assert.deepStrictEqual(names, ["1:0", "1:1", undefined])
      assert.notStrictEqual(Requests.nextPiece(assembly, two), piece(1))
    }).pipe(budget)
  )

  it.effect("lets a supplier continue the piece of its last request", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(3, 4))
      const one = join(assembly, alice)
      const two = join(assembly, bob)
      begin(assembly, one, 0)
      begin(assembly, two, 1)

      const names = [...ask(assembly, two, 1), ...ask(assembly, one, 1), ...ask(assembly, two, 1)]

      assert.deepStrictEqual(names, ["1:0", "0:0", "1:1"])
    }).pipe(budget)
  )

  it.effect("requests no piece from a supplier that does not have it or has refused it", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(3, 1))
      const one = join(assembly, alice, " * ")
      begin(assembly, join(assembly, bob), 0)

      const before: ReadonlyArray<unknown> = [Requests.nextPiece(assembly, one), ...ask(assembly, one, 1)]
      Resting.rest(one.refused, piece(1), 5_000, 0)
      const after = Requests.nextPiece(assembly, one)

      assert.deepStrictEqual(before, [1, undefined])
      assert.isUndefined(after)
    }).pipe(budget)
  )

  it.effect("starts no piece that is stored", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(3, 1), { stored: "* *" })
      const one = join(assembly, alice)

      const next = Requests.nextPiece(assembly, one)

      assert.strictEqual(next, piece(1))
      assert.isTrue(Assembly.isInteresting(join(assembly, bob, " * ")))
      assert.isFalse(Assembly.isInteresting(join(assembly, carol, "* *")))
    }).pipe(budget)
  )

  it.effect("requests no skipped pieces, and starts those of high priority first", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(4, 1), { stored: "*   " })
      const one = join(assembly, alice)

      Assembly.setPriorities(assembly, ["normal", "skip", "normal", "high"])
      const first = Requests.nextPiece(assembly, one)
      begin(assembly, one, 3)
      const second = Requests.nextPiece(assembly, one)

      assert.deepStrictEqual([first, second], [piece(3), piece(2)])
      assert.isTrue(Assembly.isInteresting(join(assembly, bob, "  * ")))
      assert.isFalse(Assembly.isInteresting(join(assembly, carol, "**  ")))
    }).pipe(budget)
  )

  it.effect("starts pieces in the order that was set", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(4, 1), { isSequential: true })
      const one = join(assembly, alice)
      Assembly.setDeadlines(assembly, {}, [{ piece: piece(2), at: 1_000 }])

      const first = Requests.nextPiece(assembly, one)
      begin(assembly, one, 2)
      const second = Requests.nextPiece(assembly, one)

      assert.deepStrictEqual([first, second], [piece(2), piece(0)])
    }).pipe(budget)
  )

  it.effect("requests nothing that has no place: without a free buffer no piece begins", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(3, 2), { cap: 1 })
      const one = join(assembly, alice)
      const two = join(assembly, bob)
      begin(assembly, one, 0)

      const buffer = Requests.begin(assembly, two, piece(1))

      assert.isUndefined(buffer)
      assert.strictEqual(PieceTable.stateOf(assembly.table, piece(1)), "missing")
      assert.isTrue(assembly.idleSuppliers.has(two))
    }).pipe(budget)
  )

  it.effect("takes nothing from the limits while there is no block that anybody could request", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(3, 2), { cap: 1 })
      const one = join(assembly, alice)
      const two = join(assembly, bob)
      begin(assembly, one, 0)
      ask(assembly, one, 2)

      Requests.refill(assembly, two, 0)
      const isIdle = assembly.idleSuppliers.has(two)
      const hasForfeited = two.pipeline.limiter.hasForfeited
      yield* BufferPool.close(assembly.pool, piece(0))
      Requests.refill(assembly, two, 0)

      assert.deepStrictEqual([isIdle, hasForfeited, two.pipeline.requests.size], [true, false, 2])
    }).pipe(budget)
  )

  it.effect("does not take a supplier for idle whose pipeline is full", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(3, 2), { cap: 1 })
      const one = join(assembly, alice)
      begin(assembly, one, 0)
      ask(assembly, one, 2)
      one.pipeline.depth = 2

      Requests.refill(assembly, one, 0)

      assert.strictEqual(assembly.idleSuppliers.size, 0)
    }).pipe(budget)
  )

  it.effect("does not begin a piece again before its last buffer has been returned", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(3, 2), { stored: " **" })
      const one = join(assembly, alice)
      begin(assembly, one, 0)
      ask(assembly, one, 2)
      answer(assembly, one)
      PieceTable.verify(assembly.table, piece(0))
      Assembly.noteStored(assembly, piece(0))
      Assembly.loseStored(assembly, [piece(0)])

      Requests.refill(assembly, one, 0)
      const isIdle = assembly.idleSuppliers.has(one)
      yield* BufferPool.close(assembly.pool, piece(0))
      Requests.refill(assembly, one, 0)

      assert.isTrue(isIdle)
      assert.strictEqual(PieceTable.stateOf(assembly.table, piece(0)), "active")
    }).pipe(budget)
  )

  it.effect("starts no new piece while the storage takes no writes", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(2, 2))
      const one = join(assembly, alice)
      begin(assembly, one, 0)
      Assembly.setPaused(assembly, true)

      assert.isUndefined(Requests.nextPiece(assembly, one))
      assert.deepStrictEqual(ask(assembly, one, 2), ["0:0", "0:1"])
    }).pipe(budget)
  )

  it.effect(
    "fault 46: a snubbed peer starts no new piece while others are active, and has one block requested at a time",
    () =>
      Effect.gen(function* () {
        const assembly = yield* assemblyOf(geometryOf(2, 2))
        const one = join(assembly, alice)
        begin(assembly, one, 0)
        ask(assembly, one, 2)
        RequestPipeline.expire(one.pipeline, 10_000)

        assert.isUndefined(Requests.nextPiece(assembly, one))
        assert.strictEqual(RequestPipeline.room(one.pipeline), 1)
        assert.deepStrictEqual(ask(assembly, join(assembly, bob), 2), ["0:0", "0:1"])
      }).pipe(budget)
  )

  /** Makes the supplier wait for its rate limit. */
  const holdUp = ({ pipeline }: Supplier.Supplier) => {
    RateLimiter.setLimit(pipeline.limiter, 1, 0)
    RateLimiter.spend(pipeline.limiter, blockLength)
    assert.isFalse(RequestPipeline.admits(pipeline, 0))
  }

  it.effect("takes a rate limit for the cause of a wait only if it holds up a supplier that may send the piece", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(2, 2))
      const one = join(assembly, alice)
      const other = join(assembly, bob, " *")
      const buffer = begin(assembly, one, 0)
      const answers = [Requests.waitsForRate(assembly, buffer)]

      holdUp(other)
      answers.push(Requests.waitsForRate(assembly, buffer))
      holdUp(one)
      answers.push(Requests.waitsForRate(assembly, buffer))
      Assembly.choked(assembly, one, { keepsRequests: true })
      answers.push(Requests.waitsForRate(assembly, buffer))
      Assembly.unchoked(one)
      ask(assembly, one, 2)
      answers.push(Requests.waitsForRate(assembly, buffer))

      assert.deepStrictEqual(answers, [false, false, true, false, false])
    }).pipe(budget)
  )

  it.effect("keeps what a supplier was granted while it borrows a buffer, and returns it if there is none", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(2, 2), { cap: 1 })
      const one = join(assembly, alice)
      const { limiter } = one.pipeline
      RateLimiter.setLimit(limiter, 2 * blockLength, 0)
      const two = join(assembly, bob)
      begin(assembly, two, 1)
      ask(assembly, two, 2)

      Requests.refill(assembly, one, 0)

      assert.strictEqual(one.pipeline.requests.size, 0)
      assert.deepStrictEqual([limiter.credit, limiter.tokens], [0, blockLength])
    }).pipe(budget)
  )

  it.effect("fault 47: goes on at the byte cap with all pieces incomplete, because every free block has a place", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(20, 16))
      const dead = join(assembly, alice)
      const alive = join(assembly, bob)
      for (let index = 0; Requests.begin(assembly, dead, piece(index)) !== undefined; index++) {
        ask(assembly, dead, 8)
      }
      const lent = BufferPool.lentCount(assembly.pool)
      const heldBytes = assembly.pool.ledger.heldBytes
      for (let round = 0; round < 2; round++) {
        while (Requests.nextBlock(assembly, alive, 0) !== undefined);
        answer(assembly, alive)
        RequestPipeline.expire(dead.pipeline, 10_000)
      }

      assert.deepStrictEqual([lent, heldBytes], [4, 64 * blockLength])
      assert.strictEqual(assembly.completed.waiting.length, 4)
    }).pipe(budget)
  )
})
