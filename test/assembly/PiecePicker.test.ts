import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as PiecePicker from "../../src/assembly/PiecePicker.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as Prng from "../../src/base/Prng.ts"
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

  it("picks the rarest piece that the peer has", () => {
    const picker = pickerOf("2103")

    const picked = PiecePicker.pick(picker, has("*  *"), nothing)

    assert.strictEqual(picked, 0)
  })

  it("passes over pieces that the peer refused", () => {
    const picker = pickerOf("2103")

    const picked = PiecePicker.pick(picker, has("****"), new Set([piece(2), piece(1)]))

    assert.strictEqual(picked, 0)
  })

  it("picks nothing if the peer has no candidate", () => {
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

  it("orders equally rare pieces by the seed: the same for one seed, others for another", () => {
    const orderOf = (seed: number) => pickAll(pickerOf("1".repeat(32), seed))

    assert.deepStrictEqual(orderOf(7), orderOf(7))
    assert.notDeepEqual(orderOf(7), orderOf(8))
  })

  it("lets every piece come first for some seed", () => {
    const first = new Set(Array.from({ length: 100 }, (_, seed) => pickAll(pickerOf("0000", seed))[0]))

    assert.strictEqual(first.size, 4)
  })

  it("shows by its version that a piece became a candidate", () => {
    const picker = pickerOf("11")
    const before = picker.version
    PiecePicker.remove(picker, piece(0))
    const removed = picker.version
    PiecePicker.insert(picker, piece(0))

    assert.deepStrictEqual([removed - before, picker.version - removed], [0, 1])
  })

  it("picks pieces of high priority first, the rarest of them first, and skipped ones never", () => {
    const picker = pickerOf("20314")
    PiecePicker.setPriority(picker, piece(2), "high")
    PiecePicker.setPriority(picker, piece(0), "high")
    PiecePicker.setPriority(picker, piece(1), "skip")

    const order = pickAll(picker)

    assert.deepStrictEqual(order, [0, 2, 3, 4])
  })

  it("a skipped piece is no candidate until it is wanted again", () => {
    const picker = pickerOf("11")
    PiecePicker.setPriority(picker, piece(0), "skip")
    const { count, version } = picker
    PiecePicker.insert(picker, piece(0))
    const whileSkipped = PiecePicker.pick(picker, has("* "), nothing)
    PiecePicker.setPriority(picker, piece(0), "normal")

    assert.strictEqual(count, 1)
    assert.isUndefined(whileSkipped)
    assert.strictEqual(PiecePicker.pick(picker, has("* "), nothing), 0)
    assert.isAbove(picker.version, version)
  })

  it("does not start a piece again whose priority changes while it is active", () => {
    const picker = pickerOf("11")
    PiecePicker.remove(picker, piece(0))
    PiecePicker.setPriority(picker, piece(0), "skip")
    PiecePicker.setPriority(picker, piece(0), "high")
    const whileUnderWay = PiecePicker.isCandidate(picker, piece(0))
    PiecePicker.insert(picker, piece(0))

    assert.isFalse(whileUnderWay)
    assert.deepStrictEqual(pickAll(picker), [0, 1])
  })

  it("does not start a piece again that was skipped while it was active", () => {
    const picker = pickerOf("11")
    PiecePicker.remove(picker, piece(0))
    PiecePicker.setPriority(picker, piece(0), "skip")
    PiecePicker.insert(picker, piece(0))

    assert.deepStrictEqual(pickAll(picker), [1])
  })

  it("pickLowest picks the lowest index that the peer has, high priority first", () => {
    const picker = pickerOf("00000")
    PiecePicker.setPriority(picker, piece(3), "high")
    const picks: Array<number | undefined> = []
    for (const drawn of ["*****", " ****", "*****", "*****"]) {
      const picked = PiecePicker.pickLowest(picker, has(drawn), new Set([piece(1)]))
      picks.push(picked)
      if (picked !== undefined) PiecePicker.remove(picker, picked)
    }

    assert.deepStrictEqual(picks, [3, 2, 0, 4])
    assert.isUndefined(PiecePicker.pickLowest(picker, has("*****"), new Set([piece(1)])))
  })

  it("finds a lower piece that is a candidate again", () => {
    const picker = pickerOf("000")
    for (const index of [0, 1]) PiecePicker.remove(picker, piece(index))
    const before = PiecePicker.pickLowest(picker, has("***"), nothing)
    PiecePicker.insert(picker, piece(1))

    assert.deepStrictEqual([before, PiecePicker.pickLowest(picker, has("***"), nothing)], [2, 1])
  })

  it("pickRandom picks any candidate that the peer has, high priority first, and no other piece", () => {
    const picks = (priority: "normal" | "high") =>
      new Set<number | undefined>(
        Array.from({ length: 200 }, (_, seed) => {
          const picker = pickerOf("01234", seed)
          PiecePicker.remove(picker, piece(2))
          PiecePicker.setPriority(picker, piece(3), priority)
          return PiecePicker.pickRandom(picker, has("** **"), new Set([piece(1)]))
        })
      )

    assert.deepStrictEqual([...picks("normal")].sort(), [0, 3, 4])
    assert.deepStrictEqual([...picks("high")], [3])
  })

  it("finds the rarest piece of a peer with few pieces without a walk over the torrent", () => {
    const pieceCount = 20_000
    const picker = PiecePicker.make(pieceCount, Prng.make(1))
    const few = [7, 8_000, 8_001, 19_999].map(piece)
    const peer = Bitfield.make(pieceCount)
    for (const index of few) {
      Bitfield.add(peer, index)
      PiecePicker.gain(picker, index)
    }
    PiecePicker.gain(picker, few[0]!)
    PiecePicker.gain(picker, few[1]!)
    PiecePicker.setPriority(picker, few[3]!, "skip")
    let reads = 0
    picker.normal.order = new Proxy(picker.normal.order, {
      get: (order, key) => {
        reads++
        return Reflect.get(order, key)
      }
    })

    const picks = [
      PiecePicker.pick(picker, peer, nothing),
      PiecePicker.pick(picker, peer, new Set([piece(8_001)])) === 8_001,
      PiecePicker.pick(picker, peer, new Set(few)),
      few.includes(PiecePicker.pickRandom(picker, peer, nothing)!),
      PiecePicker.pickLowest(picker, peer, nothing)
    ]

    assert.deepStrictEqual(picks, [8_001, false, undefined, true, 7])
    assert.isAtMost(reads, 5 * 1_024)
  })

  it("keeps the order that a sort would make, after any script of moves", () => {
    const step = fc.tuple(
      fc.constantFrom(...(["gain", "lose", "remove", "insert", "skip", "normal", "high"] as const)),
      fc.nat(8)
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), fc.nat(), (script, seed) => {
        const picker = PiecePicker.make(9, Prng.make(seed))
        const availability = new Array<number>(9).fill(0)
        const priorities = new Array<string>(9).fill("normal")
        const missing = new Set(availability.keys())
        for (const [move, index] of script) {
          if (move === "lose" && availability[index] === 0) continue
          if (move === "skip" || move === "normal" || move === "high") {
            PiecePicker.setPriority(picker, piece(index), move)
            priorities[index] = move
            continue
          }
          moves[move](picker, piece(index))
          if (move === "gain") availability[index]!++
          else if (move === "lose") availability[index]!--
          else if (move === "remove") missing.delete(index)
          else missing.add(index)
        }
        const everything = Bitfield.full(9)
        const standing = new Map<number, number>()
        for (const priority of ["high", "normal"] as const) {
          const { order, count } = picker[priority]
          const pieces = [...order.subarray(0, count)]
          const candidates = [...missing].filter((index) => priorities[index] === priority)
          assert.deepStrictEqual([...pieces].sort(), candidates.sort())
          assert.deepStrictEqual(
            pieces.map((index) => availability[index]),
            candidates.map((index) => availability[index]!).sort((a, b) => a - b)
          )
          for (const [position, index] of pieces.entries()) standing.set(index, position)
        }
        for (const index of availability.keys()) {
          assert.strictEqual(PiecePicker.isCandidate(picker, piece(index)), standing.has(index))
          if (standing.has(index)) assert.strictEqual(picker.positions[index], standing.get(index))
        }
        assert.strictEqual(picker.count, standing.size)
        assert.deepStrictEqual([...picker.availability], availability)
        // High priority first in each order, and the lowest of them in the sequential one.
        const first = [...standing.keys()].filter((index) => picker.high.count === 0 || priorities[index] === "high")
        const lowest = standing.size === 0 ? undefined : Math.min(...first)
        assert.strictEqual(PiecePicker.pickLowest(picker, everything, nothing), lowest)
        const picked = PiecePicker.pick(picker, everything, nothing)
        const rarest = Math.min(...first.map((index) => availability[index]!))
        assert.strictEqual(picked === undefined ? Number.POSITIVE_INFINITY : availability[picked], rarest)
      }),
      { numRuns: 300 }
    )
  })

  describe("in a torrent of which a peer lacks the rarest pieces", () => {
    const [first, second, lacked] = [7, 9, 3_000].map(piece) as [PieceIndex, PieceIndex, PieceIndex]

    /** The peer has the pieces `first` and `second`, of which two and three others have a copy. */
    const rarer = () => {
      const picker = PiecePicker.make(4_000, Prng.make(1))
      const peer = Bitfield.make(4_000)
      for (const [index, availability] of [
        [first, 3],
        [second, 4]
      ] as const) {
        Bitfield.add(peer, index)
        for (let count = 0; count < availability; count++) PiecePicker.gain(picker, index)
      }
      return { picker, next: () => PiecePicker.pick(picker, peer, nothing) }
    }

    it("follows a piece of it that becomes more available", () => {
      const { next, picker } = rarer()
      const before = next()
      for (let count = 0; count < 2; count++) PiecePicker.gain(picker, first)
      const after = next()
      PiecePicker.remove(picker, second)

      assert.deepStrictEqual([before, after, next()], [first, second, first])
    })

    it("keeps nothing about it when no candidate is left, and starts anew", () => {
      const { next, picker } = rarer()
      next()
      const isKept = picker.memory !== undefined
      for (let index = 0; index < 4_000; index++) PiecePicker.remove(picker, piece(index))
      const kept = picker.memory

      for (let index = 0; index < 4_000; index++) PiecePicker.insert(picker, piece(index))

      assert.deepStrictEqual([isKept, kept, next()], [true, undefined, first])
    })

    it("finds a piece that was a candidate again many changes ago", () => {
      const { next, picker } = rarer()
      PiecePicker.remove(picker, first)
      const before = next()
      PiecePicker.insert(picker, first)
      for (let count = 0; count < 10_000; count++) {
        PiecePicker.remove(picker, lacked)
        PiecePicker.insert(picker, lacked)
      }

      assert.deepStrictEqual([before, next()], [second, first])
    })
  })

  it("picks what a search of all candidates would, in a large torrent, after any script of moves", () => {
    const pieceCount = 4_000
    const seeds = fc.integer({ min: 0, max: 2 ** 31 - 1 })
    fc.assert(
      fc.property(seeds, (seed) => {
        const draw = Prng.make(seed)
        const any = () => piece(Prng.integer(draw, pieceCount))
        const picker = PiecePicker.make(pieceCount, Prng.make(seed))
        // Three peers lack what only the fourth has, and one of them has few pieces.
        const peers = [0.4, 0.3, 0.02, 0.9].map((share) => {
          const peer = Bitfield.make(pieceCount)
          for (let index = share === 0.9 ? 0 : pieceCount / 2; index < pieceCount; index++) {
            if (draw() >= share) continue
            Bitfield.add(peer, index)
            PiecePicker.gain(picker, piece(index))
          }
          return peer
        })
        const missing = new Set(Array.from({ length: pieceCount }, (_, index) => piece(index)))
        const refused = new Set<PieceIndex>()
        const change = (peer: Bitfield.Bitfield) => {
          const index = any()
          switch (Prng.integer(draw, 6)) {
            case 0:
              if (Bitfield.add(peer, index)) {
                PiecePicker.gain(picker, index)
                PiecePicker.gained(picker, peer, index)
              }
              return
            case 1:
              if (Bitfield.remove(peer, index)) PiecePicker.lose(picker, index)
              return
            case 2:
              missing.add(index)
              return PiecePicker.insert(picker, index)
            case 3:
              return PiecePicker.setPriority(
                picker,
                index,
                (["skip", "normal", "high"] as const)[Prng.integer(draw, 3)]!
              )
            case 4:
              return void (refused.size > 30 ? refused.clear() : refused.add(index))
            case 5:
              if (draw() < 0.7) return
              missing.delete(index)
              return PiecePicker.remove(picker, index)
          }
        }
        for (let turn = 0; turn < 100; turn++) {
          const peer = peers[Prng.integer(draw, peers.length)]!
          // Now and then so many that the changes are not all kept.
          for (let count = turn % 30 === 29 ? 20_000 : 3; count > 0; count--) change(peer)
          if (turn % 25 === 24) {
            for (const index of Bitfield.indices(peer)) PiecePicker.lose(picker, piece(index))
            Bitfield.clear(peer)
            PiecePicker.forget(picker, peer)
          }
          const able = [...missing].filter(
            (index) => PiecePicker.isCandidate(picker, index) && Bitfield.has(peer, index) && !refused.has(index)
          )
          const isHigh = (index: PieceIndex) => picker.priorities[index] === 2
          const best = able.some(isHigh) ? able.filter(isHigh) : able
          const lowest = PiecePicker.pickLowest(picker, peer, refused)
          const picked = PiecePicker.pick(picker, peer, refused)
          assert.strictEqual(lowest, best.length === 0 ? undefined : Math.min(...best))
          if (picked === undefined) {
            assert.deepStrictEqual(best, [])
            continue
          }
          const rarest = Math.min(...best.map((index) => picker.availability[index]!))
          assert.include(best, picked)
          assert.strictEqual(picker.availability[picked], rarest)
          missing.delete(picked)
          PiecePicker.remove(picker, picked)
        }
      }),
      { numRuns: 4 }
    )
  })
})
