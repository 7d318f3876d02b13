/**
 * What operations of the hot files allocate and call is what `budgets.json` says. Measures no time. After a change that
 * is meant to cost more or less: `npm run bench:micro -- --record`.
 */
import { globSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as Counts from "./counts.ts"

const root = path.resolve(import.meta.dirname, "..", "..")

/** Files whose hot path begins at a socket. `npm run bench` measures them. */
const behindSockets = [
  "src/network/provider/io-daemon/IoDaemonConnection.ts",
  "src/network/provider/node/TcpTransport.ts"
]

/** Paths and the file system itself differ on other systems. */
const isRecorded = process.platform === "linux"

describe.skipIf(!isRecorded)("what hot operations cost", { timeout: 120_000 }, () => {
  let found: Counts.Report
  let budgets: Counts.Budgets

  beforeAll(async () => {
    budgets = await Counts.read()
    found = await Counts.count()
  }, 120_000)

  it("is what the record says", () => {
    const differences = Object.entries(found.counts).flatMap(([name, count]) =>
      Counts.differences(name, count, budgets.operations[name]!)
    )

    const how = `recorded with Node ${budgets.node}; npm run bench:micro -- --record writes a new record`
    assert.deepStrictEqual(differences, [], how)
  })

  it("is recorded for every operation and no other", () => {
    const counted = Object.entries(budgets.operations).filter(([, { bytes }]) => bytes !== undefined)

    assert.sameMembers(
      Object.keys(found.counts),
      Array.from(counted, ([name]) => name)
    )
  })

  it("is recorded for every file with a hot path", () => {
    const hot = globSync("src/**/*.ts", { cwd: root })
      .map((file) => file.replaceAll(path.sep, "/"))
      .filter((file) => readFileSync(path.join(root, file), "utf8").includes("Hot path"))

    assert.isAbove(hot.length, 10)
    assert.sameMembers(
      hot.filter((file) => !found.files.includes(file)),
      behindSockets
    )
  })
})

describe("Counts.differences", () => {
  const budget = { bytes: 182, buffers: 0, calls: 14, effects: 0, promises: 0, fileCalls: 0, nanoseconds: 85 }
  const { nanoseconds: _, ...same } = budget
  const large = { ...same, bytes: 20_000, calls: 300 }

  it("are none within 5 percent", () => {
    assert.deepStrictEqual(Counts.differences("x", { ...same, bytes: 190.9 }, budget), [])
  })

  it.each<[string, Partial<Counts.Count>, string]>([
    ["an allocation", { bytes: 206 }, "x: 206 allocated bytes, and the record says 182"],
    ["an allocation less", { bytes: 158 }, "x: 158 allocated bytes, and the record says 182"],
    ["a call", { calls: 15 }, "x: 15 calls, and the record says 14"],
    ["the first promise", { promises: 1 }, "x: 1 promises, and the record says 0"]
  ])("are reported for %s", (_, change, expected) => {
    assert.deepStrictEqual(Counts.differences("x", { ...same, ...change }, budget), [expected])
  })

  it("are reported for one call in a large operation, where it is less than 5 percent", () => {
    assert.deepStrictEqual(Counts.differences("x", { ...large, calls: 302 }, { ...large, nanoseconds: 1 }), [
      "x: 302 calls, and the record says 300"
    ])
  })
})
