/**
 * A fixed set of small integers in the layout of the wire's `bitfield` message (BEP 3): the high bit of the first byte
 * is index 0, spare bits at the end are zero. Mutable; it counts its members.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Bytes from "./Bytes.ts"

/** Which of `length` things are members. */
export interface Bitfield {
  /** How many bits there are. */
  readonly length: number
  /** The bits as they travel, `ceil(length / 8)` bytes. Change them only through this module, which keeps `count`. */
  readonly bytes: Uint8Array
  /** How many bits are set. */
  count: number
}

/**
 * An empty bitfield of `length` bits.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Bitfield } from "piecewise"
 *
 * const pieces = Bitfield.make(10)
 * Bitfield.add(pieces, 0)
 * Bitfield.add(pieces, 9)
 * assert.equal(pieces.count, 2)
 * assert.deepEqual([...Bitfield.indices(pieces)], [0, 9])
 * // As on the wire: the high bit of the first byte is piece 0, and the last six bits are spare.
 * assert.deepEqual(pieces.bytes, Uint8Array.of(0b1000_0000, 0b0100_0000))
 * ```
 */
export const make = (length: number): Bitfield => ({ length, bytes: new Uint8Array((length + 7) >>> 3), count: 0 })

/** A bitfield of `length` bits, all set. */
export const full = (length: number): Bitfield => {
  const self = make(length)
  fill(self)
  return self
}

/** Sets every bit. */
export const fill = (self: Bitfield): void => {
  const { bytes, length } = self
  bytes.fill(0xff)
  if (length & 7) bytes[bytes.length - 1] = (0xff << (8 - (length & 7))) & 0xff
  self.count = length
}

/**
 * A bitfield from its wire form, copied. `undefined` if `bytes` is not exactly `ceil(length / 8)` long or sets a spare
 * bit, for which BEP 3 says to close the connection.
 */
export const fromBytes = (bytes: Uint8Array, length: number): Bitfield | undefined => {
  if (bytes.length !== Math.ceil(length / 8)) return undefined
  if (length & 7 && (bytes[bytes.length - 1]! & (0xff >>> (length & 7))) !== 0) return undefined
  const self = make(length)
  self.bytes.set(bytes)
  for (let at = 0; at < bytes.length; at++) self.count += bitsSet[bytes[at]!]!
  return self
}

/**
 * A bitfield from bytes that a stranger may have written for another length: bits that are missing are clear, and those
 * beyond the end are left out.
 */
export const fitted = (bytes: Uint8Array, length: number): Bitfield => {
  const self = make(length)
  const size = Math.min(bytes.length, self.bytes.length)
  for (let at = 0; at < size; at++) {
    const bits = at * 8 + 8 > length ? bytes[at]! & ((0xff << (8 - (length & 7))) & 0xff) : bytes[at]!
    self.bytes[at] = bits
    self.count += bitsSet[bits]!
  }
  return self
}

/** How many bits each byte has set: a bitfield of the wire is counted at every message. */
const bitsSet = Uint8Array.from({ length: 256 }, (_, byte) => byte.toString(2).replaceAll("0", "").length)

/** An independent copy. */
export const copy = (self: Bitfield): Bitfield => ({ ...self, bytes: self.bytes.slice() })

/** A copy in which these bits are clear. */
export const copyWithout = (self: Bitfield, cleared: Iterable<number>): Bitfield => {
  const copied = copy(self)
  for (const index of cleared) remove(copied, index)
  return copied
}

/** Whether bit `index` is set; `false` outside `0 ..< length`. */
export const has = (self: Bitfield, index: number): boolean => (self.bytes[index >>> 3]! & (0x80 >>> (index & 7))) !== 0

/** Sets bit `index`, which must be in `0 ..< length`; returns whether it was clear. */
export const add = (self: Bitfield, index: number): boolean => {
  if (has(self, index)) return false
  self.bytes[index >>> 3]! |= 0x80 >>> (index & 7)
  self.count++
  return true
}

/** Clears bit `index`, which must be in `0 ..< length`; returns whether it was set. */
export const remove = (self: Bitfield, index: number): boolean => {
  if (!has(self, index)) return false
  self.bytes[index >>> 3]! &= ~(0x80 >>> (index & 7))
  self.count--
  return true
}

/** Copies the bits of `that`, which has the same length, to `self`. */
export const replace = (self: Bitfield, that: Bitfield): void => {
  self.bytes.set(that.bytes)
  self.count = that.count
}

/** Clears every bit. */
export const clear = (self: Bitfield): void => {
  self.bytes.fill(0)
  self.count = 0
}

/** Whether every bit is set. */
export const isFull = (self: Bitfield): boolean => self.count === self.length

/** Whether every bit that is set is set in `that`, which has the same length, too. */
export const isSubset = (self: Bitfield, that: Bitfield): boolean => {
  for (let at = 0; at < self.bytes.length; at++) if ((self.bytes[at]! & ~that.bytes[at]!) !== 0) return false
  return true
}

/** How many bits are set in both of two bitfields of one length. */
export const countOfBoth = (one: Bitfield, other: Bitfield): number => {
  let count = 0
  for (let at = 0; at < one.bytes.length; at++) count += bitsSet[one.bytes[at]! & other.bytes[at]!]!
  return count
}

/** How many bits are set in all of three bitfields of one length, with the third one inverted. */
export const countOfBothWithout = (one: Bitfield, other: Bitfield, without: Bitfield): number => {
  let count = 0
  for (let at = 0; at < one.bytes.length; at++) {
    count += bitsSet[one.bytes[at]! & other.bytes[at]! & ~without.bytes[at]!]!
  }
  return count
}

/** Bytes that are looked at before a view of words is made, which costs as much. */
const nearBytes = 16

/** Returns the first set bit from `start` on; -1 if there is none. Passes 32 clear bits at a time. */
export const next = ({ bytes }: Bitfield, start: number): number => {
  let at = start >>> 3
  let byte = at < bytes.length ? bytes[at]! & (0xff >>> (start & 7)) : 0
  if (byte === 0) {
    const near = Math.min(bytes.length, (at & ~3) + nearBytes)
    do at++
    while (at < near && bytes[at] === 0)
    if (at === near) {
      const words = new Uint32Array(bytes.buffer, 0, bytes.length >>> 2)
      let word = at >>> 2
      while (word < words.length && words[word] === 0) word++
      at = Math.max(at, word * 4)
      while (at < bytes.length && bytes[at] === 0) at++
    }
    if (at >= bytes.length) return -1
    byte = bytes[at]!
  }
  return at * 8 + Math.clz32(byte) - 24
}

/** The set bits, ascending. */
export const indices = (self: Bitfield): Generator<number> => indicesOf(self.bytes.length, (at) => self.bytes[at]!)

/** The set bits that are clear in `that`, which has the same length, ascending. */
export const indicesWithout = (self: Bitfield, that: Bitfield): Generator<number> =>
  indicesOf(self.bytes.length, (at) => self.bytes[at]! & ~that.bytes[at]!)

function* indicesOf(length: number, byteAt: (at: number) => number): Generator<number> {
  for (let at = 0; at < length; at++) {
    for (let byte = byteAt(at); byte !== 0; ) {
      const bit = Math.clz32(byte) - 24
      byte &= ~(0x80 >>> bit)
      yield at * 8 + bit
    }
  }
}

/** What a bitfield is encoded as: its length, and its bytes in lower-case hexadecimal digits. */
const Encoded = Schema.Struct({ length: Schema.Natural, bytes: Schema.String })

const expected = "a bitfield: its length, and its bytes as hexadecimal digits"

const hexBytes = {
  decode: SchemaGetter.transformEffect(({ bytes, length }: typeof Encoded.Type) => {
    const read = Bytes.fromHex(bytes)
    const found = read && fromBytes(read, length)
    return found === undefined ? Effect.fail(new SchemaIssue.InvalidValue({ expected })) : Effect.succeed(found)
  }),
  encode: SchemaGetter.transform(({ bytes, length }: Bitfield) => ({ length, bytes: Bytes.toHex(bytes) }))
}

const isBitfield = (value: unknown): value is Bitfield => {
  const { bytes, count, length } = (value ?? {}) as Partial<Bitfield>
  if (!(bytes instanceof Uint8Array) || length === undefined || !Number.isSafeInteger(length) || length < 0)
    return false
  return fromBytes(bytes, length)?.count === count
}

/** Whether two bitfields have the same length and members. */
const equals = (self: Bitfield, that: Bitfield): boolean =>
  self.length === that.length && Bytes.equals(self.bytes, that.bytes)

const Members = Schema.declare<Bitfield>(isBitfield, {
  identifier: "piecewise/Bitfield",
  expected,
  toCodecJson: () => Schema.link<Bitfield>()(Encoded, hexBytes),
  toCodecArbitrary: () =>
    Schema.link<Bitfield>()(Schema.Array(Schema.Boolean), {
      decode: SchemaGetter.transform((bits: ReadonlyArray<boolean>) => {
        const self = make(bits.length)
        for (const [index, bit] of bits.entries()) if (bit) add(self, index)
        return self
      }),
      encode: SchemaGetter.transform((self: Bitfield) =>
        Array.from({ length: self.length }, (_, index) => has(self, index))
      )
    }),
  toEquivalence: () => equals
})

/** The schema of a bitfield. In JSON it is `{ "length": 10, "bytes": "8040" }`, its bytes as on the wire. */
export const Bitfield: Schema.Codec<Bitfield, typeof Encoded.Encoded> = Encoded.annotate({ expected }).pipe(
  Schema.decodeTo(Members, hexBytes)
)
