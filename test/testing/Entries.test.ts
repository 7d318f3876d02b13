import { globSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Architecture from "../Architecture.ts"

const root = path.resolve(import.meta.dirname, "..", "..", "src")
const house = Architecture.make(
  globSync("**/*.ts", { cwd: root }).map((file) => [file, readFileSync(path.join(root, file), "utf8")])
)

/**
 * The modules of packages that an entry imports, directly or through others of our files, in statements and
 * expressions alike. `accepts` chooses the imports that count, by the text between `import` and `from`.
 */
const modulesOf = (entry: string, accepts: (clause: string) => boolean = () => true): ReadonlySet<string> => {
  const found = new Set<string>()
  const seen = new Set<string>()
  const visit = (file: string): void => {
    if (seen.has(file)) return
    seen.add(file)
    for (const { clause, specifier, target } of house.get(file)!.imports) {
      if (!accepts(clause)) continue
      if (target !== undefined) visit(target)
      else found.add(specifier)
    }
  }
  visit(entry)
  return found
}

/** The packages of these modules. Types count too. */
const packagesOf = (entry: string): ReadonlyArray<string> =>
  [...new Set([...modulesOf(entry)].map((module) => module.split("/")[0]!))].sort()

/** The modules that importing an entry loads at once, besides those that Effect's modules load. */
const loadedBy = (entry: string): ReadonlyArray<string> =>
  [...modulesOf(entry, (clause) => !/^(?:type\b|$)/.test(clause))].sort()

describe("the entries of the package", () => {
  it("piecewise/testing needs Effect and nothing else: no fast-check, no test runner, no Node", () => {
    assert.deepStrictEqual(packagesOf("testing/index.ts"), ["effect"])
  })

  it("piecewise/testing/property needs fast-check as well", () => {
    assert.deepStrictEqual(packagesOf("testing/property/index.ts"), ["effect", "fast-check"])
  })

  it("piecewise, piecewise/http and piecewise/session need Effect and nothing else", () => {
    for (const entry of ["index.ts", "web/index.ts", "session/index.ts"])
      assert.deepStrictEqual(packagesOf(entry), ["effect"], entry)
  })

  it("only piecewise/http loads Effect's HTTP server, which takes 30 ms", () => {
    const serverOf = (entry: string) =>
      loadedBy(entry).filter((module) => /^effect\/http\/Http(?:Router|Server)/.test(module))

    for (const entry of ["index.ts", "node/index.ts", "promise/node/index.ts", "testing/index.ts"]) {
      assert.deepStrictEqual(serverOf(entry), [], entry)
    }
    assert.include(serverOf("web/index.ts"), "effect/http/HttpRouter")
  })

  it("only piecewise/session/node loads Effect's SQL client", () => {
    const clientOf = (entry: string) => loadedBy(entry).filter((module) => module.startsWith("effect/sql/"))

    for (const entry of ["index.ts", "node/index.ts", "session/index.ts", "testing/index.ts"]) {
      assert.deepStrictEqual(clientOf(entry), [], entry)
    }
    assert.include(clientOf("node/session/index.ts"), "effect/sql/SqlClient")
  })
})
