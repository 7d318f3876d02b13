import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as BufferPool from "../../src/assembly/BufferPool.ts"
import * as Distrust from "../../src/assembly/Distrust.ts"
import * as PiecePicker from "../../src/assembly/PiecePicker.ts"
import * as PieceTable from "../../src/assembly/PieceTable.ts"
import * as Requests from "../../src/assembly/Requests.ts"
import * as RequestPipeline from "../../src/supply/RequestPipeline.ts"
import * as Resting from "../../src/supply/Resting.ts"
import type { ScriptedSupplier } from "../supply/ScriptedSupplier.ts"
import { answer, ask, idOf, join, nameOf } from "../supply/ScriptedSupplier.ts"
import { assemblyOf, begin, budget } from "./assemblies.ts"
import { geometryOf, piece } from "./pieces.ts"

const alice = idOf(1)
const bob = idOf(2)
const carol = idOf(3)

/** Several suppliers sent a wrong copy of piece 0, and `one` has begun it alone; `two` has it as well. */
const begunByOne = Effect.gen(function* () {
  const assembly = yield* assemblyOf(geometryOf(2, 2))
  const one = join(assembly, alice)
  const two = join(assembly, bob)
  Distrust.requireSoleSource(Assembly.distrustOf(assembly), piece(0))
  begin(assembly, one, 0)
  return { assembly, one, two }
})

/** `one` failed to send such a piece, so it is left to `other`, which joined after that. */
const leftToOther = Effect.gen(function* () {
  const assembly = yield* assemblyOf(geometryOf(1, 2))
  const one = join(assembly, alice)
  Distrust.requireSoleSource(Assembly.distrustOf(assembly), piece(0))
  begin(assembly, one, 0)
  yield* Assembly.abandon(assembly, one)
  const other = join(assembly, bob)
  return { assembly, one, other }
})

describe("Distrust", () => {
  it.effect("requests a piece from one supplier alone after a wrong copy from several", () =>
    Effect.gen(function* () {
      const { assembly, one, two } = yield* begunByOne
      ask(assembly, one, 1)

      const names = [...ask(assembly, two, 1), ...ask(assembly, one, 1)]

      assert.deepStrictEqual(names, [undefined, "0:1"])
    }).pipe(budget)
  )

  it.effect(
    "lets another supplier take such a piece over while nothing came from the first and nothing is requested from it",
    () =>
      Effect.gen(function* () {
        const { assembly, one, two } = yield* begunByOne
        ask(assembly, one, 1)
        RequestPipeline.releaseAll(one.pipeline)

        const names = [...ask(assembly, two, 1), ...ask(assembly, one, 1)]

        assert.deepStrictEqual(names, ["0:0", undefined])
      }).pipe(budget)
  )

  it.effect("drops such a piece when its supplier leaves, and lets another one start it", () =>
    Effect.gen(function* () {
      const { assembly, one, two } = yield* begunByOne
      ask(assembly, one, 2)
      answer(assembly, one, { count: 1 })

      yield* Assembly.leave(assembly, one)

      assert.strictEqual(PieceTable.stateOf(assembly.table, piece(0)), "missing")
      assert.strictEqual(BufferPool.lentCount(assembly.pool), 0)
      assert.strictEqual(begin(assembly, two, 0).soleSource, bob)
    }).pipe(budget)
  )

  it.effect("leaves such a piece to the supplier that failed to send it least often", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(1, 2))
      const suppliers = [join(assembly, alice), join(assembly, bob), join(assembly, carol)]
      Distrust.requireSoleSource(Assembly.distrustOf(assembly), piece(0))
      const tried: Array<string> = []
      for (let round = 0; round < 7; round++) {
        // The first that may start it, whatever the order in which they were woken.
        const sole = suppliers.find((supplier) => Requests.nextPiece(assembly, supplier) !== undefined)!
        begin(assembly, sole, 0)
        ask(assembly, sole, 2)
        answer(assembly, sole, { count: 1 })
        yield* Assembly.abandon(assembly, sole)
        tried.push("?ABC"[sole.id]!)
      }

      assert.strictEqual(tried.join(""), "ABCABCA")
    }).pipe(budget)
  )

  const nobodyElse: ReadonlyArray<
    readonly [string, (assembly: Assembly.Assembly, other: ScriptedSupplier) => unknown]
  > = [
    ["chokes", (_, other) => (other.peerChoking = true)],
    ["is snubbed", (_, other) => (other.pipeline.isSnubbed = true)],
    ["refused the piece", (_, other) => Resting.rest(other.refused, piece(0), 5_000, 0)],
    ["lost the piece", (assembly, other) => Assembly.lose(assembly, other, piece(0))]
  ]
  for (const [what, happens] of nobodyElse) {
    it.effect(`lets a supplier that failed to send such a piece start it again if the only other one ${what}`, () =>
      Effect.gen(function* () {
        const { assembly, one, other } = yield* leftToOther
        const before = Requests.nextPiece(assembly, one)

        happens(assembly, other)

        assert.deepStrictEqual([before, Requests.nextPiece(assembly, one)], [undefined, piece(0)])
      }).pipe(budget)
    )
  }

  it.effect("wakes a supplier that failed to send such a piece when the other that it was left to loses it", () =>
    Effect.gen(function* () {
      const { assembly, one, other } = yield* leftToOther
      Assembly.idle(assembly, one)

      Assembly.lose(assembly, other, piece(0))

      assert.strictEqual(one.woken, 1)
    }).pipe(budget)
  )

  it.effect("does not let a supplier that failed to send such a piece take it over from another", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(1, 2))
      const [one, two] = [join(assembly, alice), join(assembly, bob)]
      Distrust.requireSoleSource(Assembly.distrustOf(assembly), piece(0))
      begin(assembly, one, 0)
      yield* Assembly.abandon(assembly, one)
      begin(assembly, two, 0)

      const names = [...ask(assembly, one, 1), ...ask(assembly, two, 1)]

      assert.deepStrictEqual(names, [undefined, "0:0"])
    }).pipe(budget)
  )

  it.effect("withholds a piece that rests with every supplier, until another one has it", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(2, 2))
      const one = join(assembly, alice)
      const two = join(assembly, bob, " *")
      begin(assembly, one, 0)
      Distrust.damage(Assembly.distrustOf(assembly), assembly.suppliers, piece(0), alice, 0)
      yield* BufferPool.close(assembly.pool, piece(0))
      begin(assembly, one, 1)
      ask(assembly, one, 2)

      const isEndGame = nameOf(Requests.nextDuplicate(assembly, two, 5_000)) !== undefined
      const damaged = Assembly.damagedPieces(assembly)
      const three = join(assembly, carol)

      assert.deepStrictEqual([isEndGame, damaged], [true, [0]])
      assert.deepStrictEqual([Requests.nextPiece(assembly, one), Requests.nextPiece(assembly, three)], [undefined, 0])
      assert.deepStrictEqual(Assembly.damagedPieces(assembly), [])
      yield* Assembly.leave(assembly, three)
      Assembly.tick(assembly, 2_000)
      assert.deepStrictEqual(
        [[...Assembly.distrustOf(assembly).withheld], Assembly.damagedPieces(assembly)],
        [[0], [0]]
      )
      Assembly.tick(assembly, 30_000)
      assert.deepStrictEqual(
        [[...Assembly.distrustOf(assembly).withheld], PiecePicker.isCandidate(assembly.picker, piece(0))],
        [[], true]
      )
    }).pipe(budget)
  )
})
