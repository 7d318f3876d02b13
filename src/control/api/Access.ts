/**
 * What every request needs, and how it is refused without it.
 *
 * `security/Security.ts` refuses before a route is looked up. This says so in the API, for its OpenAPI document and for
 * its client, which sends the credentials.
 */
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpApiSecurity from "effect/http-api/HttpApiSecurity"
import type { Caller } from "../security/Caller.ts"
import * as Logins from "../security/Logins.ts"
import * as Refused from "../security/Refused.ts"
import { RequestRefused, TypeNotSupported } from "./ApiErrors.ts"

/** Refusals that any request may get. */
const refusals = [
  Refused.PathNotAllowed,
  Refused.HostNotAllowed,
  Refused.CrossSite,
  Refused.TooLarge,
  Refused.TooManyFailures
] as const

/** The request has the form that the API describes. */
export class Form extends HttpApiMiddleware.Service<Form>()("piecewise/control/Form", {
  error: [RequestRefused, TypeNotSupported, ...refusals]
}) {}

/** The request has credentials: the token, or the session of a browser. */
export class Access extends HttpApiMiddleware.Service<Access>()("piecewise/control/Access", {
  security: {
    token: HttpApiSecurity.bearer,
    session: HttpApiSecurity.apiKey({ key: Logins.cookieName, in: "cookie" })
  },
  requiredForClient: true,
  error: [Refused.Unauthenticated, Refused.Forbidden, Refused.CsrfTokenMissing]
}) {}

/** A request that needs no credentials. Its handlers learn who sent it. */
export class Anybody extends HttpApiMiddleware.Service<Anybody, { provides: Caller }>()("piecewise/control/Anybody", {
  // Those that a request does have must be right, and logging out needs some.
  error: [Refused.Unauthenticated, Refused.CsrfTokenMissing]
}) {}
