import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Refused from "../../../src/control/security/Refused.ts"

const message = "A sentence."

describe("Refused", () => {
  it.effect("is JSON with a tag and a sentence", () =>
    Effect.gen(function* () {
      const expected = [
        [new Refused.PathNotAllowed({ message }), 400],
        [new Refused.Unauthenticated({ message }), 401],
        [new Refused.Forbidden({ message }), 403],
        [new Refused.CrossSite({ message }), 403],
        [new Refused.CsrfTokenMissing({ message }), 403],
        [new Refused.TooLarge({ message, maxBytes: 9 }), 413],
        [new Refused.HostNotAllowed({ message }), 421],
        [new Refused.TooManyFailures({ message, retryAfterSeconds: 60 }), 429]
      ] as const
      for (const [refusal, status] of expected) {
        const response = HttpServerResponse.toWeb(Refused.toResponse(refusal))
        assert.equal(response.status, status)
        assert.equal(response.headers.get("content-type"), "application/json")
        const body = yield* Effect.promise(() => response.json())
        assert.deepInclude(body, { _tag: refusal._tag, message })
        assert.notProperty(body, "stack")
      }
    })
  )

  it("says when to try again", () => {
    const { headers } = Refused.toResponse(new Refused.TooManyFailures({ message, retryAfterSeconds: 60 }))
    assert.equal(headers["retry-after"], "60")
  })
})
