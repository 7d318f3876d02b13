/**
 * Sessions of browsers: a page sends the password once, and then has a cookie. What the routes for logging in do.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Monotonic from "../../base/Monotonic.ts"
import { Attempts } from "./Attempts.ts"
import * as BrowserSessions from "./BrowserSessions.ts"
import { Caller, type Identity } from "./Caller.ts"
import { Credentials, type PasswordState } from "./Credentials.ts"
import { type TooManyFailures, Unauthenticated } from "./Refused.ts"
import * as SessionCookie from "./SessionCookie.ts"

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
    readonly find: (cookies: string) => Effect.Effect<BrowserSessions.BrowserSession | undefined>
  }
>()("piecewise/control/security/Logins") {}

const noPassword = () =>
  new Unauthenticated({ message: "No password is set. Set one, or use the token in the state folder of the service." })

const loginOf = ({ isSet }: PasswordState, caller: Identity): Login =>
  caller._tag === "Cookie"
    ? { caller: "Cookie", hasPassword: isSet, csrfToken: caller.csrfToken }
    : { caller: caller._tag === "Ticket" ? "Nobody" : caller._tag, hasPassword: isSet }

/** Changes the answer to the request. */
const answering = (change: (response: HttpServerResponse) => HttpServerResponse) =>
  HttpEffect.appendPreResponseHandler((_, response) => Effect.succeed(change(response)))

const make = ({ basePath }: { readonly basePath: string }) =>
  Effect.gen(function* () {
    const credentials = yield* Credentials
    const attempts = yield* Attempts
    const sessions = BrowserSessions.make()

    // Whatever cannot be read starts no session, and ends those that there are.
    const password = Effect.catch(credentials.password, ({ message }) =>
      Effect.as(Effect.logError(`The sessions of browsers have ended: ${message}.`), { isSet: false, revision: -1 })
    )

    const place = Effect.map(HttpServerRequest.HttpServerRequest, ({ protocol }) => ({
      basePath,
      isSecure: protocol === "https"
    }))

    const endOf = (caller: Identity) => {
      if (caller._tag === "Cookie") BrowserSessions.end(sessions, caller.session)
    }

    return Logins.of({
      login: Effect.fnUntraced(function* (text) {
        const caller = yield* Caller
        if (!(yield* password).isSet) return yield* noPassword()
        yield* attempts.password(text, caller.address)
        const state = yield* password
        endOf(caller)
        const { csrfToken, secret } = BrowserSessions.start(sessions, state.revision, yield* Monotonic.now)
        yield* answering(SessionCookie.set(secret, yield* place, BrowserSessions.lifetime))
        return { caller: "Cookie" as const, hasPassword: state.isSet, csrfToken }
      }),
      logout: Effect.gen(function* () {
        endOf(yield* Caller)
        yield* answering(SessionCookie.clear(yield* place))
      }),
      whoAmI: Effect.gen(function* () {
        return loginOf(yield* password, yield* Caller)
      }),
      find: Effect.fnUntraced(function* (cookies) {
        const secrets = SessionCookie.parse(cookies)
        if (secrets.length === 0) return undefined
        const { revision } = yield* password
        const now = yield* Monotonic.now
        for (const secret of secrets) {
          const session = BrowserSessions.find(sessions, secret, revision, now)
          if (session !== undefined) return session
        }
        return undefined
      })
    })
  })

/** Keeps sessions in memory, for a service below a base path (`RequestPath.parseBase`). */
export const layer = (options: { readonly basePath: string }): Layer.Layer<Logins, never, Credentials | Attempts> =>
  Layer.effect(Logins, make(options))
