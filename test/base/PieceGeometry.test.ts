import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"

const geometry = (totalLength: number, pieceLength: number) => PieceGeometry.make({ totalLength, pieceLength })

const pieceAt = PieceGeometry.pieceIndexUnsafe

/** A torrent of at most a thousand pieces, whose last one is full, one byte, or anything between. */
const anyGeometry = fc
  .record({
    pieceLength: fc.oneof(fc.constantFrom(16_384, 32_768, 1_048_576), fc.integer({ min: 1, max: 100_000 })),
    full: fc.integer({ min: 0, max: 999 }),
    rest: fc.double({ min: 0, max: 1, noNaN: true })
  })
  .map(({ full, pieceLength, rest }) =>
    geometry(full * pieceLength + 1 + Math.floor(rest * (pieceLength - 1)), pieceLength)
  )

const piecesOf = (self: PieceGeometry.PieceGeometry) =>
  Array.from({ length: self.pieceCount }, (_, index) => pieceAt(self, index))

describe("PieceGeometry", () => {
  it("cuts a torrent whose last piece is short", () => {
    const self = geometry(100_000, 32_768)

    assert.strictEqual(self.pieceCount, 4)
    assert.deepStrictEqual(
      piecesOf(self).map((piece) => PieceGeometry.pieceSize(self, piece)),
      [32_768, 32_768, 32_768, 1_696]
    )
    assert.deepStrictEqual(
      piecesOf(self).map((piece) => PieceGeometry.pieceOffset(self, piece)),
      [0, 32_768, 65_536, 98_304]
    )
  })

  it("has no empty piece for a torrent of whole pieces, and one piece for a single byte", () => {
    const whole = geometry(65_536, 32_768)
    const single = geometry(1, 16_777_216)

    assert.strictEqual(whole.pieceCount, 2)
    assert.strictEqual(PieceGeometry.pieceSize(whole, pieceAt(whole, 1)), 32_768)
    assert.strictEqual(single.pieceCount, 1)
    assert.strictEqual(PieceGeometry.pieceSize(single, pieceAt(single, 0)), 1)
  })

  it("computes beyond 32 bits", () => {
    const self = geometry(2 ** 40 + 1, 2 ** 24)

    assert.strictEqual(self.pieceCount, 65_537)
    assert.strictEqual(PieceGeometry.pieceOffset(self, pieceAt(self, 65_536)), 2 ** 40)
    assert.strictEqual(PieceGeometry.pieceSize(self, pieceAt(self, 65_536)), 1)
  })

  it("has pieces that follow each other without a gap and sum to the whole", () => {
    fc.assert(
      fc.property(anyGeometry, (self) => {
        let end = 0
        for (const piece of piecesOf(self)) {
          assert.strictEqual(PieceGeometry.pieceOffset(self, piece), end)
          assert.isAtLeast(PieceGeometry.pieceSize(self, piece), 1)
          end += PieceGeometry.pieceSize(self, piece)
        }

        assert.strictEqual(end, self.totalLength)
      })
    )
  })

  it("has blocks that sum to their piece, all full except the last", () => {
    fc.assert(
      fc.property(anyGeometry, (self) => {
        for (const piece of [pieceAt(self, 0), pieceAt(self, self.pieceCount - 1)]) {
          const size = PieceGeometry.pieceSize(self, piece)
          const sizes = Array.from({ length: PieceGeometry.blockCount(self, piece) }, (_, block) =>
            PieceGeometry.blockSize(size, block)
          )

          assert.strictEqual(
            sizes.reduce((sum, block) => sum + block, 0),
            size
          )
          assert.isTrue(sizes.slice(0, -1).every((block) => block === PieceGeometry.blockLength))
          assert.isAtLeast(sizes.at(-1)!, 1)
        }
      })
    )
  })

  it("has the rest in the last block of a piece, at the edges of a block", () => {
    const lastBlock = (size: number) => {
      const self = geometry(size, 1_048_576)
      const count = PieceGeometry.blockCount(self, pieceAt(self, 0))
      return [count, PieceGeometry.blockSize(size, count - 1)]
    }

    assert.deepStrictEqual(lastBlock(16_383), [1, 16_383])
    assert.deepStrictEqual(lastBlock(16_384), [1, 16_384])
    assert.deepStrictEqual(lastBlock(16_385), [2, 1])
    assert.deepStrictEqual(lastBlock(1_048_576), [64, 16_384])
  })

  it("has a shift that agrees with the block length", () => {
    assert.strictEqual(2 ** PieceGeometry.blockShift, PieceGeometry.blockLength)
  })

  it("fault 28: an index out of range is no piece index", () => {
    const self = geometry(100_000, 32_768)

    for (const index of [0, 1, 3]) assert.isTrue(PieceGeometry.isPieceIndex(self, index), `${index}`)
    for (const index of [-1, 4, 1.5, Number.NaN, Infinity, 2 ** 32 - 1]) {
      assert.isFalse(PieceGeometry.isPieceIndex(self, index), `${index}`)
      assert.throws(() => PieceGeometry.pieceIndexUnsafe(self, index), RangeError, `piece ${index} of 4`)
    }
  })
})
