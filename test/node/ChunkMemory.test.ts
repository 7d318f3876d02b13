import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Stream from "effect/Stream"
import * as ChunkMemory from "../../src/node/ChunkMemory.ts"

describe("ChunkMemory", () => {
  it.effect("leaves chunks that share their memory with others, such as those of a pool", () =>
    Effect.gen(function* () {
      const pool = new Uint8Array(100).fill(7)
      const shared = new Uint8Array(new SharedArrayBuffer(10)).fill(7)
      const own = new Uint8Array(10).fill(7)
      const chunks = [pool.subarray(0, 50), shared, own, pool.subarray(50)]
      const response = HttpClientResponse.fromWeb(HttpClientRequest.get("http://seed.example/"), new Response())
      Object.defineProperty(response, "stream", { value: Stream.fromIterable(chunks), configurable: true })

      yield* Stream.runDrain(ChunkMemory.freeing(response).stream)

      assert.deepStrictEqual(
        chunks.map(({ length }) => length),
        [50, 10, 0, 50]
      )
      assert.isTrue([...pool, ...shared].every((byte) => byte === 7))
    })
  )
})
