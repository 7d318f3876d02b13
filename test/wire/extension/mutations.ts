/** Damage to captured messages, for every codec of extension messages. */
import { assert } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import { WireError } from "../../../src/wire/WireError.ts"

type Mutation =
  | { readonly _tag: "Set"; readonly at: number; readonly byte: number }
  | { readonly _tag: "Remove"; readonly at: number; readonly count: number }
  | { readonly _tag: "Repeat"; readonly at: number; readonly count: number }

const place = fc.nat(0xffff)

/** A byte, usually one that has a meaning in bencode. */
const byte = fc.oneof(fc.constantFrom(...new TextEncoder().encode("0123456789-:deil")), fc.nat(255))

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({ _tag: fc.constant("Set" as const), at: place, byte }),
  fc.record({ _tag: fc.constant("Remove" as const), at: place, count: fc.integer({ min: 1, max: 20 }) }),
  fc.record({ _tag: fc.constant("Repeat" as const), at: place, count: fc.integer({ min: 1, max: 20 }) })
)

const apply = (bytes: Uint8Array, change: Mutation): Uint8Array => {
  if (bytes.length === 0) return bytes
  const at = change.at % bytes.length
  if (change._tag === "Set") return bytes.with(at, change.byte)
  const end = Math.min(bytes.length, at + change.count)
  const middle = change._tag === "Remove" ? [] : [...bytes.subarray(at, end), ...bytes.subarray(at, end)]
  return Uint8Array.from([...bytes.subarray(0, at), ...middle, ...bytes.subarray(end)])
}

/** One of `captures`, with one to four changes. */
export const mutated = (captures: ReadonlyArray<Uint8Array>): fc.Arbitrary<Uint8Array> =>
  fc
    .tuple(fc.constantFrom(...captures), fc.array(mutation, { minLength: 1, maxLength: 4 }))
    .map(([capture, changes]) => changes.reduce(apply, capture))

/** What a decoder returns for damaged input, or `undefined` if it fails. It may fail with nothing but a `WireError`. */
export const decodeDamaged = <A>(
  decode: (payload: Uint8Array) => Result.Result<A, WireError>,
  payload: Uint8Array
): A | undefined => {
  const result = decode(payload)
  if (Result.isSuccess(result)) return result.success
  assert.instanceOf(result.failure, WireError)
  assert.match(result.failure.message, /^The peer broke the wire protocol: .+\.$/)
  return undefined
}
