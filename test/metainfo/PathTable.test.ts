import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as PathTable from "../../src/metainfo/PathTable.ts"

const component = fc.oneof(fc.constantFrom("a", "b", "", "\u{1f600}", "\ud800"), fc.string({ maxLength: 20 }))
const paths = fc.array(fc.array(component, { minLength: 1, maxLength: 5 }), { maxLength: 50 })

describe("PathTable", () => {
  it("law: returns the paths it was made of, whatever their characters", () => {
    fc.assert(
      fc.property(paths, (paths) => {
        const table = PathTable.make(paths)

        assert.deepStrictEqual(
          paths.map((_, row) => PathTable.at(table, row)),
          paths
        )
        assert.deepStrictEqual(
          paths.map((_, row) => PathTable.nameAt(table, row)),
          paths.map((path) => path.at(-1)!)
        )
      })
    )
  })

  it("holds the name of a folder once", () => {
    const table = PathTable.make([
      ["t", "folder", "a"],
      ["t", "folder", "b"],
      ["t", "folder"]
    ])

    assert.strictEqual(table.names, "abfoldertfolder")
  })

  it("finds the first row of a path that is meant, and no folder", () => {
    const table = PathTable.make([["a", "b"], ["a", "c", "b"], ["ab"], ["a", "b"], ["a"]])
    const find = (...path: ReadonlyArray<string>) => PathTable.find(table, path, () => true)

    assert.deepStrictEqual(
      [
        find("a", "b"),
        find("a", "c", "b"),
        find("ab"),
        find("a"),
        find("a", "c"),
        find("b"),
        find("x", "a", "b"),
        find()
      ],
      [0, 1, 2, 4, undefined, undefined, undefined, undefined]
    )
    assert.strictEqual(
      PathTable.find(table, ["a", "b"], (row) => row > 0),
      3
    )
  })
})
