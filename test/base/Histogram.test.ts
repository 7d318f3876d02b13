import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Histogram from "../../src/base/Histogram.ts"

describe("Histogram", () => {
  it("counts a value that equals a bound below it, and one above all bounds in the last bucket", () => {
    const self = Histogram.make([1, 2])

    for (const value of [1, 1.5, 2, 9]) Histogram.add(self, value)

    assert.deepStrictEqual([...self.counts], [1, 2, 1])
    assert.deepStrictEqual(Histogram.cumulative(self), [
      [1, 1],
      [2, 3]
    ])
    assert.deepInclude(self, { count: 4, sum: 13.5, min: 1, max: 9 })
  })

  it("counts as many values up to each bound as there are", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 20, noNaN: true })), (values) => {
        const self = Histogram.make([0.5, 1, 10])

        for (const value of values) Histogram.add(self, value)

        for (const [bound, count] of Histogram.cumulative(self)) {
          assert.strictEqual(count, values.filter((value) => value <= bound).length)
        }
        assert.strictEqual(self.count, values.length)
        assert.strictEqual(self.min, values.length === 0 ? 0 : Math.min(...values))
        assert.strictEqual(self.max, values.length === 0 ? 0 : Math.max(...values))
      })
    )
  })
})
