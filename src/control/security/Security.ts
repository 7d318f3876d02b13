/**
 * Decides who may talk to a service over HTTP, before any route is looked up: routes of the API, of streams, of metrics
 * and of the Transmission RPC alike. docs/adr/0026-who-may-control-a-service.md has the reasons.
 *
 * In this order, a request is refused if it
 * - is for a name that is not the service's (421, `HostName.ts`),
 * - is outside the base path (404), or has a path with several readings (400, `RequestPath.ts`),
 * - was sent by a page of another site (403, `Origin.ts`),
 * - has no credentials or wrong ones (401, 403 or 429, `Authentication.ts`), or
 * - has a body that is too long (413).
 *
 * What a handler sees of an accepted request: who sent it (`Caller`), its URL without the base path, and the address of
 * the client behind proxies that are trusted. Every answer has the headers of `SecurityHeaders.ts`.
 */
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Types from "effect/Types"
import * as IpAddress from "../../base/IpAddress.ts"
import * as IpRanges from "../../base/IpRanges.ts"
import * as Attempts from "./Attempts.ts"
import * as Authentication from "./Authentication.ts"
import * as BrowserLogins from "./BrowserLogins.ts"
import { Caller } from "./Caller.ts"
import type { Credentials } from "./Credentials.ts"
import * as HostName from "./HostName.ts"
import type { Logins } from "./Logins.ts"
import * as Origin from "./Origin.ts"
import * as Refused from "./Refused.ts"
import { CrossSite, HostNotAllowed, PathNotAllowed, TooLarge } from "./Refused.ts"
import * as RequestPath from "./RequestPath.ts"
import * as SecurityHeaders from "./SecurityHeaders.ts"
import * as Tickets from "./Tickets.ts"

/** How a service is reached. `whyNot` says whether they are valid. */
export interface Options {
  /**
   * Names by which the service may be called, besides `localhost` and IP addresses: `seedbox.example.org`, or
   * `*.example.org` for every name below that domain. Without ports. A name that is missing here gets 421.
   */
  readonly allowedHosts?: ReadonlyArray<string> | undefined
  /**
   * Origins of pages elsewhere that may use the service with the token, such as `https://panel.example.org`. They get
   * CORS headers; their cookies count for nothing. Default: none.
   */
  readonly allowedOrigins?: ReadonlyArray<string> | undefined
  /** The path below which a proxy serves the service, such as `/torrents`; default `/`. Requests must begin with it. */
  readonly basePath?: string | undefined
  /**
   * Addresses and subnets of proxies, whose `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto` are believed:
   * `127.0.0.1`, `10.0.0.0/8`. Default: none, so that the client is whoever opened the connection.
   */
  readonly trustedProxies?: ReadonlyArray<string> | undefined
}

/** Says which of the options is not valid, as a sentence without a full stop; `undefined` if all are. */
export const whyNot = (options: Options): string | undefined => {
  const bad = (texts: ReadonlyArray<string> | undefined, isGood: (text: string) => boolean) =>
    texts?.find((text) => !isGood(text))
  const host = bad(options.allowedHosts, HostName.isPattern)
  if (host !== undefined) return `"${host}" is no name of a host, such as seedbox.example.org or *.example.org`
  const origin = bad(options.allowedOrigins, Origin.isOrigin)
  if (origin !== undefined) return `"${origin}" is no origin of a page, such as https://panel.example.org`
  const proxy = bad(options.trustedProxies, (text) => IpRanges.parse(text) !== undefined)
  if (proxy !== undefined) return `"${proxy}" is no address or subnet of a proxy, such as 127.0.0.1 or 10.0.0.0/8`
  const { basePath = "/" } = options
  if (RequestPath.parseBase(basePath) === undefined) return `"${basePath}" is no base path, such as /torrents`
  return undefined
}

const baseOf = ({ basePath = "/" }: Options): string => RequestPath.parseBase(basePath) ?? ""

/** What the routes for logging in and for links to torrents call. Hoist the layer: it holds the sessions and tickets. */
export const services = (
  options: Options = {}
): Layer.Layer<Logins | Tickets.Tickets | Attempts.Attempts, never, Credentials> =>
  Layer.mergeAll(BrowserLogins.layer({ basePath: baseOf(options) }), Tickets.layer).pipe(
    Layer.provideMerge(Attempts.layer)
  )

const notFound = HttpServerResponse.empty({ status: 404 })

const hostNotAllowed = (host: HostName.Authority | undefined) =>
  new HostNotAllowed({
    message:
      host === undefined
        ? "The header Host is missing or malformed."
        : `This service does not answer to the name ${host.host}. Start it with --allow-host ${host.host} if it should.`
  })

const pathNotAllowed = () =>
  new PathNotAllowed({
    message: "The path of the URL must not have empty components, dots alone, encoded slashes or ;."
  })

const crossSite = () =>
  new CrossSite({
    message: "A page of another site sent this request. Start the service with --allow-origin ORIGIN if it should work."
  })

const tooLarge = (maxBytes: number) =>
  new TooLarge({ message: `The body is longer than ${maxBytes} bytes, the most that is accepted here.`, maxBytes })

const cors = (origins: ReadonlySet<string>) =>
  HttpMiddleware.cors({
    allowedOrigins: (origin) => origins.has(origin),
    allowedMethods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
    allowedHeaders: [
      "authorization",
      "content-type",
      "if-match",
      "if-none-match",
      "if-range",
      "last-event-id",
      "range",
      "x-transmission-session-id"
    ],
    exposedHeaders: ["accept-ranges", "content-range", "etag", "retry-after", "x-transmission-session-id"],
    maxAge: 7_200
  })

/** The address of a client in its canonical form, so that it is counted once. */
const addressOf = ({ remoteAddress }: HttpServerRequest.HttpServerRequest): string => {
  const text = Option.getOrElse(remoteAddress, () => "")
  const bytes = IpAddress.parse(text)
  return (bytes && IpAddress.format(bytes)) ?? text
}

type Handler = Effect.Effect<HttpServerResponse.HttpServerResponse, Types.unhandled, Caller>

const make = (options: Options) =>
  Effect.gen(function* () {
    const why = whyNot(options)
    if (why !== undefined) return yield* Effect.die(new Error(why))
    const authenticate = yield* Authentication.make
    const names = HostName.allow(options.allowedHosts ?? [])
    const allowedOrigins = new Set(options.allowedOrigins ?? [])
    const proxies = IpRanges.make((options.trustedProxies ?? []).flatMap((text) => IpRanges.parse(text) ?? []))
    const base = baseOf(options)
    const withCors = cors(allowedOrigins)
    const withForwarded = HttpMiddleware.xForwardedHeaders({
      trustedProxies: (address) => IpRanges.has(proxies, NetAddress.formatIp(address))
    })

    const checkHost = ({ headers: { host: text = "" } }: HttpServerRequest.HttpServerRequest) => {
      const host = HostName.parse(text)
      const isAllowed = host !== undefined && HostName.isAllowed(names, host)
      return isAllowed ? Effect.succeed(host) : Effect.fail(hostNotAllowed(host))
    }

    /** Finds out who sent a request; fails with the reason for which it is refused. */
    const admit = Effect.fnUntraced(function* (path: string, maxBytes: number, isOwn: boolean) {
      const request = yield* HttpServerRequest.HttpServerRequest
      const need = RequestPath.needOf(request.method, path)
      const caller = yield* authenticate({ request, need, address: addressOf(request), isOwn })
      return Number(request.headers["content-length"] ?? 0) > maxBytes ? yield* tooLarge(maxBytes) : caller
    })

    /** What an answer to a path lacks that says what to do: a handler fails with the same refusals. */
    const completed = (path: string, maxBytes: number) => (response: HttpServerResponse.HttpServerResponse) => {
      // A body that does not say how long it is exceeds the limit while the handler reads it.
      if (response.status === 413 && response.body._tag === "Empty") {
        return HttpServerResponse.setHeaders(Refused.toResponse(tooLarge(maxBytes)), response.headers)
      }
      return response.status === 401
        ? HttpServerResponse.setHeader(response, "www-authenticate", RequestPath.challengeOf(path))
        : response
    }

    /** Handles a request that has passed the checks of its host, origin and path. */
    const answer = Effect.fnUntraced(function* (handler: Handler, path: string, sender: Origin.Sender) {
      const { method } = yield* HttpServerRequest.HttpServerRequest
      const maxBytes = RequestPath.maxBodyOf(method, path)
      const complete = completed(path, maxBytes)
      yield* HttpEffect.appendPreResponseHandler((_, response) => Effect.succeed(complete(response)))
      const admitted = yield* Effect.result(admit(path, maxBytes, sender === "own"))
      if (Result.isFailure(admitted)) return Refused.toResponse(admitted.failure)
      return yield* handler.pipe(
        Effect.provideService(Caller, admitted.success),
        Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.bytes(BigInt(maxBytes)))
      )
    })

    /** Handles a request as its trusted proxy forwards it. */
    const forwarded = Effect.fnUntraced(function* (handler: Handler) {
      const outer = yield* HttpServerRequest.HttpServerRequest
      const host = yield* Effect.result(checkHost(outer))
      if (Result.isFailure(host)) return Refused.toResponse(host.failure)
      const url = RequestPath.withoutBase(base, outer.url)
      if (url === undefined) return notFound
      const path = RequestPath.parse(url)
      if (path === undefined) return Refused.toResponse(pathNotAllowed())
      const request = base === "" ? outer : outer.modify({ url })
      const { headers, protocol } = request
      const { origin, "sec-fetch-site": fetchSite } = headers
      const sender = Origin.senderOf({ origin, fetchSite, host: host.success, protocol, allowedOrigins })
      if (sender === "foreign") return Refused.toResponse(crossSite())
      const answered = answer(handler, path, sender)
      return yield* (sender === "allowed" ? withCors(answered) : answered).pipe(
        Effect.provideService(HttpServerRequest.HttpServerRequest, request)
      )
    })

    return Effect.fnUntraced(function* (handler: Handler) {
      yield* HttpEffect.appendPreResponseHandler((_, response) => Effect.succeed(SecurityHeaders.add(response)))
      // What the client itself sent, before a proxy's word for it: a rebound page can send any other header.
      const host = yield* Effect.result(checkHost(yield* HttpServerRequest.HttpServerRequest))
      return Result.isFailure(host) ? Refused.toResponse(host.failure) : yield* withForwarded(forwarded(handler))
    })
  })

/**
 * Puts the checks before all routes of a router. Provide it to the routes, not beside them, so that it is the outermost
 * middleware: `routes.pipe(Layer.provide(Security.layer(options)))`. Options that `whyNot` refuses are a defect.
 */
export const layer = (
  options: Options = {}
): Layer.Layer<
  HttpRouter.Request<"Requires", Caller> | HttpRouter.Request<"GlobalRequires", Caller>,
  never,
  HttpRouter.HttpRouter | Attempts.Attempts | Credentials | Logins | Tickets.Tickets
> => HttpRouter.middleware<{ provides: Caller }>()(make(options), { global: true })
