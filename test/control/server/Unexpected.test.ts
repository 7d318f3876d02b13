import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Logger } from "effect"
import * as MemorySessionStore from "../../../src/session/provider/memory/MemorySessionStore.ts"
import * as TorrentFolders from "../../../src/session/TorrentFolders.ts"
import * as TestEngine from "../../../src/testing/TestEngine.ts"
import { test, withService } from "./serving.ts"

describe("a defect of the service", () => {
  it.effect("is logged with its cause, and answered without it", () => {
    const logged: Array<string> = []
    const logger = Logger.make(({ cause, message }) => {
      logged.push(`${[message].flat().join(" ")} ${Cause.pretty(cause)}`)
    })
    const program = withService(
      ({ send }) =>
        Effect.gen(function* () {
          for (const path of ["/v1/torrents", "/ready"]) {
            const { json, status } = yield* send(path)
            assert.deepStrictEqual([status, json._tag], [500, "piecewise/ServiceFailed"], path)
            assert.notInclude(json.message, "broken")
          }
        }),
      { session: (session) => ({ ...session, list: Effect.die(new Error("the list is broken")) }) }
    )
    return TestEngine.run(
      Effect.provide(program, [MemorySessionStore.layer, TorrentFolders.layer, Logger.layer([logger])]),
      { seed: 1 }
    ).pipe(
      Effect.andThen(
        Effect.sync(() => {
          assert.strictEqual(logged.length, 2)
          for (const text of logged) assert.match(text, /A request could not be handled\. .*the list is broken/)
        })
      )
    )
  })

  test("is no other spelling of the path of a link", ({ send }) =>
    Effect.gen(function* () {
      for (const path of ["/v1/%73tream/x/y", "/v1/Stream/x/y", "/V1/stream/x/"]) {
        const { json, status } = yield* send(path)
        assert.deepStrictEqual([status, json._tag], [404, "piecewise/RouteNotFound"], path)
      }
    }))
})
