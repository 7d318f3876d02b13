import { assert, describe } from "@effect/vitest"
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import * as Version from "../../../src/base/Version.ts"
import * as TestEngine from "../../../src/testing/TestEngine.ts"
import { other, small } from "../../simulation/torrents.ts"
import { password } from "../security/serving.ts"
import { test, token, until } from "./serving.ts"

const params = { infoHash: small.metainfo.infoHash }
const hex = InfoHash.toHex(params.infoHash)

describe("the service", () => {
  test("says what it does", ({ add, client }) =>
    Effect.gen(function* () {
      yield* TestEngine.TestEngine.use(({ join }) => join(small, { bytesPerSecond: 200_000 }))
      yield* until(yield* add(small), "Active Downloading")
      yield* add(other, { isPaused: true })
      yield* Effect.sleep("3 seconds")
      const { downloadBytesPerSecond, torrents, ...status } = yield* client.service.status({})
      assert.deepStrictEqual(status, {
        version: Version.version,
        startedAtMillis: 1_700_000_000_000,
        directory: "/downloads",
        uploadBytesPerSecond: 0,
        connectedPeers: 1,
        port: 6_881,
        freeBytes: 5_000
      })
      assert.isAbove(downloadBytesPerSecond, 0)
      assert.deepStrictEqual(torrents, {
        downloading: 1,
        seeding: 0,
        checking: 0,
        queued: 0,
        paused: 1,
        finished: 0,
        failed: 0
      })
    }))

  test("replaces its limits", ({ client, send }) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        Object.values(yield* client.service.limits({})).filter((one) => one !== undefined),
        []
      )
      const payload = { downloads: 3, uploadBytesPerSecond: ByteSize.mebibytes(1) }
      const set = yield* client.service.setLimits({ payload })
      assert.deepInclude(set, { downloads: 3, uploadBytesPerSecond: 1_048_576 })
      assert.deepStrictEqual(yield* client.service.limits({}), set)
      const lifted = yield* send("/v1/limits", { method: "PUT", body: { seeds: 0 } })
      assert.deepInclude(lifted.json, { seeds: 0, downloadBytesPerSecond: null, uploadBytesPerSecond: null })
      for (const body of [{ downloads: -1 }, { seeds: 1.5 }, { uploadBytesPerSecond: 0 }, { downloads: "3" }, [], 1]) {
        assert.strictEqual((yield* send("/v1/limits", { method: "PUT", body })).status, 400, JSON.stringify(body))
      }
      assert.strictEqual((yield* client.service.limits({})).seeds, 0)
    }))
})

describe("the log of actions", () => {
  test("has who did what, and how it failed", ({ add, client, send }) =>
    Effect.gen(function* () {
      yield* client.torrents.add({ payload: { source: { _tag: "Metainfo", bytes: small.bytes }, isPaused: true } })
      yield* Effect.flip(client.torrents.add({ payload: { source: { _tag: "Metainfo", bytes: small.bytes } } }))
      yield* add(other)
      yield* Effect.sleep("1 second")
      yield* send(`/v1/torrents/${hex}`, { method: "PATCH", body: { labels: "x" } })
      yield* send(`/v1/torrents/${hex}/files/9/path`, { method: "POST", body: { path: ["x"] } })
      yield* client.labels.set({ params: { name: "a" }, payload: {} })
      yield* client.torrents.list({ query: {} })
      yield* client.torrents.remove({ params, query: {} })
      yield* Effect.flip(client.torrents.remove({ params, query: {} }))
      const actions = yield* client.service.actions({ query: {} })
      assert.deepStrictEqual(
        actions.map(({ caller, failure, id, infoHash, operation }) => [
          id,
          caller,
          operation,
          infoHash && InfoHash.toHex(infoHash),
          failure
        ]),
        [
          [7, "Token", "torrents.remove", hex, "piecewise/TorrentNotFound"],
          [6, "Token", "torrents.remove", hex, undefined],
          [5, "Token", "labels.set", undefined, undefined],
          [4, "Token", "torrents.renameFile", hex, "piecewise/FileNotFound"],
          [3, "Token", "torrents.update", hex, "piecewise/RequestRefused"],
          [2, "Token", "torrents.add", hex, "piecewise/TorrentExists"],
          [1, "Token", "torrents.add", hex, undefined]
        ]
      )
      assert.deepStrictEqual([actions[0]?.atMillis, actions.at(-1)?.atMillis], [1_000, 0])
      assert.strictEqual((yield* client.service.actions({ query: { limit: 2 } })).length, 2)
      for (const limit of ["0", "1001", "x"])
        assert.strictEqual((yield* send(`/v1/actions?limit=${limit}`)).status, 400)
    }))

  test("has logins, but no guesses, and no secrets", ({ client, send }) =>
    Effect.gen(function* () {
      const nobody = { authorization: undefined }
      const login = (password: string) => send("/v1/login", { method: "POST", headers: nobody, body: { password } })
      assert.strictEqual((yield* login("wrong")).status, 401)
      const { headers, json } = yield* login(password)
      const cookie = headers.get("set-cookie")!.split(";", 1)[0]!
      const session = { ...nobody, cookie, "x-csrf-token": json.csrfToken }
      assert.strictEqual((yield* send("/v1/labels/a", { method: "PUT", body: {}, headers: session })).status, 200)
      assert.strictEqual((yield* send("/v1/labels/b", { method: "PUT", body: {}, headers: nobody })).status, 401)
      assert.strictEqual((yield* send("/v1/login", { method: "DELETE", headers: session })).status, 204)
      const text = (yield* send("/v1/actions")).text
      const actions = yield* client.service.actions({ query: {} })
      assert.deepStrictEqual(
        actions.map(({ caller, operation }) => `${caller} ${operation}`),
        ["Cookie login.logout", "Cookie labels.set", "Password login.login"]
      )
      for (const secret of [token, password, "wrong", cookie, cookie.split("=")[1]!, json.csrfToken]) {
        assert.notInclude(text, secret)
      }
    }))

  test("keeps the last thousand", ({ client, send }) =>
    Effect.gen(function* () {
      for (let count = 0; count < 2_005; count++) yield* send("/v1/limits", { method: "PUT", body: 1 })
      const actions = yield* client.service.actions({ query: { limit: 1_000 } })
      assert.deepStrictEqual([actions.length, actions[0]?.id, actions.at(-1)?.id], [1_000, 2_005, 1_006])
    }))

  test(
    "has defects too",
    ({ client, send }) =>
      Effect.gen(function* () {
        const answer = yield* send("/v1/limits", { method: "PUT", body: {} })
        assert.deepStrictEqual([answer.status, answer.json._tag], [500, "piecewise/ServiceFailed"])
        assert.strictEqual((yield* client.service.actions({ query: {} }))[0]?.failure, "Defect")
      }),
    { session: (session) => ({ ...session, setLimits: () => Effect.die(new Error("a secret of the machine")) }) }
  )
})

describe("the health of the service", () => {
  test("needs no credentials, and says nothing else", ({ send }) =>
    Effect.gen(function* () {
      for (const path of ["/health", "/ready"]) {
        const { json, status } = yield* send(path, { headers: { authorization: undefined } })
        assert.deepStrictEqual([status, json], [200, { status: "ok" }])
      }
    }))

  let lists = 0
  test(
    "asks the session once a second, however often anybody asks",
    ({ send }) =>
      Effect.gen(function* () {
        for (let count = 0; count < 100; count++) assert.strictEqual((yield* send("/ready")).status, 200)
        assert.strictEqual(lists, 1)
        yield* Effect.sleep("1 second")
        yield* send("/ready")
        assert.strictEqual(lists, 2)
      }),
    { session: (session) => ({ ...session, list: Effect.tap(session.list, () => Effect.sync(() => lists++)) }) }
  )

  test(
    "is bad while the session does not answer",
    ({ send }) =>
      Effect.gen(function* () {
        const { json, status } = yield* send("/ready")
        assert.deepStrictEqual([status, json._tag], [503, "piecewise/NotReady"])
        assert.strictEqual((yield* send("/health")).status, 200)
      }),
    { session: (session) => ({ ...session, list: Effect.never }) }
  )
})
