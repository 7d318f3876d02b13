import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as BufferPool from "../../src/assembly/BufferPool.ts"
import { assemblyOf, begin, budget } from "../assembly/assemblies.ts"
import { geometryOf, piece } from "../assembly/pieces.ts"
import { answer, ask, askAgain, asked, idOf, join } from "./ScriptedSupplier.ts"

const alice = idOf(1)
const bob = idOf(2)
const carol = idOf(3)
const dave = idOf(4)

describe("EndGame", () => {
  it.effect("has no end game while there is a piece to start", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(2, 1))
      const one = join(assembly, alice)
      yield* begin(assembly, one, 0)
      ask(assembly, one, 1)

      const names = askAgain(assembly, join(assembly, bob, "* "))

      assert.deepStrictEqual(names, [])
    }).pipe(budget)
  )

  it.effect("fault 44: requests a block from at most three peers in the end game, and cancels the slower ones", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(1, 2))
      const suppliers = [alice, bob, carol, dave].map((key) => join(assembly, key))
      const buffer = yield* begin(assembly, suppliers[0]!, 0)
      ask(assembly, suppliers[0]!, 2)

      const names = suppliers.map((supplier) => askAgain(assembly, supplier))
      answer(assembly, suppliers[2]!, { count: 1 })

      assert.deepStrictEqual(names, [[], ["0:0", "0:1"], ["0:0", "0:1"], []])
      assert.deepStrictEqual([...buffer.requests], [0, 3])
      assert.deepStrictEqual(
        suppliers.map((supplier) => supplier.cancels),
        [["0:0"], ["0:0"], [], []]
      )
      assert.deepStrictEqual(
        suppliers.map((supplier) => asked(supplier)),
        [["0:1"], ["0:1"], ["0:1"], []]
      )
    }).pipe(budget)
  )

  it.effect("begins the end game when only delayed pieces are left", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(2, 1))
      const one = join(assembly, alice)
      yield* begin(assembly, one, 1)
      assembly.distrust.delayed.set(piece(1), 60_000)
      yield* BufferPool.close(assembly.pool, piece(1))
      yield* begin(assembly, one, 0)
      ask(assembly, one, 1)

      const names = askAgain(assembly, join(assembly, bob))

      assert.deepStrictEqual(names, ["0:0"])
    }).pipe(budget)
  )

  it.effect("wakes idle suppliers when the last piece is started, because the end game has blocks for them", () =>
    Effect.gen(function* () {
      const assembly = yield* assemblyOf(geometryOf(2, 1))
      const one = join(assembly, alice)
      const two = join(assembly, bob, "* ")
      yield* begin(assembly, one, 0)
      ask(assembly, one, 1)
      Assembly.idle(assembly, two)

      yield* begin(assembly, one, 1)

      assert.strictEqual(two.woken, 1)
      assert.deepStrictEqual(askAgain(assembly, two), ["0:0"])
    }).pipe(budget)
  )
})
