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

/** The files that importing an entry loads at once. */
const filesLoadedBy = (entry: string): ReadonlyArray<string> => {
  const seen = new Set<string>()
  const visit = (file: string): void => {
    if (seen.has(file)) return
    seen.add(file)
    for (const { clause, target } of house.get(file)!.imports) {
      if (target !== undefined && !/^(?:type\b|$)/.test(clause)) visit(target)
    }
  }
  visit(entry)
  return [...seen].sort()
}

describe("the entries of the package", () => {
  it("piecewise/testing needs Effect and nothing else: no fast-check, no test runner, no Node", () => {
    assert.deepStrictEqual(packagesOf("testing/index.ts"), ["effect"])
  })

  it("piecewise/testing/property needs fast-check as well", () => {
    assert.deepStrictEqual(packagesOf("testing/property/index.ts"), ["effect", "fast-check"])
  })

  it("piecewise, piecewise/http, piecewise/session and piecewise/control need Effect and nothing else", () => {
    for (const entry of ["index.ts", "web/index.ts", "session/index.ts", "control/index.ts", "control/server/index.ts"])
      assert.deepStrictEqual(packagesOf(entry), ["effect"], entry)
  })

  it("piecewise/control loads no engine, and no routes", () => {
    const files = filesLoadedBy("control/index.ts")
    const heavy = /^(?:engine|webseed|testing|telemetry|node|cli)\/|^(?:peer|supply|swarm\/Swarm|torrent\/Torrent\.ts)/

    assert.deepStrictEqual(
      files.filter((file) => heavy.test(file)),
      []
    )
    assert.deepStrictEqual(
      files.filter((file) => /^control\/(?:server|transmission)\//.test(file)),
      []
    )
    assert.isBelow(files.length, 80)
    assert.notInclude(loadedBy("control/index.ts"), "effect/http/HttpRouter")
  })

  it("only piecewise/http and piecewise/control load Effect's HTTP server, which takes 30 ms", () => {
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
