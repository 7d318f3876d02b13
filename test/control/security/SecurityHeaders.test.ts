import { assert, describe, it } from "@effect/vitest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as SecurityHeaders from "../../../src/control/security/SecurityHeaders.ts"

const headersOf = (headers: Record<string, string>): Readonly<Record<string, string | undefined>> => ({
  ...SecurityHeaders.add(HttpServerResponse.empty({ headers })).headers
})

describe("SecurityHeaders", () => {
  it("are added to what a route has set", () => {
    const headers = headersOf({ "x-a": "b" })
    assert.equal(headers["x-a"], "b")
    assert.include(headers["content-security-policy"]!, "default-src 'none'")
    assert.equal(headers["cache-control"], "no-store")
  })

  it("replace nothing", () => {
    const own = {
      "content-security-policy": "default-src 'self'",
      "cache-control": "max-age=9",
      "referrer-policy": "origin"
    }
    const headers = headersOf(own)
    for (const [name, value] of Object.entries(own)) assert.equal(headers[name], value)
    assert.equal(headers["x-content-type-options"], "nosniff")
  })

  it("do not keep players from caching what never changes", () => {
    assert.isUndefined(headersOf({ etag: '"a"' })["cache-control"])
  })
})
