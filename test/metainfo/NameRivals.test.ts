import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import * as NameRivals from "../../src/metainfo/NameRivals.ts"
import * as SafePath from "../../src/metainfo/SafePath.ts"

const layoutOf = (...paths: ReadonlyArray<string>): FileLayout.FileLayout =>
  FileLayout.make({
    pieceLength: 16,
    files: Result.getOrThrow(SafePath.sanitize(paths.map((path) => path.split("/")))).map((names) => ({
      ...names,
      length: 1
    }))
  })

/** The groups as text: the index of a file or `folder`, and its names. */
const shown = (layout: FileLayout.FileLayout) =>
  [...new Set(NameRivals.groupsOf(layout).values())].map((group) =>
    group.map(({ index, names }) => [index ?? "folder", ...names.map((name) => name.join("/"))].join(" "))
  )

describe("NameRivals", () => {
  it("finds none if every name is portable", () => {
    assert.deepStrictEqual(shown(layoutOf("t/a", "t/b", "t/folder/a")), [])
  })

  it("puts the file whose name is portable before its rivals, wherever it is", () => {
    assert.deepStrictEqual(shown(layoutOf("t/other", "t/a?", "t/a_", "t/A_")), [
      ["2 t/a_", "1 t/a? t/a_.2", "3 t/A_ t/A_.1"]
    ])
  })

  it("puts folders first, and finds rivals in every part of a path", () => {
    assert.deepStrictEqual(shown(layoutOf("t/make", "t/Make/x", "t/make2/a", "t/MAKE2/A")), [
      ["2 t/make2/a", "3 t/MAKE2/A t/MAKE2/A.1"],
      ["folder t/Make", "0 t/make t/make.1"]
    ])
  })

  it("lists a file alone that has further names and no rival", () => {
    assert.deepStrictEqual(shown(layoutOf("t/a:b", "t/c\\d", "t/plain")), [["0 t/a:b t/a_b"], ["1 t/cd t/c\\d"]])
  })

  it("leaves padding out", () => {
    const files = [
      { path: ["t", "a"], portable: ["t", "b"], length: 1, padding: true },
      { path: ["t", "A"], length: 1 }
    ]

    assert.deepStrictEqual(shown(FileLayout.make({ pieceLength: 16, files })), [])
  })
})
