/**
 * Reads the body of an HTTP response whole. The response comes from a stranger, so the bytes are bounded, as received
 * and unpacked.
 *
 * A server may compress the body although nobody asked for it, with or without saying so, and a page's `fetch` unpacks
 * it but keeps the header. So gzip and zlib are recognized by how the body begins, and unpacked up to the limit.
 */
import * as Effect from "effect/Effect"
import type * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import * as Bytes from "../base/Bytes.ts"
import { type Format, Unpacking } from "./Unpacking.ts"

/** How a body is read. */
export interface Options<E> {
  /** The most bytes of the body, unpacked and as received. */
  readonly maxBytes: number
  /** Why it is not accepted if it is longer. */
  readonly tooLong: string
  /** Makes the error of the caller. */
  readonly fail: (why: string) => E
  /** Describes why the connection was lost. */
  readonly describe: (error: HttpClientError.HttpClientError) => string
}

/** Reads and unpacks the whole body. Stops at the first chunk that exceeds the limit. */
export const read = Effect.fnUntraced(function* <E>(
  response: HttpClientResponse.HttpClientResponse,
  { describe, fail, maxBytes, tooLong }: Options<E>
) {
  const limit = (stream: Stream.Stream<Uint8Array, E>) =>
    Stream.suspend(() => {
      let length = 0
      return Stream.mapEffect(stream, (chunk) => {
        length += chunk.length
        return length > maxBytes ? Effect.fail(fail(tooLong)) : Effect.succeed(chunk)
      })
    })
  const collect = Effect.fnUntraced(function* (stream: Stream.Stream<Uint8Array, E>) {
    const chunks: Array<Uint8Array> = []
    yield* Stream.runForEach(limit(stream), (chunk) => Effect.sync(() => chunks.push(chunk)))
    return Bytes.concat(chunks)
  })
  if (Number(response.headers["content-length"]) > maxBytes) return yield* Effect.fail(fail(tooLong))
  let ended: E | undefined
  const received = limit(Stream.mapError(response.stream, (error) => fail(describe(error)))).pipe(
    Stream.tapError((error) => Effect.sync(() => (ended = error)))
  )
  const { format, stream } = yield* recognize(received)
  if (format === undefined) return yield* collect(stream)
  // The types of a page's streams say that the memory is not shared.
  const readable = yield* Stream.toReadableStreamEffect(stream as Stream.Stream<Uint8Array<ArrayBuffer>, E>)
  const unpack = yield* Unpacking
  const unpacked = Stream.fromReadableStream<Uint8Array, E>({
    evaluate: () => unpack(readable, format),
    onError: () => ended ?? fail("the answer's compressed data is damaged")
  })
  return yield* collect(unpacked)
}, Effect.scoped)

/** Finds out how a stream is compressed, by its first two bytes. The returned stream begins with them. */
const recognize = Effect.fnUntraced(function* <E>(stream: Stream.Stream<Uint8Array, E>) {
  const pull = yield* Stream.toPull(stream)
  let head: Uint8Array = new Uint8Array()
  let isOver = false
  while (head.length < 2 && !isOver) {
    const chunks = yield* Pull.catchDone(pull, () => Effect.succeed([]))
    isOver = chunks.length === 0
    head = Bytes.concat([head, ...chunks])
  }
  const rest = isOver ? Stream.empty : Stream.fromPull(Effect.succeed(pull))
  return { format: formatOf(head), stream: Stream.concat(Stream.make(head), rest) }
})

/**
 * RFC 1952 section 2.3.1 and RFC 1950 section 2.2, which no bencoded value begins with, and hardly a text. Zlib data
 * with a preset dictionary (bit 5 of the second byte) cannot be unpacked; it would begin as texts do, with `x` and a
 * space.
 */
const formatOf = ([first = 0, second = 0]: Uint8Array): Format | undefined => {
  if (first === 0x1f && second === 0x8b) return "gzip"
  return first === 0x78 && (second & 0x20) === 0 && (first * 256 + second) % 31 === 0 ? "deflate" : undefined
}
