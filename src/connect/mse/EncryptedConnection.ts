/**
 * A connection whose bytes are encrypted by RC4 when they are written. `Preamble.ts` decrypts what arrives, where it is.
 *
 * Hot path: once per write. What is written may be shared with other connections, so it is encrypted into other memory.
 * For long writes that is one buffer, which all connections of a thread use in turn, as long as the system copies what
 * it is given at once. A connection that does not keeps the buffer until it has sent it, and another one is made; what
 * it has to send afterwards takes no more memory than its length.
 */
import type { Connection, Write } from "../../network/Transport.ts"
import * as Rc4 from "./Rc4.ts"

/**
 * Longer writes have memory of their own. A run of blocks that is uploaded (`UploadSession.ts`) is not longer: 256 KiB,
 * and the headers of its blocks.
 */
export const bufferBytes = 262_144 + 4_096

/** Shorter writes have memory of their own, which costs little, so that a few bytes that wait do not keep the buffer. */
const minBufferedBytes = 16_384

let buffer: Uint8Array | undefined

/** Encrypts what is written with `cipher`, which nothing else may use. */
export const make = (connection: Connection, cipher: Rc4.Rc4): Connection => {
  const { writeUnsafe } = connection
  const isWritten = () => writeUnsafe.isWrittenUnsafe?.() === true
  const write = (bytes: Uint8Array): boolean => {
    const { length } = bytes
    const isBuffered = length >= minBufferedBytes && length <= bufferBytes && isWritten()
    if (isBuffered) buffer ??= new Uint8Array(bufferBytes)
    const encrypted = isBuffered ? buffer!.subarray(0, length) : new Uint8Array(length)
    Rc4.apply(cipher, bytes, encrypted)
    const isRoomy = writeUnsafe(encrypted)
    if (isBuffered && !isWritten()) buffer = undefined
    return isRoomy
  }
  // The caller's memory is free as soon as it is encrypted.
  const encrypting: Write = Object.assign(write, { isWrittenUnsafe: () => true })
  return { ...connection, isEncrypted: true, writeUnsafe: encrypting }
}
