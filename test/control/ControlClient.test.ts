import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Redacted from "effect/Redacted"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as ControlClient from "../../src/control/ControlClient.ts"
import { test } from "./server/serving.ts"

/** The URL and the credentials of a request of a client. */
const requested = (options: ControlClient.Options) =>
  Effect.gen(function* () {
    const seen: Array<string> = []
    const http = HttpClient.make((request) =>
      Effect.sync(() => {
        const { authorization = "" } = request.headers
        seen.push(request.url, authorization)
        return HttpClientResponse.fromWeb(request, Response.json({ path: "x" }))
      })
    )
    const infoHash = InfoHash.fromHex("ab".repeat(20))!
    yield* ControlClient.ControlClient.use((client) => client.torrents.link({ params: { infoHash } })).pipe(
      Effect.provide(ControlClient.layer(options)),
      Effect.provideService(HttpClient.HttpClient, http)
    )
    return seen
  })

describe("ControlClient", () => {
  it.effect.each<[string | URL, string]>([
    ["http://127.0.0.1:6880", "http://127.0.0.1:6880"],
    ["http://127.0.0.1:6880/", "http://127.0.0.1:6880"],
    ["https://a.example/torrents", "https://a.example/torrents"],
    ["https://a.example/torrents/", "https://a.example/torrents"],
    [new URL("https://a.example/a/b/"), "https://a.example/a/b"]
  ])("asks the service at %s, with its token", ([url, base]) =>
    Effect.gen(function* () {
      const path = `/v1/torrents/${"ab".repeat(20)}/link`
      assert.deepStrictEqual(yield* requested({ url, token: "secret" }), [`${base}${path}`, "Bearer secret"])
    })
  )

  it.effect("takes a token that is not to be logged", () =>
    Effect.gen(function* () {
      const [, authorization] = yield* requested({ url: "http://a.example", token: Redacted.make("secret") })
      assert.strictEqual(authorization, "Bearer secret")
    })
  )

  test(
    "reaches a service below a base path",
    ({ client, send }) =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* client.labels.list({}), [])
        assert.strictEqual((yield* send("/a/b/v1/labels")).status, 200)
        assert.strictEqual((yield* send("/v1/labels")).status, 404)
      }),
    { basePath: "/a/b" }
  )
})
