/**
 * The contract of piece digests: SHA-1 for v1 torrents (BEP 3), SHA-256 for v2 (BEP 52).
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { PieceMemory } from "./PieceMemory.ts"

/** Computes digests. Does not fail: an engine without a working hash function is a defect. */
export class PieceHasher extends Context.Service<
  PieceHasher,
  {
    /** SHA-1 of `bytes`, 20 bytes. `bytes` must not change until this returns. */
    readonly sha1: (bytes: Uint8Array) => Effect.Effect<Uint8Array>
    /** SHA-256 of `bytes`, 32 bytes. `bytes` must not change until this returns. */
    readonly sha256: (bytes: Uint8Array) => Effect.Effect<Uint8Array>
    /** How many digests it works on at a time; default 1. */
    readonly atOnce?: number | undefined
    /** The memory that it digests fastest; default any. It digests all other memory as well. */
    readonly memory?: PieceMemory | undefined
  }
>()("piecewise/hash/PieceHasher") {}
