/**
 * The cookie of a session (RFC 6265): no script can read it, and no request that another site starts carries it.
 *
 * The prefix `__Host-` would need https, which a service on this machine does not have. Cookies know no ports, so
 * another program on the same host can set cookies of this name and is sent ours: whoever shares a host name with
 * strangers should use a name of its own for the service.
 */
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Logins from "./Logins.ts"
import * as Secret from "./Secret.ts"

/** Cookies of that name that are looked at. Other paths and programs on the same host may have set some. */
const maxValues = 8

/** The values of the cookie in the header `Cookie` that could be sessions, in their order. */
export const parse = (header: string): ReadonlyArray<string> => {
  const values: Array<string> = []
  for (const pair of header.split(";")) {
    const equals = pair.indexOf("=")
    if (equals < 0 || pair.slice(0, equals).trim() !== Logins.cookieName) continue
    const value = pair.slice(equals + 1).trim()
    if (Secret.isSecret(value) && values.length < maxValues) values.push(value)
  }
  return values
}

/** Where the cookie is valid. */
export interface Place {
  /** The base path of the service; `""` if it has none. */
  readonly basePath: string
  /** Whether the client used https, so that the cookie may not be sent without it. */
  readonly isSecure: boolean
}

const attributes = ({ basePath, isSecure }: Place) =>
  ({ httpOnly: true, sameSite: "strict", path: basePath === "" ? "/" : basePath, secure: isSecure }) as const

/** Sets the cookie in an answer, for `maxAge` (milliseconds). */
export const set = (value: string, place: Place, maxAge: number) => (response: HttpServerResponse.HttpServerResponse) =>
  HttpServerResponse.setCookieUnsafe(response, Logins.cookieName, value, { ...attributes(place), maxAge })

/** Removes the cookie in an answer. */
export const clear = (place: Place) => (response: HttpServerResponse.HttpServerResponse) =>
  HttpServerResponse.setCookieUnsafe(response, Logins.cookieName, "", { ...attributes(place), maxAge: 0 })
