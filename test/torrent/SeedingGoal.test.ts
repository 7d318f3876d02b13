import { assert, describe, it } from "@effect/vitest"
import * as SeedingGoal from "../../src/torrent/SeedingGoal.ts"

const facts = { uploadedBytes: 0, wantedBytes: 1_000, seedingMillis: 0 }

describe("SeedingGoal", () => {
  it.each([
    ["never without a goal", {}, { uploadedBytes: 1e12, seedingMillis: 1e12 }, undefined],
    ["not before the ratio", { ratio: 1.5 }, { uploadedBytes: 1_499 }, undefined],
    ["at the ratio", { ratio: 1.5 }, { uploadedBytes: 1_500 }, "ratio"],
    ["not before the time", { time: "1 hour" }, { seedingMillis: 3_599_999 }, undefined],
    ["at the time", { time: "1 hour" }, { seedingMillis: 3_600_000 }, "time"],
    ["at the first of both", { ratio: 9, time: "1 hour" }, { seedingMillis: 3_600_000 }, "time"],
    ["never at a ratio if nothing is wanted", { ratio: 1 }, { uploadedBytes: 5, wantedBytes: 0 }, undefined]
  ] as const)("is reached %s", (_, goal, given, expected) => {
    const reached = SeedingGoal.reached(goal, { ...facts, ...given })

    assert.strictEqual(reached, expected)
  })
})
