/**
 * Bodies of answers as a test writes them: which chunks arrive with each pull, and how the body ends.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import type * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import * as fc from "fast-check"

/** How a body ends: as it should, with a broken connection, or never. */
export type End = "done" | "broken" | "open"

/** A body, and how many of its pulls were made. */
export interface Body {
  readonly response: HttpClientResponse.HttpClientResponse
  readonly pulls: () => number
}

/** A broken connection. */
export const brokenOf = (request: HttpClientRequest.HttpClientRequest) =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.TransportError({ request, cause: Object.assign(new Error(), { code: "ECONNRESET" }) })
  })

/**
 * A response whose body has these chunks, a list of them for each pull. As a client may do with chunks that are lent
 * (`Hops.LentChunks`), those of a pull lose their bytes with the next one.
 */
export const make = (
  chunks: ReadonlyArray<ReadonlyArray<Uint8Array>>,
  end: End = "done",
  head: ResponseInit = {},
  request = HttpClientRequest.get("http://seed.example/")
): Body => {
  let pulls = 0
  let last: ReadonlyArray<Uint8Array<ArrayBuffer>> = []
  const pull = Effect.suspend((): Pull.Pull<Arr.NonEmptyReadonlyArray<Uint8Array>, HttpClientError.HttpClientError> => {
    for (const { buffer } of last) buffer.transfer(0)
    last = (chunks[pulls++] ?? []).map((chunk) => Uint8Array.from(chunk))
    if (Arr.isReadonlyArrayNonEmpty(last)) return Effect.succeed(last)
    if (end === "open") return Effect.never
    return end === "broken" ? Effect.fail(brokenOf(request)) : Cause.done()
  })
  const stream = Stream.fromPull(Effect.succeed(pull))
  const response = HttpClientResponse.fromWeb(request, new Response(null, head))
  return { response: Object.defineProperty(response, "stream", { value: stream }), pulls: () => pulls }
}

/** Cuts bytes into chunks of these lengths, in turns, with so many chunks for each pull. */
export const cut = (
  bytes: Uint8Array,
  lengths: ReadonlyArray<number>,
  together: number
): ReadonlyArray<ReadonlyArray<Uint8Array>> => {
  const chunks: Array<Uint8Array> = []
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const length = lengths[turn % lengths.length]!
    chunks.push(bytes.subarray(at, at + length))
    at += length
  }
  return Array.from({ length: Math.ceil(chunks.length / together) }, (_, index) =>
    chunks.slice(index * together, (index + 1) * together)
  )
}

/** Ways to cut bytes. Some chunks are empty. */
export const cuts = fc
  .record({
    lengths: fc.array(fc.oneof(fc.integer({ min: 0, max: 40_000 }), fc.constantFrom(1, 16_383, 16_384, 16_385)), {
      minLength: 1,
      maxLength: 12
    }),
    together: fc.integer({ min: 1, max: 5 })
  })
  .map(({ lengths, together }) => ({ lengths: [...lengths, 20_000], together }))
