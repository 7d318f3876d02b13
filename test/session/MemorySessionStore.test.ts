import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as MemorySessionStore from "../../src/session/provider/memory/MemorySessionStore.ts"
import { SessionStore, StoreFull } from "../../src/session/SessionStore.ts"
import * as SessionDrawing from "../../src/testing/suite/SessionDrawing.ts"
import { suite } from "./SessionStore.suite.ts"

suite(
  "memory",
  Effect.sync(() => {
    const { store } = MemorySessionStore.make()
    return Effect.succeed(store)
  }),
  30
)

it.effect("MemorySessionStore fails as it is told to, keeps nothing of that, and shows what was committed", () =>
  Effect.gen(function* () {
    const store = yield* SessionStore
    const inside = yield* MemorySessionStore.MemorySessionStore
    const limits = { _tag: "SetLimits", limits: { seeds: 1 } } as const
    inside.fail(new StoreFull({ path: "memory" }))
    const failed = yield* Effect.flip(store.commit([limits]))
    inside.fail(undefined)
    yield* store.content(SessionDrawing.hashOf(1))

    assert.deepStrictEqual([failed.operation, failed.reason._tag], ["commit", "StoreFull"])
    assert.deepStrictEqual(inside.commits(), [])
    yield* store.commit([limits])
    assert.deepStrictEqual(inside.commits(), [[limits]])
    assert.strictEqual(inside.contentReads(), 1)
  }).pipe(Effect.provide(MemorySessionStore.layer))
)
