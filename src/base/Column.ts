/**
 * A number for each of many things, in little memory. For thousands of things it is a typed array; for a few a plain
 * one, because a typed array takes 200 bytes besides its numbers, and most torrents have few files.
 */

/** Numbers by index. */
export type Column = Array<number> | Uint8Array | Uint32Array | Float64Array

/** The longest column that is a plain array. */
const maxPlain = 16

/** Bits of so many things, all 0. */
export const bytes = (length: number): Column => (length > maxPlain ? new Uint8Array(length) : Array(length).fill(0))

/** Whole numbers below 2 ** 32 of so many things, all 0. */
export const counts = (length: number): Column => (length > maxPlain ? new Uint32Array(length) : Array(length).fill(0))

/** Lengths of so many things, all 0. */
export const lengths = (length: number): Column =>
  length > maxPlain ? new Float64Array(length) : Array(length).fill(0)
