/**
 * A fixed set of small integers in the layout of the wire's `bitfield` message (BEP 3): the high bit of the first byte
 * is index 0, spare bits at the end are zero. Mutable; it counts its members.
 */

/** Which of `length` things are members. */
export interface Bitfield {
  /** How many bits there are. */
  readonly length: number
  /** The bits as they travel, `ceil(length / 8)` bytes. Change them only through this module, which keeps `count`. */
  readonly bytes: Uint8Array
  /** How many bits are set. */
  count: number
}

/** An empty bitfield of `length` bits. */
export const make = (length: number): Bitfield => ({ length, bytes: new Uint8Array((length + 7) >>> 3), count: 0 })

/** A bitfield of `length` bits, all set. */
export const full = (length: number): Bitfield => {
  const self = make(length)
  self.bytes.fill(0xff)
  if (length & 7) self.bytes[self.bytes.length - 1] = (0xff << (8 - (length & 7))) & 0xff
  self.count = length
  return self
}

/**
 * A bitfield from its wire form, copied. `undefined` if `bytes` is not exactly `ceil(length / 8)` long or sets a spare
 * bit, for which BEP 3 says to close the connection.
 */
export const fromBytes = (bytes: Uint8Array, length: number): Bitfield | undefined => {
  if (bytes.length !== (length + 7) >>> 3) return undefined
  if (length & 7 && (bytes[bytes.length - 1]! & (0xff >>> (length & 7))) !== 0) return undefined
  const self = make(length)
  self.bytes.set(bytes)
  for (let byte of bytes) for (; byte !== 0; byte &= byte - 1) self.count++
  return self
}

/** An independent copy. */
export const copy = (self: Bitfield): Bitfield => ({ ...self, bytes: self.bytes.slice() })

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

/** The set bits, ascending. */
export function* indices(self: Bitfield): Generator<number> {
  for (let index = 0; index < self.length; index++) if (has(self, index)) yield index
}
