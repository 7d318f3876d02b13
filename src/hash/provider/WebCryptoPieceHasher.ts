/**
 * Digests by the Web Cryptography API, which browsers, workers and Node all have. It copies its input into fresh
 * memory, so in Node `hash/provider/node/NodePieceHasher.ts` is twice as fast.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { PieceHasher } from "../PieceHasher.ts"

/**
 * The hasher. Dies if `crypto.subtle` is missing: browsers have it in secure contexts only (https, or a page from
 * localhost).
 */
export const make = Effect.suspend(() => {
  const subtle: typeof globalThis.crypto.subtle | undefined = globalThis.crypto?.subtle
  if (subtle === undefined) {
    return Effect.die(new Error("crypto.subtle is missing: serve the page over https or from localhost"))
  }
  const digest = (algorithm: "SHA-1" | "SHA-256") => (bytes: Uint8Array) =>
    Effect.promise(() => subtle.digest(algorithm, unshared(bytes))).pipe(Effect.map((buffer) => new Uint8Array(buffer)))
  return Effect.succeed(PieceHasher.of({ sha1: digest("SHA-1"), sha256: digest("SHA-256") }))
})

/** Web Crypto refuses views of shared memory. */
const unshared = (bytes: Uint8Array): Uint8Array<ArrayBuffer> =>
  bytes.buffer instanceof ArrayBuffer ? (bytes as Uint8Array<ArrayBuffer>) : new Uint8Array(bytes)

/**
 * Digests with `crypto.subtle`.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect } from "effect"
 * import { PieceHasher, WebCryptoPieceHasher } from "piecewise"
 *
 * const bytes = new TextEncoder().encode("abc")
 * const sha1 = PieceHasher.PieceHasher.use((hasher) => hasher.sha1(bytes))
 * const digest = await Effect.runPromise(Effect.provide(sha1, WebCryptoPieceHasher.layer))
 * assert.equal(Buffer.from(digest).toString("hex"), "a9993e364706816aba3e25717850c26c9cd0d89d")
 * ```
 */
export const layer: Layer.Layer<PieceHasher> = Layer.effect(PieceHasher, make)
