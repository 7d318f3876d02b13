import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as SeedLanes from "../../src/webseed/SeedLanes.ts"

/** Runs seconds of a seed that sends `rateOf` so many connections, in bytes a second. Returns the counts. */
const runFor = (seconds: number, rateOf: (count: number) => number, isLimited = false): ReadonlyArray<number> => {
  let self = SeedLanes.make(0)
  return Array.from({ length: seconds }, (_, second) => {
    const bytes = rateOf(self.count)
    self = SeedLanes.step(self, { _tag: "Tick", bytes, isLimited }, (second + 1) * 1_000)
    return self.count
  })
}

/** For how many of the seconds there was each count. */
const share = (counts: ReadonlyArray<number>, count: number): number =>
  counts.filter((each) => each === count).length / counts.length

describe("SeedLanes", () => {
  it("uses as many connections as make it faster", () => {
    assert.strictEqual(runFor(120, (count) => count * 1_000_000).at(-1), SeedLanes.most)
    assert.strictEqual(runFor(120, (count) => Math.min(2, count) * 1_000_000).filter((count) => count > 3).length, 0)
  })

  it("tries another one ever more rarely if that is of no use", () => {
    const counts = runFor(3_600, () => 1_000_000)

    assert.isAbove(share(counts, 1), 0.98)
    assert.isAbove(share(counts, 2), 0)
    assert.strictEqual(share(counts, 3), 0)
  })

  it("learns nothing from a rate that something else limits", () => {
    assert.strictEqual(
      share(
        runFor(600, () => 1_000_000, true),
        1
      ),
      1
    )
  })

  it("goes back by one if one is lost, and does not try again for a while", () => {
    let self: SeedLanes.SeedLanes = { ...SeedLanes.make(0), count: 3 }
    self = SeedLanes.step(self, { _tag: "Lost" }, 1_000)
    const counts: Array<number> = []
    for (let now = 2_000; now < 1_000 + SeedLanes.retryAfter; now += 1_000) {
      self = SeedLanes.step(self, { _tag: "Tick", bytes: self.count * 1_000, isLimited: false }, now)
      counts.push(self.count)
    }

    assert.deepStrictEqual(new Set(counts), new Set([2]))
  })

  it("always has from one to four connections", () => {
    const event = fc.oneof(
      fc.record({ _tag: fc.constant("Tick" as const), bytes: fc.nat(10_000_000), isLimited: fc.boolean() }),
      fc.constant({ _tag: "Lost" as const })
    )
    fc.assert(
      fc.property(fc.array(event, { maxLength: 200 }), (events) => {
        let self = SeedLanes.make(0)
        for (const [index, event] of events.entries()) {
          self = SeedLanes.step(self, event, (index + 1) * 1_000)
          assert.isAtLeast(self.count, 1)
          assert.isAtMost(self.count, SeedLanes.most)
        }
      })
    )
  })
})
