import { assert, describe, it } from "@effect/vitest"
import * as Resting from "../../src/supply/Resting.ts"
import { piece } from "../assembly/pieces.ts"

const minutes = (count: number) => count * 60_000

describe("Resting", () => {
  it("doubles each rest that follows another, up to ten minutes", () => {
    const self = Resting.make()
    const lengths: Array<number> = []
    let now = 7
    for (let turn = 0; turn < 8; turn++) {
      Resting.rest(self, piece(1), Resting.afterDamage, now)
      const begun = now
      while (!Resting.wake(self, now)) now += 1_000
      lengths.push((now - begun) / 1_000)
    }

    assert.deepStrictEqual(lengths, [30, 60, 120, 240, 480, 600, 600, 600])
  })

  it("does not change a rest that has begun, however often another is begun", () => {
    const self = Resting.make()
    for (let now = 0; now < 5_000; now += 100) Resting.rest(self, piece(1), 5_000, now)

    const isAny = Resting.wake(self, 5_000)

    assert.deepStrictEqual([isAny, self.resting.size], [true, 0])
  })

  it("begins with a first rest again after an hour without one, or once the history is forgotten", () => {
    const self = Resting.make()
    Resting.rest(self, piece(1), 5_000, 0)
    Resting.rest(self, piece(2), 5_000, 0)
    Resting.wake(self, 5_000)
    Resting.forget(self, piece(2))
    const kept = [...self.rests.keys()]

    Resting.wake(self, 5_000 + minutes(60))

    assert.deepStrictEqual([kept, self.rests.size], [[1], 0])
  })
})
