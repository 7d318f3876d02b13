import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import * as SeedFetch from "../../src/webseed/SeedFetch.ts"

const pieceLength = 32_768

const layoutOf = (files: ReadonlyArray<{ readonly length: number; readonly padding: boolean }>) =>
  FileLayout.make({ files: files.map((file, index) => ({ path: ["t", `${index}`], ...file })), pieceLength })

const askedOf = (layout: FileLayout.FileLayout, options: Partial<SeedFetch.Asked> = {}): SeedFetch.Asked => ({
  seed: { kind: "files", url: new URL("http://s.example/"), isTrusted: false },
  layout,
  infoHash: new Uint8Array(20) as InfoHash,
  servesRanges: true,
  ...options
})

const drawnFiles = fc
  .array(fc.record({ length: fc.nat(100_000), padding: fc.boolean() }), { minLength: 1, maxLength: 12 })
  .filter((files) => files.some(({ length }) => length > 0))

describe("SeedFetch", () => {
  it("covers each byte that is asked for exactly once, from the right offsets of the right files", () => {
    fc.assert(
      fc.property(drawnFiles, fc.nat(), fc.nat(), fc.integer({ min: 3_000, max: 100_000 }), (files, from, to, most) => {
        const layout = layoutOf(files)
        const { totalLength } = layout.geometry
        const [begin, end] = [from % totalLength, (to % totalLength) + 1].sort((one, other) => one - other) as [
          number,
          number
        ]
        let offset = begin

        while (offset < end) {
          const found = SeedFetch.at(askedOf(layout), offset, Math.min(end, offset + most))
          if (found._tag === "Zeros") {
            assert.isAbove(found.end, offset)
            offset = found.end
            continue
          }
          const { fetch } = found
          const file = Number(fetch.url.pathname.split("/").at(-1))
          assert.strictEqual(fetch.begin, offset)
          assert.isAtMost(fetch.end, end)
          assert.isFalse(FileLayout.isPadding(layout, file))
          assert.strictEqual(fetch.range!.first, offset - FileLayout.offsetOf(layout, file))
          assert.strictEqual(fetch.range!.last - fetch.range!.first + 1, fetch.end - fetch.begin)
          assert.isBelow(fetch.range!.last, FileLayout.lengthOf(layout, file))
          assert.strictEqual(SeedFetch.fileOf(askedOf(layout), fetch), file)
          offset = fetch.end
        }

        assert.isAtLeast(offset, end)
      })
    )
  })

  it("asks for whole files without ranges", () => {
    const layout = layoutOf([
      { length: 100, padding: false },
      { length: 50_000, padding: false }
    ])

    const found = SeedFetch.at(askedOf(layout, { servesRanges: false }), 20_000, 20_001)

    assert.deepInclude(found, { _tag: "Fetch" })
    const { fetch } = found as Extract<SeedFetch.Found, { _tag: "Fetch" }>
    assert.deepInclude(fetch, { range: undefined, begin: 100, end: 50_100, source: { begin: 100, length: 50_000 } })
  })

  it("asks a seed of pieces for the rest of a piece", () => {
    const layout = layoutOf([{ length: 100_000, padding: false }])
    const seed = { kind: "pieces", url: new URL("http://s.example/seed"), isTrusted: false } as const

    const { fetch } = SeedFetch.at(askedOf(layout, { seed }), 3 * pieceLength + 16, 200_000) as Extract<
      SeedFetch.Found,
      { _tag: "Fetch" }
    >

    assert.include(fetch.url.search, `piece=3&ranges=16-${100_000 - 3 * pieceLength - 1}`)
    assert.deepInclude(fetch, { range: undefined, begin: 3 * pieceLength + 16, end: 100_000 })
  })

  it("finds the files whose paths would lead elsewhere", () => {
    const layout = FileLayout.make({
      files: [
        ["t", "a"],
        ["t", "..", "b"],
        ["t", "c"]
      ].map((path) => ({ path, length: 10, padding: false })),
      pieceLength
    })

    assert.deepStrictEqual(SeedFetch.unreachable(layout), new Set([1]))
  })

  it("leaves out the pieces of files that the seed lacks", () => {
    const layout = layoutOf([
      { length: pieceLength + 1, padding: false },
      { length: 2 * pieceLength, padding: false },
      { length: 10, padding: false }
    ])

    const pieces = SeedFetch.piecesWithout(layout, new Set([0]))

    assert.deepStrictEqual([...Bitfield.indices(pieces)], [2, 3])
  })
})
