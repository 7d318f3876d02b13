/**
 * Sessions of browsers: a page sends the password once, and then has a cookie. What the routes for logging in do.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Schema from "effect/Schema"
import type { BrowserSession } from "./BrowserSessions.ts"
import type { Caller } from "./Caller.ts"
import type { TooManyFailures, Unauthenticated } from "./Refused.ts"

/** The name of the cookie of a session. */
export const cookieName = "piecewise_session"

/** The schema of who a client is to the service. */
export const Login = Schema.Struct({
  /** By what the client is known; `Nobody` if it is not. */
  caller: Schema.Literals(["Token", "Password", "Cookie", "Nobody"]),
  /** Whether a password is set, so that a client can log in with it. */
  hasPassword: Schema.Boolean,
  /**
   * What a session sends as `X-CSRF-Token` with every request that is neither GET nor HEAD. Only for `Cookie`.
   */
  csrfToken: Schema.optionalKey(Schema.String)
})
/** Who a client is to the service. */
export type Login = typeof Login.Type

/** What the routes for logging in call. They set and remove the cookie in the answer to the request. */
export class Logins extends Context.Service<
  Logins,
  {
    /**
     * Starts a session if the password is right. It is always a new one, whatever cookie the request had; a session that
     * it had ends. Fails with `Unauthenticated` if the password is wrong or none is set.
     */
    readonly login: (
      password: string
    ) => Effect.Effect<Login, Unauthenticated | TooManyFailures, Caller | HttpServerRequest.HttpServerRequest>
    /** Ends the session of the caller, if it is one. */
    readonly logout: Effect.Effect<void, never, Caller | HttpServerRequest.HttpServerRequest>
    /** Says who the caller is. */
    readonly whoAmI: Effect.Effect<Login, never, Caller>
    /** The session of the header `Cookie` of a request, which is used by that; `undefined` if it has none. */
    readonly find: (cookies: string) => Effect.Effect<BrowserSession | undefined>
  }
>()("piecewise/control/security/Logins") {}
