import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { eventsOf, folderScoped, runScoped, startScoped } from "./program.ts"

/** A link whose only peer refuses connections. */
const link = `magnet:?xt=urn:btih:${"ab".repeat(20)}&x.pe=127.0.0.1:1`

describe("piecewise download of a magnet link", () => {
  it.live("says at SIGINT and when it gives up that the metadata was not found", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const people = yield* startScoped(["download", link], folder)
      const program = yield* startScoped(["download", link, "--json"], folder)
      yield* Effect.promise(() => Promise.all([people.wrote("fetching its"), program.wrote("metadata")]))
      for (const { child } of [people, program]) child.kill("SIGINT")
      const [text, json] = yield* Effect.promise(() => Promise.all([people.ended, program.ended]))
      const over = yield* runScoped(["download", link, "--give-up", "1s"], folder)
      const failed = yield* runScoped(["download", link, "--give-up", "1s", "--json"], folder)

      assert.strictEqual(text.stderr, "stopped; the metadata was not found yet, and what is stored is kept\n")
      assert.deepStrictEqual(eventsOf(json.stdout).at(-1), { event: "stopped" })
      const why = "no peer sent the metadata for 1s"
      assert.strictEqual(over.stderr, `piecewise: ${why}\n`)
      assert.deepStrictEqual(eventsOf(failed.stdout).at(-1), { event: "failed", error: why })
      assert.deepStrictEqual([text.code, json.code, over.code, failed.code], [130, 130, 1, 1])
    })
  )
})
