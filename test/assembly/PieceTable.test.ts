import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as PieceTable from "../../src/assembly/PieceTable.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import { geometryOf, has, piece } from "./pieces.ts"

const moves = {
  start: PieceTable.start,
  complete: PieceTable.complete,
  verify: PieceTable.verify,
  store: PieceTable.store,
  reset: PieceTable.reset,
  restore: PieceTable.restore
} as const

type Move = keyof typeof moves

/** The model: the state that each move leads to from each state. A move that is not listed must throw. */
const leads: Record<PieceTable.PieceState, Partial<Record<Move, PieceTable.PieceState>>> = {
  missing: { start: "active", restore: "stored" },
  active: { complete: "complete", reset: "missing" },
  complete: { verify: "verified", reset: "missing" },
  verified: { store: "stored" },
  stored: {}
}

/** Moves that bring piece 0 into each state. */
const paths: Record<PieceTable.PieceState, ReadonlyArray<Move>> = {
  missing: [],
  active: ["start"],
  complete: ["start", "complete"],
  verified: ["start", "complete", "verify"],
  stored: ["start", "complete", "verify", "store"]
}

describe("PieceTable", () => {
  for (const [from, path] of Object.entries(paths)) {
    for (const [name, move] of Object.entries(moves)) {
      const to = leads[from as PieceTable.PieceState][name as Move]
      it(`${name} ${to === undefined ? "throws for" : `makes ${to} of`} a piece that is ${from}`, () => {
        const table = PieceTable.make(geometryOf(2, 1))
        for (const step of path) moves[step](table, piece(0))

        if (to === undefined) assert.throws(() => move(table, piece(0)))
        else move(table, piece(0))

        assert.strictEqual(PieceTable.stateOf(table, piece(0)), to ?? from)
      })
    }
  }

  it("keeps every piece in exactly one state, and counts them, after any script of moves", () => {
    const step = fc.tuple(fc.constantFrom(...(Object.keys(moves) as Array<Move>)), fc.nat(4))
    const drawn = fc.stringMatching(/^[* ]{5}$/)
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), drawn, fc.nat(60), (script, wanted, when) => {
        const table = PieceTable.make(geometryOf(5, 1))
        if (when >= script.length) PieceTable.setWanted(table, has(wanted))
        const model = new Array<PieceTable.PieceState>(5).fill("missing")
        for (const [at, [move, index]] of script.entries()) {
          if (at === when) PieceTable.setWanted(table, has(wanted))
          const to = leads[model[index]!][move]
          if (to === undefined) assert.throws(() => moves[move](table, piece(index)))
          else {
            moves[move](table, piece(index))
            model[index] = to
          }
        }
        const counted = { missing: 0, active: 0, complete: 0, verified: 0, stored: 0 }
        for (const state of model) counted[state]!++

        assert.deepStrictEqual(
          model.map((_, index) => PieceTable.stateOf(table, piece(index))),
          model
        )
        assert.deepStrictEqual(table.counts, counted)
        assert.deepStrictEqual(
          [...Bitfield.indices(table.stored)],
          model.flatMap((state, index) => (state === "stored" ? [index] : []))
        )
        assert.strictEqual(PieceTable.isComplete(table), counted.stored === 5)
        const unstored = model.filter((state, index) => wanted[index] === "*" && state !== "stored")
        assert.strictEqual(table.unstoredWanted, unstored.length)
        assert.strictEqual(PieceTable.isFinished(table), unstored.length === 0)
      })
    )
  })
})
