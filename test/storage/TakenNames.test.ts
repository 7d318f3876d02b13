import { assert, describe, it } from "@effect/vitest"
import * as TakenNames from "../../src/storage/provider/node/TakenNames.ts"

describe("TakenNames", () => {
  it("asks for the paths of all files once, however many are renamed", () => {
    const count = 100
    const paths = Array.from({ length: count }, (_, file) => [["t", `${file}`]])
    paths[7]!.push(["t", "seven"])
    let asked = 0
    const names = TakenNames.make({
      files: () => paths.keys(),
      pathsOf: (file) => {
        asked++
        return paths[file]!
      }
    })

    for (let file = 0; file < count; file++) {
      const path = ["t", "new", `${file}`]
      assert.isUndefined(TakenNames.fileAt(names, path))
      const before = paths[file]!
      paths[file] = [path]
      TakenNames.noteRenamed(names, file, before, path)
    }

    assert.strictEqual(asked, count)
    assert.strictEqual(TakenNames.fileAt(names, ["t", "new", "3"]), 3)
    assert.isUndefined(TakenNames.fileAt(names, ["t", "3"]))
    assert.isUndefined(TakenNames.fileAt(names, ["t", "seven"]))
  })
})
