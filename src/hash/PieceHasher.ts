/**
 * The contract of piece digests: SHA-1 for v1 torrents (BEP 3), SHA-256 for v2 (BEP 52).
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"

/** Computes digests. Does not fail: an engine without a working hash function is a defect. */
export class PieceHasher extends Context.Service<
  PieceHasher,
  {
    /** SHA-1 of `bytes`, 20 bytes. `bytes` must not change until this returns. */
    readonly sha1: (bytes: Uint8Array) => Effect.Effect<Uint8Array>
    /** SHA-256 of `bytes`, 32 bytes. `bytes` must not change until this returns. */
    readonly sha256: (bytes: Uint8Array) => Effect.Effect<Uint8Array>
  }
>()("piecewise/hash/PieceHasher") {}
