import { assert, describe, it } from "@effect/vitest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as fc from "fast-check"
import * as Logins from "../../../src/control/security/Logins.ts"
import * as Secret from "../../../src/control/security/Secret.ts"
import * as SessionCookie from "../../../src/control/security/SessionCookie.ts"

const secret = fc.stringMatching(/^[A-Za-z0-9_-]{43}$/)

/** Other cookies, and what is no cookie at all. */
const other = fc.oneof(
  fc.string(),
  fc.tuple(fc.stringMatching(/^[a-z]{1,5}$/), fc.string()).map(([name, value]) => `${name}=${value}`),
  fc.string().map((value) => `xpiecewise_session=${value}`),
  fc.string().map((value) => `piecewise_session=${value}`)
)

const isOurs = (text: string) => /^\s*piecewise_session\s*=\s*[A-Za-z0-9_-]{43}\s*$/.test(text)

describe("SessionCookie", () => {
  it("is found among whatever else a browser sends", () => {
    const others = fc.array(other.filter((text) => !text.includes(";") && !isOurs(text)))
    fc.assert(
      fc.property(others, others, fc.array(secret, { maxLength: 4 }), (before, after, secrets) => {
        const cookies = secrets.map((value) => `piecewise_session=${value}`)
        assert.deepEqual(SessionCookie.parse([...before, ...cookies, ...after].join("; ")), secrets)
      })
    )
  })

  it("is nothing that could not be a session, for any header", () => {
    fc.assert(
      fc.property(fc.string(), (header) => {
        for (const value of SessionCookie.parse(header)) assert.isTrue(Secret.isSecret(value))
      })
    )
  })

  it("is looked for eight times at most", () => {
    const header = Array.from({ length: 20 }, () => `piecewise_session=${"a".repeat(43)}`).join(";")
    assert.equal(SessionCookie.parse(header).length, 8)
  })

  it("is removed with the attributes that it was set with", () => {
    const place = { basePath: "/torrents", isSecure: true }
    const response = HttpServerResponse.empty()
    const attributes = (changed: HttpServerResponse.HttpServerResponse) => {
      const { maxAge: _, ...rest } = changed.cookies.cookies[Logins.cookieName]!.options!
      return rest
    }
    const expected = { httpOnly: true, sameSite: "strict", path: "/torrents", secure: true }
    assert.deepEqual<unknown>(attributes(SessionCookie.set("a", place, 1_000)(response)), expected)
    assert.deepEqual<unknown>(attributes(SessionCookie.clear(place)(response)), expected)
  })
})
