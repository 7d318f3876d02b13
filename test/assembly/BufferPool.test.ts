import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as BufferBudget from "../../src/assembly/BufferBudget.ts"
import * as BufferPool from "../../src/assembly/BufferPool.ts"
import * as PieceBuffer from "../../src/supply/PieceBuffer.ts"
import * as RequestPipeline from "../../src/supply/RequestPipeline.ts"
import { idOf } from "../supply/ScriptedSupplier.ts"
import { blockLength, freeCount, geometryOf, lend, piece } from "./pieces.ts"

const mebibyte = 1024 * 1024

/** A pool of `cap` buffers for ten pieces of two blocks. */
const poolOf = (cap: number) => BufferPool.make(geometryOf(10, 2), { maxActivePieces: cap })

const budget = (bytes: number = mebibyte) => Effect.provide(BufferBudget.layer(bytes))

const sizes = (pool: BufferPool.BufferPool) => [BufferPool.lentCount(pool), freeCount(pool)]

describe("BufferPool", () => {
  it.effect("lends the same buffer for the same piece", () =>
    Effect.gen(function* () {
      const pool = yield* poolOf(3)

      const first = yield* lend(pool, piece(4))
      const second = yield* lend(pool, piece(4))

      assert.strictEqual(second, first)
      assert.deepStrictEqual(sizes(pool), [1, 2])
    }).pipe(budget())
  )

  it.effect("ends its loans after the fibers that were started after it, including later loans", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const pool = yield* Scope.provide(poolOf(3), scope)
      const seen: Array<boolean> = []
      const verifier = Effect.never.pipe(Effect.onInterrupt(() => Effect.sync(() => seen.push(buffer.isOpen))))
      yield* Scope.provide(Effect.forkScoped(verifier, { startImmediately: true }), scope)
      const buffer = yield* lend(pool, piece(0))

      yield* Scope.close(scope, Exit.void)

      assert.deepStrictEqual(seen, [true])
      assert.isFalse(buffer.isOpen)
      assert.strictEqual(pool.ledger.heldBytes, 0)
      assert.isUndefined(BufferPool.lendNow(pool, piece(1)))
    }).pipe(budget())
  )

  it.effect("lends three at a cap of three and makes the fourth wait", () =>
    Effect.gen(function* () {
      const pool = yield* poolOf(3)
      for (const index of [0, 1, 2]) yield* lend(pool, piece(index))

      const now = BufferPool.lendNow(pool, piece(3))
      const fourth = yield* Effect.forkChild(lend(pool, piece(3)))
      yield* TestClock.adjust("30 seconds")

      assert.isUndefined(now)
      assert.isUndefined(fourth.pollUnsafe())
      assert.deepStrictEqual(sizes(pool), [3, 0])
    }).pipe(budget())
  )

  it.effect("passes memory on to another piece, and returns it once, although another torrent waits for it", () =>
    Effect.gen(function* () {
      const pool = yield* poolOf(1)
      const waiting = yield* BufferPool.make(geometryOf(10, 2), { maxActivePieces: 1 })
      const closed: Array<number> = []
      const first = yield* lend(pool, piece(0), { onClose: (buffer) => closed.push(buffer.piece) })
      const isRefused = BufferPool.lendNow(waiting, piece(0)) === undefined

      const second = BufferPool.lendNow(pool, piece(1), {}, piece(0))!
      const again = BufferPool.lendNow(pool, piece(2), {}, piece(0))
      const during = sizes(pool)
      const isRefusedStill = BufferPool.lendNow(waiting, piece(0)) === undefined
      yield* BufferPool.close(pool, piece(1))

      assert.deepStrictEqual([isRefused, isRefusedStill], [true, true])
      assert.deepStrictEqual([first.isOpen, second.piece, again, closed], [false, piece(1), undefined, [0]])
      assert.strictEqual(second.bytes.buffer, first.bytes.buffer)
      assert.deepStrictEqual(during, [1, 0])
      // Only now it goes to the torrent that waits.
      assert.strictEqual(pool.account.held, 0)
      assert.isDefined(BufferPool.lendNow(waiting, piece(0)))
    }).pipe(budget(3 * blockLength))
  )

  it.effect("lends the same memory again after its return", () =>
    Effect.gen(function* () {
      const pool = yield* poolOf(3)
      for (const index of [0, 1, 2]) yield* lend(pool, piece(index))
      const memory = pool.loans.get(piece(1))!.buffer.bytes.buffer
      const fourth = yield* Effect.forkChild(lend(pool, piece(3)))
      yield* Effect.yieldNow

      yield* BufferPool.close(pool, piece(1))
      const buffer = yield* Fiber.join(fourth)

      assert.strictEqual(buffer.piece, 3)
      assert.strictEqual(buffer.bytes.buffer, memory)
      assert.deepStrictEqual(sizes(pool), [3, 0])
    }).pipe(budget())
  )

  it.effect("makes the last piece's buffer as long as the piece: one block and 500 bytes", () =>
    Effect.gen(function* () {
      const pool = yield* BufferPool.make(geometryOf(4, 3, blockLength + 500))

      const last = yield* lend(pool, piece(3))

      assert.strictEqual(last.bytes.length, blockLength + 500)
      assert.strictEqual(last.blockCount, 2)
      assert.strictEqual(PieceBuffer.sizeOf(last, 1), 500)
    }).pipe(budget())
  )

  it.effect("takes no more memory than a torrent of one short piece needs", () =>
    Effect.gen(function* () {
      const pool = yield* BufferPool.make(geometryOf(1, 64, 100))

      yield* lend(pool, piece(0))

      assert.strictEqual(pool.ledger.heldBytes, 100)
    }).pipe(budget())
  )

  it.effect("drops a stale piece after 60 s and forgets its requests", () =>
    Effect.gen(function* () {
      const pool = yield* poolOf(3)
      const pipeline = RequestPipeline.make(2, 0)
      const stale: Array<number> = []
      const buffer = yield* lend(pool, piece(0), {
        onClose: (closing) => RequestPipeline.releasePiece(pipeline, closing)
      })
      RequestPipeline.send(pipeline, buffer, 0, 0)
      yield* BufferPool.sweep(pool, { onStale: (found) => void stale.push(found.piece) })

      yield* TestClock.adjust("59 seconds")
      const before = sizes(pool)
      yield* TestClock.adjust("1 second")

      assert.deepStrictEqual(before, [1, 2])
      assert.deepStrictEqual(sizes(pool), [0, 3])
      assert.deepStrictEqual(stale, [0])
      assert.strictEqual(pipeline.requests.size, 0)
      assert.strictEqual(buffer.requests[0], 0)
      assert.isFalse(buffer.isOpen)
    }).pipe(budget())
  )

  it.effect("does not count the time in which a rate limit holds back requests for the piece", () =>
    Effect.gen(function* () {
      const pool = yield* poolOf(3)
      for (const index of [0, 1, 2]) yield* lend(pool, piece(index))
      let sweeps = 0
      // The requests for piece 0 always wait, and those for piece 1 half of the time.
      const isHeldUp = (buffer: PieceBuffer.PieceBuffer) => {
        if (buffer.piece === 0) sweeps++
        return buffer.piece === 0 || (buffer.piece === 1 && sweeps % 2 === 0)
      }
      yield* BufferPool.sweep(pool, { isHeldUp })
      const left: Array<ReadonlyArray<number>> = []

      for (let time = 0; time < 3; time++) {
        yield* TestClock.adjust("1 minute")
        left.push([...pool.loans.keys()])
      }

      assert.deepStrictEqual(left, [[0, 1], [0], [0]])
    }).pipe(budget())
  )

  it.effect("keeps a piece that received a block within 60 s, and one that is complete", () =>
    Effect.gen(function* () {
      const pool = yield* poolOf(3)
      const active = yield* lend(pool, piece(0))
      const complete = yield* lend(pool, piece(1))
      for (const block of [0, 1]) PieceBuffer.finish(complete, block, idOf(1), 0)
      yield* BufferPool.sweep(pool)
      yield* TestClock.adjust("50 seconds")
      PieceBuffer.finish(active, 0, idOf(1), 50_000)

      yield* TestClock.adjust("55 seconds")
      const early = BufferPool.lentCount(pool)
      yield* TestClock.adjust("10 seconds")

      assert.strictEqual(early, 2)
      assert.deepStrictEqual([...pool.loans.keys()], [piece(1)])
    }).pipe(budget())
  )

  for (let operations = 3; operations <= 10; operations++) {
    it.effect(`begins a loan in one step, even if fibers yield after ${operations} operations`, () =>
      Effect.gen(function* () {
        const pool = yield* poolOf(3)
        const opened: Array<number> = []

        const buffers = yield* Effect.all(
          Array.from({ length: 4 }, () => lend(pool, piece(0), { onOpen: (buffer) => void opened.push(buffer.piece) })),
          { concurrency: "unbounded" }
        ).pipe(Effect.provideService(Scheduler.MaxOpsBeforeYield, operations))

        assert.strictEqual(new Set(buffers).size, 1)
        assert.deepStrictEqual(opened, [0])
        assert.deepStrictEqual(sizes(pool), [1, 2])
        assert.strictEqual(pool.ledger.heldBytes, 2 * blockLength)
      }).pipe(budget())
    )
  }

  it.effect("lends nothing after its scope has closed", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const pool = yield* Scope.provide(poolOf(3), scope)
      yield* lend(pool, piece(0))
      yield* Scope.close(scope, Exit.void)

      const late = BufferPool.lendNow(pool, piece(1))

      assert.isUndefined(late)
      assert.strictEqual(pool.loans.size, 0)
      assert.strictEqual(pool.ledger.heldBytes, 0)
    }).pipe(budget())
  )

  it.effect("calls the borrower once, before the memory returns", () =>
    Effect.gen(function* () {
      const pool = yield* poolOf(1)
      const seen: Array<string> = []
      yield* lend(pool, piece(0), {
        onClose: (buffer) => void seen.push(`${buffer.isOpen} ${freeCount(pool)}`)
      })

      yield* BufferPool.close(pool, piece(0))
      yield* BufferPool.close(pool, piece(0))

      assert.deepStrictEqual(seen, ["false 0"])
      assert.deepStrictEqual(sizes(pool), [0, 1])
    }).pipe(budget())
  )

  it("has 20 buffers for large pieces, 20 MiB for small ones, and at least one, within the budget", () => {
    const capacities = [16 * 1024, 256 * 1024, mebibyte, 2 * mebibyte, 4 * mebibyte, 64 * mebibyte, 128 * mebibyte].map(
      (pieceLength) => BufferPool.capacityFor(pieceLength, 64 * mebibyte)
    )

    assert.deepStrictEqual(capacities, [1280, 80, 20, 20, 12, 1, 1])
  })

  it.effect("has at least one buffer, whatever its cap", () =>
    Effect.gen(function* () {
      const pool = yield* poolOf(0)

      assert.strictEqual(pool.capacity, 1)
    }).pipe(budget())
  )
})
