import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as BorrowedBytes from "../../src/assembly/BorrowedBytes.ts"
import * as BufferBudget from "../../src/assembly/BufferBudget.ts"
import * as BufferPool from "../../src/assembly/BufferPool.ts"
import * as Property from "../../src/testing/Property.ts"
import { blockLength, freeCount, geometryOf, lend, piece } from "./pieces.ts"

/** A pool for a torrent of twenty pieces of `blocks` blocks. */
const poolOf = (blocks: number, isStuck?: () => boolean, isUsable?: () => boolean) =>
  BufferPool.make(geometryOf(20, blocks), { maxActivePieces: 20, isStuck, isUsable })

/** Lends to pieces `0 ..< count` without waiting. Returns how many got a buffer. */
const lendMany = Effect.fnUntraced(function* (pool: BufferPool.BufferPool, count: number) {
  let lent = 0
  for (let index = 0; index < count; index++) {
    if (BufferPool.lendNow(pool, piece(index)) !== undefined) lent++
  }
  return lent
})

const budget = (blocks: number) => Effect.provide(BufferBudget.layer(blocks * blockLength))

describe("BufferBudget", () => {
  it.effect("lends within its bytes, also below the cap in pieces", () =>
    Effect.gen(function* () {
      const pool = yield* poolOf(2)

      const lent = yield* lendMany(pool, 20)

      assert.strictEqual(lent, 3)
      assert.strictEqual(pool.ledger.heldBytes, 6 * blockLength)
    }).pipe(budget(8))
  )

  it("fault 74: asks each holder once whether it can return something, however many checks hold bytes", () => {
    const holders = 200
    const ledger = BufferBudget.make(holders * blockLength)
    let asked = 0
    const check = (): BufferBudget.Account => ({
      bufferBytes: blockLength,
      held: 0,
      isGranted: false,
      isBrief: true,
      isStuck: () => {
        asked++
        return false
      },
      isUsable: () => true,
      dropIdle: () => {
        asked++
        return false
      },
      grow: () => {}
    })
    const begin = () => {
      const account = check()
      BufferBudget.open(ledger, account)
      return BufferBudget.reserve(ledger, account)
    }
    // Checks may take all the bytes, because each of them has no buffer yet.
    for (let index = 0; index < holders; index++) assert.isTrue(begin())
    asked = 0

    assert.isFalse(begin())

    // 40,000 if it is asked anew after each holder whether the account fits.
    assert.isAtMost(asked, 6 * holders)
  })

  it.effect("gives a repair its bytes at once, before those that wait, and one at a time above the bound", () =>
    Effect.gen(function* () {
      const busy = yield* poolOf(1)
      const patient = yield* poolOf(2)
      yield* lendMany(busy, 20)
      const waiting = yield* Effect.forkChild(lend(patient, piece(0)))
      yield* Effect.yieldNow
      const { ledger } = busy
      const before = ledger.heldBytes
      const most: Array<number> = []
      const repair = BorrowedBytes.borrow(ledger, 2 * blockLength, { isUrgent: true }).pipe(
        Effect.andThen(Effect.sync(() => most.push(ledger.heldBytes))),
        Effect.andThen(Effect.yieldNow),
        Effect.scoped
      )

      yield* Effect.all([repair, repair, repair], { concurrency: "unbounded" })

      assert.deepStrictEqual(most, Array(3).fill(before + 2 * blockLength))
      assert.strictEqual(ledger.heldBytes, before)
      yield* Fiber.interrupt(waiting)
    }).pipe(budget(4))
  )

  it.effect("lends a piece larger than the budget its one buffer when nothing else is held", () =>
    Effect.gen(function* () {
      const small = yield* poolOf(1)
      const large = yield* poolOf(100)
      yield* lendMany(small, 2)

      const early = yield* lendMany(large, 1)
      const waiting = yield* Effect.forkChild(lend(large, piece(0)))
      yield* Effect.yieldNow
      yield* BufferPool.close(small, piece(0))
      const half = waiting.pollUnsafe()
      yield* BufferPool.close(small, piece(1))
      const buffer = yield* Fiber.join(waiting)

      assert.strictEqual(early, 0)
      assert.isUndefined(half)
      assert.strictEqual(buffer.bytes.length, 100 * blockLength)
      assert.strictEqual(yield* lendMany(large, 2), 1)
    }).pipe(budget(4))
  )

  it.effect("starves no torrent: one without a buffer gets the first that is returned", () =>
    Effect.gen(function* () {
      const greedy = yield* poolOf(1)
      const modest = yield* poolOf(1)
      const poor = yield* poolOf(1)
      yield* lendMany(greedy, 20)
      yield* lendMany(modest, 1)
      const waiting = yield* Effect.forkChild(lend(poor, piece(0)))
      yield* Effect.yieldNow

      yield* BufferPool.close(greedy, piece(0))
      const taken = BufferPool.lendNow(greedy, piece(10))
      const served = yield* Fiber.join(waiting)

      assert.isUndefined(taken)
      assert.strictEqual(served.piece, 0)
    }).pipe(budget(4))
  )

  it.effect("fault 49: a torrent that returns nothing leaves a quarter to those without a buffer", () =>
    Effect.gen(function* () {
      const stuck = yield* poolOf(1, () => true)
      const healthy = yield* poolOf(1)
      const kept = yield* lendMany(stuck, 20)
      let stored = 0
      for (let index = 0; index < 20; index++) {
        stored += yield* lendMany(healthy, 1)
        yield* BufferPool.close(healthy, piece(0))
      }

      const second = yield* lendMany(yield* poolOf(1), 20)

      assert.deepStrictEqual([kept, stored, second], [6, 20, 1])
      assert.strictEqual(healthy.ledger.heldBytes, 7 * blockLength)
    }).pipe(budget(8))
  )

  it.effect(
    "fault 49: an account that nothing returnable fits does not block others, and is served when more is returnable",
    () =>
      Effect.gen(function* () {
        let isFailing = true
        const stuck = yield* poolOf(1, () => isFailing)
        const large = yield* poolOf(4)
        const small = yield* poolOf(1)
        yield* lendMany(stuck, 20)
        const waiting = yield* Effect.forkChild(lend(large, piece(0)))
        yield* Effect.yieldNow
        let stored = 0
        for (let index = 0; index < 20; index++) {
          stored += yield* lendMany(small, 1)
          yield* BufferPool.close(small, piece(0))
        }
        const early = waiting.pollUnsafe()
        isFailing = false
        for (let index = 0; index < 6; index++) yield* BufferPool.close(stuck, piece(index))

        const served = yield* Fiber.join(waiting)

        assert.isUndefined(early)
        assert.strictEqual(stored, 20)
        assert.strictEqual(served.bytes.length, 4 * blockLength)
      }).pipe(budget(8))
  )

  it.effect("fault 49: a torrent that returns nothing does not block the check of another one", () =>
    Effect.gen(function* () {
      let isStuck = false
      const stuck = yield* poolOf(1, () => isStuck)
      const busy = yield* poolOf(1)
      yield* lendMany(stuck, 5)
      yield* lendMany(busy, 1)
      const borrowed: Array<number> = []
      const check = (number: number) =>
        BorrowedBytes.borrow(stuck.ledger, 3 * blockLength).pipe(
          Effect.andThen(Effect.sync(() => borrowed.push(number))),
          Effect.andThen(Effect.never),
          Effect.scoped,
          Effect.forkChild({ startImmediately: true })
        )
      const first = yield* check(1)
      yield* check(2)
      isStuck = true
      BufferBudget.reconsider(stuck.ledger, stuck.account)

      assert.deepStrictEqual(borrowed, [], "others than the stuck one hold bytes")
      yield* BufferPool.close(busy, piece(0))
      yield* Effect.yieldNow
      assert.deepStrictEqual(borrowed, [1])
      assert.strictEqual(stuck.ledger.heldBytes, 8 * blockLength)
      yield* Fiber.interrupt(first)
      yield* Effect.yieldNow
      assert.deepStrictEqual(borrowed, [1, 2])
    }).pipe(budget(7))
  )

  it.effect("shares evenly among torrents that all want more", () =>
    Effect.gen(function* () {
      const pools = yield* Effect.all([poolOf(1), poolOf(1), poolOf(1)])
      yield* lendMany(pools[0], 20)

      // Each in turn completes its oldest piece and borrows as many buffers as it can.
      for (let turn = 0; turn < 60; turn++) {
        const pool = pools[turn % 3]!
        const oldest = pool.loans.keys().next()
        if (oldest.done !== true) yield* BufferPool.close(pool, oldest.value)
        yield* lendMany(pool, 20)
      }

      assert.deepStrictEqual(pools.map(BufferPool.lentCount), [4, 4, 4])
    }).pipe(budget(16))
  )

  it.effect("takes idle buffers from others", () =>
    Effect.gen(function* () {
      const idle = yield* poolOf(1)
      const busy = yield* poolOf(2)
      yield* lendMany(idle, 6)
      for (let index = 0; index < 6; index++) yield* BufferPool.close(idle, piece(index))

      const lent = yield* lendMany(busy, 20)

      assert.strictEqual(lent, 3)
      assert.strictEqual(idle.ledger.heldBytes, 6 * blockLength)
      assert.strictEqual(freeCount(idle), idle.capacity)
    }).pipe(budget(8))
  )

  it.effect("takes an unused buffer that came too late for one torrent and grants it to the next that waits", () =>
    Effect.gen(function* () {
      const busy = yield* poolOf(1)
      const gone = yield* poolOf(1)
      const patient = yield* poolOf(1)
      yield* lendMany(busy, 1)
      const first = yield* Effect.forkChild(lend(gone, piece(0)))
      const second = yield* Effect.forkChild(lend(patient, piece(0)))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(first)
      yield* BufferPool.close(busy, piece(0))
      yield* BufferPool.sweep(gone)
      yield* TestClock.adjust("10 seconds")

      const served = yield* Fiber.join(second)

      assert.strictEqual(served.piece, 0)
      assert.strictEqual(gone.account.held, 0)
    }).pipe(budget(1))
  )

  it.effect("grants nothing to torrents in line that have nobody to fetch from any more", () =>
    Effect.gen(function* () {
      const slow = yield* poolOf(1)
      let hasPeers = true
      const left = yield* Effect.forEach(Array.from({ length: 60 }), () => poolOf(1, undefined, () => hasPeers))
      const last = yield* poolOf(1)
      yield* lendMany(slow, 4)
      for (const pool of left) yield* lendMany(pool, 2)
      yield* lendMany(last, 2)

      hasPeers = false
      yield* BufferPool.close(slow, piece(0))
      const first = yield* lendMany(last, 1)
      hasPeers = true
      const asked = yield* lendMany(left[1]!, 1)

      assert.strictEqual(first, 1)
      assert.strictEqual(asked, 0)
      assert.strictEqual(Math.max(...left.map(({ account }) => account.held)), 1)
      assert.isTrue(left[1]!.ledger.waiting.has(left[1]!.account))
    }).pipe(budget(4))
  )

  it.effect("grants what a torrent held to those that wait when it closes", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const stopping = yield* Scope.provide(poolOf(1), scope)
      const staying = yield* poolOf(1)
      yield* lendMany(stopping, 4)
      const waiting = yield* Effect.forkChild(lend(staying, piece(0)))
      yield* Effect.yieldNow

      yield* Scope.close(scope, Exit.void)
      yield* Fiber.join(waiting)

      assert.strictEqual(staying.ledger.heldBytes, blockLength)
      assert.strictEqual(staying.ledger.accounts.size, 1)
    }).pipe(budget(4))
  )

  it.effect("keeps its bound, and every pool its capacity, over many torrents and any script", () => {
    const step = fc.tuple(fc.nat(3), fc.constantFrom("lend", "lend", "close"), fc.nat(7))
    return Property.check(
      fc.tuple(fc.integer({ min: 1, max: 12 }), fc.array(step, { maxLength: 60 })),
      ([blocks, script]) =>
        Effect.gen(function* () {
          const pools = yield* Effect.all([poolOf(1), poolOf(2), poolOf(3), poolOf(16)])
          for (const [which, what, index] of script) {
            const pool = pools[which]!
            if (what === "lend") BufferPool.lendNow(pool, piece(index))
            else yield* BufferPool.close(pool, piece(index))

            const { accounts, heldBytes } = pool.ledger
            const held = [...accounts].reduce((sum, account) => sum + account.held * account.bufferBytes, 0)
            const buffers = [...accounts].reduce((sum, account) => sum + account.held, 0)
            assert.strictEqual(heldBytes, held)
            assert.isTrue(heldBytes <= blocks * blockLength || buffers === 1, `${heldBytes} of ${blocks} blocks`)
            for (const each of pools) {
              assert.strictEqual(BufferPool.lentCount(each) + freeCount(each), each.capacity)
            }
          }
          // Nobody starves: once all loans have ended, every torrent gets a buffer within as many sweeps as others
          // wait.
          for (const pool of pools) for (const index of [...pool.loans.keys()]) yield* BufferPool.close(pool, index)
          for (const pool of pools) {
            for (let sweep = 0; sweep < pools.length && (yield* lendMany(pool, 1)) === 0; sweep++) {
              for (const { account, ledger } of pools) BufferBudget.reconsider(ledger, account)
            }
            assert.strictEqual(yield* lendMany(pool, 1), 1)
            yield* BufferPool.close(pool, piece(0))
          }
        }).pipe(Effect.scoped, budget(blocks)),
      { runs: 200 }
    )
  })
})
