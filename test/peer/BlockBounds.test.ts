import { assert, describe, it } from "@effect/vitest"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as BlockBounds from "../../src/peer/BlockBounds.ts"
import { failureOf } from "./protocols.ts"

/** Two pieces of 256 KiB, the second of 100 bytes. */
const geometry = PieceGeometry.make({ totalLength: 262_244, pieceLength: 262_144 })

describe("BlockBounds", () => {
  it("returns the piece of an index", () => {
    assert.deepStrictEqual(
      [0, 1].map((index) => BlockBounds.requirePiece(geometry, index, "a have")),
      [0, 1]
    )
  })

  it("reports which message names a piece that does not exist", () => {
    assert.deepStrictEqual(
      failureOf(() => BlockBounds.requirePiece(geometry, 2, "a have")),
      { _tag: "piecewise/WireError", why: "a have of piece 2, of which there are 2" }
    )
  })

  it("accepts up to 128 KiB within a piece", () => {
    const [first, last] = [
      BlockBounds.requireBlock(geometry, 0, 131_072, 131_072, "a request"),
      BlockBounds.requireBlock(geometry, 1, 99, 1, "a request")
    ]

    assert.deepStrictEqual([first, last], [0, 1])
  })

  it("refuses a range that is empty, too long, or past the end of its piece", () => {
    const whys = [
      [0, 0, 0],
      [0, 0, 131_073],
      [1, 99, 2],
      [2, 0, 1]
    ].map(
      ([index, begin, length]) =>
        failureOf(() => BlockBounds.requireBlock(geometry, index!, begin!, length!, "a cancel"))?.why
    )

    assert.deepStrictEqual(whys, [
      "a cancel of 0 bytes at 0 in piece 0",
      "a cancel of 131073 bytes at 0 in piece 0",
      "a cancel of 2 bytes at 99 in piece 1",
      "a cancel of piece 2, of which there are 2"
    ])
  })
})
