import { assert, describe, it } from "@effect/vitest"
import * as Refusals from "../../src/swarm/Refusals.ts"

describe("Refusals", () => {
  it("are reported once there is one, and each time that there are ten times as many", () => {
    const refusals: Refusals.Refusals = new Map()

    const reported = [1, 8, 1, 89, 2, 1_000].map((count) => Refusals.note(refusals, "a", "why", count))

    assert.deepStrictEqual(reported, [1, undefined, 10, undefined, 101, 1_101])
  })

  it("are counted for each source and each reason", () => {
    const refusals: Refusals.Refusals = new Map()

    const reported = [
      Refusals.note(refusals, "a", "why", 1),
      Refusals.note(refusals, "a", "other", 2),
      Refusals.note(refusals, "b", "why", 3),
      Refusals.note(refusals, "a", "why", 1)
    ]

    assert.deepStrictEqual(reported, [1, 2, 3, undefined])
  })

  it("are bounded in number", () => {
    const refusals: Refusals.Refusals = new Map()

    for (let source = 0; source < 2 * Refusals.maxKinds; source++) Refusals.note(refusals, `${source}`, "why", 1)

    assert.strictEqual(refusals.size, Refusals.maxKinds)
  })
})
