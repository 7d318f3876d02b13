import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"

const layoutOf = (pieceLength: number, ...lengths: ReadonlyArray<number>) =>
  FileLayout.make({ files: lengths.map((length, index) => ({ path: ["t", String(index)], length })), pieceLength })

const piece = (layout: FileLayout.FileLayout, index: number) => PieceGeometry.pieceIndexUnsafe(layout.geometry, index)

/** Layouts of up to 40 files, many without bytes, and a range in each. */
const layoutAndRange = fc
  .tuple(
    fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 50 })), { minLength: 1, maxLength: 40 }),
    fc.integer({ min: 1, max: 100 }),
    fc.nat(),
    fc.nat()
  )
  .filter(([lengths]) => lengths.some((length) => length > 0))
  .map(([lengths, pieceLength, a, b]) => {
    const layout = layoutOf(pieceLength, ...lengths)
    const begin = a % layout.geometry.totalLength
    return { layout, begin, length: b % (layout.geometry.totalLength - begin + 1) }
  })

describe("FileLayout", () => {
  it("puts files one after the other", () => {
    const layout = layoutOf(10, 5, 0, 12)

    assert.deepStrictEqual(
      layout.files.map(({ offset }) => offset),
      [0, 5, 5]
    )
    assert.deepStrictEqual(layout.geometry, { totalLength: 17, pieceLength: 10, pieceCount: 2 })
  })

  it("refuses lengths that are no lengths", () => {
    for (const lengths of [[], [0], [-1, 5], [1.5], [Number.NaN], [2 ** 53], [2 ** 53 - 1, 2 ** 53 - 1]]) {
      assert.throws(() => layoutOf(16_384, ...lengths), RangeError)
    }
    assert.throws(() => layoutOf(0, 1), RangeError)
    assert.throws(() => FileLayout.make({ files: [{ path: [], length: 1 }], pieceLength: 1 }), RangeError)
  })

  it("returns the spans of a piece over the files it touches", () => {
    const layout = layoutOf(10, 5, 0, 3, 12)

    assert.deepStrictEqual(FileLayout.pieceSpans(layout, piece(layout, 0)), [
      { file: 0, fileOffset: 0, begin: 0, length: 5 },
      { file: 2, fileOffset: 0, begin: 5, length: 3 },
      { file: 3, fileOffset: 0, begin: 8, length: 2 }
    ])
    assert.deepStrictEqual(FileLayout.pieceSpans(layout, piece(layout, 1)), [
      { file: 3, fileOffset: 2, begin: 0, length: 10 }
    ])
  })

  it("returns no span for no bytes and refuses what leaves the torrent", () => {
    const layout = layoutOf(10, 5, 7, 0)

    assert.deepStrictEqual(FileLayout.spans(layout, 12, 0), [])
    for (const [begin, length] of [
      [0, 13],
      [12, 1],
      [-1, 2],
      [3, -1],
      [Number.NaN, 1]
    ] as const) {
      assert.throws(() => FileLayout.spans(layout, begin, length), RangeError)
    }
  })

  it("keeps padding among the spans and marks it", () => {
    const layout = FileLayout.make({
      files: [
        { path: ["t", "a"], length: 3 },
        { path: ["t", ".pad", "5"], length: 5, padding: true },
        { path: ["t", "b"], length: 8 }
      ],
      pieceLength: 8
    })

    const found = FileLayout.pieceSpans(layout, piece(layout, 0))

    assert.deepStrictEqual(
      found.map(({ file }) => layout.files[file]!.padding),
      [false, true]
    )
  })

  it("counts in numbers beyond 32 bits", () => {
    const layout = layoutOf(2 ** 29, 2 ** 40, 2 ** 45, 7)

    const [span] = FileLayout.spans(layout, 2 ** 40 + 2 ** 45 + 6, 1)
    assert.deepInclude(span, { file: 2, fileOffset: 6 })
    assert.deepStrictEqual(FileLayout.filePieces(layout, 1), { first: 2 ** 11, end: 2 ** 11 + 2 ** 16 })
  })

  it("returns the pieces of a file, none for a file without bytes", () => {
    const layout = layoutOf(10, 5, 0, 5, 21)

    assert.deepStrictEqual(
      layout.files.map((_, file) => FileLayout.filePieces(layout, file)),
      [
        { first: 0, end: 1 },
        { first: 0, end: 0 },
        { first: 0, end: 1 },
        { first: 1, end: 4 }
      ]
    )
  })

  it("spans of a range cover it exactly once, in order, within their files", () => {
    fc.assert(
      fc.property(layoutAndRange, ({ begin, layout, length }) => {
        let covered = 0
        for (const span of FileLayout.spans(layout, begin, length)) {
          const file = layout.files[span.file]!
          assert.strictEqual(span.begin, covered)
          assert.strictEqual(file.offset + span.fileOffset, begin + covered)
          assert.isAtLeast(span.length, 1)
          assert.isAtMost(span.fileOffset + span.length, file.length)
          covered += span.length
        }
        assert.strictEqual(covered, length)
      })
    )
  })

  it("every offset maps into a file that holds it, and back", () => {
    fc.assert(
      fc.property(layoutAndRange, ({ begin, layout }) => {
        const [{ file, fileOffset }] = FileLayout.spans(layout, begin, 1) as [FileLayout.FileSpan]

        assert.isBelow(fileOffset, layout.files[file]!.length)
        assert.strictEqual(layout.files[file]!.offset + fileOffset, begin)
      })
    )
  })

  it("a file is among the spans of exactly its pieces", () => {
    fc.assert(
      fc.property(layoutAndRange, ({ layout }) => {
        for (let index = 0; index < layout.geometry.pieceCount; index++) {
          const touched = new Set(FileLayout.pieceSpans(layout, piece(layout, index)).map(({ file }) => file))
          for (let file = 0; file < layout.files.length; file++) {
            const { end, first } = FileLayout.filePieces(layout, file)
            assert.strictEqual(touched.has(file), index >= first && index < end)
          }
        }
      }),
      { numRuns: 30 }
    )
  })

  it("finds a piece among 100,000 files without looking at them all", () => {
    const files = Array.from({ length: 100_000 }, (_, index) => ({ path: ["t", String(index)], length: 100 }))
    let reads = 0
    const layout = FileLayout.make({ files, pieceLength: 1_000 })
    const offsets = new Proxy(layout.offsets, {
      get: (target, key) => {
        reads++
        return Reflect.get(target, key)
      }
    })
    const counting = { ...layout, fileCount: layout.fileCount, files: [], offsets }

    FileLayout.pieceSpans(counting, piece(layout, 9_999))

    // 17 steps of a binary search, then the beginnings and ends of the 10 files of the piece.
    assert.isAtMost(reads, 40)
  })
})
