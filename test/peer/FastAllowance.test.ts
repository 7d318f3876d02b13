import { assert, describe, it } from "@effect/vitest"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as FastAllowance from "../../src/peer/FastAllowance.ts"

const pieces = [3, 7] as Array<PieceIndex>

describe("FastAllowance", () => {
  it("lasts for two copies of its pieces", () => {
    const self = FastAllowance.make(pieces, 100)

    FastAllowance.spend(self, 399)
    const before = [...self.pieces]
    FastAllowance.spend(self, 1)

    assert.deepStrictEqual([before, [...self.pieces]], [pieces, []])
  })
})
