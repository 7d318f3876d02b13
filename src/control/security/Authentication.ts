/**
 * Who sent a request: by the header `Authorization`, by the cookie of a session, or by a ticket in the path. The first
 * of them that a request has decides, so a wrong token is not made up for by a cookie.
 */
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import { Attempts } from "./Attempts.ts"
import * as AuthorizationHeader from "./AuthorizationHeader.ts"
import * as BrowserSessions from "./BrowserSessions.ts"
import type { Identity } from "./Caller.ts"
import { Credentials } from "./Credentials.ts"
import { Logins } from "./Logins.ts"
import { CsrfTokenMissing, Forbidden, type Refusal, Unauthenticated } from "./Refused.ts"
import type * as RequestPath from "./RequestPath.ts"
import * as Secret from "./Secret.ts"
import { Tickets } from "./Tickets.ts"

/** The header in which a session sends its token against forged requests. */
const csrfHeader = "x-csrf-token"

/** A request, as far as it matters here. */
export interface Asked {
  readonly request: Pick<HttpServerRequest, "headers" | "method">
  readonly need: RequestPath.Need
  /** The address of the client. */
  readonly address: string
  /** Whether our own page sent it, or no page: cookies count. */
  readonly isOwn: boolean
}

const missing = () =>
  new Unauthenticated({
    message: "Send the token of the service, which is in its state folder, as Authorization: Bearer TOKEN, or log in."
  })

const malformed = () =>
  new Unauthenticated({ message: "The header Authorization must be Bearer TOKEN, or Basic with the password." })

const ended = () => new Forbidden({ message: "This link to a torrent has expired. Make a new one." })

const forged = () =>
  new CsrfTokenMissing({
    message: "A session of a browser must send the header X-CSRF-Token, whose value GET /v1/login returns."
  })

const isRead = (method: string): boolean => method === "GET" || method === "HEAD"

/** Makes what finds out who sent a request. It fails with the reason for which the request is refused. */
export const make: Effect.Effect<
  (asked: Asked) => Effect.Effect<Identity, Refusal>,
  never,
  Attempts | Credentials | Logins | Tickets
> = Effect.gen(function* () {
  const attempts = yield* Attempts
  const credentials = yield* Credentials
  const logins = yield* Logins
  const tickets = yield* Tickets

  const byHeader = Effect.fnUntraced(function* (text: string, address: string) {
    const sent = AuthorizationHeader.parse(text)
    if (sent === undefined) return yield* malformed()
    if (sent._tag === "Bearer") {
      yield* attempts.token(sent.token, address)
      return { _tag: "Token", address } as const
    }
    if (credentials.isToken(sent.password)) return { _tag: "Token", address } as const
    yield* attempts.password(sent.password, address)
    return { _tag: "Password", address } as const
  })

  const byCookie = Effect.fnUntraced(function* ({ address, need, request: { headers, method } }: Asked) {
    const { [csrfHeader]: sentToken = "", cookie = "" } = headers
    const session = yield* logins.find(cookie)
    if (session === undefined) return undefined
    // Logging in needs the password, which no other site knows.
    const isFree = isRead(method) || need._tag === "Anybody"
    if (!isFree && !Secret.equals(sentToken, session.csrfToken)) return yield* forged()
    const { csrfToken } = session
    return { _tag: "Cookie", address, session: BrowserSessions.keyOf(session), csrfToken } as const
  })

  return Effect.fnUntraced(function* (asked: Asked) {
    const { address, isOwn, need, request } = asked
    const nobody = { _tag: "Nobody", address } as const
    if (need._tag === "Nothing") return nobody
    if (need._tag === "Ticket") {
      const infoHash = yield* tickets.find(need.ticket)
      return infoHash === undefined ? yield* ended() : ({ _tag: "Ticket", address, infoHash } as const)
    }
    const { authorization } = request.headers
    if (authorization !== undefined) return yield* byHeader(authorization, address)
    const cookie = isOwn ? yield* byCookie(asked) : undefined
    if (cookie !== undefined) return cookie
    return need._tag === "Anybody" ? nobody : yield* missing()
  })
})
