import { assert, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { vi } from "vitest"
import { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as WebCryptoPieceHasher from "../../src/hash/provider/WebCryptoPieceHasher.ts"
import { suite } from "./PieceHasher.suite.ts"

suite("crypto.subtle", WebCryptoPieceHasher.layer)

it.effect("digests shared memory, which Web Crypto by itself refuses", () =>
  Effect.gen(function* () {
    const hasher = yield* PieceHasher
    const shared = new Uint8Array(new SharedArrayBuffer(8), 2, 4).fill(7)

    const digest = yield* hasher.sha1(shared)

    assert.deepStrictEqual(digest, yield* hasher.sha1(new Uint8Array(4).fill(7)))
  }).pipe(Effect.provide(WebCryptoPieceHasher.layer))
)

it.effect("says what a page lacks that was not served securely", () =>
  Effect.gen(function* () {
    vi.stubGlobal("crypto", {})
    yield* Effect.addFinalizer(() => Effect.sync(() => vi.unstubAllGlobals()))

    const exit = yield* Effect.exit(WebCryptoPieceHasher.make)

    assert.match(
      Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "",
      /crypto\.subtle is missing: serve the page over https/
    )
  })
)
