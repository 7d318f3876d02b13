/**
 * Fetches a small file over HTTP whole. The response comes from a stranger, so it is bounded in time, bytes and
 * redirects, and `Hops.ts` judges each place that it leads to.
 *
 * A server may compress the body although nobody asked for it, with or without saying so. So gzip and zlib are
 * recognized by how the body begins. They are unpacked as they arrive, up to the limit. A file that is itself
 * compressed comes out unpacked.
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import * as Bytes from "../base/Bytes.ts"
import * as Version from "../base/Version.ts"
import * as Hops from "./Hops.ts"
import * as SocketErrno from "./SocketErrno.ts"
import { type Format, Unpacking } from "./Unpacking.ts"

/** How long resolving the name, redirects and reading the whole body may take together. */
export const defaultTimeout: Duration.Input = "60 seconds"

/** The file was not fetched. `why` can stand after the URL and a colon. */
export class HttpFileError extends Data.TaggedError("HttpFileError")<{
  readonly why: string
  /** The URL of another scheme that the server redirects to, if that is the reason. */
  readonly elsewhere?: string | undefined
}> {
  override get message() {
    return this.why
  }
}

/** How a file is fetched. */
export interface Options {
  /** The most bytes of the file, unpacked and as received. */
  readonly maxBytes: number
  /** Why it is not accepted if it is longer. */
  readonly tooLong: string
  /** Why nothing may be sent to an address for the URL of a hop; see `Hops.Options`. */
  readonly whyNot: Hops.Options["whyNot"]
  /** Default `defaultTimeout`. */
  readonly timeout?: Duration.Input | undefined
}

const fail = (why: string) => new HttpFileError({ why })

/** Fetches the file at `url`. */
export const get = Effect.fnUntraced(
  function* (client: HttpClient.HttpClient, url: URL, options: Options) {
    const response = yield* Hops.get(client, url, {
      headers: { "user-agent": Version.userAgent },
      whyNot: options.whyNot
    }).pipe(
      Effect.mapError((error) =>
        error._tag === "HopRefused"
          ? new HttpFileError({ why: error.why, elsewhere: error.elsewhere })
          : fail(describe(error))
      )
    )
    if (response.status < 200 || response.status > 299) return yield* fail(`HTTP status ${response.status}`)
    return yield* readBody(response, options)
  },
  (effect, _client, _url, { timeout = defaultTimeout }) =>
    effect.pipe(
      Effect.scoped,
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () => Effect.fail(fail(`no answer within ${Duration.toSeconds(timeout)} seconds`))
      })
    )
)

/** Reads and unpacks the whole body. Stops at the first chunk that exceeds the limit. */
const readBody = Effect.fnUntraced(function* (
  response: HttpClientResponse.HttpClientResponse,
  { maxBytes, tooLong }: Options
) {
  const collect = Effect.fnUntraced(function* (stream: Stream.Stream<Uint8Array, HttpFileError>) {
    const chunks: Array<Uint8Array> = []
    yield* Stream.runForEach(limit(stream, maxBytes, tooLong), (chunk) => Effect.sync(() => chunks.push(chunk)))
    return Bytes.concat(chunks)
  })
  if (Number(response.headers["content-length"]) > maxBytes) return yield* fail(tooLong)
  const received = Stream.mapError(response.stream, (error) => fail(describe(error)))
  const { format, stream } = yield* recognize(limit(received, maxBytes, tooLong))
  if (format === undefined) return yield* collect(stream)
  // The types of a page's streams say that the memory is not shared.
  const readable = yield* Stream.toReadableStreamEffect(stream as Stream.Stream<Uint8Array<ArrayBuffer>, HttpFileError>)
  const unpack = yield* Unpacking
  const unpacked = Stream.fromReadableStream<Uint8Array, HttpFileError>({
    evaluate: () => unpack(readable, format),
    // What ended the stream that is unpacked comes out of it again.
    onError: (error) => (error instanceof HttpFileError ? error : fail("the answer's compressed data is damaged"))
  })
  return yield* collect(unpacked)
})

const limit = (stream: Stream.Stream<Uint8Array, HttpFileError>, maxBytes: number, tooLong: string) =>
  Stream.suspend(() => {
    let length = 0
    return Stream.mapEffect(stream, (chunk) => {
      length += chunk.length
      return length > maxBytes ? Effect.fail(fail(tooLong)) : Effect.succeed(chunk)
    })
  })

/** Finds out how a stream is compressed, by its first two bytes. The returned stream begins with them. */
const recognize = Effect.fnUntraced(function* (stream: Stream.Stream<Uint8Array, HttpFileError>) {
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

/** RFC 1952 section 2.3.1 and RFC 1950 section 2.2, which neither a bencoded value nor text begins with. */
const formatOf = ([first = 0, second = 0]: Uint8Array): Format | undefined => {
  if (first === 0x1f && second === 0x8b) return "gzip"
  return first === 0x78 && (first * 256 + second) % 31 === 0 ? "deflate" : undefined
}

const describe = (error: HttpClientError.HttpClientError): string => {
  const causes = Hops.causesOf(error)
  const code = causes.map(SocketErrno.codeOf).findLast((code) => code !== undefined)
  if (code?.startsWith("HPE_") === true) return "the server's answer is not HTTP"
  if (code !== undefined) return SocketErrno.why(code)
  const cause = causes.at(-1)
  return cause instanceof Error ? cause.message : "the server's answer is malformed"
}
