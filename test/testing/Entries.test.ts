import { globSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Architecture from "../Architecture.ts"

const root = path.resolve(import.meta.dirname, "..", "..", "src")
const house = Architecture.make(
  globSync("**/*.ts", { cwd: root }).map((file) => [file, readFileSync(path.join(root, file), "utf8")])
)

/** The packages that an entry imports, directly or through others, with the files that name them. Types count too. */
const packagesOf = (entry: string): ReadonlyMap<string, string> => {
  const found = new Map<string, string>()
  const seen = new Set<string>()
  const visit = (file: string): void => {
    if (seen.has(file)) return
    seen.add(file)
    for (const { specifier, target } of house.get(file)!.imports) {
      if (target !== undefined) visit(target)
      else found.set(specifier.split("/")[0]!, file)
    }
  }
  visit(entry)
  return found
}

describe("the entries of the package", () => {
  it("piecewise/testing needs Effect and nothing else: no fast-check, no test runner, no Node", () => {
    assert.deepStrictEqual([...packagesOf("testing/index.ts").keys()], ["effect"])
  })

  it("piecewise/testing/property needs fast-check as well", () => {
    assert.deepStrictEqual([...packagesOf("testing/property/index.ts").keys()].sort(), ["effect", "fast-check"])
  })
})
