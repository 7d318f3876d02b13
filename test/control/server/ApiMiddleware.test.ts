import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import { small } from "../../simulation/torrents.ts"
import { type Sent, test } from "./serving.ts"

const hex = InfoHash.toHex(small.metainfo.infoHash)

describe("a request of another form", () => {
  test("is refused with the part of it that is wrong, in one line", ({ send }) =>
    Effect.gen(function* () {
      const json = { "content-type": "application/json" }
      const cases: ReadonlyArray<readonly [path: string, sent: Sent, message: RegExp]> = [
        [
          "/v1/limits",
          { method: "PUT", body: "{", headers: json },
          /^the body cannot be used: Expected a valid JSON body$/
        ],
        ["/v1/limits", { method: "PUT" }, /^the body cannot be used: /],
        ["/v1/limits", { method: "PUT", body: "null", headers: json }, /^the body cannot be used: /],
        ["/v1/limits", { method: "PUT", body: { downloads: -1 } }, /^the body cannot be used: .* at \["downloads"\]$/],
        ["/v1/torrents?limit=0", {}, /^the query cannot be used: Expected a value between 1 and 1000 at \["limit"\]$/],
        ["/v1/torrents?limit=1&limit=2", {}, /^the query cannot be used: /],
        [`/v1/torrents/${hex}0`, {}, /^the path cannot be used: Expected 40 hexadecimal digits at \["infoHash"\]$/],
        ["/v1/events", { headers: { "last-event-id": "x".repeat(65) } }, /^the headers cannot be used: /]
      ]
      for (const [path, sent, message] of cases) {
        const answer = yield* send(path, sent)
        assert.deepStrictEqual([answer.status, answer.json._tag], [400, "piecewise/RequestRefused"], path)
        assert.match(answer.json.message, message)
        assert.notMatch(answer.json.message, /\n/)
      }
    }))

  test("does not get back what it had, which may be a secret", ({ send }) =>
    Effect.gen(function* () {
      const { text } = yield* send("/v1/login", { method: "POST", body: { password: 987_654_321, other: "a-secret" } })
      assert.notMatch(text, /987654321|a-secret/)
    }))

  test("is refused by its content type", ({ send }) =>
    Effect.gen(function* () {
      for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]) {
        const sent = { method: "PUT", body: "{}", headers: { "content-type": type } }
        const { json, status } = yield* send("/v1/limits", sent)
        assert.deepStrictEqual([status, json._tag], [415, "piecewise/TypeNotSupported"], type)
      }
      const file = { method: "POST", body: small.bytes, headers: { "content-type": "application/json" } }
      assert.strictEqual((yield* send("/v1/torrents/file", file)).status, 415)
    }))
})

describe("a request that no operation takes", () => {
  test("says which methods its path takes", ({ send }) =>
    Effect.gen(function* () {
      for (const [method, path, allow] of [
        ["POST", "/v1/limits", "HEAD, GET, PUT"],
        ["PUT", "/v1/torrents", "HEAD, GET, POST"],
        ["DELETE", "/v1/torrents/", "HEAD, GET, POST"],
        ["GET", `/v1/torrents/${hex}/pause`, "POST"],
        ["HEAD", `/v1/torrents/${hex}/pause`, "POST"],
        ["POST", `/v1/torrents/${hex}`, "HEAD, GET, PATCH, DELETE"],
        ["DELETE", "/health", "HEAD, GET"]
      ] as const) {
        const { headers, json, status } = yield* send(path, { method })
        assert.deepStrictEqual([status, headers.get("allow")], [405, allow], path)
        if (method !== "HEAD") assert.strictEqual(json._tag, "piecewise/MethodNotAllowed")
      }
    }))

  test("is answered in JSON too, and does not repeat the path", ({ send }) =>
    Effect.gen(function* () {
      for (const path of ["/", "/v1", "/v2/torrents", "/v1/nothing", "/v1/torrents/x/y/z", "/robots.txt"]) {
        const { json, status } = yield* send(path)
        assert.deepStrictEqual([status, json._tag], [404, "piecewise/RouteNotFound"], path)
        assert.notInclude(json.message, "/")
      }
    }))

  test("needs credentials first", ({ send }) =>
    Effect.gen(function* () {
      assert.strictEqual((yield* send("/v1/nothing", { headers: { authorization: undefined } })).status, 401)
    }))
})

test("HEAD has the head of GET", ({ add, send }) =>
  Effect.gen(function* () {
    yield* add(small)
    for (const path of ["/v1/torrents", `/v1/torrents/${hex}`, "/v1/limits", "/health", "/v1/openapi.json"]) {
      const { headers, status, text } = yield* send(path, { method: "HEAD" })
      assert.deepStrictEqual([status, headers.get("content-type"), text], [200, "application/json", ""], path)
    }
    assert.strictEqual((yield* send("/v1/torrents/x", { method: "HEAD" })).status, 400)
  }))
