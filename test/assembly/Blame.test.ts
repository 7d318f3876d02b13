import { assert, describe, it } from "@effect/vitest"
import * as Blame from "../../src/assembly/Blame.ts"
import type { SupplierId } from "../../src/supply/SupplierId.ts"
import { idOf } from "../supply/ScriptedSupplier.ts"
import { piece } from "./pieces.ts"

const alice = idOf(1)
const bob = idOf(2)
const carol = idOf(3)

const digest = (byte: number) => new Uint8Array(20).fill(byte)

const suspicion = (supplier: SupplierId, block: number, byte: number): Blame.Suspicion => ({
  supplier,
  block,
  sha1: digest(byte)
})

describe("Blame", () => {
  it("fault 40: finds exactly those guilty whose blocks differed from the copy that passed", () => {
    const blame = Blame.make()
    Blame.suspect(blame, piece(3), [suspicion(alice, 0, 1), suspicion(bob, 1, 9), suspicion(carol, 2, 3)])

    const blocks = Blame.suspectedBlocks(blame, piece(3))
    const guilty = Blame.clear(blame, piece(3), new Map([0, 1, 2].map((block) => [block, digest(block + 1)])))

    assert.deepStrictEqual(blocks, new Set([0, 1, 2]))
    assert.deepStrictEqual(guilty, new Set([bob]))
  })

  it("finds the liars of several wrong copies", () => {
    const blame = Blame.make()
    Blame.suspect(blame, piece(0), [suspicion(alice, 0, 7), suspicion(bob, 1, 2)])
    Blame.suspect(blame, piece(0), [suspicion(bob, 0, 1), suspicion(carol, 1, 8)])

    const guilty = Blame.clear(
      blame,
      piece(0),
      new Map([
        [0, digest(1)],
        [1, digest(2)]
      ])
    )

    assert.deepStrictEqual(guilty, new Set([alice, carol]))
  })

  it("forgets the suspicions when a copy passes", () => {
    const blame = Blame.make()
    Blame.fail(blame, piece(0))
    Blame.suspect(blame, piece(0), [suspicion(alice, 0, 7)])
    Blame.clear(blame, piece(0), new Map())

    const guilty = Blame.clear(blame, piece(0), new Map([[0, digest(1)]]))

    assert.strictEqual(guilty.size, 0)
    assert.strictEqual(Blame.failuresOf(blame, piece(0)), 0)
    assert.strictEqual(Blame.suspectedBlocks(blame, piece(0)).size, 0)
  })

  it("holds nothing against anybody because of another piece", () => {
    const blame = Blame.make()
    Blame.suspect(blame, piece(0), [suspicion(alice, 0, 7)])

    const guilty = Blame.clear(blame, piece(1), new Map([[0, digest(1)]]))

    assert.strictEqual(guilty.size, 0)
    assert.strictEqual(Blame.suspectedBlocks(blame, piece(0)).size, 1)
  })

  it("counts the failures of each piece", () => {
    const blame = Blame.make()
    Blame.fail(blame, piece(0))
    Blame.fail(blame, piece(0))
    Blame.fail(blame, piece(1))

    assert.deepStrictEqual(
      [0, 1, 2].map((index) => Blame.failuresOf(blame, piece(index))),
      [2, 1, 0]
    )
  })
})
