import { assert, describe, it } from "@effect/vitest"
import * as RunBuffers from "../../src/peer/RunBuffers.ts"

const long = 200_000

describe("RunBuffers", () => {
  it("has room for what is asked, however long", () => {
    for (const length of [1, 65_536, 65_537, long, 1_000_000]) {
      assert.isAtLeast(RunBuffers.take(length).length, length)
    }
  })

  it("gives a long buffer out again only after it came back", () => {
    const first = RunBuffers.take(long)
    const second = RunBuffers.take(long)

    RunBuffers.giveBack(first)

    assert.notStrictEqual(first, second)
    assert.strictEqual(RunBuffers.take(long), first)
  })

  it("gives a short run no more memory than it needs, and keeps few buffers", () => {
    const many = Array.from({ length: 50 }, () => RunBuffers.take(long))
    for (const buffer of many) RunBuffers.giveBack(buffer)
    RunBuffers.giveBack(new Uint8Array(1_000))

    const kept = Array.from({ length: 50 }, () => RunBuffers.take(long)).filter((buffer) => many.includes(buffer))

    assert.strictEqual(RunBuffers.take(1_000).length, 1_000)
    assert.strictEqual(kept.length, 8)
  })
})
