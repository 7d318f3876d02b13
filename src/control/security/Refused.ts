/**
 * Why a request is refused before it reaches a route. Each refusal is an answer with a status and a JSON body,
 * `{ "_tag": "...", "message": "..." }`, whose message is a sentence for people. A contract of routes may list these
 * classes as errors that any of its routes can have: their status is in `httpApiStatus`.
 *
 * No message repeats what the client sent, except for a host name that consists of harmless characters.
 */
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Schema from "effect/Schema"

const sentence = { message: Schema.String }

/** 400: the path of the URL has several readings, such as `/v1/../health`, `//` or an encoded slash. */
export class PathNotAllowed extends Schema.TaggedError<PathNotAllowed>()("piecewise/PathNotAllowed", sentence, {
  httpApiStatus: 400
}) {}

/** 401: no credentials were sent, or wrong ones. */
export class Unauthenticated extends Schema.TaggedError<Unauthenticated>()("piecewise/Unauthenticated", sentence, {
  httpApiStatus: 401
}) {}

/** 403: whoever sent it may not do this, such as use a link for players that has expired. */
export class Forbidden extends Schema.TaggedError<Forbidden>()("piecewise/Forbidden", sentence, {
  httpApiStatus: 403
}) {}

/** 403: a page of another site sent the request. */
export class CrossSite extends Schema.TaggedError<CrossSite>()("piecewise/CrossSite", sentence, {
  httpApiStatus: 403
}) {}

/** 403: a session of a browser wants to change something, and did not send its token against forged requests. */
export class CsrfTokenMissing extends Schema.TaggedError<CsrfTokenMissing>()("piecewise/CsrfTokenMissing", sentence, {
  httpApiStatus: 403
}) {}

/** 413: the body is longer than the route takes. */
export class TooLarge extends Schema.TaggedError<TooLarge>()(
  "piecewise/TooLarge",
  { ...sentence, maxBytes: Schema.Natural },
  { httpApiStatus: 413 }
) {}

/** 421: the request is for a name that this service does not have (DNS rebinding). */
export class HostNotAllowed extends Schema.TaggedError<HostNotAllowed>()("piecewise/HostNotAllowed", sentence, {
  httpApiStatus: 421
}) {}

/** 429: there were too many wrong passwords, or too many are being checked. The header `Retry-After` has the seconds. */
export class TooManyFailures extends Schema.TaggedError<TooManyFailures>()(
  "piecewise/TooManyFailures",
  { ...sentence, retryAfterSeconds: Schema.Natural },
  { httpApiStatus: 429 }
) {}

/** Every refusal. */
export const Refusal = Schema.Union([
  PathNotAllowed,
  Unauthenticated,
  Forbidden,
  CrossSite,
  CsrfTokenMissing,
  TooLarge,
  HostNotAllowed,
  TooManyFailures
])

/** A refusal. */
export type Refusal = typeof Refusal.Type

const statuses: { readonly [Tag in Refusal["_tag"]]: number } = {
  "piecewise/PathNotAllowed": 400,
  "piecewise/Unauthenticated": 401,
  "piecewise/Forbidden": 403,
  "piecewise/CrossSite": 403,
  "piecewise/CsrfTokenMissing": 403,
  "piecewise/TooLarge": 413,
  "piecewise/HostNotAllowed": 421,
  "piecewise/TooManyFailures": 429
}

const encode = Schema.encodeSync(Refusal)

/** Says in an answer when to try again. */
export const withRetryAfter =
  ({ retryAfterSeconds }: TooManyFailures) =>
  (response: HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse =>
    HttpServerResponse.setHeader(response, "retry-after", String(retryAfterSeconds))

/** The answer to a refused request. What else it needs, such as `WWW-Authenticate`, depends on the path. */
export const toResponse = (refusal: Refusal): HttpServerResponse.HttpServerResponse => {
  const response = HttpServerResponse.jsonUnsafe(encode(refusal), { status: statuses[refusal._tag] })
  return refusal._tag === "piecewise/TooManyFailures" ? withRetryAfter(refusal)(response) : response
}
