/**
 * Logs browsers in and out: `Logins` over the password of `Credentials`, with sessions in memory.
 */
import * as Effect from "effect/Effect"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Monotonic from "../../base/Monotonic.ts"
import { Attempts } from "./Attempts.ts"
import * as BrowserSessions from "./BrowserSessions.ts"
import { Caller, type Identity } from "./Caller.ts"
import type { PasswordState } from "./Credentials.ts"
import * as Credentials from "./Credentials.ts"
import { type Login, Logins } from "./Logins.ts"
import * as Refused from "./Refused.ts"
import * as SessionCookie from "./SessionCookie.ts"

const noPassword = () =>
  new Refused.Unauthenticated({
    message: "No password is set. Set one with piecewise password, or use the token in the state folder of the service."
  })

const loginOf = ({ isSet }: PasswordState, caller: Identity): Login =>
  caller._tag === "Cookie"
    ? { caller: "Cookie", hasPassword: isSet, csrfToken: caller.csrfToken }
    : { caller: caller._tag === "Ticket" ? "Nobody" : caller._tag, hasPassword: isSet }

/** Changes the answer to the request. */
const answering = (change: (response: HttpServerResponse) => HttpServerResponse) =>
  HttpEffect.appendPreResponseHandler((_, response) => Effect.succeed(change(response)))

const make = ({ basePath }: { readonly basePath: string }) =>
  Effect.gen(function* () {
    const credentials = yield* Credentials.Credentials
    const attempts = yield* Attempts
    const sessions = BrowserSessions.make()

    const password = Credentials.passwordOf(credentials)

    const place = Effect.map(HttpServerRequest.HttpServerRequest, ({ protocol }) => ({
      basePath,
      isSecure: protocol === "https"
    }))

    const endOf = (caller: Identity) => {
      if (caller._tag === "Cookie") BrowserSessions.end(sessions, caller.session)
    }

    /** Checks a password, and returns the revision that it is the right one of. */
    const revisionOf = (
      text: string,
      address: string
    ): Effect.Effect<number, Refused.Unauthenticated | Refused.TooManyFailures> =>
      Effect.gen(function* () {
        const { isSet, revision } = yield* password
        if (!isSet) return yield* noPassword()
        yield* attempts.password(text, address)
        // It may have changed meanwhile.
        return (yield* password).revision === revision ? revision : yield* revisionOf(text, address)
      })

    return Logins.of({
      login: (text) =>
        Effect.gen(function* () {
          const caller = yield* Caller
          const revision = yield* revisionOf(text, caller.address)
          endOf(caller)
          const { csrfToken, secret } = BrowserSessions.start(sessions, revision, yield* Monotonic.now)
          yield* answering(SessionCookie.set(secret, yield* place, BrowserSessions.lifetime))
          return { caller: "Cookie" as const, hasPassword: true, csrfToken }
        }).pipe(Effect.tapErrorTag("piecewise/TooManyFailures", (error) => answering(Refused.withRetryAfter(error)))),
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
export const layer = (options: {
  readonly basePath: string
}): Layer.Layer<Logins, never, Credentials.Credentials | Attempts> => Layer.effect(Logins, make(options))
