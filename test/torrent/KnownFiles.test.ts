import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import type { FileRecord } from "../../src/resume/ResumeStore.ts"
import type { FileFacts } from "../../src/storage/Storage.ts"
import * as KnownFiles from "../../src/torrent/KnownFiles.ts"
import { draw, drawn, pieces } from "../resume/ResumeStore.suite.ts"
import { layoutOf, layout as layouts, piecesOf } from "../storage/layouts.ts"
import * as KnownFilesView from "./knownFilesView.ts"

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

const make = (stored: string, records?: ReadonlyMap<number, FileRecord>) =>
  KnownFiles.make(
    layout,
    layout.files.map((_, file) => factsOf(file)),
    new Map([
      [0, "own"],
      [1, "undecided"],
      [4, "foreign"]
    ]),
    drawn(stored),
    records
  )

describe("KnownFiles", () => {
  it("knows the files that were found, with none claimed, and what the undecided ones are compared with", () => {
    const self = make("*...")

    assert.deepStrictEqual(
      Array.from(KnownFilesView.all(self), ([file, { isWriting, standing, toCompare }]) => [
        file,
        standing,
        isWriting,
        [...toCompare]
      ]),
      [
        [0, "own", false, []],
        [1, "undecided", false, [1]],
        [4, "foreign", false, []]
      ]
    )
  })

  it("knows an undecided file that is hinted at, and adopts it on proof", () => {
    const facts = layout.files.map((_, file) => factsOf(file))
    const standings = new Map([[0, "undecided"] as const])
    const self = KnownFiles.make(layout, facts, standings, drawn("**.."), undefined, {
      hint: drawn("**.*"),
      hinted: drawn("**..")
    })

    assert.deepStrictEqual([self.toCompare.size, [...self.hintedFiles!]], [0, [0]])
    assert.strictEqual(draw(KnownFiles.withoutHinted(self, drawn("**.."))), "....")
    assert.isFalse(KnownFiles.recordOf(self, 0, drawn("**..")).isWriting)
    assert.deepStrictEqual(
      [KnownFiles.settleHint(self, 0 as never), KnownFiles.settleHint(self, 0 as never)],
      [true, false]
    )
    assert.deepStrictEqual([draw(self.hinted!), draw(self.hint!)], [".*..", ".*.*"])
    assert.isTrue(KnownFiles.recordOf(self, 0, drawn("**..")).isWriting)
    assert.deepStrictEqual([KnownFiles.adopt(self, 0), KnownFiles.adopt(self, 0)], [true, false])
    assert.strictEqual(KnownFiles.standingOf(self, 0), "own")
  })

  it("remembers only the torrent's own files", () => {
    const self = make("*...")
    KnownFiles.setWriting(self, 0, true)

    assert.deepStrictEqual(
      [...KnownFiles.records(self, drawn("...."))],
      [[0, { isWriting: true, isStale: false, length: 6, mtimeNs: 7n, identity: "id 0" }]]
    )
  })

  it.each([
    ["id 0", true],
    ["another one", false]
  ])("takes a file for stale if it was remembered so and is the same file: %s", (identity, isStale) => {
    const record = { isWriting: true, isStale: true, length: 6, mtimeNs: 7n, identity }

    const self = make("*...", new Map([[0, record]]))

    assert.strictEqual(KnownFiles.isStale(self, 0), isStale)
  })

  it("remembers a hole only once it is claimed", () => {
    const self = make("....")
    KnownFiles.setFacts(self, { ...factsOf(0), isHole: true })

    const found = KnownFiles.records(self, drawn("...."))
    KnownFiles.setWriting(self, 0, true)
    const claimed = KnownFiles.records(self, drawn("...."))

    assert.deepStrictEqual([...found.keys()], [])
    assert.deepStrictEqual([...claimed.keys()], [0])
  })

  it("remembers a file with pieces that are not verified yet as being written", () => {
    const self = make("****")

    const records = ["....", ".*..", "..*."].map((suspects) => KnownFiles.recordOf(self, 0, drawn(suspects)).isWriting)

    assert.deepStrictEqual(records, [false, true, false])
  })

  it("compares an undecided file only with pieces that have bytes in it", () => {
    const standings = new Map([[0, "undecided"] as const])
    const drawn0 = (length: number) => {
      const facts = [{ ...factsOf(0), length }]
      return [...KnownFilesView.get(KnownFiles.make(layout, facts, standings, drawn("....")), 0)!.toCompare]
    }

    assert.deepStrictEqual([drawn0(0), drawn0(4), drawn0(5), drawn0(6)], [[], pieces(0), pieces(0, 1), pieces(0, 1)])
  })

  it("takes a file for the torrent's own once every piece in it was proved", () => {
    const self = make("....")
    KnownFiles.meet(self, factsOf(0))
    const standings = [1, 0].map((index) => {
      KnownFiles.prove(self, pieces(index)[0]!)
      return KnownFiles.standingOf(self, 0)
    })

    assert.deepStrictEqual(standings, ["undecided", "own"])
    assert.strictEqual(KnownFiles.standingOf(self, 4), "foreign")
  })

  it("law: a file is whole if and only if all its pieces are stored, whatever was stored and lost", () => {
    const script = layouts.chain((layout) =>
      fc.record({ layout: fc.constant(layout), toggled: fc.array(fc.nat(layout.geometry.pieceCount - 1)) })
    )
    fc.assert(
      fc.property(script, ({ layout, toggled }) => {
        const stored = Bitfield.make(layout.geometry.pieceCount)
        const self = KnownFiles.make(layout, [], new Map(), stored)
        for (const piece of pieces(...toggled)) {
          const isStored = !Bitfield.has(stored, piece)
          if (isStored) Bitfield.add(stored, piece)
          else Bitfield.remove(stored, piece)
          KnownFiles.noteStored(self, piece, isStored)
        }

        for (const file of FileLayout.realFiles(layout)) {
          assert.strictEqual(KnownFiles.isWhole(self, file), KnownFiles.missingIn(self, file, stored).length === 0)
        }
      })
    )
  })

  it("answers for each stored piece whether its file is whole without a look at the other pieces", () => {
    const count = 1_000
    let reads = 0
    const bits = Bitfield.make(count)
    const bytes = new Proxy(bits.bytes, {
      get: (all, key) => {
        reads++
        return Reflect.get(all, key)
      }
    })
    const self = KnownFiles.make(layoutOf(4, ["a", 4 * count]), [factsOf(0)], new Map([[0, "own"]]), { ...bits, bytes })
    const atStart = reads

    const whole = Array.from({ length: count }, (_, index) => {
      KnownFiles.noteStored(self, pieces(index)[0]!, true)
      return KnownFiles.isWhole(self, 0)
    })

    assert.isAtLeast(atStart, count)
    assert.strictEqual(reads, atStart)
    assert.strictEqual(whole.indexOf(true), count - 1)
  })

  it("finds the files of a piece, and the pieces of a file", () => {
    const self = make("**..")

    assert.deepStrictEqual(
      piecesOf(layout).map((piece) => KnownFiles.filesOf(self, piece)),
      [[0], [0, 1], [4], [4]]
    )
    assert.deepStrictEqual(FileLayout.realFiles(layout), [0, 1, 3, 4])
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
          const expected = FileLayout.realFiles(layout).filter(
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
