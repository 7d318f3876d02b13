import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as PieceOrder from "../../src/assembly/PieceOrder.ts"
import * as PiecePicker from "../../src/assembly/PiecePicker.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as Prng from "../../src/base/Prng.ts"
import { has, piece } from "./pieces.ts"

/** A picker over pieces whose availability is drawn as a string, one digit a piece. */
const pickerOf = (availability: string, seed = 1) => {
  const picker = PiecePicker.make(availability.length, Prng.make(seed))
  for (let index = 0; index < availability.length; index++) {
    for (let peer = 0; peer < Number(availability[index]); peer++) PiecePicker.gain(picker, piece(index))
  }
  return picker
}

/** Starts `count` pieces with a peer that has them all. */
const start = (order: PieceOrder.PieceOrder, picker: PiecePicker.PiecePicker, count: number, begun = 0) => {
  const started: Array<number> = []
  for (let turn = 0; turn < count; turn++) {
    const picked = PieceOrder.pick(order, picker, Bitfield.full(picker.positions.length), new Set(), begun + turn)
    if (picked === undefined) break
    PiecePicker.remove(picker, picked)
    started.push(picked)
  }
  return started
}

describe("PieceOrder", () => {
  it("starts the first four pieces at random, and the rarest from then on", () => {
    const firsts = new Set<number>()
    for (let seed = 0; seed < 100; seed++) {
      const started = start(PieceOrder.make(), pickerOf("98765432", seed), 8)
      for (const index of started.slice(0, PieceOrder.randomFirstPieces)) firsts.add(index)
      const rest = started.slice(PieceOrder.randomFirstPieces)
      assert.deepStrictEqual(
        rest,
        [...rest].sort((one, other) => other - one)
      )
    }

    assert.strictEqual(firsts.size, 8)
  })

  it("starts no piece at random in a download that had begun before", () => {
    const started = start(PieceOrder.make(), pickerOf("3120"), 4, PieceOrder.randomFirstPieces)

    assert.deepStrictEqual(started, [3, 1, 2, 0])
  })

  it("starts pieces by index if the order is sequential", () => {
    const order = PieceOrder.make({ isSequential: true })

    assert.deepStrictEqual(start(order, pickerOf("3120"), 5), [0, 1, 2, 3])
  })

  it("starts pieces with a deadline first, the earliest before all", () => {
    const order = PieceOrder.make()
    PieceOrder.setDeadline(order, piece(3), 5_000)
    PieceOrder.setDeadline(order, piece(1), 9_000)
    PieceOrder.setDeadline(order, piece(4), 7_000)

    assert.deepStrictEqual(start(order, pickerOf("00999"), 5, 4).slice(0, 3), [3, 4, 1])
  })

  it("puts deadlines before high priority, and high priority before the lowest index", () => {
    const order = PieceOrder.make({ isSequential: true })
    const picker = pickerOf("0000")
    PiecePicker.setPriority(picker, piece(2), "high")
    PieceOrder.setDeadline(order, piece(3), 1)

    assert.deepStrictEqual(start(order, picker, 4), [3, 2, 0, 1])
  })

  it("passes over pieces that the peer lacks, that it refused, and that are skipped", () => {
    const order = PieceOrder.make()
    const picker = pickerOf("0000")
    for (const index of [0, 1, 2, 3]) PieceOrder.setDeadline(order, piece(index), index)
    PiecePicker.setPriority(picker, piece(0), "skip")

    const picked = PieceOrder.pick(order, picker, has("* **"), new Set([piece(2)]), 0)

    assert.strictEqual(picked, 3)
  })

  it("starts pieces that were put first before those with a deadline, in the order in which they were put", () => {
    const order = PieceOrder.make()
    PieceOrder.setDeadline(order, piece(3), Number.NEGATIVE_INFINITY)
    for (const index of [4, 1]) PieceOrder.putFirst(order, [piece(index)])
    const picker = pickerOf("00999")
    PiecePicker.setPriority(picker, piece(0), "high")

    assert.deepStrictEqual(start(order, picker, 4), [4, 1, 3, 0])
  })

  it("passes over pieces that were put first and cannot be started", () => {
    const order = PieceOrder.make()
    for (const index of [0, 1, 2, 3]) PieceOrder.putFirst(order, [piece(index)])
    const picker = pickerOf("00000")
    PiecePicker.setPriority(picker, piece(0), "skip")

    const picked = PieceOrder.pick(order, picker, has("* ***"), new Set([piece(2)]), 0)

    assert.strictEqual(picked, 3)
  })

  it("a piece that was put first stays first until it is stored, whatever deadlines are set meanwhile", () => {
    const order = PieceOrder.make()
    PieceOrder.putFirst(order, [piece(2)])
    PieceOrder.setDeadline(order, piece(2), 5)
    PieceOrder.setDeadline(order, piece(1), 1)
    order.deadlines.length = 0
    const before = start(order, pickerOf("000"), 1)

    PieceOrder.clearDeadline(order, piece(2))

    assert.deepStrictEqual([before, order.first?.size], [[2], 0])
  })

  it("keeps one deadline a piece, in order, whatever is set and cleared", () => {
    const step = fc.tuple(fc.nat(6), fc.option(fc.nat(50), { nil: undefined }))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (script) => {
        const order = PieceOrder.make()
        const model = new Map<number, number>()
        for (const [index, at] of script) {
          if (at === undefined) {
            PieceOrder.clearDeadline(order, piece(index))
            model.delete(index)
          } else {
            PieceOrder.setDeadline(order, piece(index), at)
            model.set(index, at)
          }
        }

        const times = order.deadlines.map(({ at }) => at)
        assert.deepStrictEqual(new Map(order.deadlines.map(({ at, piece }) => [piece as number, at])), model)
        assert.strictEqual(times.length, model.size)
        assert.deepStrictEqual(
          times,
          [...times].sort((one, other) => one - other)
        )
      })
    )
  })
})
