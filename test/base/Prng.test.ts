import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Prng from "../../src/base/Prng.ts"

const draw = (random: Prng.Prng, count: number) => Array.from({ length: count }, () => random())

describe("Prng", () => {
  it("returns the numbers of mulberry32", () => {
    const numbers = draw(Prng.make(0), 3).map((number) => number * 2 ** 32)

    assert.deepStrictEqual(numbers, [1_144_304_738, 1_416_247, 958_946_056])
  })

  it("returns the same numbers for the same seed, all of them in 0 <= x < 1", () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const numbers = draw(Prng.make(seed), 20)

        assert.deepStrictEqual(numbers, draw(Prng.make(seed), 20))
        assert.isTrue(numbers.every((number) => number >= 0 && number < 1))
      })
    )
  })

  it("has numbers of its own for each stream of a seed", () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const firsts = Array.from({ length: 200 }, (_, stream) => draw(Prng.fork(seed, stream), 4).join())

        assert.strictEqual(new Set(firsts).size, 200)
        assert.strictEqual(draw(Prng.fork(seed, 7), 4).join(), firsts[7])
      }),
      { numRuns: 30 }
    )
  })

  it("reaches every integer of a range, both ends included, and none outside", () => {
    const random = Prng.make(3)

    const drawn = new Set(Array.from({ length: 500 }, () => Prng.between(random, -2, 3)))

    assert.deepStrictEqual(
      [...drawn].sort((a, b) => a - b),
      [-2, -1, 0, 1, 2, 3]
    )
    assert.strictEqual(Prng.between(random, 5, 5), 5)
    assert.strictEqual(Prng.integer(random, 1), 0)
  })

  it("maps the extremes of a source to the ends of a range", () => {
    const lowest = () => 0
    const highest = () => 1 - 2 ** -32

    assert.strictEqual(Prng.between(lowest, 10, 20), 10)
    assert.strictEqual(Prng.between(highest, 10, 20), 20)
    assert.strictEqual(Prng.integer(highest, 1_000_000), 999_999)
  })

  it("shuffles arrays of any kind, losing nothing", () => {
    fc.assert(
      fc.property(fc.integer(), fc.array(fc.integer({ min: 0, max: 255 })), (seed, items) => {
        const plain = [...items]
        const typed = Uint8Array.from(items)

        Prng.shuffle(Prng.make(seed), plain)
        Prng.shuffle(Prng.make(seed), typed)

        assert.deepStrictEqual([...typed], plain)
        assert.deepStrictEqual(plain.toSorted(), items.toSorted())
      })
    )
  })

  it("makes every order about as likely as any other", () => {
    const random = Prng.make(11)
    const counts = new Map<string, number>()

    for (let round = 0; round < 6000; round++) {
      const items = ["a", "b", "c"]
      Prng.shuffle(random, items)
      counts.set(items.join(""), (counts.get(items.join("")) ?? 0) + 1)
    }

    assert.strictEqual(counts.size, 6)
    for (const [order, count] of counts) assert.approximately(count, 1000, 150, order)
  })
})
