/**
 * Announces to one HTTP tracker (BEP 3) and scrapes it (BEP 48) over Effect's `HttpClient`, which the environment (a
 * Node process, a page) provides.
 *
 * A torrent file can name any host as its tracker. So every response is bounded in time, bytes and redirects, and
 * `Destination.ts` decides where a request may go. `AnnounceCodec.ts` and `ScrapeCodec.ts` decode the responses, and
 * `AnnounceSchedule.ts` decides which tracker is asked next.
 *
 * The client resolves names. A client that honours `Hops.Route`, such as Node's (`NodeRoutedHttp.ts`), never connects
 * to an address that a tracker may not have. With any other client, such as a page's `fetch`, a name may lead anywhere.
 * A machine with IPv4 and IPv6 announces over whichever the client connects by. The tracker may then send peers of both
 * families (BEP 7 `peers6`), but it sends others only that one address of ours. We do not know our public addresses, so
 * we send no `ipv4=` or `ipv6=`.
 */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Destination from "../../../base/Destination.ts"
import * as Environment from "../../../base/Environment.ts"
import * as Version from "../../../base/Version.ts"
import * as Hops from "../../../network/Hops.ts"
import * as HttpBody from "../../../network/HttpBody.ts"
import * as SocketErrno from "../../../network/SocketErrno.ts"
import { Unpacking } from "../../../network/Unpacking.ts"
import * as AnnounceCodec from "../AnnounceCodec.ts"
import * as ScrapeCodec from "../ScrapeCodec.ts"
import type { AnnounceRequest } from "../Tracker.ts"
import { Tracker, TrackerError } from "../Tracker.ts"
import type { TrackerRefused } from "../TrackerAnswer.ts"

/**
 * How long an announce or a scrape may take, from resolving the name to the last byte of the body, redirects included.
 * Shorter loses overloaded trackers. Longer delays the next try of a torrent whose trackers are all dead.
 */
export const defaultTimeout: Duration.Input = "15 seconds"

/** Most bytes of a body, both as received and unpacked. 50 peers take 300 bytes; no real response is longer. */
export const maxBodyBytes = 1_048_576

/** How HTTP trackers are asked. */
export interface HttpTrackerOptions {
  /** How long one announce or scrape may take; default `defaultTimeout`. */
  readonly timeout?: Duration.Input | undefined
}

/** Makes a `Tracker` for HTTP and HTTPS URLs from the `HttpClient` and the `Unpacking` in the context. */
export const make = Effect.fnUntraced(function* (
  options: HttpTrackerOptions = {}
): Effect.fn.Return<Tracker["Service"], never, HttpClient.HttpClient> {
  const client = yield* HttpClient.HttpClient
  const unpack = yield* Unpacking
  const timeout = options.timeout ?? defaultTimeout
  const bounded = <A, R>(effect: Effect.Effect<A, TrackerError, R>, url: string) =>
    effect.pipe(
      Effect.scoped,
      Effect.provideService(Unpacking, unpack),
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () => Effect.fail(new TrackerError({ url, why: "no answer in time" }))
      })
    )
  return Tracker.of({
    // No spans: they would show the error, and with it the URL, which may have a passkey. `AnnounceSpan.ts` hides it.
    announce: (url, request) => bounded(announce(client, url, request), url),
    scrape: (url, infoHash) => bounded(scrape(client, url, infoHash), url)
  })
})

/** `Tracker` with the default options. */
export const layer: Layer.Layer<Tracker, never, HttpClient.HttpClient> = Layer.effect(Tracker)(make())

/** Reads `PIECEWISE_TRACKER_TIMEOUT`, such as `15 seconds` (docs/configuration.md). */
export const fromEnvironment = (): Config.Config<HttpTrackerOptions> =>
  Config.all({ timeout: Environment.trackerTimeout() })

/** `Tracker` with options as `config` says. Fails with `ConfigError` if a value is bad. */
export const layerConfig = (
  config: Config.Wrap<HttpTrackerOptions> = fromEnvironment()
): Layer.Layer<Tracker, Config.ConfigError, HttpClient.HttpClient> =>
  Layer.effect(Tracker)(Effect.flatMap(Config.unwrap<HttpTrackerOptions>(config), make))

const announce = Effect.fnUntraced(function* (client: HttpClient.HttpClient, url: string, request: AnnounceRequest) {
  const target = yield* Effect.fromResult(checkUrl(url))
  const href = AnnounceCodec.toUrl(target.href, request)
  let from: string | undefined
  const response = yield* ask(client, url, href, "announce", AnnounceCodec.decode, (host) => {
    from = host
  })
  return { ...response, from }
})

const scrape = Effect.fnUntraced(function* (client: HttpClient.HttpClient, url: string, infoHash: Uint8Array) {
  const target = yield* Effect.fromResult(checkUrl(url))
  const href = ScrapeCodec.toUrl(target.href, infoHash)
  if (href === undefined) {
    return yield* new TrackerError({
      url,
      why: "it cannot be scraped, because its URL does not end in /announce",
      retryAfter: "never"
    })
  }
  return yield* ask(client, url, href, "scrape", (body) => ScrapeCodec.decode(body, infoHash))
})

/** Requests `href` and decodes the body of the response with `decode`. */
const ask = Effect.fnUntraced(function* <A>(
  client: HttpClient.HttpClient,
  url: string,
  href: string,
  question: Destination.Question,
  decode: (body: Uint8Array) => Result.Result<A, TrackerRefused>,
  answered?: Hops.Options["answered"]
) {
  const fail = (why: string) => new TrackerError({ url, why })
  const got = yield* Hops.get(client, new URL(href), {
    headers: { "user-agent": Version.userAgent, "accept-encoding": "gzip" },
    whyNot: (hop, address) => Destination.whyNotTracker(hop, address, question),
    answered
  }).pipe(Effect.mapError((error) => fail(error._tag === "HopRefused" ? error.why : describe(error))))
  const { status } = got
  const body = yield* HttpBody.read(got, {
    maxBytes: maxBodyBytes,
    tooLong: `the answer is longer than ${maxBodyBytes} bytes`,
    fail,
    describe
  })
  if (status < 200 || status > 299) {
    // Some trackers send their reason as a bencoded refusal beside the status.
    const refusal = AnnounceCodec.decodeRefusal(body)
    const answer = { why: `HTTP status ${status}`, ...(refusal && pick(refusal)) }
    return yield* new TrackerError({ url, ...answer, isFinal: isGone(status) })
  }
  const response = decode(body)
  if (Result.isFailure(response)) return yield* new TrackerError({ url, ...pick(response.failure) })
  return response.success
})

/** Whether a status says that there is no tracker at the URL: not found, or gone (RFC 9110). */
const isGone = (status: number): boolean => status === 404 || status === 410

const pick = ({ retryAfter, why }: TrackerRefused) => ({ why, retryAfter })

/** Parses the URL of an HTTP tracker. Fails with `retryAfter: "never"` if the URL can never work. */
const checkUrl = (url: string): Result.Result<URL, TrackerError> => {
  const refuse = (why: string) => Result.fail(new TrackerError({ url, why, retryAfter: "never" }))
  const target = URL.parse(url)
  if (target === null) return refuse("this is not a URL")
  if (target.protocol !== "http:" && target.protocol !== "https:") return refuse("this is not an HTTP URL")
  const why = Destination.whyNotTracker(target, Destination.hostOf(target))
  if (why !== undefined) return refuse(why)
  return Result.succeed(target)
}

/** User-facing texts for the error codes of Node and undici. */
const meanings: ReadonlyMap<string, string> = new Map([
  ["ECONNREFUSED", "connection refused"],
  ["ECONNRESET", "the connection was closed before an answer"],
  ["EPIPE", "the connection was closed before an answer"],
  ["UND_ERR_SOCKET", "the connection was closed before an answer"],
  ["ENOTFOUND", "the name is unknown"],
  ["EAI_AGAIN", "the name could not be resolved"],
  ["ETIMEDOUT", "the connection could not be made in time"],
  [SocketErrno.offline, SocketErrno.why(SocketErrno.offline)],
  ["UND_ERR_CONNECT_TIMEOUT", "the connection could not be made in time"],
  ["EHOSTUNREACH", "the host cannot be reached"],
  ["ENETUNREACH", "the network cannot be reached"],
  ["UND_ERR_HEADERS_OVERFLOW", "the answer's headers are too long"],
  ["CERT_HAS_EXPIRED", "its certificate has expired"],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", "its certificate is self-signed"],
  ["ERR_TLS_CERT_ALTNAME_INVALID", "its certificate is for another name"]
])

/** Describes a failed request by the innermost cause that has a code, because that one is the most specific. */
const describe = (error: HttpClientError.HttpClientError): string => {
  let code: string | undefined
  for (const cause of Hops.causesOf(error)) {
    if ("code" in cause && typeof cause.code === "string") code = cause.code
    // Errors of undici's parser often have no code.
    else if ("name" in cause && cause.name === "HTTPParserError") code = "HPE_"
  }
  if (code === undefined) return "the request failed"
  if (code.startsWith("HPE_")) return "the answer is not HTTP"
  return meanings.get(code) ?? `the request failed (${code})`
}
