import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as BufferPool from "../../src/assembly/BufferPool.ts"
import * as PieceTable from "../../src/assembly/PieceTable.ts"
import * as Requests from "../../src/assembly/Requests.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as PieceBuffer from "../../src/supply/PieceBuffer.ts"
import { answer, ask, asked, idOf, join, make } from "../supply/ScriptedSupplier.ts"
import { assemblyOf, begin, budget } from "./assemblies.ts"
import { blockLength, geometryOf, piece } from "./pieces.ts"

const alice = idOf(1)
const bob = idOf(2)
const carol = idOf(3)

describe("Assembly", () => {
  it.effect("is interested in nobody once all wanted pieces are stored, until more are wanted", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(3, 1), { stored: "*  " })
      const one = join(assembly, alice)
      Assembly.setPriorities(assembly, ["normal", "skip", "skip"])
      const before = Requests.nextPiece(assembly, one)
      const wasInteresting = Assembly.isInteresting(one)
      Assembly.idle(assembly, one)

      Assembly.setPriorities(assembly, ["normal", "skip", "normal"])

      assert.isUndefined(before)
      assert.isFalse(wasInteresting)
      assert.isTrue(Assembly.isInteresting(one))
      assert.strictEqual(one.woken, 1)
      assert.strictEqual(Requests.nextPiece(assembly, one), piece(2))
    }).pipe(budget)
  )

  it.effect("completes a piece that was skipped while it was active, and does not start it again", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(2, 2))
      const one = join(assembly, alice)
      begin(assembly, one, 0)
      Assembly.setPriorities(assembly, ["skip", "skip"])

      const names = ask(assembly, one, 2)
      yield* BufferPool.close(assembly.pool, piece(0))

      assert.deepStrictEqual(names, ["0:0", "0:1"])
      assert.strictEqual(PieceTable.stateOf(assembly.table, piece(0)), "missing")
      assert.isUndefined(Requests.nextPiece(assembly, one))
    }).pipe(budget)
  )

  it.effect("wakes idle suppliers when a buffer becomes free", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(3, 2), { cap: 1 })
      const one = join(assembly, alice)
      const two = join(assembly, bob)
      begin(assembly, one, 0)
      Requests.begin(assembly, two, piece(1))

      yield* BufferPool.close(assembly.pool, piece(0))

      assert.strictEqual(two.woken, 1)
      assert.strictEqual(assembly.idleSuppliers.size, 0)
    }).pipe(budget)
  )

  it.effect("wakes idle suppliers when another torrent returns a buffer", () =>
    Effect.gen(function* () {
      const first = yield* assemblyOf(geometryOf(3, 64))
      const second = yield* assemblyOf(geometryOf(3, 64))
      const one = join(first, alice)
      const two = join(second, alice)
      begin(first, one, 0)
      Requests.begin(second, two, piece(0))

      yield* BufferPool.close(first.pool, piece(0))
      const buffer = Requests.begin(second, two, piece(0))

      assert.strictEqual(two.woken, 1)
      assert.isDefined(buffer)
    }).pipe(budget)
  )

  it.effect("offers a piece to the verifier once, when its last block arrives", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(2, 2, blockLength + 100))
      const one = join(assembly, alice)
      const buffer = begin(assembly, one, 1)
      ask(assembly, one, 2)

      answer(assembly, one, { count: 1 })
      const early = assembly.completed.waiting.length
      answer(assembly, one)

      assert.strictEqual(early, 0)
      assert.deepStrictEqual(assembly.completed.waiting, [buffer])
      assert.strictEqual(PieceTable.stateOf(assembly.table, piece(1)), "complete")
      assert.deepStrictEqual(asked(one), [])
    }).pipe(budget)
  )

  it.effect("releases the blocks of a supplier that leaves, and wakes the others", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(1, 2))
      const one = join(assembly, alice)
      const two = join(assembly, bob)
      begin(assembly, one, 0)
      ask(assembly, one, 2)
      Assembly.idle(assembly, two)

      yield* Assembly.leave(assembly, one)

      assert.strictEqual(two.woken, 1)
      assert.deepStrictEqual(ask(assembly, two, 2), ["0:0", "0:1"])
    }).pipe(budget)
  )

  it.effect("counts the pieces of a supplier while it is there, however it announced them", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(4, 1))
      const one = join(assembly, alice, "** *")
      const two = make(assembly.geometry, bob)
      Bitfield.add(two.has, 3)
      Assembly.join(assembly, two)
      Assembly.gain(assembly, two, piece(1))
      Assembly.gain(assembly, two, piece(1))
      join(assembly, carol)

      const during = [...assembly.picker.availability].join("")
      yield* Assembly.leave(assembly, one)
      yield* Assembly.leave(assembly, one)
      yield* Assembly.leave(assembly, two)

      assert.strictEqual(during, "1202")
      assert.strictEqual([...assembly.picker.availability].join(""), "0000")
    }).pipe(budget)
  )

  it.effect("forgets and cancels the requests of a piece whose loan ends", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(2, 2))
      const one = join(assembly, alice)
      const two = join(assembly, bob)
      begin(assembly, one, 0)
      ask(assembly, one, 1)
      ask(assembly, two, 1)
      yield* BufferPool.sweep(assembly.pool)

      yield* TestClock.adjust("60 seconds")

      assert.deepStrictEqual([one.cancels, two.cancels], [["0:0"], ["0:1"]])
      assert.deepStrictEqual([asked(one), asked(two)], [[], []])
      assert.strictEqual(PieceTable.stateOf(assembly.table, piece(0)), "missing")
      assert.strictEqual(assembly.picker.count, 2)
    }).pipe(budget)
  )

  it.effect("keeps no reference to a buffer whose loan has ended", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(2, 2))
      const one = join(assembly, alice)
      begin(assembly, one, 0)
      ask(assembly, one, 1)

      yield* BufferPool.close(assembly.pool, piece(0))

      assert.isUndefined(one.current)
    }).pipe(budget)
  )

  it.effect("starts a delayed piece again when its wait is over, and wakes idle suppliers", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(1, 1))
      const one = join(assembly, alice)
      begin(assembly, one, 0)
      Assembly.distrustOf(assembly).delayed.set(piece(0), 2_000)
      yield* BufferPool.close(assembly.pool, piece(0))
      Assembly.idle(assembly, one)
      one.woken = 0

      Assembly.tick(assembly, 1_999)
      const early = Requests.nextPiece(assembly, one)
      Assembly.tick(assembly, 2_000)

      assert.isUndefined(early)
      assert.strictEqual(one.woken, 1)
      assert.strictEqual(Requests.nextPiece(assembly, one), piece(0))
    }).pipe(budget)
  )

  it.effect("names every sender of a piece that several sent", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(1, 3))
      const one = join(assembly, alice)
      const two = join(assembly, bob)
      const buffer = begin(assembly, one, 0)
      ask(assembly, one, 1)
      ask(assembly, two, 2)

      answer(assembly, one)
      answer(assembly, two)

      assert.deepStrictEqual(PieceBuffer.contributorsOf(buffer), new Set([alice, bob]))
    }).pipe(budget)
  )
})
