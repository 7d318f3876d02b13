/**
 * Memory in which runs of blocks are encoded, shared by the sessions of this thread. Fresh memory for each run costs
 * more than to encode it, most of it in the garbage collector, which starts for each few MiB outside of the heap.
 *
 * A session takes a buffer for each run, and gives it back when the connection needs it no more. A buffer that never
 * comes back is collected.
 */
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as ReadCache from "../storage/ReadCache.ts"

/** Bytes of a piece frame before its block: length, id, piece and begin (BEP 3). */
export const headerLength = 13

/** Bytes of a buffer that is kept: a span of whole blocks, each with its header. */
const keptLength = ReadCache.spanLength + (ReadCache.spanLength / PieceGeometry.blockLength) * headerLength

/** Shorter runs get as much memory as they need, because they may be those of many slow peers. */
const shortLength = 65_536

/** Buffers that are kept: 2 MiB. */
const maxKept = 8

const kept: Array<Uint8Array> = []

/** A buffer of at least `length` bytes with any content. */
export const take = (length: number): Uint8Array => {
  if (length <= shortLength || length > keptLength) return new Uint8Array(length)
  return kept.pop() ?? new Uint8Array(keptLength)
}

/** Returns a buffer that nobody reads or writes any more. */
export const giveBack = (buffer: Uint8Array): void => {
  if (buffer.length === keptLength && kept.length < maxKept) kept.push(buffer)
}
