/** Memory that several threads see. */
import type { PieceMemory } from "../../PieceMemory.ts"

/**
 * V8 does not count shared memory when it decides whether to collect garbage, so much of it could be left over (Node
 * 24). It counts these, which live as long. They are never touched, so the system gives no memory for them.
 */
const weights = new WeakMap<SharedArrayBuffer, ArrayBuffer>()

/**
 * Makes and fills it. `TypedArray.set` copies to shared memory word by word, which takes four times as long as
 * `Buffer.copy` does, unless that copies a whole array (Node 24). So the part is copied out of the array it lies in.
 */
export const memory: PieceMemory = {
  make: (length) => {
    const shared = new SharedArrayBuffer(length)
    weights.set(shared, new ArrayBuffer(length))
    return new Uint8Array(shared)
  },
  copy: (memory, offset, { buffer, byteOffset, length }) =>
    void Buffer.from(buffer).copy(memory, offset, byteOffset, byteOffset + length)
}

/** Whether bytes lie in such memory. */
export const isShared = ({ buffer }: Uint8Array): boolean => buffer instanceof SharedArrayBuffer
