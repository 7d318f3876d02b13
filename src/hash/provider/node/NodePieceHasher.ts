/**
 * Digests of pieces on the event loop's own thread, by `node:crypto`.
 *
 * Hashing here blocks the event loop, so the loop turns at least once for every `turnLength` bytes hashed, for all
 * callers together: a piece of 64 MiB, or a hundred pieces completed at once, delay a socket no longer than one slice
 * does. What fits into the turn is digested at once, without suspending; a caller that must wait yields to timers and
 * sockets.
 */

import * as Crypto from "node:crypto"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { PieceHasher } from "../../PieceHasher.ts"

/**
 * The most bytes hashed in one turn of the event loop: 2 MiB, which held the loop for 1.6 ms (95 in 100: 1.9 ms) with
 * SHA-1 and 1.4 ms (1.8 ms) with SHA-256 on a shared virtual Xeon with SHA instructions, Node 24. A processor half as
 * fast stays below 4 ms. Slicing itself is within the noise: 16 MiB took 11.6 ms at once and in slices.
 */
export const turnLength = 2 << 20

type Algorithm = "sha1" | "sha256"

const plain = (digest: Buffer): Uint8Array => new Uint8Array(digest.buffer, digest.byteOffset, digest.byteLength)

/** Makes a hasher with an allowance of its own; a process needs one. */
export const make = (): PieceHasher["Service"] => {
  let allowance = turnLength

  // The first bytes of a turn order the refill, so that it runs before any caller that starts to wait in the same turn.
  const spend = (length: number) => {
    if (length === 0) return
    if (allowance === turnLength) setImmediate(refill)
    allowance -= length
  }
  const refill = () => {
    allowance = turnLength
  }

  const nextTurn = Effect.callback<void>((resume) => {
    const immediate = setImmediate(() => resume(Effect.void))
    return Effect.sync(() => clearImmediate(immediate))
  })

  const atOnce = (algorithm: Algorithm, bytes: Uint8Array) => {
    spend(bytes.length)
    return plain(Crypto.hash(algorithm, bytes, "buffer"))
  }

  const later = Effect.fnUntraced(function* (algorithm: Algorithm, bytes: Uint8Array) {
    if (bytes.length <= turnLength) {
      while (bytes.length > allowance) yield* nextTurn
      return atOnce(algorithm, bytes)
    }
    const hash = Crypto.createHash(algorithm)
    for (let begin = 0; begin < bytes.length; ) {
      while (allowance === 0) yield* nextTurn
      const end = Math.min(bytes.length, begin + allowance)
      spend(end - begin)
      hash.update(bytes.subarray(begin, end))
      begin = end
    }
    return plain(hash.digest())
  })

  const digest = (algorithm: Algorithm) => (bytes: Uint8Array) =>
    Effect.suspend(() =>
      bytes.length <= allowance ? Effect.succeed(atOnce(algorithm, bytes)) : later(algorithm, bytes)
    )

  return PieceHasher.of({ sha1: digest("sha1"), sha256: digest("sha256") })
}

/**
 * Hashes on the event loop's thread, in slices.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect } from "effect"
 * import { PieceHasher } from "piecewise"
 * import { NodePieceHasher } from "piecewise/node"
 *
 * const piece = new Uint8Array(262_144)
 * const sha256 = PieceHasher.PieceHasher.use((hasher) => hasher.sha256(piece))
 * const digest = await Effect.runPromise(Effect.provide(sha256, NodePieceHasher.layer))
 * assert.equal(digest.length, 32)
 * ```
 */
export const layer: Layer.Layer<PieceHasher> = Layer.sync(PieceHasher, make)
