import { assert, describe } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as MemorySessionStore from "../../../src/session/provider/memory/MemorySessionStore.ts"
import { StoreFull } from "../../../src/session/SessionStore.ts"
import { small } from "../../simulation/torrents.ts"
import { test } from "./serving.ts"

describe("labels", () => {
  test("have a folder and a goal for torrents that are added from then on", ({ add, client }) =>
    Effect.gen(function* () {
      const goal = { ratio: 2, time: Duration.hours(24) }
      const set = yield* client.labels.set({ params: { name: "a b" }, payload: { folder: "films", goal } })
      assert.deepStrictEqual(set, { name: "a b", folder: "films", goal })
      assert.deepStrictEqual(yield* client.labels.list({}), [set])
      yield* add(small, { labels: ["a b"], isPaused: true })
      const [torrent] = (yield* client.torrents.list({ query: {} })).torrents
      assert.strictEqual(torrent?.options.folder, "films")
      yield* client.labels.set({ params: { name: "a b" }, payload: {} })
      assert.deepStrictEqual(
        (yield* client.labels.list({})).map(({ folder, goal }) => [folder, goal]),
        [[undefined, undefined]]
      )
      yield* client.labels.remove({ params: { name: "a b" } })
      assert.deepStrictEqual(yield* client.labels.list({}), [])
      yield* client.labels.remove({ params: { name: "a b" } })
    }))

  test("have any name that can be shown, of up to 128 characters", ({ client, send }) =>
    Effect.gen(function* () {
      const names = ["__proto__", "constructor", "ф".repeat(128), "100%", "a?b#c&d", '"<b>', "🎬".repeat(64), "..."]
      for (const name of names) yield* client.labels.set({ params: { name }, payload: {} })
      assert.sameMembers(
        (yield* client.labels.list({})).map(({ name }) => name),
        names
      )
      for (const name of ["a%0Ab", "%1B", "x".repeat(129), "%E2%80%A8", "%C2%80"]) {
        const { json, status } = yield* send(`/v1/labels/${name}`, { method: "PUT", body: {} })
        assert.deepStrictEqual([status, json._tag], [400, "piecewise/RequestRefused"], name)
      }
      for (const folder of ["..", "a/../../b", "a\\..\\b", "", "a\0b", "x".repeat(4_097)]) {
        const { json, status } = yield* send("/v1/labels/a", { method: "PUT", body: { folder } })
        assert.deepStrictEqual([status, json._tag], [400, "piecewise/RequestRefused"], folder)
      }
      for (const goal of [{ ratio: 0 }, { ratio: "2" }, { seconds: -1 }, { seconds: 1e12 }, 5]) {
        assert.strictEqual((yield* send("/v1/labels/a", { method: "PUT", body: { goal } })).status, 400)
      }
      assert.strictEqual((yield* client.labels.list({})).length, names.length)
    }))
})

describe("the goals of trackers", () => {
  test("are those of a host, in any case", ({ client, send }) =>
    Effect.gen(function* () {
      const goal = { ratio: 3, time: undefined }
      const set = yield* client.labels.setGoal({ params: { host: "Tracker.Example" }, payload: { ratio: 3 } })
      assert.deepStrictEqual(set, { host: "tracker.example", goal })
      const address = yield* client.labels.setGoal({ params: { host: "[2001:DB8::1]" }, payload: { ratio: 3 } })
      assert.deepStrictEqual(yield* client.labels.listGoals({}), [set, address])
      assert.strictEqual(address.host, "2001:db8::1")
      yield* client.labels.removeGoal({ params: { host: "TRACKER.example" } })
      yield* client.labels.removeGoal({ params: { host: "[2001:db8:0::1]" } })
      assert.deepStrictEqual(yield* client.labels.listGoals({}), [])
      for (const host of ["a.example:80", "a%20b", "x".repeat(254), "a@b"]) {
        const { json, status } = yield* send(`/v1/tracker-goals/${host}`, { method: "PUT", body: { ratio: 1 } })
        assert.deepStrictEqual([status, json._tag], [400, "piecewise/RequestRefused"], host)
      }
    }))
})

test("what cannot be saved is not changed", ({ client, send }) =>
  Effect.gen(function* () {
    yield* client.labels.set({ params: { name: "a" }, payload: { folder: "x" } })
    yield* client.labels.setGoal({ params: { host: "a.example" }, payload: { ratio: 1 } })
    const { fail } = yield* MemorySessionStore.MemorySessionStore
    fail(new StoreFull({ path: "session.db" }))
    for (const [method, path, body] of [
      ["PUT", "/v1/labels/a", {}],
      ["DELETE", "/v1/labels/a"],
      ["PUT", "/v1/tracker-goals/a.example", { ratio: 2 }],
      ["DELETE", "/v1/tracker-goals/a.example"],
      ["PUT", "/v1/limits", { downloads: 1 }]
    ] as const) {
      const { json, status } = yield* send(path, { method, body })
      assert.deepStrictEqual([status, json._tag], [503, "piecewise/StoreFailed"], `${method} ${path}`)
    }
    assert.deepStrictEqual((yield* client.labels.list({}))[0]?.folder, "x")
    assert.deepStrictEqual((yield* client.labels.listGoals({}))[0]?.goal.ratio, 1)
    assert.deepStrictEqual((yield* client.service.limits({})).downloads, undefined)
  }))
