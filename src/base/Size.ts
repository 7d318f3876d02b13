/**
 * Sizes and rates in options: a number of bytes, or a `ByteSize` of Effect's.
 */
import type * as ByteSize from "effect/ByteSize"
import * as Schema from "effect/Schema"

/** A number of bytes, or a `ByteSize` such as `ByteSize.mebibytes(64)`. */
export type Size = number | ByteSize.ByteSize

/** The schema of a size. In JSON a number is a number, and a `ByteSize` the text of its digits. */
export const Size = Schema.Union([Schema.Finite, Schema.ByteSize])

/** Returns the number of bytes, which is not exact above 2^53; `undefined` for `undefined`. */
export const bytesOf = (size: Size | undefined): number | undefined => (size === undefined ? undefined : Number(size))
