/**
 * The identity of a torrent: the SHA-1 of its raw `info` dictionary (BEP 3), or its SHA-256 (BEP 52).
 *
 * `metainfo/` computes digests; `metainfo/Magnet.ts` reads links that carry a hash.
 */
import type * as Brand from "effect/Brand"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Bytes from "./Bytes.ts"

/** A v1 info hash, 20 bytes. */
export type InfoHash = Uint8Array & Brand.Brand<"piecewise/InfoHash">

/** A v2 info hash, 32 bytes. */
export type InfoHashV2 = Uint8Array & Brand.Brand<"piecewise/InfoHashV2">

/** Bytes in a v1 info hash. */
export const length = 20

/** Bytes in a v2 info hash. */
export const lengthV2 = 32

/** Types 20 bytes as an info hash, the same array and no copy; `undefined` for another length. */
export const fromBytes = (bytes: Uint8Array): InfoHash | undefined =>
  bytes.length === length ? (bytes as InfoHash) : undefined

/** Types 32 bytes as a v2 info hash, the same array and no copy; `undefined` for another length. */
export const v2FromBytes = (bytes: Uint8Array): InfoHashV2 | undefined =>
  bytes.length === lengthV2 ? (bytes as InfoHashV2) : undefined

/**
 * The info hash of 40 hexadecimal digits in either case; `undefined` for anything else.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { InfoHash } from "piecewise"
 *
 * const infoHash = InfoHash.fromHex("C12FE1C06BBA254A9DC9F519B335AA7C1367A88A")
 * assert(infoHash !== undefined)
 * assert.equal(infoHash.length, 20)
 * assert.equal(InfoHash.toHex(infoHash), "c12fe1c06bba254a9dc9f519b335aa7c1367a88a")
 * assert.equal(InfoHash.fromHex("c12fe1"), undefined)
 * ```
 */
export const fromHex = (text: string): InfoHash | undefined => {
  const bytes = Bytes.fromHex(text)
  return bytes === undefined ? undefined : fromBytes(bytes)
}

/** The info hash of a text: 40 hexadecimal digits or 32 base32 characters, in either case (BEP 9). */
export const parse = (text: string): InfoHash | undefined => {
  const bytes = text.length === 32 ? Bytes.fromBase32(text) : Bytes.fromHex(text)
  return bytes === undefined ? undefined : fromBytes(bytes)
}

/** Lower-case hexadecimal digits, for display and as a key. */
export const toHex = (self: InfoHash | InfoHashV2): string => Bytes.toHex(self)

/** Whether two info hashes are the same. */
export const equals = (self: InfoHash | InfoHashV2, that: InfoHash | InfoHashV2): boolean => Bytes.equals(self, that)

/** Makes the schema of an info hash of `bytes` bytes. */
const schemaOf = <A extends Uint8Array>(
  name: string,
  bytes: number,
  isHash: (value: unknown) => value is A
): Schema.Codec<A, string> => {
  const expected = `${bytes * 2} hexadecimal digits`
  const fromHexText = {
    decode: SchemaGetter.transformEffect((text: string) => {
      const hash = Bytes.fromHex(text)
      return isHash(hash) ? Effect.succeed(hash) : Effect.fail(new SchemaIssue.InvalidValue({ expected }))
    }),
    encode: SchemaGetter.transform((hash: A) => Bytes.toHex(hash))
  }
  const hexText = Schema.String.check(Schema.isPattern(new RegExp(`^[0-9a-f]{${bytes * 2}}$`)))
  const hash = Schema.declare<A>(isHash, {
    identifier: `piecewise/${name}`,
    expected: `an info hash of ${bytes} bytes`,
    toCodecJson: () => Schema.link<A>()(Schema.String, fromHexText),
    toCodecArbitrary: () => Schema.link<A>()(hexText, fromHexText),
    toEquivalence: () => Bytes.equals
  })
  return Schema.String.annotate({ expected }).pipe(Schema.decodeTo(hash, fromHexText))
}

/**
 * The schema of an info hash: lower-case hexadecimal digits in JSON, read in either case. Making an info hash needs no
 * schema, see `fromBytes` and `fromHex`.
 */
export const InfoHash: Schema.Codec<InfoHash, string> = schemaOf(
  "InfoHash",
  length,
  (value): value is InfoHash => value instanceof Uint8Array && value.length === length
)

/** The schema of a v2 info hash, as `InfoHash`. */
export const InfoHashV2: Schema.Codec<InfoHashV2, string> = schemaOf(
  "InfoHashV2",
  lengthV2,
  (value): value is InfoHashV2 => value instanceof Uint8Array && value.length === lengthV2
)
