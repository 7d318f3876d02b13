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

/** Owners of deadlines. */
const user = { name: "user" }
const alice = { name: "alice" }
const bob = { name: "bob" }

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

const deadlines = (...times: ReadonlyArray<readonly [index: number, at: number]>) =>
  times.map(([index, at]) => ({ piece: piece(index), at }))

describe("PieceOrder", () => {
  it("sets and clears a deadline of each of 100,000 pieces", () => {
    const order = PieceOrder.make()
    const pieceCount = 100_000
    PieceOrder.setDeadlines(
      order,
      user,
      deadlines(...Array.from({ length: pieceCount }, (_, at) => [at, at % 7] as const))
    )

    const cleared = Array.from(order.due!.keys())
    for (const index of cleared) PieceOrder.clearDeadline(order, index)

    assert.deepStrictEqual(cleared.slice(0, 2), [0, 7])
    assert.deepStrictEqual([order.due, order.owners!.size], [undefined, 0])
  })

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
    PieceOrder.setDeadlines(order, user, deadlines([3, 5_000], [1, 9_000], [4, 7_000]))

    assert.deepStrictEqual(start(order, pickerOf("00999"), 5, 4).slice(0, 3), [3, 4, 1])
  })

  it("puts deadlines before high priority, and high priority before the lowest index", () => {
    const order = PieceOrder.make({ isSequential: true })
    const picker = pickerOf("0000")
    PiecePicker.setPriority(picker, piece(2), "high")
    PieceOrder.setDeadlines(order, user, deadlines([3, 1]))

    assert.deepStrictEqual(start(order, picker, 4), [3, 2, 0, 1])
  })

  it("passes over pieces that the peer lacks, that it refused, and that are skipped", () => {
    const order = PieceOrder.make()
    const picker = pickerOf("0000")
    PieceOrder.setDeadlines(order, user, deadlines([0, 0], [1, 1], [2, 2], [3, 3]))
    PiecePicker.setPriority(picker, piece(0), "skip")

    const picked = PieceOrder.pick(order, picker, has("* **"), new Set([piece(2)]), 0)

    assert.strictEqual(picked, 3)
  })

  it("starts pieces that were put first before those with a deadline, in the order in which they were put", () => {
    const order = PieceOrder.make()
    PieceOrder.setDeadlines(order, user, deadlines([3, Number.NEGATIVE_INFINITY]))
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
    PieceOrder.setDeadlines(order, user, deadlines([2, 5], [1, 1]))
    PieceOrder.setDeadlines(order, user, [])
    const before = start(order, pickerOf("000"), 1)

    PieceOrder.clearDeadline(order, piece(2))

    assert.deepStrictEqual([before, order.first?.size], [[2], 0])
  })

  it("keeps one deadline a piece, in order, whatever is set and cleared", () => {
    const times = fc.array(fc.tuple(fc.nat(6), fc.nat(50)), { maxLength: 30 })
    fc.assert(
      fc.property(times, fc.array(fc.nat(6)), (times, cleared) => {
        const order = PieceOrder.make()
        const model = new Map(times)

        PieceOrder.setDeadlines(order, user, deadlines(...times))
        for (const index of cleared) {
          PieceOrder.clearDeadline(order, piece(index))
          model.delete(index)
        }

        const kept = Array.from(order.due ?? [], ([index]) => model.get(index))
        assert.deepStrictEqual(
          kept,
          [...model.values()].sort((one, other) => one - other)
        )
      })
    )
  })

  it("lets the owners of deadlines of one time take turns, and puts an earlier one before them", () => {
    const order = PieceOrder.make()
    PieceOrder.setDeadlines(order, alice, deadlines([0, 7], [1, 7], [2, 7], [3, 9]))
    PieceOrder.setDeadlines(order, bob, deadlines([4, 7], [5, 7], [6, 5]))

    assert.deepStrictEqual([...order.due!.keys()], [6, 0, 4, 1, 5, 2, 3])
  })

  it("keeps the earliest deadline of a piece that several owners need, and the other's when that owner leaves", () => {
    const order = PieceOrder.make()
    PieceOrder.setDeadlines(order, alice, deadlines([0, 3], [1, 4]))
    PieceOrder.setDeadlines(order, bob, deadlines([1, 2], [0, 8]))
    const before = [...order.due!]

    PieceOrder.setDeadlines(order, alice, [])

    assert.deepStrictEqual(before, [
      [1, 2],
      [0, 3]
    ])
    assert.deepStrictEqual(
      [...order.due!],
      [
        [1, 2],
        [0, 8]
      ]
    )
  })

  it("merges the deadlines of any owners as a list of all of them does, whatever is set and cleared", () => {
    const owners = [user, alice, bob]
    const times = fc.array(fc.tuple(fc.nat(7), fc.nat(4)), { maxLength: 8 })
    const set = fc.record({ owner: fc.nat(2), times })
    const clear = fc.record({ cleared: fc.nat(7) })
    fc.assert(
      fc.property(fc.array(fc.oneof(set, clear), { maxLength: 12 }), (steps) => {
        const order = PieceOrder.make()
        const model = owners.map(() => new Map<number, number>())
        /** The lists when deadlines were last set. To clear a piece does not move the others. */
        let merged: ReadonlyArray<ReadonlyArray<readonly [number, number]>> = []

        for (const step of steps) {
          if ("cleared" in step) {
            PieceOrder.clearDeadline(order, piece(step.cleared))
            for (const list of model) list.delete(step.cleared)
          } else {
            PieceOrder.setDeadlines(order, owners[step.owner]!, deadlines(...step.times))
            const last = new Map<number, number>()
            // The last deadline of a piece counts, and its place in the list.
            for (const [index, at] of step.times) {
              last.delete(index)
              last.set(index, at)
            }
            const isChanged = last.size > 0 || model[step.owner]!.size > 0
            model[step.owner] = last
            if (isChanged) merged = model.map((list) => [...list])
          }
        }

        const due = [...(order.due ?? [])]
        const earliest = new Map<number, number>()
        for (const list of model) {
          for (const [index, at] of list) earliest.set(index, Math.min(at, earliest.get(index) ?? at))
        }
        // Every piece once, at its earliest time, and in the order of the times.
        assert.deepStrictEqual(new Map<number, number>(due), earliest)
        for (let next = 1; next < due.length; next++) assert.isAtMost(due[next - 1]![1], due[next]![1])
        // No owner comes twice in a row while another one that is due at that time has had fewer turns.
        for (const time of new Set(earliest.values())) {
          const group = due.flatMap(([index, at]) => (at === time ? [index] : []))
          const lists = merged.map((list) => list.flatMap(([index, at]) => (at === time ? [index] : [])))
          const turnOf = (index: number) =>
            Math.min(...lists.flatMap((list) => (list.includes(index as never) ? [list.indexOf(index as never)] : [])))
          for (let next = 1; next < group.length; next++) {
            // A list is ordered by when its deadlines were set, which the sort keeps.
            assert.isAtMost(turnOf(group[next - 1]!), turnOf(group[next]!))
          }
        }
        assert.isTrue(order.owners === undefined || [...order.owners.values()].every(({ size }) => size > 0))
        assert.strictEqual(order.due === undefined, earliest.size === 0)
      })
    )
  })
})
