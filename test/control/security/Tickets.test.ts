import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { TestClock } from "effect/testing"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import { Credentials } from "../../../src/control/security/Credentials.ts"
import * as Tickets from "../../../src/control/security/Tickets.ts"
import * as Service from "./serving.ts"

const hash = (digit: string) => InfoHash.fromHex(digit.repeat(40))!

const test = (
  name: string,
  program: (tickets: Tickets.Tickets["Service"]) => Effect.Effect<void, unknown, Credentials>
) =>
  it.effect(name, () =>
    Effect.provide(Tickets.Tickets.use(program), Tickets.layer.pipe(Layer.provideMerge(Service.credentials())))
  )

describe("Tickets", () => {
  test("lead to their torrent", ({ find, make }) =>
    Effect.gen(function* () {
      const [first, second] = [yield* make(hash("a")), yield* make(hash("b"))]
      assert.deepEqual(yield* find(first), hash("a"))
      assert.deepEqual(yield* find(second), hash("b"))
      for (const guess of ["", first.slice(0, 20), `${first}A`, first.slice(0, -1), "a".repeat(43)]) {
        assert.isUndefined(yield* find(guess))
      }
    }))

  test("end after a day, or an hour after their last use", ({ find, make }) =>
    Effect.gen(function* () {
      const [unused, used] = [yield* make(hash("a")), yield* make(hash("a"))]
      yield* TestClock.adjust("23 hours")
      assert.isDefined(yield* find(used))
      yield* TestClock.adjust("59 minutes")
      assert.isDefined(yield* find(used))
      yield* TestClock.adjust("1 minute")
      assert.isUndefined(yield* find(unused))
      yield* TestClock.adjust("58 minutes")
      assert.isDefined(yield* find(used))
      yield* TestClock.adjust("1 hour")
      assert.isUndefined(yield* find(used))
    }))

  test("end with their torrent", ({ endOf, find, make }) =>
    Effect.gen(function* () {
      const [first, second, other] = [yield* make(hash("a")), yield* make(hash("a")), yield* make(hash("b"))]
      yield* endOf(hash("a"))
      assert.deepEqual([yield* find(first), yield* find(second)], [undefined, undefined])
      assert.isDefined(yield* find(other))
    }))

  test("end when the password changes", ({ find, make }) =>
    Effect.gen(function* () {
      const ticket = yield* make(hash("a"))
      yield* Effect.orDie(Credentials.use((credentials) => credentials.setPassword("another one")))
      assert.isUndefined(yield* find(ticket))
    }))

  test("are 1,000 at most: the one that was used the longest ago ends", ({ find, make }) =>
    Effect.gen(function* () {
      const [first, second] = [yield* make(hash("a")), yield* make(hash("a"))]
      for (let index = 2; index < Tickets.maxTickets; index++) yield* make(hash("b"))
      yield* find(first)
      yield* make(hash("b"))
      assert.isDefined(yield* find(first))
      assert.isUndefined(yield* find(second))
    }))
})
