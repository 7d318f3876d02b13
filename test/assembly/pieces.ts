/**
 * Torrents and their bytes for the tests of pieces.
 */
import * as Effect from "effect/Effect"
import * as BufferPool from "../../src/assembly/BufferPool.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"

export const { blockLength } = PieceGeometry

/** A torrent of `pieceCount` pieces of `blocks` blocks each; the last piece has `lastLength` bytes. */
export const geometryOf = (pieceCount: number, blocks: number, lastLength = blocks * blockLength) => {
  const pieceLength = blocks * blockLength
  return PieceGeometry.make({ totalLength: (pieceCount - 1) * pieceLength + lastLength, pieceLength })
}

export const piece = (index: number) => index as PieceIndex

/** The right bytes of a piece. No two blocks of a test are alike. */
export const contentOf = (geometry: PieceGeometry.PieceGeometry, index: number) => {
  const bytes = new Uint8Array(PieceGeometry.pieceSize(geometry, piece(index)))
  for (let at = 0; at < bytes.length; at++) bytes[at] = 1 + ((at * 31 + (at >>> 14) * 7 + index * 13) % 255)
  return bytes
}

/** A bitfield drawn as a string, a `*` for each piece that is there: `"* *."`. */
export const has = (drawn: string) => {
  const bits = Bitfield.make(drawn.length)
  for (let index = 0; index < drawn.length; index++) if (drawn[index] === "*") Bitfield.add(bits, index)
  return bits
}

/** Lends a buffer to a piece as the assembly does, but waits until one is free, and asks again then. */
export const lend = Effect.fnUntraced(function* (
  pool: BufferPool.BufferPool,
  index: PieceIndex,
  borrower?: BufferPool.Borrower
) {
  while (true) {
    const buffer = BufferPool.lendNow(pool, index, borrower)
    if (buffer !== undefined) return buffer
    yield* Effect.yieldNow
  }
})

/** Buffers that wait to be lent or could still be made. With the lent ones they are always `capacity`. */
export const freeCount = ({ account, capacity, free }: BufferPool.BufferPool): number =>
  free.length + (capacity - account.held)
