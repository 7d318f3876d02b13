/**
 * The memory of pieces: how it is made, and how bytes get into it. A hasher that digests on another thread needs memory
 * that this thread can see.
 */

/** How memory is made and filled. */
export interface PieceMemory {
  /** Makes memory of so many bytes, all zero. */
  readonly make: (length: number) => Uint8Array
  /** Copies `part`, which must fit, to `offset` of memory that `make` has made. */
  readonly copy: (memory: Uint8Array, offset: number, part: Uint8Array) => void
}

/** Memory of this thread. */
export const plain: PieceMemory = {
  make: (length) => new Uint8Array(length),
  copy: (memory, offset, part) => memory.set(part, offset)
}
