/**
 * Guesses at the password and the token, over HTTP. The time is the test's.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import type * as Security from "../../../src/control/security/Security.ts"
import * as Service from "./serving.ts"

const test = (
  name: string,
  program: (served: Service.Served) => Effect.Effect<void, unknown, Scope.Scope>,
  options: Security.Options = {}
) => it.effect(name, () => Effect.flatMap(Service.serve(options), program))

/** A guess from an address behind a trusted proxy. */
const guess = ({ send }: Service.Served, password: string, address = "198.51.100.1") =>
  send({ path: "/v1/x", headers: { ...Service.basic(password), "x-forwarded-for": address } })

/** Logs in with a password from an address. */
const login = ({ send }: Service.Served, password: string, address = "198.51.100.1") =>
  send({
    path: "/v1/login",
    method: "POST",
    headers: { "x-forwarded-for": address },
    body: JSON.stringify({ password })
  })

const proxied = { trustedProxies: ["127.0.0.1"] }

describe("fault 102: guesses", () => {
  test(
    "ten in a minute lock their address, and the next lock is twice as long",
    (served) =>
      Effect.gen(function* () {
        for (const seconds of [60, 120, 240]) {
          for (let index = 0; index < 10; index++) {
            const answer =
              index % 2 === 0 ? yield* guess(served, `wrong ${index}`) : yield* login(served, `wrong ${index}`)
            assert.equal(answer.status, 401)
          }
          const answer = yield* guess(served, "wrong")
          assert.equal(answer.status, 429)
          assert.deepEqual(answer.json._tag, "piecewise/TooManyFailures")
          assert.equal(answer.headers["retry-after"], String(seconds))
          // Guesses meanwhile learn nothing, and do not make it longer.
          yield* TestClock.adjust(`${seconds - 1} seconds`)
          const locked = yield* login(served, Service.password)
          assert.deepEqual([locked.status, locked.headers["retry-after"]], [429, "1"])
          yield* TestClock.adjust("1 second")
        }
        assert.equal((yield* login(served, Service.password)).status, 200)
      }),
    proxied
  )

  test(
    "lock nobody else, and not whoever has the token or a session",
    (served) =>
      Effect.gen(function* () {
        const { headers } = yield* login(served, Service.password)
        const cookie = String(headers["set-cookie"]).split(";", 1)[0]!
        for (let index = 0; index < 10; index++) yield* guess(served, `wrong ${index}`)
        assert.equal((yield* guess(served, Service.password)).status, 429)

        assert.equal((yield* guess(served, Service.password, "198.51.100.2")).status, 200)
        const from = { "x-forwarded-for": "198.51.100.1" }
        assert.equal((yield* served.send({ path: "/v1/x", headers: { ...from, ...Service.bearer } })).status, 200)
        assert.equal((yield* guess(served, Service.token)).status, 200)
        assert.equal((yield* served.send({ path: "/v1/x", headers: { ...from, cookie } })).status, 200)
      }),
    proxied
  )

  test(
    "from many addresses of one network are those of one client",
    (served) =>
      Effect.gen(function* () {
        for (let index = 0; index < 10; index++) yield* guess(served, `wrong ${index}`, `2001:db8::${index}`)
        assert.equal((yield* guess(served, Service.password, "2001:db8::ffff")).status, 429)
        assert.equal((yield* guess(served, Service.password, "2001:db8:0:1::1")).status, 200)
      }),
    proxied
  )

  test("at the token are counted too", ({ send }) =>
    Effect.gen(function* () {
      const headers = { authorization: `Bearer ${"x".repeat(43)}` }
      for (let index = 0; index < 10; index++) assert.equal((yield* send({ path: "/v1/x", headers })).status, 401)
      assert.equal((yield* send({ path: "/v1/x", headers })).status, 429)
      assert.equal((yield* send({ path: "/v1/x", headers: Service.bearer })).status, 200)
    }))

  test("sent at once are not more than one after the other", (served) =>
    Effect.gen(function* () {
      const guesses = Array.from({ length: 50 }, (_, index) => guess(served, `wrong ${index}`))
      const answers = yield* Effect.all(guesses, { concurrency: "unbounded" })
      assert.equal(answers.filter(({ status }) => status === 401).length, 10)
    }))

  test("an expired cookie is no guess", ({ send }) =>
    Effect.gen(function* () {
      const headers = { cookie: `piecewise_session=${"a".repeat(43)}` }
      for (let index = 0; index < 20; index++) assert.equal((yield* send({ path: "/v1/x", headers })).status, 401)
    }))
})

describe("a session", () => {
  test("ends a week after its last request, and 30 days after its login", (served) =>
    Effect.gen(function* () {
      const start = Effect.map(login(served, Service.password), ({ headers }) => ({
        cookie: String(headers["set-cookie"]).split(";", 1)[0]!
      }))
      const use = (headers: Record<string, string>) =>
        Effect.map(served.send({ path: "/v1/x", headers }), ({ status }) => status)

      const idle = yield* start
      yield* TestClock.adjust("6 days")
      assert.equal(yield* use(idle), 200)
      yield* TestClock.adjust("6 days")
      assert.equal(yield* use(idle), 200)
      yield* TestClock.adjust("7 days")
      assert.equal(yield* use(idle), 401)

      const busy = yield* start
      for (let days = 6; days < 30; days += 6) {
        yield* TestClock.adjust("6 days")
        assert.equal(yield* use(busy), 200)
      }
      yield* TestClock.adjust("6 days")
      assert.equal(yield* use(busy), 401)
    }))
})
