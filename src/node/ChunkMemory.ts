/**
 * Frees the memory of a body's chunks before the garbage collector would. Node's parser of HTTP makes fresh memory for
 * each chunk, up to 64 KiB, outside of the heap. A chunk is a small object on the heap, so many megabytes of them are
 * made before a collection is due.
 */
import * as Effect from "effect/Effect"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Stream from "effect/Stream"

/** Frees a chunk that nobody else can see; it has no bytes then. Leaves one that shares its memory with others. */
const free = ({ buffer, byteLength }: Uint8Array): void => {
  if (buffer instanceof ArrayBuffer && byteLength === buffer.byteLength) buffer.transfer(0)
}

/**
 * The same response, whose stream frees the chunks of each pull at the next one (`Hops.LentChunks`). What the reader
 * has not read of the body is freed as usual.
 */
export const freeing = (response: HttpClientResponse.HttpClientResponse): HttpClientResponse.HttpClientResponse => {
  const stream = Stream.transformPull(response.stream, (pull) => {
    let last: ReadonlyArray<Uint8Array> = []
    const next = Effect.map(pull, (chunks) => {
      last = chunks
      return chunks
    })
    return Effect.succeed(
      Effect.suspend(() => {
        for (const chunk of last) free(chunk)
        last = []
        return next
      })
    )
  })
  return Object.defineProperty(response, "stream", { value: stream })
}
