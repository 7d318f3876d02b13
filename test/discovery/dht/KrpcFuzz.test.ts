import { assert, describe, it } from "@effect/vitest"
import * as KrpcFuzz from "./KrpcFuzz.ts"

describe("KrpcFuzz", () => {
  it("fault 59: damaged datagrams of ours and of libtorrent find no fault, and every branch accepts some", () => {
    const report = KrpcFuzz.fuzz({ seed: 1, inputs: 20_000 })
    const { accepted, faults, inputs } = report

    assert.deepStrictEqual(faults, [])
    assert.strictEqual(inputs, 20_000)
    assert.sameMembers([...accepted.keys()], [...KrpcFuzz.branches])
    for (const [branch, count] of accepted) assert.isAbove(count, 0, branch)
    assert.include(KrpcFuzz.describe(report), `${accepted.get("stored")}  stored`)
  })

  it("is the same for the same seed", () => {
    const run = () => [...KrpcFuzz.fuzz({ seed: 7, inputs: 500 }).accepted]

    assert.deepStrictEqual(run(), run())
  })
})
