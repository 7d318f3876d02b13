/**
 * Finds the raw bytes of one value in a bencoded dictionary, and builds no values. It looks at each token once, and not
 * at the bytes of strings. So a stranger's file can be judged by a digest before `Bencode.decode` reads it.
 *
 * It accepts more than `decode` does, such as a leading zero. If `decode` succeeds, both find the same bytes.
 */
import * as Bytes from "../base/Bytes.ts"

const byteOf = { zero: 0x30, nine: 0x39, colon: 0x3a, d: 0x64, e: 0x65, i: 0x69, l: 0x6c } as const

/** An integer has a sign and 20 digits at most, and a length has fewer digits. */
const maxDigits = 21

/**
 * Returns a view of the value at `key` in the dictionary that `bytes` begins with, the first one if there are several.
 * Returns `undefined` if there is none.
 */
export const find = (bytes: Uint8Array, key: string): Uint8Array | undefined => {
  if (bytes[0] !== byteOf.d) return undefined
  const name = Bytes.fromText(key)
  const wanted = Bytes.concat([Bytes.fromText(`${name.length}:`), name])
  let depth = 1
  /** Whether the token at the offset is a key of the root. */
  let isKey = true
  /** Where the wanted value begins. */
  let start: number | undefined
  for (let offset = 1; ; ) {
    const byte = bytes[offset]
    if (byte === byteOf.l || byte === byteOf.d) {
      depth++
      offset++
      continue
    }
    if (byte === byteOf.e) {
      depth--
      offset++
    } else {
      const end = byte === byteOf.i ? endOfInteger(bytes, offset) : endOfString(bytes, offset)
      if (end === undefined) return undefined
      if (depth === 1 && isKey) {
        isKey = false
        if (Bytes.equals(bytes.subarray(offset, end), wanted)) start = end
        offset = end
        continue
      }
      offset = end
    }
    if (depth === 0) return undefined
    if (depth > 1) continue
    // A value of the root has ended.
    if (start !== undefined) return bytes.subarray(start, offset)
    isKey = true
  }
}

const isDigit = (byte: number | undefined): byte is number =>
  byte !== undefined && byte >= byteOf.zero && byte <= byteOf.nine

const endOfInteger = (bytes: Uint8Array, offset: number): number | undefined => {
  const limit = offset + maxDigits + 2
  for (let at = offset + 1; at < limit; at++) if (bytes[at] === byteOf.e) return at + 1
  return undefined
}

const endOfString = (bytes: Uint8Array, offset: number): number | undefined => {
  let length = 0
  let at = offset
  for (let byte = bytes[at]; isDigit(byte) && at - offset < maxDigits; byte = bytes[++at]) {
    length = length * 10 + byte - byteOf.zero
  }
  const end = at + 1 + length
  return at > offset && bytes[at] === byteOf.colon && end <= bytes.length ? end : undefined
}
