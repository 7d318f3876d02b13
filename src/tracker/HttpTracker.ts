/**
 * Announces to one HTTP tracker (BEP 3) and scrapes it (BEP 48) over Effect's `HttpClient`, which a process and a page
 * provide each in its way.
 *
 * A tracker is a stranger that a torrent names, so every answer is bounded in time, bytes and redirects, and a public
 * tracker cannot send us into the network around us. What an answer means is the question of `AnnounceCodec.ts` and
 * `ScrapeCodec.ts`; whom to ask next, `AnnounceSchedule.ts`'s.
 *
 * The client resolves names. So one that leads to a private address is not noticed here, and a machine with IPv4 and IPv6
 * announces over whichever the client connects by: the tracker may then tell of peers of both (BEP 7 `peers6`), but tells
 * others of that one address. We know no address of ours to name in `ipv4=` or `ipv6=`.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bytes from "../base/Bytes.ts"
import * as Version from "../base/Version.ts"
import * as AnnounceCodec from "./AnnounceCodec.ts"
import * as ScrapeCodec from "./ScrapeCodec.ts"
import type { AnnounceRequest } from "./Tracker.ts"
import { Tracker, TrackerError } from "./Tracker.ts"
import type { TrackerRefused } from "./TrackerAnswer.ts"
import * as TrackerAnswer from "./TrackerAnswer.ts"
import * as TrackerUrl from "./TrackerUrl.ts"

/**
 * How long an announce or a scrape may take, from the name's resolution to the body's last byte, redirects included.
 * Shorter loses overloaded trackers; longer keeps a torrent whose trackers are all dead from trying them again.
 */
export const defaultTimeout: Duration.Input = "15 seconds"

/** Bytes of an answer, as sent and again as unpacked. 50 peers take 300; more than this is no tracker's answer. */
export const maxBodyBytes = 1_048_576

/** Redirects that are followed; trackers that moved need one or two. */
export const maxRedirects = 5

/** How HTTP trackers are asked. */
export interface HttpTrackerOptions {
  /** Default `defaultTimeout`. */
  readonly timeout?: Duration.Input | undefined
}

/** A `Tracker` that speaks HTTP and HTTPS through the `HttpClient` of whoever makes it. */
export const make = Effect.fnUntraced(function* (
  options: HttpTrackerOptions = {}
): Effect.fn.Return<Tracker["Service"], never, HttpClient.HttpClient> {
  const client = yield* HttpClient.HttpClient
  const timeout = options.timeout ?? defaultTimeout
  const bounded = <A, R>(effect: Effect.Effect<A, TrackerError, R>, url: string) =>
    effect.pipe(
      Effect.scoped,
      // The headers of tracing would tell strangers about us, and the span of a request would hold its passkey.
      Effect.provideService(HttpClient.TracerPropagationEnabled, false),
      Effect.provideService(HttpClient.TracerDisabledWhen, () => true),
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () => Effect.fail(new TrackerError({ url, why: "no answer in time" }))
      })
    )
  return Tracker.of({
    announce: Effect.fn("HttpTracker.announce")(
      (url: string, request: AnnounceRequest) => announce(client, url, request),
      bounded
    ),
    scrape: Effect.fn("HttpTracker.scrape")(
      (url: string, infoHash: Uint8Array) => scrape(client, url, infoHash),
      bounded
    )
  })
})

/** `Tracker` with the defaults. */
export const layer: Layer.Layer<Tracker, never, HttpClient.HttpClient> = Layer.effect(Tracker)(make())

const announce = Effect.fnUntraced(function* (client: HttpClient.HttpClient, url: string, request: AnnounceRequest) {
  const target = yield* Effect.fromResult(checkUrl(url))
  const href = AnnounceCodec.toUrl(withoutCredentials(target), request)
  const response = yield* ask(client, url, target, href, AnnounceCodec.decode)
  return TrackerUrl.isPublic(target) ? TrackerAnswer.withoutLoopback(response) : response
})

const scrape = Effect.fnUntraced(function* (client: HttpClient.HttpClient, url: string, infoHash: Uint8Array) {
  const target = yield* Effect.fromResult(checkUrl(url))
  const href = ScrapeCodec.toUrl(withoutCredentials(target), infoHash)
  if (href === undefined) {
    return yield* new TrackerError({
      url,
      why: "it cannot be scraped, as its URL does not end in /announce",
      retryAfter: "never"
    })
  }
  return yield* ask(client, url, target, href, (body) => ScrapeCodec.decode(body, infoHash))
})

/** What `decode` makes of the answer at `href`. */
const ask = Effect.fnUntraced(function* <A>(
  client: HttpClient.HttpClient,
  url: string,
  target: URL,
  href: string,
  decode: (body: Uint8Array) => Result.Result<A, TrackerRefused>
) {
  const { body, status } = yield* get(client, url, href, target)
  if (status < 200 || status > 299) {
    // Some say why in the usual way.
    const refusal = AnnounceCodec.decodeRefusal(body)
    return yield* new TrackerError({ url, why: `HTTP status ${status}`, ...(refusal && pick(refusal)) })
  }
  const response = decode(body)
  if (Result.isFailure(response)) return yield* new TrackerError({ url, ...pick(response.failure) })
  return response.success
})

const pick = ({ retryAfter, why }: TrackerRefused) => ({ why, retryAfter })

/** The URL, if it is one of an HTTP tracker. What can never work says so once and for all. */
const checkUrl = (url: string): Result.Result<URL, TrackerError> => {
  const refuse = (why: string) => Result.fail(new TrackerError({ url, why, retryAfter: "never" }))
  const target = URL.parse(url)
  if (target === null) return refuse("this is not a URL")
  if (target.protocol !== "http:" && target.protocol !== "https:") return refuse("this is not an HTTP URL")
  // A torrent could otherwise make us send any request to any service of this machine.
  if (TrackerUrl.isLoopback(target) && !/\/announce[^/]*$/.test(target.pathname)) {
    return refuse("a tracker on this machine must have a path that ends in /announce")
  }
  return Result.succeed(target)
}

const withoutCredentials = (url: URL): string => {
  const bare = new URL(url)
  bare.username = ""
  bare.password = ""
  return bare.href
}

interface Answer {
  readonly status: number
  readonly body: Uint8Array
}

/** Gets `href`, following redirects by hand: each target is checked before anything is sent to it. */
const get = Effect.fnUntraced(function* (
  unscoped: HttpClient.HttpClient,
  url: string,
  href: string,
  target: URL
): Effect.fn.Return<Answer, TrackerError, Scope.Scope> {
  const client = HttpClient.withScope(unscoped)
  const fail = (why: string) => new TrackerError({ url, why })
  // `fetch` would follow redirects unseen.
  const init = Context.getOrUndefined(yield* Effect.context<never>(), FetchHttpClient.RequestInit)
  const execute = (request: HttpClientRequest.HttpClientRequest) =>
    client.execute(request).pipe(
      Effect.provideService(FetchHttpClient.RequestInit, { ...init, redirect: "manual" }),
      Effect.mapError((error) => fail(describe(error)))
    )
  let request = HttpClientRequest.get(href, { headers: { "user-agent": Version.userAgent, "accept-encoding": "gzip" } })
  if (target.username !== "") {
    request = HttpClientRequest.basicAuth(request, decode(target.username), decode(target.password))
  }
  let here = href
  for (let redirects = 0; redirects <= maxRedirects; redirects++) {
    const response = yield* execute(request)
    const { location } = response.headers
    if (response.status < 300 || response.status > 399 || response.status === 304 || location === undefined) {
      return { status: response.status, body: yield* readBody(response, fail) }
    }
    const there = URL.parse(location, here)
    if (there === null) return yield* fail("it redirects to something that is no URL")
    if (there.protocol !== "http:" && there.protocol !== "https:") {
      return yield* fail(`it redirects to a ${there.protocol} URL`)
    }
    if (TrackerUrl.isPublic(target) && !TrackerUrl.isPublic(there)) {
      return yield* fail(`it redirects into the local network, to ${there.hostname}`)
    }
    const isElsewhere = there.origin !== new URL(here).origin
    here = withoutCredentials(there)
    request = HttpClientRequest.setUrl(request, here)
    if (isElsewhere) request = HttpClientRequest.removeHeader(request, "authorization")
  }
  return yield* fail(`it redirects more than ${maxRedirects} times`)
})

/** Text of a percent-encoded part of a URL; as it is where it is encoded wrongly. */
const decode = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The whole body, unpacked; reading stops at the first chunk that goes past `maxBodyBytes`. */
const readBody = Effect.fnUntraced(function* (
  response: HttpClientResponse.HttpClientResponse,
  fail: (why: string) => TrackerError
) {
  const body = yield* collect(
    Stream.mapError(response.stream, (error) => fail(describe(error))),
    fail
  )
  // Told by its magic number: `fetch` has unpacked already but leaves the header, and some trackers send none.
  if (body[0] !== 0x1f || body[1] !== 0x8b) return body
  return yield* collect(
    Stream.fromReadableStream({
      evaluate: () => new Blob([body]).stream().pipeThrough(new DecompressionStream("gzip")),
      onError: () => fail("the answer is packed wrongly")
    }),
    fail
  )
})

const collect = Effect.fnUntraced(function* (
  stream: Stream.Stream<Uint8Array, TrackerError>,
  fail: (why: string) => TrackerError
) {
  const chunks: Array<Uint8Array> = []
  let length = 0
  yield* Stream.runForEach(stream, (chunk) => {
    length += chunk.length
    if (length > maxBodyBytes) return Effect.fail(fail(`the answer is longer than ${maxBodyBytes} bytes`))
    chunks.push(chunk)
    return Effect.void
  })
  return Bytes.concat(chunks)
})

/** What the codes of Node and undici mean to a user. */
const meanings: ReadonlyMap<string, string> = new Map([
  ["ECONNREFUSED", "connection refused"],
  ["ECONNRESET", "the connection was closed before an answer"],
  ["EPIPE", "the connection was closed before an answer"],
  ["UND_ERR_SOCKET", "the connection was closed before an answer"],
  ["ENOTFOUND", "the name is unknown"],
  ["EAI_AGAIN", "the name could not be resolved"],
  ["ETIMEDOUT", "the connection could not be made in time"],
  ["UND_ERR_CONNECT_TIMEOUT", "the connection could not be made in time"],
  ["EHOSTUNREACH", "the host cannot be reached"],
  ["ENETUNREACH", "the network cannot be reached"],
  ["UND_ERR_HEADERS_OVERFLOW", "the answer's headers are too long"],
  ["CERT_HAS_EXPIRED", "its certificate has expired"],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", "its certificate is signed by itself"],
  ["ERR_TLS_CERT_ALTNAME_INVALID", "its certificate is for another name"]
])

/** The end of a sentence about a failed request: the innermost cause that has a code is the telling one. */
const describe = (error: HttpClientError.HttpClientError): string => {
  let code: string | undefined
  let cause: unknown = error.reason.cause
  // Causes can form a circle; no real chain is this long.
  for (let depth = 0; depth < 8 && typeof cause === "object" && cause !== null; depth++) {
    if ("code" in cause && typeof cause.code === "string") code = cause.code
    // undici's parser often names no code.
    else if ("name" in cause && cause.name === "HTTPParserError") code = "HPE_"
    cause = "cause" in cause ? cause.cause : undefined
  }
  if (code === undefined) return "the request failed"
  if (code.startsWith("HPE_")) return "the answer is not HTTP"
  return meanings.get(code) ?? `the request failed (${code})`
}
