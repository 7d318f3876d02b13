/**
 * Byte arrays: comparing, joining, and their forms as hex, base32 and text, with big-endian numbers in them.
 *
 * Functions that read untrusted input return `undefined` if it is malformed. Cryptographic digests and constant-time
 * comparison are elsewhere. Results are new arrays unless the doc says view.
 */

/** Whether two arrays hold the same bytes. Returns early: not for secrets. */
export const equals = (self: Uint8Array, that: Uint8Array): boolean => {
  if (self.length !== that.length) return false
  for (let index = 0; index < self.length; index++) if (self[index] !== that[index]) return false
  return true
}

/** All bytes of `chunks`, in order, in one new array. */
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

/** Lower-case hexadecimal digits, two a byte. */
export const toHex = (bytes: Uint8Array): string => {
  let text = ""
  for (let index = 0; index < bytes.length; index++) text += hexOfByte[bytes[index]!]
  return text
}

/** Bytes of an even number of hexadecimal digits in either case; `undefined` for anything else. */
export const fromHex = (text: string): Uint8Array<ArrayBuffer> | undefined => {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) return undefined
  const bytes = new Uint8Array(text.length / 2)
  for (let index = 0; index < bytes.length; index++) bytes[index] = Number.parseInt(text.substr(index * 2, 2), 16)
  return bytes
}

const base32Alphabet = "abcdefghijklmnopqrstuvwxyz234567"

/**
 * Bytes of base32 text without padding (RFC 4648 section 6), in either case. `undefined` for a foreign character, for a
 * length that no number of bytes encodes to, and if the bits left over at the end are not zero, so that two texts that
 * differ in more than case never mean the same bytes.
 */
export const fromBase32 = (text: string): Uint8Array<ArrayBuffer> | undefined => {
  const bytes = new Uint8Array(Math.floor((text.length * 5) / 8))
  if (Math.ceil((bytes.length * 8) / 5) !== text.length) return undefined
  let bits = 0
  let bitCount = 0
  let offset = 0
  // Not toLowerCase of the whole: it turns the Kelvin sign into a "k".
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
// A byte order mark is kept: text that is read and written again must stay the same bytes.
const lossyDecoder = new TextDecoder("utf-8", { ignoreBOM: true })
const strictDecoder = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true })

/** UTF-8 of a text; a lone surrogate becomes U+FFFD. */
export const fromText = (text: string): Uint8Array<ArrayBuffer> => textEncoder.encode(text)

/** The text of UTF-8 bytes, with U+FFFD for what is not UTF-8: for names and messages that are only shown. */
export const toText = (bytes: Uint8Array): string => lossyDecoder.decode(bytes)

/**
 * Text of a stranger for a terminal or a page, at most `maxLength` characters: control, format (bidirectional marks)
 * and private ones become spaces, what is not UTF-8 becomes U+FFFD. `undefined` if nothing is left.
 */
export const toShownText = (bytes: Uint8Array, maxLength: number): string | undefined => {
  // A character has at most 4 bytes; one that is cut in two becomes U+FFFD beyond what is shown.
  const text = toText(bytes.subarray(0, 4 * maxLength + 4))
    .replace(/[\p{C}\p{Z}]+/gu, " ")
    .trim()
  return text === "" ? undefined : Array.from(text).slice(0, maxLength).join("").trimEnd()
}

/** The text of UTF-8 bytes; `undefined` if they are not valid UTF-8 (overlong forms and surrogates included). */
export const toTextStrict = (bytes: Uint8Array): string | undefined => {
  try {
    return strictDecoder.decode(bytes)
  } catch {
    return undefined
  }
}

/** A text of one character a byte (U+0000 to U+00FF), the form of bencode's dictionary keys. */
export const toLatin1 = (bytes: Uint8Array, start = 0, end = bytes.length): string => {
  let text = ""
  // Short texts, nearly all keys, are built three times faster without a view; long ones would make a rope of millions.
  if (end - start <= 32) {
    for (let index = start; index < end; index++) text += String.fromCharCode(bytes[index]!)
    return text
  }
  for (let index = start; index < end; index += 4096)
    text += String.fromCharCode.apply(null, bytes.subarray(index, Math.min(index + 4096, end)) as unknown as number[])
  return text
}

/** The bytes of a text of one character a byte; throws a `RangeError` on a character above U+00FF. */
export const fromLatin1Unsafe = (text: string): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(text.length)
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code > 0xff) throw new RangeError(`character ${index} of a text of bytes is U+${code.toString(16)}`)
    bytes[index] = code
  }
  return bytes
}

/** The 16-bit unsigned integer at `offset`, big-endian. The caller has checked that it is there. */
export const readUint16Unsafe = (bytes: Uint8Array, offset: number): number =>
  (bytes[offset]! << 8) | bytes[offset + 1]!

/** The 32-bit unsigned integer at `offset`, big-endian. The caller has checked that it is there. */
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
 * Writes `value`, a safe integer of at least 0, at `offset` in 64 bits, big-endian, as in requests to UDP trackers.
 */
export const writeUint64Unsafe = (bytes: Uint8Array, offset: number, value: number): void => {
  writeUint32Unsafe(bytes, offset, Math.floor(value / 0x1_0000_0000))
  writeUint32Unsafe(bytes, offset + 4, value % 0x1_0000_0000)
}
