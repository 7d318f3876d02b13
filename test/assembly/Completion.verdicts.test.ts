import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as BufferPool from "../../src/assembly/BufferPool.ts"
import * as PieceTable from "../../src/assembly/PieceTable.ts"
import * as Standing from "../../src/supply/Standing.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"
import { piece } from "./pieces.ts"
import * as Swarm from "./swarm.ts"

type Running = Swarm.TestSwarm["Service"]

/** A peer that has piece 4 (a block and 100 bytes) only, or `pieces`, and answers when the test makes it. */
const peerOf = Effect.fnUntraced(function* (
  swarm: Running,
  options: { readonly isLiar?: boolean; readonly pieces?: ReadonlyArray<number> } = {}
) {
  const peer = yield* swarm.join({ isLiar: options.isLiar ?? false, isFast: true, pieces: options.pieces ?? [4] })
  yield* swarm.say(peer, FrameEncoder.unchoke)
  yield* swarm.settle
  return peer
})

const serve = (swarm: Running, peer: Swarm.Peer, count: number, how: Swarm.Answer) =>
  Effect.andThen(swarm.serve(peer, count, how), swarm.settle)

describe.each([
  ["", false],
  [" with a storage that verifies", true]
] as const)("Completion, verdicts%s", (_, verifies) => {
  const world = Effect.provide(Swarm.world(7, { verifies }))

  it.effect("passes a right piece on to the writer", () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.make(5)
      const peer = yield* peerOf(swarm)

      yield* serve(swarm, peer, 2, "right")

      assert.deepStrictEqual(swarm.facts, ["Passed 4", "Stored 4"])
      assert.strictEqual(swarm.assembly.table.counts.stored, 1)
    }).pipe(world)
  )

  it.effect("rejects a piece that does not match, writes nothing of it and starts it again", () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.make(5)
      const liar = yield* peerOf(swarm, { isLiar: true })
      yield* peerOf(swarm, { pieces: [] })

      yield* serve(swarm, liar, 1, "wrong")
      yield* serve(swarm, liar, 1, "right")

      assert.deepStrictEqual(swarm.facts, ["Rejected 4", "Damaged 4"])
      assert.strictEqual(swarm.writesOf(piece(4)), 0)
      assert.strictEqual(swarm.faults.counts("write").calls, verifies ? 1 : 0)
      assert.strictEqual(PieceTable.stateOf(swarm.assembly.table, piece(4)), "missing")
      assert.strictEqual(BufferPool.lentCount(swarm.assembly.pool), 0)
      assert.isAbove(swarm.assembly.wastedBytes, 16_384)
    }).pipe(world)
  )

  it.effect("finds a sole contributor guilty at once if another peer has the piece", () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.make(5)
      const liar = yield* peerOf(swarm, { isLiar: true })
      yield* swarm.join({ isLiar: false, isFast: true, pieces: [4] })

      yield* serve(swarm, liar, 2, "wrong")

      assert.include(swarm.facts, "Guilty 4")
      assert.notInclude(swarm.peers, liar)
    }).pipe(world)
  )

  it.effect("keeps the only source of a piece, and asks it again after 30 s, then 60 s, up to ten minutes", () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.make(5)
      const peer = yield* peerOf(swarm, { isLiar: true })
      const waits: Array<number> = []
      let waited = 0
      for (let second = 0; second < 2_400; second++) {
        if (peer.out.size > 0) {
          waits.push(waited)
          waited = 0
          yield* serve(swarm, peer, 2, "wrong")
        }
        if (second % 60 === 0) yield* swarm.say(peer, FrameEncoder.keepAlive)
        yield* swarm.advance(1)
        waited++
        swarm.check()
      }
      while (peer.out.size === 0) {
        yield* swarm.say(peer, FrameEncoder.keepAlive)
        yield* swarm.advance(1)
      }
      const damaged = Assembly.damagedPieces(swarm.assembly)
      yield* serve(swarm, peer, 2, "right")

      assert.deepStrictEqual(waits, [0, 30, 60, 120, 240, 480, 600, 600])
      assert.deepStrictEqual([damaged, Assembly.damagedPieces(swarm.assembly)], [[4], []])
      assert.include(swarm.facts, "Stored 4")
      assert.notInclude(swarm.facts, "Guilty 4")
    }).pipe(world)
  )

  it.effect("fault 40: finds only the liar of several guilty, and only once the piece passes", () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.make(1)
      const liar = yield* peerOf(swarm, { isLiar: true })
      const honest = yield* peerOf(swarm)
      // The liar is asked for all blocks, and the honest peer gets to send the second one.
      yield* serve(swarm, liar, 1, "wrong")
      yield* swarm.reject(liar, 1)
      yield* swarm.settle
      yield* serve(swarm, honest, 1, "right")
      const before = [...swarm.facts]

      yield* serve(swarm, honest, 2, "right")

      assert.deepStrictEqual(before, ["Rejected 4"])
      assert.deepStrictEqual(swarm.facts.slice(1), ["Passed 4", "Guilty 4", "Stored 4"])
      assert.deepStrictEqual(swarm.peers, [honest])
    }).pipe(world)
  )

  it.effect("requests a piece from one peer alone after a wrong copy from several", () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.make(1)
      const liar = yield* peerOf(swarm, { isLiar: true })
      const honest = yield* peerOf(swarm)
      yield* serve(swarm, liar, 1, "wrong")
      yield* swarm.reject(liar, 1)
      yield* swarm.settle
      const other = yield* peerOf(swarm)
      yield* serve(swarm, honest, 1, "right")
      const rejected = [...swarm.facts]
      const sole = [liar, honest, other].find((peer) => peer.out.size === 2)!
      // A block that this peer refuses is free, and still nobody else is asked for it.
      yield* swarm.reject(sole, 1)
      yield* swarm.settle

      assert.deepStrictEqual(rejected, ["Rejected 4"])
      assert.deepStrictEqual([liar, honest, other].map((peer) => peer.out.size).sort(), [0, 0, 1])
    }).pipe(world)
  )

  it.effect("fault 43: right blocks and a wrong last one leave no byte in the storage", () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.make(5)
      const liar = yield* peerOf(swarm, { isLiar: true, pieces: [0] })

      yield* serve(swarm, liar, 2, "right")
      yield* serve(swarm, liar, 1, "wrong")

      assert.include(swarm.facts, "Rejected 0")
      assert.strictEqual(swarm.writesOf(piece(4)), 0)
    }).pipe(world)
  )

  it.effect("fault 42: tries a piece that always fails at growing intervals, from 2 s up to 5 minutes", () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.make(5)
      const waits: Array<number> = []
      let rejected = 0
      let waited = 0
      for (let second = 0; second < 2_000; second++) {
        const liar = swarm.peers[0] ?? (yield* peerOf(swarm, { isLiar: true }))
        yield* serve(swarm, liar, 2, "wrong")
        // Each time another liar.
        if (Standing.hasDamaged(liar.protocol.standing, piece(4))) yield* swarm.leave(liar)
        if (swarm.facts.filter((fact) => fact === "Rejected 4").length > rejected) {
          rejected++
          waits.push(waited)
          waited = 0
        }
        yield* swarm.advance(1)
        waited++
      }

      assert.deepStrictEqual(
        waits.slice(0, 12).map((wait) => Math.max(0, wait - 1)),
        [0, 0, 1, 3, 7, 15, 31, 63, 127, 255, 299, 299]
      )
    }).pipe(world)
  )

  it.effect("rejects nothing because of a failed write", () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.make(5)
      const peer = yield* peerOf(swarm)
      swarm.faults.failAll("write", FaultyStorage.diskFull)

      yield* serve(swarm, peer, 2, "right")

      assert.deepStrictEqual(swarm.facts, verifies ? ["Failed 4"] : ["Passed 4", "Failed 4"])
      assert.strictEqual(PieceTable.stateOf(swarm.assembly.table, piece(4)), verifies ? "complete" : "verified")
    }).pipe(world)
  )

  it.effect("blames nobody for bytes that were damaged on their way to the storage, and writes them again", () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.make(5)
      const peer = yield* peerOf(swarm)
      swarm.faults.failNth("write", 0, FaultyStorage.damaged)

      yield* serve(swarm, peer, 2, "right")
      yield* swarm.advance(1)

      assert.deepStrictEqual(swarm.facts, ["Passed 4", "Failed 4", "Recovered", "Stored 4"])
      assert.include(swarm.peers, peer)
    }).pipe(world)
  )
})
