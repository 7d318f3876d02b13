import { assert, describe, it } from "@effect/vitest"
import * as Standing from "../../src/supply/Standing.ts"
import { piece } from "../assembly/pieces.ts"

describe("Standing", () => {
  it("pauses longer and longer after each damaged piece in a row, from the second on", () => {
    const self = Standing.make()
    const pauses: Array<number> = []
    let now = 0
    for (let index = 0; index < 14; index++) {
      Standing.damage(self, piece(index), now)
      const begun = now
      for (; self.isPaused; Standing.wake(self, now)) now += 1_000
      pauses.push((now - begun) / 1_000)
    }

    assert.deepStrictEqual(pauses, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600])
  })

  it("does not count what was under way when the pause began", () => {
    const self = Standing.make()

    for (let index = 0; index < 20; index++) Standing.damage(self, piece(index), 0)

    assert.deepStrictEqual([self.damagedInARow, self.pausedUntil], [2, 1_000])
  })

  it("ends the pause with the next right piece, and still knows what was damaged", () => {
    const self = Standing.make()
    for (const index of [1, 2]) Standing.damage(self, piece(index), 0)

    const wasOnTrial = [Standing.redeem(self), Standing.redeem(self)]

    assert.deepStrictEqual([wasOnTrial, self.isPaused, self.damagedInARow], [[true, false], false, 0])
    assert.deepStrictEqual([Standing.hasDamaged(self, piece(1)), Standing.isClean(self)], [true, false])
  })
})
