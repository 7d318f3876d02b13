import { existsSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { expect } from "vitest"
import * as PublicEffects from "../scripts/reference/PublicEffects.ts"
import * as DocExamples from "./DocExamples.ts"

const root = path.resolve(import.meta.dirname, "..")

/** What was reviewed last. `npx vitest run test/PublicEffects.test.ts --update` records it again. */
const record = path.join(import.meta.dirname, "types", "effects.txt")

const { exports } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"))
const entries = [...DocExamples.entriesOf(exports).values()]

// Starts a compiler, which is slow beside other tests.
describe("what the package exports", { timeout: 120_000 }, () => {
  let found: ReadonlyMap<string, ReadonlyArray<PublicEffects.PublicEffect>> = new Map()

  beforeAll(() => {
    found = PublicEffects.list(root, entries)
  }, 120_000)

  it("is found, in every entry point for effects", () => {
    const counts = Object.fromEntries([...found].map(([entry, effects]) => [entry, effects.length]))

    assert.deepStrictEqual(Object.keys(counts), entries)
    for (const entry of entries) {
      if (entry.startsWith("src/promise/")) assert.strictEqual(counts[entry], 0)
      else assert.isAtLeast(counts[entry]!, 3, entry)
    }
    assert.isAtLeast([...found.values()].flat().length, 200)
  })

  it("says how it fails and what it needs, except that sources of a user may fail with anything", () => {
    const vague = [...found.values()]
      .flat()
      .filter(({ fails, needs }) => [...fails, ...needs].some((type) => /\b(?:any|unknown)\b/.test(type)))

    assert.deepStrictEqual(
      vague.filter(({ name }) => !/\.(?:sources|prepare|during)\b|PeerSources/.test(name)).map(PublicEffects.format),
      []
    )
  })

  it("has the error types and the needs that are recorded", async () => {
    const text = [...found].map(([entry, effects]) =>
      [`# ${entry}`, "", ...new Set(effects.map(PublicEffects.format)), ""].join("\n")
    )

    assert.isTrue(existsSync(record))
    await expect(text.join("\n")).toMatchFileSnapshot(record)
  })
})
