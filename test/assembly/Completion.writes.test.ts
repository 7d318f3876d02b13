import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as BufferPool from "../../src/assembly/BufferPool.ts"
import * as Completion from "../../src/assembly/Completion.ts"
import * as PieceOrder from "../../src/assembly/PieceOrder.ts"
import * as PieceTable from "../../src/assembly/PieceTable.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"
import { piece } from "./pieces.ts"
import * as Swarm from "./swarm.ts"

type Running = Swarm.TestSwarm["Service"]

const everything = [0, 1, 2, 3, 4]

const seedOf = Effect.fnUntraced(function* (swarm: Running, pieces: ReadonlyArray<number> = everything) {
  const seed = yield* swarm.join({ isLiar: false, isFast: true, pieces })
  yield* swarm.say(seed, FrameEncoder.unchoke)
  yield* swarm.settle
  return seed
})

const serveAll = (swarm: Running, peer: Swarm.Peer) =>
  Effect.andThen(swarm.serve(peer, peer.out.size, "right"), swarm.settle)

const world = Effect.provide(Swarm.world(7))

const countOf = (swarm: Running, tag: string) => swarm.facts.filter((fact) => fact.startsWith(tag)).length

describe("Completion, writes", () => {
  it.effect("stores pieces and returns their buffers", () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.make(5)
      const seed = yield* seedOf(swarm)

      yield* serveAll(swarm, seed)

      assert.strictEqual(swarm.assembly.table.counts.stored, 5)
      assert.strictEqual(BufferPool.lentCount(swarm.assembly.pool), 0)
    }).pipe(world)
  )

  it.effect("forgets the deadline of a piece once it is stored", () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.make(5)
      PieceOrder.setDeadlines(swarm.assembly.order, {}, [
        { piece: piece(2), at: 1_000 },
        { piece: piece(3), at: 2_000 }
      ])
      const seed = yield* seedOf(swarm, [2])

      yield* serveAll(swarm, seed)

      assert.deepStrictEqual([...swarm.assembly.order.due!.keys()], [3])
    }).pipe(world)
  )

  it.effect(
    "keeps a verified piece in its buffer while its write fails, and writes it again at growing intervals",
    () =>
      Effect.gen(function* () {
        const swarm = yield* Swarm.make(5)
        const seed = yield* seedOf(swarm, [4])
        swarm.faults.failAll("write", FaultyStorage.inputOutputError)
        yield* serveAll(swarm, seed)
        const calls: Array<number> = []
        for (let second = 0; second < 26; second++) {
          yield* TestClock.adjust("1 second")
          calls.push(swarm.faults.counts("write").calls)
        }

        // After 0.5, 1.5, 3.5, 7.5, 15.5 and 23.5 seconds.
        assert.deepStrictEqual(
          [0, 1, 3, 7, 15, 23].map((second) => calls[second]),
          [2, 3, 4, 5, 6, 7]
        )
        assert.strictEqual(PieceTable.stateOf(swarm.assembly.table, piece(4)), "verified")
        assert.strictEqual(BufferPool.lentCount(swarm.assembly.pool), 1)
      }).pipe(world)
  )

  it.effect("fault 48: a full disk stops new pieces, and the download resumes by itself and completes", () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.make(2)
      const seed = yield* seedOf(swarm)
      swarm.faults.failAll("write", FaultyStorage.diskFull)
      yield* serveAll(swarm, seed)
      yield* swarm.advance(30)
      const during = { ...swarm.assembly.table.counts }
      const requested = seed.out.size

      swarm.faults.recover()
      yield* swarm.advance(9)
      while (seed.out.size > 0) yield* serveAll(swarm, seed)

      assert.deepStrictEqual(during, { missing: 3, active: 0, complete: 0, verified: 2, stored: 0 })
      assert.strictEqual(requested, 0)
      assert.isTrue(PieceTable.isComplete(swarm.assembly.table))
      swarm.check()
    }).pipe(world)
  )

  it.effect("reports an outage once and its end once", () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.make(5)
      const seed = yield* seedOf(swarm)
      swarm.faults.failAll("write", FaultyStorage.diskFull)
      yield* serveAll(swarm, seed)
      yield* swarm.advance(20)
      swarm.faults.recover()

      yield* swarm.advance(20)

      assert.deepStrictEqual(
        [countOf(swarm, "Failed"), countOf(swarm, "Recovered"), countOf(swarm, "Stored")],
        [1, 1, 5]
      )
      assert.isFalse(swarm.assembly.isPaused)
    }).pipe(world)
  )

  it.effect("writes more pieces at once if they are small, and at least four", () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.make(5)
      const seed = yield* seedOf(swarm)
      swarm.faults.delay("write", "3 seconds")

      yield* serveAll(swarm, seed)
      yield* swarm.advance(7)

      const lengths = [16_384, 1 << 18, 1 << 19, 1 << 20, 1 << 24]
      assert.strictEqual(swarm.faults.counts("write").mostActive, 5)
      assert.strictEqual(swarm.assembly.table.counts.stored, 5)
      assert.deepStrictEqual(lengths.map(Completion.writesInFlight), [16, 16, 8, 4, 4])
    }).pipe(world)
  )

  it.effect("marks a piece whose write was under way when the torrent stopped", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const swarm = yield* Scope.provide(Swarm.make(5), scope)
      const seed = yield* seedOf(swarm, [4])
      swarm.faults.delay("write", "3 seconds")
      yield* serveAll(swarm, seed)

      const stopping = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(stopping)

      assert.strictEqual(PieceTable.stateOf(swarm.assembly.table, piece(4)), "stored")
      assert.deepStrictEqual(swarm.facts, ["Passed 4", "Stored 4"])
      assert.strictEqual(swarm.ledger.heldBytes, 0)
    }).pipe(world)
  )

  it.effect("does not wait for the retry of a failed write when the torrent stops", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const swarm = yield* Scope.provide(Swarm.make(5), scope)
      const seed = yield* seedOf(swarm, [4])
      swarm.faults.failAll("write", FaultyStorage.diskFull)
      yield* serveAll(swarm, seed)

      yield* Scope.close(scope, Exit.void)

      assert.strictEqual(swarm.ledger.heldBytes, 0)
      assert.strictEqual(BufferPool.lentCount(swarm.assembly.pool), 0)
    }).pipe(world)
  )
})
