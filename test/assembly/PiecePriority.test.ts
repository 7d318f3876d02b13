import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as PiecePriority from "../../src/assembly/PiecePriority.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"

/** Files of the given lengths over pieces of 10 bytes; a negative length is padding. */
const layoutOf = (...lengths: ReadonlyArray<number>) =>
  FileLayout.make({
    pieceLength: 10,
    files: lengths.map((length, index) => ({ path: [`${index}`], length: Math.abs(length), padding: length < 0 }))
  })

describe("PiecePriority", () => {
  it("a piece has the highest priority of the files that have a byte in it", () => {
    const pieces = PiecePriority.ofFiles(layoutOf(15, 10, 20), ["normal", "skip", "high"])

    assert.deepStrictEqual(pieces, ["normal", "normal", "high", "high", "high"])
  })

  it("wants a piece that a skipped file shares with a wanted one", () => {
    const pieces = PiecePriority.ofFiles(layoutOf(25, 25), ["skip", "normal"])

    assert.deepStrictEqual(pieces, ["skip", "skip", "normal", "normal", "normal"])
    assert.deepStrictEqual([...Bitfield.indices(PiecePriority.wanted(pieces))], [2, 3, 4])
  })

  it("wants nothing for an empty file, nor for padding", () => {
    const pieces = PiecePriority.ofFiles(layoutOf(5, -5, 0, 10), ["skip", "high", "high", "skip"])

    assert.deepStrictEqual(pieces, ["skip", "skip"])
  })

  it("a file without a priority is normal", () => {
    assert.deepStrictEqual(PiecePriority.ofFiles(layoutOf(10, 10), ["skip"]), ["skip", "normal"])
  })

  it("names the files that are not skipped", () => {
    assert.deepStrictEqual(PiecePriority.wantedFiles(layoutOf(1, 0, 5, 1), ["skip", "high", "normal"]), [1, 2, 3])
  })

  it("law: a piece is wanted as much as the byte of it that is wanted most", () => {
    const file = fc.tuple(fc.integer({ min: 1, max: 35 }), fc.constantFrom(...(["skip", "normal", "high"] as const)))
    fc.assert(
      fc.property(fc.array(file, { minLength: 1, maxLength: 12 }), (files) => {
        const layout = layoutOf(...files.map(([length]) => length))
        const bytes = files.flatMap(([length, priority]) => new Array<string>(length).fill(priority))

        const pieces = PiecePriority.ofFiles(
          layout,
          files.map(([, priority]) => priority)
        )

        for (const [index, priority] of pieces.entries()) {
          const inside = bytes.slice(index * 10, index * 10 + 10)
          const expected = ["high", "normal", "skip"].find((name) => inside.includes(name))
          assert.strictEqual(priority, expected)
        }
      })
    )
  })
})
