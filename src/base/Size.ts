/**
 * Sizes and rates in options: a number of bytes, or a `ByteSize` of Effect's.
 */
import * as ByteSize from "effect/ByteSize"
import * as Schema from "effect/Schema"

/** A number of bytes, or a `ByteSize` such as `ByteSize.mebibytes(64)`. */
export type Size = number | ByteSize.ByteSize

/** The largest size that schemas and variables of the environment accept: 2^53 - 1 bytes, all of which are exact. */
export const maxBytes = Number.MAX_SAFE_INTEGER

/** The schema of a size of `minBytes` to `maxBytes`. In JSON a number is a number, and a `ByteSize` the text of its digits. */
export const atLeast = (minBytes: number): Schema.Codec<Size, number | bigint> => {
  const [minimum, maximum] = [BigInt(minBytes), BigInt(maxBytes)]
  const isWithin = (size: ByteSize.ByteSize): boolean => {
    const bytes = ByteSize.toBigInt(size)
    return bytes >= minimum && bytes <= maximum
  }
  return Schema.Union([
    Schema.Finite.check(Schema.isBetween({ minimum: minBytes, maximum: maxBytes })),
    Schema.ByteSize.check(Schema.makeFilter(isWithin, { expected: `a size from ${minBytes} to ${maxBytes} bytes` }))
  ])
}

/** The schema of a size. */
export const Size = atLeast(0)

/** Returns the number of bytes, which is not exact above 2^53; `undefined` for `undefined`. */
export const bytesOf = (size: Size | undefined): number | undefined => (size === undefined ? undefined : Number(size))
