import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import type { FileFacts } from "../../src/storage/Storage.ts"
import * as KnownFiles from "../../src/torrent/KnownFiles.ts"
import { drawn, pieces } from "../resume/ResumeStore.suite.ts"
import { layoutOf, layout as layouts, piecesOf } from "../storage/layouts.ts"

/** `aaaa aabb ..cc cccc` and an empty file, in pieces of four. */
const layout = layoutOf(4, ["a", 6], ["b", 2], [".", 2, "padding"], ["empty", 0], ["c", 6])

const factsOf = (file: number): FileFacts => ({
  file,
  kind: "file",
  length: 6,
  mtimeNs: 7n,
  identity: `id ${file}`,
  isHole: false,
  isAside: false,
  otherNames: 0
})

const make = (stored: string) =>
  KnownFiles.make(
    layout,
    layout.files.map((_, file) => factsOf(file)),
    new Map([
      [0, "own"],
      [1, "undecided"],
      [4, "foreign"]
    ]),
    drawn(stored)
  )

describe("KnownFiles", () => {
  it("knows the files that were found, none of them claimed, and what is to be compared of the undecided ones", () => {
    const { files } = make("*...")

    assert.deepStrictEqual(
      Array.from(files, ([file, { isWriting, standing, toCompare }]) => [file, standing, isWriting, [...toCompare]]),
      [
        [0, "own", false, []],
        [1, "undecided", false, [1]],
        [4, "foreign", false, []]
      ]
    )
  })

  it("remembers the torrent's own files alone", () => {
    const self = make("*...")
    self.files.get(0)!.isWriting = true

    assert.deepStrictEqual(
      [...KnownFiles.records(self, drawn("...."))],
      [[0, { isWriting: true, length: 6, mtimeNs: 7n, identity: "id 0" }]]
    )
  })

  it("remembers a hole only once it is claimed", () => {
    const self = make("....")
    const file = self.files.get(0)!
    file.facts = { ...file.facts, isHole: true }

    const found = KnownFiles.records(self, drawn("...."))
    file.isWriting = true
    const claimed = KnownFiles.records(self, drawn("...."))

    assert.deepStrictEqual([...found.keys()], [])
    assert.deepStrictEqual([...claimed.keys()], [0])
  })

  it("remembers a file with pieces that are not verified yet as being written", () => {
    const self = make("****")

    const records = ["....", ".*..", "..*."].map((suspects) => KnownFiles.recordOf(self, 0, drawn(suspects)).isWriting)

    assert.deepStrictEqual(records, [false, true, false])
  })

  it("finds the files of a piece, and the pieces of a file", () => {
    const self = make("**..")

    assert.deepStrictEqual(
      piecesOf(layout).map((piece) => KnownFiles.filesOf(self, piece)),
      [[0], [0, 1], [4], [4]]
    )
    assert.deepStrictEqual(KnownFiles.realFiles(layout), [0, 1, 3, 4])
    assert.deepStrictEqual(KnownFiles.piecesIn(self, 4, drawn("***.")), pieces(2))
    assert.deepStrictEqual(KnownFiles.missingIn(self, 4, drawn("***.")), pieces(3))
    assert.deepStrictEqual(
      layout.files.map((_, file) => KnownFiles.isWhole(self, file)),
      [true, true, true, true, false]
    )
  })

  it("law: a file is among those of a piece if and only if the piece is among those of the file", () => {
    fc.assert(
      fc.property(layouts, (layout) => {
        const self = KnownFiles.make(layout, [], new Map(), Bitfield.make(layout.geometry.pieceCount))
        const all = Bitfield.full(layout.geometry.pieceCount)
        for (const piece of piecesOf(layout)) {
          const expected = KnownFiles.realFiles(layout).filter(
            (file) => layout.files[file]!.length > 0 && KnownFiles.piecesIn(self, file, all).includes(piece)
          )
          assert.deepStrictEqual(KnownFiles.filesOf(self, piece), expected)
        }
        for (const file of layout.files.keys()) {
          const { end, first } = FileLayout.filePieces(layout, file)
          assert.strictEqual(KnownFiles.piecesIn(self, file, all).length, end - first)
          assert.deepStrictEqual(KnownFiles.missingIn(self, file, all), [])
        }
      })
    )
  })
})
