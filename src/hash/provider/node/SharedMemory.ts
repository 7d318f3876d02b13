/** Memory that several threads see. */
import type { PieceMemory } from "../../PieceMemory.ts"

/**
 * Makes and fills it. `TypedArray.set` copies to shared memory word by word, which takes four times as long as
 * `Buffer.copy` does, unless that copies a whole array (Node 24). So the part is copied out of the array it lies in.
 */
export const memory: PieceMemory = {
  make: (length) => new Uint8Array(new SharedArrayBuffer(length)),
  copy: (memory, offset, { buffer, byteOffset, length }) =>
    void Buffer.from(buffer).copy(memory, offset, byteOffset, byteOffset + length)
}

/** Whether bytes lie in such memory. */
export const isShared = ({ buffer }: Uint8Array): boolean => buffer instanceof SharedArrayBuffer
