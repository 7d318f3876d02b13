import { assert, describe, it } from "@effect/vitest"
import * as FileChoice from "../../../src/control/transmission/FileChoice.ts"

/** Three files, of which padding separates the last two. */
const files = [
  { index: 0, priority: "normal" },
  { index: 1, priority: "skip" },
  { index: 3, priority: "high" }
] as const

describe("FileChoice", () => {
  it("decides first which files are wanted, then how much", () => {
    assert.deepStrictEqual(
      FileChoice.apply(files, { "files-wanted": [1], "files-unwanted": [0], "priority-high": [0, 1] }),
      ["skip", "high", "normal", "high"]
    )
  })

  it("takes an empty list for all files", () => {
    assert.deepStrictEqual(FileChoice.apply(files, { "files-unwanted": [] }), ["skip", "skip", "normal", "skip"])
    assert.deepStrictEqual(FileChoice.apply(files, { "files-wanted": [] }), ["normal", "normal", "normal", "high"])
    assert.deepStrictEqual(FileChoice.apply(files, { "priority-normal": [] }), ["normal", "skip", "normal", "normal"])
  })

  it("changes nothing that is not named", () => {
    assert.deepStrictEqual(FileChoice.apply(files, {}), ["normal", "skip", "normal", "high"])
    assert.deepStrictEqual(FileChoice.apply([], {}), [])
  })

  it("refuses a place that no file has, and a low priority", () => {
    assert.deepInclude(FileChoice.apply(files, { "files-wanted": [3] }), {
      message: "there is no file 3: the torrent has 3"
    })
    assert.deepInclude(FileChoice.apply(files, { "priority-low": [] }), { _tag: "RpcRefused" })
  })
})
