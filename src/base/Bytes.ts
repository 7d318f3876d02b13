/**
 * Compares, joins and converts byte arrays: to and from hexadecimal digits, base32 and text, and from and to big-endian
 * numbers. Every array that a function returns is new.
 *
 * Functions that parse untrusted input return `undefined` if it is malformed. Functions whose names end with `Unsafe`
 * expect that the caller has checked the arguments. Cryptographic digests and constant-time comparison are elsewhere.
 */

/** Returns whether two arrays hold the same bytes. Not for secrets, because the time shows where they differ. */
export const equals = (self: Uint8Array, that: Uint8Array): boolean => {
  if (self.length !== that.length) return false
  for (let index = 0; index < self.length; index++) if (self[index] !== that[index]) return false
  return true
}

/** Joins the bytes of all `chunks`, in order. */
export const concat = (chunks: ReadonlyArray<Uint8Array>): Uint8Array<ArrayBuffer> => {
  let length = 0
  for (const chunk of chunks) length += chunk.length
  const joined = new Uint8Array(length)
  let offset = 0
  for (const chunk of chunks) {
    joined.set(chunk, offset)
    offset += chunk.length
  }
  return joined
}

const hexOfByte = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))

/** Returns the bytes as lower-case hexadecimal digits, two for each byte. */
export const toHex = (bytes: Uint8Array): string => {
  let text = ""
  for (let index = 0; index < bytes.length; index++) text += hexOfByte[bytes[index]!]
  return text
}

/** Parses an even number of hexadecimal digits in either case. Returns `undefined` for anything else. */
export const fromHex = (text: string): Uint8Array<ArrayBuffer> | undefined => {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) return undefined
  const bytes = new Uint8Array(text.length / 2)
  for (let index = 0; index < bytes.length; index++) bytes[index] = Number.parseInt(text.substr(index * 2, 2), 16)
  return bytes
}

const base32Alphabet = "abcdefghijklmnopqrstuvwxyz234567"

/**
 * Parses base32 without padding (RFC 4648 section 6), in either case. Returns `undefined` in three cases: for a
 * character that is not in the alphabet, for a length that no number of bytes has in base32, and if the bits that are
 * left over at the end are not zero. So two texts mean the same bytes only if they differ in nothing but case.
 */
export const fromBase32 = (text: string): Uint8Array<ArrayBuffer> | undefined => {
  const bytes = new Uint8Array(Math.floor((text.length * 5) / 8))
  if (Math.ceil((bytes.length * 8) / 5) !== text.length) return undefined
  let bits = 0
  let bitCount = 0
  let offset = 0
  // `toLowerCase` is not used, because it turns the Kelvin sign into a "k".
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    const digit = base32Alphabet.indexOf(String.fromCharCode(code >= 65 && code <= 90 ? code + 32 : code))
    if (digit < 0) return undefined
    bits = ((bits << 5) | digit) & 0xfff
    bitCount += 5
    if (bitCount >= 8) {
      bitCount -= 8
      bytes[offset++] = bits >>> bitCount
    }
  }
  return (bits & ((1 << bitCount) - 1)) === 0 ? bytes : undefined
}

const textEncoder = new TextEncoder()
// A byte order mark is kept, so that text that is decoded and encoded again has the same bytes.
const lossyDecoder = new TextDecoder("utf-8", { ignoreBOM: true })
const strictDecoder = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true })

/** Encodes a text as UTF-8. A lone surrogate becomes U+FFFD. */
export const fromText = (text: string): Uint8Array<ArrayBuffer> => textEncoder.encode(text)

/** Decodes UTF-8, with U+FFFD for whatever is not UTF-8. Use it for names and messages that are only shown. */
export const toText = (bytes: Uint8Array): string => lossyDecoder.decode(bytes)

/**
 * Decodes a text from another machine so that it can be shown on a terminal or a page. Returns at most `maxLength`
 * characters, or `undefined` if nothing is left to show.
 *
 * - Whatever is not UTF-8 becomes U+FFFD.
 * - A run of separators (such as spaces and line separators) and of characters that have no glyph becomes one space.
 *   The latter are control, format (such as bidirectional marks), private and unassigned characters.
 * - Spaces at both ends are removed.
 *
 * Only the first `4 * maxLength + 4` bytes are read, so a text with long runs may lose more of its end.
 */
export const toShownText = (bytes: Uint8Array, maxLength: number): string | undefined => {
  const text = toText(bytes.subarray(0, characterBoundary(bytes, 4 * maxLength + 4)))
    .replace(/[\p{C}\p{Z}]+/gu, " ")
    .trim()
  return text === "" ? undefined : Array.from(text).slice(0, maxLength).join("").trimEnd()
}

/**
 * Returns the last offset up to `limit` that is not within a character of valid UTF-8. A character has at most 4 bytes,
 * of which all but the first begin with the bits 10.
 */
const characterBoundary = (bytes: Uint8Array, limit: number): number => {
  let end = limit
  while (end > limit - 3 && end < bytes.length && (bytes[end]! & 0xc0) === 0x80) end--
  return end
}

/** Decodes UTF-8. Returns `undefined` if it is not valid, which includes overlong forms and encoded surrogates. */
export const toTextStrict = (bytes: Uint8Array): string | undefined => {
  try {
    return strictDecoder.decode(bytes)
  } catch {
    return undefined
  }
}

/**
 * Returns the bytes from `start` to `end` as a text with one character (U+0000 to U+00FF) for each. Keys of bencoded
 * dictionaries have this form.
 */
export const toLatin1 = (bytes: Uint8Array, start = 0, end = bytes.length): string => {
  let text = ""
  // A short text, as nearly every key is, is built three times faster character by character. A long text would become
  // a chain of as many strings in V8, so it is built in parts.
  if (end - start <= 32) {
    for (let index = start; index < end; index++) text += String.fromCharCode(bytes[index]!)
    return text
  }
  for (let index = start; index < end; index += 4096)
    text += String.fromCharCode.apply(null, bytes.subarray(index, Math.min(index + 4096, end)) as unknown as number[])
  return text
}

/** Returns one byte for each character of a text. Throws a `RangeError` if a character is above U+00FF. */
export const fromLatin1Unsafe = (text: string): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(text.length)
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code > 0xff) throw new RangeError(`character ${index} of a text of bytes is U+${code.toString(16)}`)
    bytes[index] = code
  }
  return bytes
}

/** Reads a 16-bit unsigned integer at `offset`, big-endian. The caller has checked that it is there. */
export const readUint16Unsafe = (bytes: Uint8Array, offset: number): number =>
  (bytes[offset]! << 8) | bytes[offset + 1]!

/** Reads a 32-bit unsigned integer at `offset`, big-endian. The caller has checked that it is there. */
export const readUint32Unsafe = (bytes: Uint8Array, offset: number): number =>
  ((bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!) >>> 0

/** Writes the low 16 bits of `value` at `offset`, big-endian. The caller has checked that there is room. */
export const writeUint16Unsafe = (bytes: Uint8Array, offset: number, value: number): void => {
  bytes[offset] = value >>> 8
  bytes[offset + 1] = value
}

/** Writes the low 32 bits of `value` at `offset`, big-endian. The caller has checked that there is room. */
export const writeUint32Unsafe = (bytes: Uint8Array, offset: number, value: number): void => {
  bytes[offset] = value >>> 24
  bytes[offset + 1] = value >>> 16
  bytes[offset + 2] = value >>> 8
  bytes[offset + 3] = value
}

/**
 * Writes `value` at `offset` as a 64-bit integer, big-endian, as in requests to UDP trackers. The value is a safe
 * integer of at least 0. The caller has checked that there is room.
 */
export const writeUint64Unsafe = (bytes: Uint8Array, offset: number, value: number): void => {
  writeUint32Unsafe(bytes, offset, Math.floor(value / 0x1_0000_0000))
  writeUint32Unsafe(bytes, offset + 4, value % 0x1_0000_0000)
}
