/**
 * Bencode (BEP 3): the encoding of metainfo files, tracker responses, KRPC messages and the extension handshake.
 *
 * Integer `i-12e`, byte string `4:spam`, list `l...e`, dictionary `d` key value ... `e` with keys that are byte strings
 * in ascending order. Integers and lengths are read strictly: no leading zero, no `-0`, no sign on a length. Callers
 * decide what the values mean, and which fields may be missing.
 *
 * Byte strings and spans that `decode` returns are views into its input and stay valid until it is changed.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Bytes from "../base/Bytes.ts"

/** A decoded value. An integer is a `number` if it is a safe one, else a `bigint`; a byte string is a view. */
export type Value = number | bigint | Uint8Array | ReadonlyArray<Value> | Dictionary

/** A decoded dictionary in the order of the input. A key holds one character a byte (`Bytes.fromLatin1Unsafe`). */
export type Dictionary = ReadonlyMap<string, Value>

/** The input is not bencode, or exceeds a limit. `why` is a clause about what is at byte `offset`. */
export class BencodeError extends Schema.TaggedError<BencodeError>()("piecewise/BencodeError", {
  offset: Schema.Natural,
  why: Schema.String,
  /** `maxTokens`, if there are more. */
  tooMany: Schema.optional(Schema.Number)
}) {
  override get message() {
    return `Bad bencoding at byte ${this.offset}: ${this.why}.`
  }
}

/** What one input may cost, and whether more may follow. */
export interface DecodeOptions {
  /** Lists and dictionaries inside each other; default `defaultMaxDepth`, and never more than `maxDepthLimit`. */
  readonly maxDepth?: number | undefined
  /** Bytes of input; default `defaultMaxBytes`. */
  readonly maxBytes?: number | undefined
  /** Values and dictionary keys; default `defaultMaxTokens`. */
  readonly maxTokens?: number | undefined
  /**
   * Bytes after the root value: `refuse` (the default) fails, so a file that was damaged or appended to is noticed;
   * `ignore` leaves them, and `end` is where they begin (BEP 9 puts a piece of metadata there).
   */
  readonly trailing?: "refuse" | "ignore" | undefined
}

/** A decoded input. */
export interface Decoded {
  readonly value: Value
  /**
   * Raw bytes of each value of the root dictionary (views); empty if the root is none. Info hashes are over these.
   */
  readonly spans: ReadonlyMap<string, Uint8Array>
  /** Whether the keys of every dictionary ascend without a duplicate, as BEP 3 demands. */
  readonly ordered: boolean
  /** Offset of the first byte after the root value. */
  readonly end: number
}

/** Deep enough for a v2 file tree of 90 directories. Each level costs a frame of the decoder's stack. */
export const defaultMaxDepth = 100

/** A larger `maxDepth` counts as this one: the decoder recurses, and this much fits in a fresh stack many times. */
export const maxDepthLimit = 1000

/** 10 MiB: the largest torrents seen in the wild are smaller, and reading one holds the event loop for its duration. */
export const defaultMaxBytes = 10 * 1024 * 1024

/**
 * A torrent of 100,000 files has some 700,000 tokens. None costs more than 115 bytes of memory, so this many 115 MB.
 */
export const defaultMaxTokens = 1_000_000

/** 64 bits have at most 20 digits. More would let a file buy quadratic time with one long integer. */
const maxDigits = 20

/** Up to 15 digits a double adds up exactly. */
const exactDigits = 15

interface Reader {
  readonly bytes: Uint8Array
  readonly maxDepth: number
  readonly maxTokens: number
  readonly spans: Map<string, Uint8Array>
  offset: number
  depth: number
  tokens: number
  ordered: boolean
}

const byteOf = { minus: 0x2d, zero: 0x30, nine: 0x39, colon: 0x3a, d: 0x64, e: 0x65, i: 0x69, l: 0x6c } as const

/**
 * Decodes one value. Limits are checked before anything is built.
 *
 * A dictionary with unordered or duplicate keys is decoded, because v1 torrents with such exist and their info hash is
 * over the raw bytes, but `ordered` is false. Of a duplicate key the first value counts, in `value` and in `spans`.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Result } from "effect"
 * import { Bencode } from "piecewise"
 *
 * const { value } = Result.getOrThrow(Bencode.decode(new TextEncoder().encode("d8:intervali1800ee")))
 * assert(Bencode.isDictionary(value))
 * assert.equal(Bencode.getInt(value, "interval"), 1800)
 *
 * const cut = Bencode.decode(new TextEncoder().encode("i18"))
 * assert(Result.isFailure(cut))
 * assert.equal(cut.failure.offset, 3)
 * ```
 */
export const decode = (bytes: Uint8Array, options: DecodeOptions = {}): Result.Result<Decoded, BencodeError> => {
  const { maxBytes = defaultMaxBytes, maxDepth = defaultMaxDepth, maxTokens = defaultMaxTokens } = options
  if (bytes.length > maxBytes) {
    return Result.fail(new BencodeError({ offset: maxBytes, why: `the input is longer than ${maxBytes} bytes` }))
  }
  const reader: Reader = {
    bytes,
    maxDepth: Math.min(maxDepth, maxDepthLimit),
    maxTokens,
    spans: new Map(),
    offset: 0,
    depth: 0,
    tokens: 0,
    ordered: true
  }
  try {
    const value = readValue(reader)
    const end = reader.offset
    if (end < bytes.length && options.trailing !== "ignore") fail(end, "more bytes follow the value")
    return Result.succeed({ value, spans: reader.spans, ordered: reader.ordered, end })
  } catch (error) {
    if (error instanceof BencodeError) return Result.fail(error)
    throw error
  }
}

const fail: (offset: number, why: string) => never = (offset, why) => {
  throw new BencodeError({ offset, why })
}

const view = (bytes: Uint8Array, start: number, end: number): Uint8Array =>
  // Not subarray: on a Node Buffer it returns a Buffer, whose slice() does not copy.
  new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start)

const countToken = (self: Reader): void => {
  const { maxTokens, offset } = self
  if (++self.tokens <= maxTokens) return
  throw new BencodeError({ offset, why: `there are more than ${maxTokens} values`, tooMany: maxTokens })
}

const readValue = (self: Reader): Value => {
  countToken(self)
  const byte = self.bytes[self.offset]
  if (byte === undefined) return fail(self.offset, "the input ends where a value should begin")
  if (byte >= byteOf.zero && byte <= byteOf.nine) {
    const start = readStringStart(self)
    return view(self.bytes, start, self.offset)
  }
  if (byte === byteOf.i) return readInteger(self)
  if (byte !== byteOf.l && byte !== byteOf.d) return fail(self.offset, "no value begins with this byte")
  if (self.depth === self.maxDepth) fail(self.offset, `lists and dictionaries are nested deeper than ${self.maxDepth}`)
  self.depth++
  self.offset++
  const value = byte === byteOf.l ? readList(self) : readDictionary(self)
  self.depth--
  return value
}

const readList = (self: Reader): ReadonlyArray<Value> => {
  const list: Array<Value> = []
  while (self.bytes[self.offset] !== byteOf.e) list.push(readValue(self))
  self.offset++
  return list
}

// An empty Map is the most expensive value, 195 bytes and a microsecond: a million of them took 1.3 s, shared 0.03 s.
const emptyDictionary: Dictionary = new Map()

const readDictionary = (self: Reader): Dictionary => {
  if (self.bytes[self.offset] === byteOf.e) {
    self.offset++
    return emptyDictionary
  }
  const dictionary = new Map<string, Value>()
  const isRoot = self.depth === 1
  let previous: string | undefined
  for (let byte = self.bytes[self.offset]; byte !== byteOf.e; byte = self.bytes[self.offset]) {
    if (byte === undefined) fail(self.offset, "the input ends inside a dictionary")
    if (byte < byteOf.zero || byte > byteOf.nine) fail(self.offset, "a dictionary key is not a byte string")
    countToken(self)
    const start = readStringStart(self)
    const key = Bytes.toLatin1(self.bytes, start, self.offset)
    if (previous !== undefined && key <= previous) self.ordered = false
    previous = key
    const valueStart = self.offset
    const value = readValue(self)
    if (dictionary.has(key)) continue
    dictionary.set(key, value)
    if (isRoot) self.spans.set(key, view(self.bytes, valueStart, self.offset))
  }
  self.offset++
  return dictionary
}

/** Reads a length and its colon, moves past the string, and returns the offset of the string's first byte. */
const readStringStart = (self: Reader): number => {
  const { bytes } = self
  const lengthOffset = self.offset
  let offset = lengthOffset
  let length = 0
  for (let byte = bytes[offset]; byte !== byteOf.colon; byte = bytes[++offset]) {
    if (byte === undefined) fail(offset, "the input ends inside a string length")
    if (byte < byteOf.zero || byte > byteOf.nine) fail(offset, "a string length has something other than a digit")
    if (offset > lengthOffset && length === 0) fail(lengthOffset, "a string length has a leading zero")
    length = length * 10 + byte - byteOf.zero
    if (length > bytes.length) fail(lengthOffset, "a string is longer than the input")
  }
  const start = offset + 1
  if (length > bytes.length - start) fail(lengthOffset, "a string is longer than the input")
  self.offset = start + length
  return start
}

const readInteger = (self: Reader): number | bigint => {
  const { bytes } = self
  const start = self.offset + 1
  const isNegative = bytes[start] === byteOf.minus
  const digits = isNegative ? start + 1 : start
  let offset = digits
  let value = 0
  for (let byte = bytes[offset]; byte !== byteOf.e; byte = bytes[++offset]) {
    if (byte === undefined) fail(offset, "the input ends inside an integer")
    if (byte < byteOf.zero || byte > byteOf.nine) fail(offset, "an integer has something other than a digit")
    if (offset > digits && value === 0) fail(digits, "an integer has a leading zero")
    if (offset - digits === maxDigits) fail(start, `an integer has more than ${maxDigits} digits`)
    value = value * 10 + byte - byteOf.zero
  }
  if (offset === digits) fail(offset, "an integer has no digits")
  if (isNegative && value === 0) fail(start, "an integer is a negative zero")
  self.offset = offset + 1
  if (offset - digits <= exactDigits) return isNegative ? -value : value
  const exact = BigInt(Bytes.toLatin1(bytes, start, offset))
  const number = Number(exact)
  return Number.isSafeInteger(number) ? number : exact
}

/**
 * A value for `encode`. A string is written as UTF-8, a `Uint8Array` as it is. A Map's keys hold one character a byte,
 * as those of `decode` do; a plain object's keys are text, and its `undefined` members are left out.
 */
export type Encodable = string | number | bigint | Uint8Array | ReadonlyArray<Encodable> | EncodableDictionary

/** What a dictionary is encoded from. Keys without a value are left out. */
export type EncodableDictionary = ReadonlyMap<string, Encodable> | { readonly [key: string]: Encodable | undefined }

interface Writer {
  bytes: Uint8Array<ArrayBuffer>
  length: number
}

/**
 * The canonical encoding of `value`: keys ascend by their bytes. Throws a `RangeError` if a number is not a safe
 * integer or a Map's key has a character above U+00FF, both defects of the caller.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Bencode } from "piecewise"
 *
 * const bytes = Bencode.encode({ peers: ["a", "b"], interval: 1800, warning: undefined })
 * assert.equal(new TextDecoder().decode(bytes), "d8:intervali1800e5:peersl1:a1:bee")
 * ```
 */
export const encode = (value: Encodable): Uint8Array<ArrayBuffer> => {
  const writer: Writer = { bytes: new Uint8Array(256), length: 0 }
  writeValue(writer, value)
  return writer.bytes.slice(0, writer.length)
}

const reserve = (self: Writer, count: number): number => {
  const start = self.length
  self.length += count
  if (self.length > self.bytes.length) {
    const larger = new Uint8Array(Math.max(self.length, self.bytes.length * 2))
    larger.set(self.bytes.subarray(0, start))
    self.bytes = larger
  }
  return start
}

const writeLatin1 = (self: Writer, text: string): void => {
  const start = reserve(self, text.length)
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code > 0xff) throw new RangeError(`a dictionary key has the character U+${code.toString(16)}, which is no byte`)
    self.bytes[start + index] = code
  }
}

const writeBytes = (self: Writer, bytes: Uint8Array): void => {
  writeLatin1(self, `${bytes.length}:`)
  // Apart from the line below: making room may replace the array.
  const start = reserve(self, bytes.length)
  self.bytes.set(bytes, start)
}

const writeValue = (self: Writer, value: Encodable): void => {
  if (typeof value === "string") writeBytes(self, Bytes.fromText(value))
  else if (typeof value === "number") writeNumber(self, value)
  else if (typeof value === "bigint") writeLatin1(self, `i${value}e`)
  else if (value instanceof Uint8Array) writeBytes(self, value)
  else if (Array.isArray(value)) writeList(self, value)
  else writeDictionary(self, value as EncodableDictionary)
}

const writeNumber = (self: Writer, value: number): void => {
  if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is not a safe integer`)
  writeLatin1(self, `i${value}e`)
}

const writeList = (self: Writer, list: ReadonlyArray<Encodable>): void => {
  writeLatin1(self, "l")
  for (const item of list) writeValue(self, item)
  writeLatin1(self, "e")
}

const writeDictionary = (self: Writer, dictionary: EncodableDictionary): void => {
  const entries: Array<readonly [key: string, value: Encodable]> = []
  if (dictionary instanceof Map) for (const entry of dictionary) entries.push(entry)
  else
    for (const [key, item] of Object.entries(dictionary)) {
      if (item !== undefined) entries.push([Bytes.toLatin1(Bytes.fromText(key)), item])
    }
  // With one character a byte, the order of code units is the order of bytes.
  entries.sort(([a], [b]) => (a < b ? -1 : 1))
  writeLatin1(self, "d")
  for (const [key, item] of entries) {
    writeLatin1(self, `${key.length}:`)
    writeLatin1(self, key)
    writeValue(self, item)
  }
  writeLatin1(self, "e")
}

/** Whether a value is a byte string. */
export const isBytes = (value: Value | undefined): value is Uint8Array => value instanceof Uint8Array

/** Whether a value is a list. */
export const isList = (value: Value | undefined): value is ReadonlyArray<Value> => Array.isArray(value)

/** Whether a value is a dictionary. */
export const isDictionary = (value: Value | undefined): value is Dictionary => value instanceof Map

/** The byte string at `key`, a view; `undefined` if it is absent or of another type. */
export const getBytes = (self: Dictionary, key: string): Uint8Array | undefined => {
  const value = self.get(key)
  return isBytes(value) ? value : undefined
}

/** The byte string at `key` as text, with U+FFFD for what is not UTF-8; `undefined` if absent or of another type. */
export const getText = (self: Dictionary, key: string): string | undefined => {
  const value = self.get(key)
  return isBytes(value) ? Bytes.toText(value) : undefined
}

/** The integer at `key`; `undefined` if it is absent, of another type, or not a safe integer. */
export const getInt = (self: Dictionary, key: string): number | undefined => {
  const value = self.get(key)
  return typeof value === "number" ? value : undefined
}

/** The list at `key`; `undefined` if it is absent or of another type. */
export const getList = (self: Dictionary, key: string): ReadonlyArray<Value> | undefined => {
  const value = self.get(key)
  return isList(value) ? value : undefined
}

/** The dictionary at `key`; `undefined` if it is absent or of another type. */
export const getDictionary = (self: Dictionary, key: string): Dictionary | undefined => {
  const value = self.get(key)
  return isDictionary(value) ? value : undefined
}
