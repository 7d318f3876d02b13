import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as BufferPool from "../../src/assembly/BufferPool.ts"
import * as PieceTable from "../../src/assembly/PieceTable.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"
import { blockLength } from "./pieces.ts"
import * as Swarm from "./swarm.ts"

type Running = Swarm.TestSwarm["Service"]

const everything = [0, 1, 2, 3, 4]

const seedOf = Effect.fnUntraced(function* (swarm: Running, isFast = true) {
  const seed = yield* swarm.join({ isLiar: false, isFast, pieces: everything })
  yield* swarm.say(seed, FrameEncoder.unchoke)
  yield* swarm.settle
  return seed
})

const serve = (swarm: Running, peer: Swarm.Peer, count = peer.out.size) =>
  Effect.andThen(swarm.serve(peer, count, "right"), swarm.settle)

const world = Effect.provide(Swarm.world(7))

describe("pieces under attack", () => {
  it.effect("fault 29: an unrequested block takes no buffer", () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.make(5)
      const peer = yield* swarm.join({ isLiar: false, isFast: true, pieces: everything })

      yield* swarm.push(peer, "2:1")
      yield* swarm.settle

      assert.strictEqual(BufferPool.lentCount(swarm.assembly.pool), 0)
      assert.strictEqual(swarm.ledger.heldBytes, 0)
      assert.strictEqual(swarm.assembly.table.counts.missing, 5)
      assert.strictEqual(swarm.assembly.wastedBytes, blockLength)
      assert.strictEqual(peer.protocol.patience.unaskedBlocks, 1)
      swarm.check()
    }).pipe(world)
  )

  it.effect("fault 29: a duplicate of a block that arrived changes nothing", () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.make(1)
      const seed = yield* seedOf(swarm)
      const [name] = [...seed.out]
      yield* serve(swarm, seed, 1)

      yield* swarm.push(seed, name!)
      yield* swarm.settle

      assert.strictEqual([...swarm.assembly.pool.loans.values()][0]!.buffer.received.count, 1)
      swarm.check()
    }).pipe(world)
  )

  it.effect(
    "fault 44: a block that a slow peer holds up is requested from at most three peers, and cancelled at the slow one",
    () =>
      Effect.gen(function* () {
        const swarm = yield* Swarm.make(5)
        const slow = yield* seedOf(swarm)
        const others = [yield* seedOf(swarm), yield* seedOf(swarm), yield* seedOf(swarm)]
        for (const { protocol } of others) Object.assign(protocol.pipeline, { blocksPerSecond: 100, delay: 10 })
        yield* serve(swarm, slow, slow.out.size - 1)
        const [last] = [...slow.out]
        const asked: Array<number> = []
        for (let second = 0; second < 5; second++) {
          yield* swarm.advance(1)
          asked.push(others.filter((peer) => peer.out.has(last!)).length)
        }

        yield* serve(swarm, others.find((peer) => peer.out.has(last!))!)

        assert.deepStrictEqual(asked, [1, 2, 2, 2, 2])
        assert.isTrue(PieceTable.isComplete(swarm.assembly.table))
        assert.deepStrictEqual(slow.cancelled.slice(-1), [last])
        assert.deepStrictEqual(
          swarm.peers.map((peer) => peer.out.size),
          [0, 0, 0, 0]
        )
      }).pipe(world)
  )

  for (const isFast of [true, false]) {
    it.effect(`fault 45: endless chokes leak no request, ${isFast ? "with" : "without"} the fast extension`, () =>
      Effect.gen(function* () {
        const swarm = yield* Swarm.make(2)
        const storm = yield* seedOf(swarm, isFast)
        for (let turn = 0; turn < 100; turn++) {
          yield* swarm.choke(storm)
          yield* swarm.reject(storm, storm.out.size)
          yield* swarm.settle
          swarm.check()
          yield* swarm.say(storm, FrameEncoder.unchoke)
          yield* swarm.settle
          swarm.check()
        }

        while (storm.out.size > 0) yield* serve(swarm, storm)

        assert.isTrue(PieceTable.isComplete(swarm.assembly.table))
      }).pipe(world)
    )
  }

  it.effect("fault 46: a peer that announces everything and sends nothing keeps no piece from others", () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.make(5)
      const hoarder = yield* seedOf(swarm)
      const honest = yield* seedOf(swarm)
      const hoarded = hoarder.out.size

      for (let second = 0; second < 10; second++) {
        yield* serve(swarm, honest)
        yield* swarm.advance(1)
      }
      const left = hoarder.out.size
      while (honest.out.size > 0) yield* serve(swarm, honest)

      assert.strictEqual(hoarded, 14)
      assert.isAtMost(left, 1)
      assert.isTrue(PieceTable.isComplete(swarm.assembly.table))
    }).pipe(world)
  )

  it.effect(
    "fault 47: with one buffer that holds half a piece and its peer gone, the next peer continues that piece",
    () =>
      Effect.gen(function* () {
        const swarm = yield* Swarm.make(1)
        const first = yield* seedOf(swarm)
        yield* serve(swarm, first, 1)
        yield* swarm.leave(first)
        const during = { ...swarm.assembly.table.counts }

        const second = yield* seedOf(swarm)
        while (second.out.size > 0) yield* serve(swarm, second)

        assert.deepStrictEqual(during, { missing: 4, active: 1, complete: 0, verified: 0, stored: 0 })
        assert.isTrue(PieceTable.isComplete(swarm.assembly.table))
        assert.strictEqual(swarm.assembly.wastedBytes, 0)
      }).pipe(Effect.provide(Swarm.world(1)))
  )
})
