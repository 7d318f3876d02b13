import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as PiecePicker from "../../src/piece/PiecePicker.ts"
import { has, piece } from "./pieces.ts"

const nothing: ReadonlySet<never> = new Set()

const moves = {
  gain: PiecePicker.gain,
  lose: PiecePicker.lose,
  remove: PiecePicker.remove,
  insert: PiecePicker.insert
} as const

/** A picker over pieces whose availability is drawn as a string, one digit a piece. */
const pickerOf = (availability: string, seed = 1) => {
  const picker = PiecePicker.make(availability.length, Prng.make(seed))
  for (let index = 0; index < availability.length; index++) {
    for (let peer = 0; peer < Number(availability[index]); peer++) PiecePicker.gain(picker, piece(index))
  }
  return picker
}

/** All pieces in the order in which a peer that has them all would start them. */
const pickAll = (picker: PiecePicker.PiecePicker) => {
  const order: Array<number> = []
  const everything = Bitfield.full(picker.positions.length)
  for (;;) {
    const next = PiecePicker.pick(picker, everything, nothing)
    if (next === undefined) return order
    order.push(next)
    PiecePicker.remove(picker, next)
  }
}

describe("PiecePicker", () => {
  it("picks the rarest first", () => {
    const picker = pickerOf("2103")

    const order = pickAll(picker)

    assert.deepStrictEqual(order, [2, 1, 0, 3])
  })

  it("picks the rarest that the peer has", () => {
    const picker = pickerOf("2103")

    const picked = PiecePicker.pick(picker, has("*  *"), nothing)

    assert.strictEqual(picked, 0)
  })

  it("passes over what the peer refused", () => {
    const picker = pickerOf("2103")

    const picked = PiecePicker.pick(picker, has("****"), new Set([piece(2), piece(1)]))

    assert.strictEqual(picked, 0)
  })

  it("picks nothing where the peer has no candidate", () => {
    const picker = pickerOf("21")
    PiecePicker.remove(picker, piece(0))

    assert.isUndefined(PiecePicker.pick(picker, has("* "), nothing))
  })

  it("follows availability up and down", () => {
    const picker = pickerOf("1111")
    PiecePicker.gain(picker, piece(0))
    PiecePicker.gain(picker, piece(0))
    PiecePicker.gain(picker, piece(2))
    PiecePicker.lose(picker, piece(1))

    const order = pickAll(picker)

    assert.deepStrictEqual(order, [1, 3, 2, 0])
  })

  it("keeps counting the availability of a piece that is no candidate", () => {
    const picker = pickerOf("111")
    PiecePicker.remove(picker, piece(1))
    PiecePicker.gain(picker, piece(1))
    PiecePicker.gain(picker, piece(0))
    PiecePicker.gain(picker, piece(0))
    PiecePicker.insert(picker, piece(1))

    const order = pickAll(picker)

    assert.deepStrictEqual(order, [2, 1, 0])
  })

  it("orders equally rare pieces by salt: the same for one seed, others for another", () => {
    const orderOf = (seed: number) => pickAll(pickerOf("1".repeat(32), seed))

    assert.deepStrictEqual(orderOf(7), orderOf(7))
    assert.notDeepEqual(orderOf(7), orderOf(8))
  })

  it("lets every piece come first for some seed", () => {
    const first = new Set(Array.from({ length: 100 }, (_, seed) => pickAll(pickerOf("0000", seed))[0]))

    assert.strictEqual(first.size, 4)
  })

  it("tells by its version when a piece became a candidate", () => {
    const picker = pickerOf("11")
    const before = picker.version
    PiecePicker.remove(picker, piece(0))
    const removed = picker.version
    PiecePicker.insert(picker, piece(0))

    assert.deepStrictEqual([removed - before, picker.version - removed], [0, 1])
  })

  it("stands in the order that a sort would give, after any script of moves", () => {
    const step = fc.tuple(fc.constantFrom(...(["gain", "lose", "remove", "insert"] as const)), fc.nat(8))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), fc.nat(), (script, seed) => {
        const picker = PiecePicker.make(9, Prng.make(seed))
        const availability = new Array<number>(9).fill(0)
        const candidates = new Set(availability.keys())
        for (const [move, index] of script) {
          if (move === "lose" && availability[index] === 0) continue
          moves[move](picker, piece(index))
          if (move === "gain") availability[index]!++
          else if (move === "lose") availability[index]!--
          else if (move === "remove") candidates.delete(index)
          else candidates.add(index)
        }
        const order = [...picker.order.subarray(0, picker.count)]

        assert.deepStrictEqual([...order].sort(), [...candidates].sort())
        assert.deepStrictEqual(
          order.map((index) => availability[index]),
          [...candidates].map((index) => availability[index]!).sort((a, b) => a - b)
        )
        for (const [index, position] of picker.positions.entries()) {
          assert.strictEqual(position, order.indexOf(index))
        }
        assert.deepStrictEqual([...picker.availability], availability)
      })
    )
  })
})
