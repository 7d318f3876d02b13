import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as fc from "fast-check"
import * as BufferBudget from "../../src/assembly/BufferBudget.ts"
import * as BufferPool from "../../src/assembly/BufferPool.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as Property from "../../src/testing/Property.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"
import { freeCount, geometryOf, lend, piece } from "./pieces.ts"
import * as Swarm from "./swarm.ts"

/** Waits for `turns` turns of the scheduler. */
const turns = (count: number) => Effect.repeat(Effect.yieldNow, { times: count })

const settings = { runs: 300, testClock: true } as const

describe("interruption", () => {
  it.effect("stopping a torrent at any turn leaves no buffer lent, no request out and no byte held", () =>
    Property.check(
      fc.record({
        turn: fc.nat(120),
        operations: fc.integer({ min: 3, max: 60 }),
        isFull: fc.boolean(),
        isBad: fc.boolean(),
        keep: fc.nat(4),
        verifies: fc.boolean()
      }),
      ({ isBad, isFull, keep, operations, turn, verifies }) =>
        Effect.gen(function* () {
          const scope = yield* Scope.make()
          const swarm = yield* Scope.provide(Swarm.make(3), scope)
          if (isFull) swarm.faults.failNth("write", 0, FaultyStorage.diskFull)
          const talk = Effect.gen(function* () {
            const peer = yield* swarm.join({ isLiar: isBad, isFast: true, pieces: [0, 1, 2, 3, 4] })
            yield* swarm.say(peer, FrameEncoder.unchoke)
            yield* swarm.settle
            for (;;) {
              yield* swarm.serve(peer, Math.max(1, peer.out.size - keep), isBad ? "wrong" : "right")
              yield* swarm.settle
              if (peer.out.size === 0) return
            }
          })
          const session = yield* Effect.forkIn(
            Effect.onExit(talk, () => Effect.forEach([...swarm.peers], swarm.leave, { discard: true })),
            scope
          ).pipe(Effect.provideService(Scheduler.MaxOpsBeforeYield, operations))
          yield* turns(turn)

          yield* Fiber.interrupt(session)
          const { pool } = swarm.assembly
          const requests = [...pool.loans.values()].flatMap(({ buffer }) => [...buffer.requests])
          assert.isTrue(requests.every((count) => count === 0))
          assert.strictEqual(BufferPool.lentCount(pool) + freeCount(pool), pool.capacity)
          yield* Scope.close(scope, Exit.void)

          assert.strictEqual(BufferPool.lentCount(pool), 0)
          assert.strictEqual(swarm.assembly.table.counts.active + swarm.assembly.table.counts.complete, 0)
          assert.strictEqual(swarm.ledger.heldBytes, 0)
          assert.strictEqual(swarm.ledger.accounts.size + swarm.ledger.waiting.size, 0)
        }).pipe(Effect.provide(Swarm.world(4, { verifies }))),
      settings
    )
  )

  it.effect("interrupting lenders at any turn loses no buffer", () =>
    Property.check(
      fc.record({
        lenders: fc.array(fc.tuple(fc.nat(7), fc.nat(12)), { minLength: 1, maxLength: 12 }),
        closing: fc.array(fc.nat(7), { maxLength: 8 }),
        operations: fc.integer({ min: 3, max: 20 })
      }),
      ({ closing, lenders, operations }) =>
        Effect.gen(function* () {
          const ledger = yield* BufferBudget.BufferBudget
          const scope = yield* Scope.make()
          const pool = yield* Scope.provide(BufferPool.make(geometryOf(8, 1), { maxActivePieces: 3 }), scope)
          const fibers = yield* Effect.forEach(lenders, ([index]) => Effect.forkChild(lend(pool, piece(index)))).pipe(
            Effect.provideService(Scheduler.MaxOpsBeforeYield, operations)
          )

          for (const [at, [, wait]] of lenders.entries()) {
            yield* turns(wait)
            yield* Fiber.interrupt(fibers[at]!)
            if (closing[at] !== undefined) yield* BufferPool.close(pool, piece(closing[at]))
            assert.strictEqual(BufferPool.lentCount(pool) + freeCount(pool), pool.capacity)
          }
          yield* Scope.close(scope, Exit.void)

          assert.strictEqual(ledger.heldBytes, 0)
          assert.strictEqual(pool.loans.size, 0)
        }).pipe(Effect.provide(BufferBudget.layer())),
      settings
    )
  )
})
