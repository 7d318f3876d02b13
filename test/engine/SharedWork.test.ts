import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as SharedWork from "../../src/engine/SharedWork.ts"

describe("SharedWork", () => {
  it.effect("begins with the first user and ends with the last, again and again", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const work = SharedWork.make(
        Effect.acquireRelease(
          Effect.sync(() => void log.push("begins")),
          () => Effect.sync(() => void log.push("ends"))
        ),
        Context.empty()
      )
      for (let time = 0; time < 2; time++) {
        const scopes = [yield* Scope.make(), yield* Scope.make()]
        for (const scope of scopes) yield* Scope.provide(SharedWork.use(work), scope)
        for (const scope of scopes) {
          log.push("one leaves")
          yield* Scope.close(scope, Exit.void)
        }
      }

      const once = ["begins", "one leaves", "one leaves", "ends"]
      assert.deepStrictEqual(log, [...once, ...once])
    })
  )

  it.effect("does not work in the span and with the annotations of its first user", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      const look = Effect.gen(function* () {
        const { spanId } = yield* Effect.orElseSucceed(Effect.currentParentSpan, () => ({ spanId: "none" }))
        seen.push(spanId, yield* References.CurrentLogAnnotations)
      })
      const context = yield* Effect.annotateLogs(Effect.context<never>(), { of: "the engine" })

      yield* SharedWork.use(SharedWork.make(look, context)).pipe(
        Effect.annotateLogs({ of: "a user" }),
        Effect.withSpan("user"),
        Effect.scoped
      )

      assert.deepStrictEqual(seen, ["none", { of: "the engine" }])
    })
  )
})
