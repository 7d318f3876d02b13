/**
 * A GET whose redirects are followed by hand, each judged before anything is sent to it. First by its URL, here; then
 * by each address that is about to be dialled, by the client, which resolves names and asks `Route`. A client that
 * ignores `Route`, such as a page's `fetch`, resolves names unseen, and is limited only by the URLs.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import type * as Scope from "effect/Scope"
import * as Destination from "../base/Destination.ts"
import * as Reach from "../base/Reach.ts"

/** Redirects that are followed; a moved resource needs one or two. */
export const maxRedirects = 5

/** Which addresses a request may go to. */
export interface Route {
  /** Why no connection to this address may be tried; `undefined` if it may. */
  readonly whyNot: (address: string) => string | undefined
  /** Called with the address that a connection was made to. */
  readonly reached: (address: string) => void
}

/** What a client asks before each connection for a request. By default a request may go anywhere. */
export const Route = Context.Reference<Route>("piecewise/transport/Hops/Route", {
  defaultValue: () => ({ whyNot: () => undefined, reached: () => {} })
})

/**
 * Whether whoever reads the body of the response is done with a chunk when it pulls the next one. A client may then free
 * the memory of chunks early. By default chunks stay as they are.
 */
export const LentChunks = Context.Reference<boolean>("piecewise/transport/Hops/LentChunks", {
  defaultValue: () => false
})

/** What a client fails with, as the cause of its error, if the `Route` forbids every address. */
export class RouteForbidden extends Data.TaggedError("RouteForbidden")<{ readonly why: string }> {
  override get message() {
    return this.why
  }
}

/** A URL of another scheme to which a server redirects, such as a magnet link. */
export interface Elsewhere {
  readonly url: string
  /** The reach of that server. It may not name everything that the user may (`base/Naming.ts`). */
  readonly from: Reach.Reach
}

/** A hop was refused, or makes no sense. `why` can stand after the URL and a colon. */
export class HopRefused extends Data.TaggedError("HopRefused")<{
  readonly why: string
  /** Where the server redirects to, if it was refused for its scheme. */
  readonly elsewhere?: Elsewhere | undefined
}> {
  override get message() {
    return this.why
  }
}

/** How a URL is fetched. */
export interface Options {
  readonly headers?: Readonly<Record<string, string>> | undefined
  /**
   * Why nothing may be sent to an address for the URL of a hop. For redirects `Destination.whyNotRedirect` is asked
   * too.
   */
  readonly whyNot: (url: URL, address: string) => string | undefined
  /** Called with the address of the server that has answered, or the host of its URL if the client does not report it. */
  readonly answered?: ((host: string) => void) | undefined
  /** See `LentChunks`; default `false`. */
  readonly lentChunks?: boolean | undefined
}

/**
 * The answer at `url`, or at the target of its redirects; its body is read within the scope. A user and a password in
 * the URL are sent as a header, and to no other origin.
 */
export const get = Effect.fnUntraced(function* (
  unscoped: HttpClient.HttpClient,
  url: URL,
  options: Options
): Effect.fn.Return<HttpClientResponse.HttpClientResponse, HopRefused | HttpClientError.HttpClientError, Scope.Scope> {
  const client = HttpClient.withScope(unscoped)
  // `fetch` would follow redirects unseen.
  const init = Context.getOrUndefined(yield* Effect.context<never>(), FetchHttpClient.RequestInit)
  let here = withoutCredentials(url)
  let request = HttpClientRequest.get(here.href, { headers: options.headers })
  if (url.username !== "") request = HttpClientRequest.basicAuth(request, decode(url.username), decode(url.password))
  let from: Reach.Reach | undefined
  for (let redirects = 0; redirects <= maxRedirects; redirects++) {
    const hop = here
    const sender = from
    let reached = Destination.shown(hop)
    let server = Destination.hostOf(hop)
    const whyNot = (address: string) =>
      (sender === undefined ? undefined : Destination.whyNotRedirect(sender, hop, address)) ??
      options.whyNot(hop, address)
    const refusal = whyNot(Destination.hostOf(hop))
    if (refusal !== undefined) return yield* new HopRefused({ why: refusal })
    const route: Route = {
      whyNot,
      reached: (address) => {
        reached = Reach.of(address)
        server = address
      }
    }
    const response = yield* client.execute(request).pipe(
      Effect.provideService(FetchHttpClient.RequestInit, { ...init, redirect: "manual" }),
      Effect.provideService(Route, route),
      Effect.provideService(LentChunks, options.lentChunks === true),
      // Tracing headers would leak information to strangers, and a span would contain what a URL must not show, such as
      // the passkey of a tracker.
      Effect.provideService(HttpClient.TracerPropagationEnabled, false),
      Effect.provideService(HttpClient.TracerDisabledWhen, () => true),
      Effect.mapError((error) => forbiddenIn(error) ?? error)
    )
    const { location } = response.headers
    if (response.status < 300 || response.status > 399 || response.status === 304 || location === undefined) {
      options.answered?.(server)
      return response
    }
    const there = URL.parse(location, hop.href)
    if (there === null) return yield* new HopRefused({ why: "it redirects to something that is no URL" })
    if (there.protocol !== "http:" && there.protocol !== "https:") {
      const elsewhere = { url: there.href, from: reached }
      return yield* new HopRefused({ why: `it redirects to a ${there.protocol} URL`, elsewhere })
    }
    from = reached
    here = withoutCredentials(there)
    request = HttpClientRequest.setUrl(request, here.href)
    if (here.origin !== hop.origin) request = HttpClientRequest.removeHeader(request, "authorization")
  }
  return yield* new HopRefused({ why: `it redirects more than ${maxRedirects} times` })
})

const withoutCredentials = (url: URL): URL => {
  const bare = new URL(url)
  bare.username = ""
  bare.password = ""
  return bare
}

/** Text of a percent-encoded part of a URL; unchanged if its encoding is invalid. */
const decode = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The causes of a failed request, from the outermost on. They can form a circle; no real chain is longer than 8. */
export const causesOf = (error: HttpClientError.HttpClientError): ReadonlyArray<object> => {
  const causes: Array<object> = []
  let cause: unknown = "cause" in error.reason ? error.reason.cause : undefined
  while (causes.length < 8 && typeof cause === "object" && cause !== null) {
    causes.push(cause)
    cause = "cause" in cause ? cause.cause : undefined
  }
  return causes
}

const forbiddenIn = (error: HttpClientError.HttpClientError): HopRefused | undefined => {
  const forbidden = causesOf(error).find((cause) => cause instanceof RouteForbidden)
  return forbidden === undefined ? undefined : new HopRefused({ why: forbidden.why })
}
