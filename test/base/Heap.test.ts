import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Heap from "../../src/base/Heap.ts"

const isLess = (one: number, other: number): boolean => one < other

describe("Heap", () => {
  it("returns the least of what is in it, whatever is added in between", () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.integer(), { nil: undefined })), (steps) => {
        const heap: Array<number> = []
        const model: Array<number> = []
        for (const number of steps) {
          if (number !== undefined) {
            Heap.push(heap, number, isLess)
            model.push(number)
          } else {
            model.sort((one, other) => one - other)
            assert.strictEqual(Heap.pop(heap, isLess), model.shift())
          }
          assert.strictEqual(heap.length, model.length)
        }
      })
    )
  })
})
