import { globSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Architecture from "./Architecture.ts"

const root = path.resolve(import.meta.dirname, "..", "src")

const house = Architecture.make(
  globSync("**/*.ts", { cwd: root }).map((file) => [
    file.replaceAll(path.sep, "/"),
    readFileSync(path.join(root, file), "utf8")
  ])
)

const houseOf = (texts: Readonly<Record<string, string>>) => Architecture.make(Object.entries(texts))

describe("src", () => {
  it("is read with its imports", () => {
    const imports = [...house.values()].flatMap((source) => source.imports)

    assert.isAbove(house.size, 10)
    assert.isAbove(imports.length, house.size)
  })

  it.each([
    ["has a floor for every folder", Architecture.floors],
    ["imports existing files by name", Architecture.paths],
    ["imports only lower floors, so no program knows a provider", Architecture.directions],
    ["has no two folders whose providers need each other", Architecture.neighbours],
    ["has no import cycles", Architecture.cycles],
    ["imports Node's modules only in folders that need Node", Architecture.nodeModules],
    ["never measures time by the wall clock", Architecture.elapsedTime],
    ["keeps I/O out of contracts", Architecture.contractImports],
    ["changes the state of pieces only in its own folder", Architecture.oneWriter],
    ["imports modules as namespaces", Architecture.style],
    ["re-exports modules only in the entries of the package", Architecture.reExports],
    ["has no file that is too long", Architecture.sizes]
  ])("%s", (_, rule) => {
    const violations = rule(house)

    assert.deepStrictEqual(violations, [])
  })
})

describe("Architecture", () => {
  it.each([
    ["wire/FrameDecoder.ts", "base/Bytes.ts"],
    ["storage/Storage.ts", "metainfo/FileLayout.ts"],
    ["assembly/Assembly.ts", "supply/Supplier.ts"],
    ["peer/PeerSession.ts", "assembly/Requests.ts"],
    ["discovery/tracker/TrackerSource.ts", "network/Transport.ts"],
    ["torrent/Torrent.ts", "swarm/Swarm.ts"],
    ["storage/provider/node/FileSystemStorage.ts", "engine/Engine.ts"],
    ["testing/Swarms.ts", "storage/provider/memory/MemoryStorage.ts"],
    ["node/NodeEngine.ts", "testing/Swarms.ts"],
    ["node/main.ts", "node/NodeEngine.ts"]
  ])("puts %s on a higher floor than %s", (upper, lower) => {
    assert.isAbove(Architecture.floorOf(upper)!, Architecture.floorOf(lower)!)
  })

  it("has no floor for an unknown folder", () => {
    assert.isUndefined(Architecture.floorOf("attic/Trunk.ts"))
  })

  it("reports the file and line of an import of a higher floor", () => {
    const upwards = houseOf({
      "base/Bytes.ts": 'import type * as Effect from "effect/Effect"\nimport * as Wire from "../wire/Wire.ts"\n',
      "wire/Wire.ts": ""
    })

    const violations = Architecture.directions(upwards)

    assert.deepStrictEqual(violations, ["src/base/Bytes.ts:2 imports ../wire/Wire.ts: base is a lower floor than wire"])
  })

  it("finds imports over several lines, in expressions, and of workers", () => {
    const text = [
      "import {",
      "  type A,",
      "  B",
      '} from "./B.ts"',
      "/** import('./no.ts') and",
      ' * import("./no.ts") are prose. */',
      'const c = import("./C.ts")',
      'const d = new Worker(new URL("./D.ts", import.meta.url))',
      'const data = new URL("../../package.json", import.meta.url)',
      'export * as E from "./E.ts"'
    ].join("\n")

    const found = houseOf({ "node/Main.ts": text }).get("node/Main.ts")!.imports

    assert.sameDeepMembers(
      found.map(({ line, target }) => [line, target]),
      [
        [1, "node/B.ts"],
        [7, "node/C.ts"],
        [8, "node/D.ts"],
        [10, "node/E.ts"]
      ]
    )
  })

  it.each([
    ["a folder without a floor", Architecture.floors, "attic/Trunk.ts", ""],
    ["a missing extension", Architecture.paths, "base/A.ts", 'import * as B from "./B"'],
    ["a missing file", Architecture.paths, "base/A.ts", 'import * as C from "./C.ts"'],
    ["an import of the package by name", Architecture.paths, "base/A.ts", 'import * as P from "piecewise"'],
    ["an import of an index", Architecture.paths, "cli/A.ts", 'import * as P from "../index.ts"'],
    [
      "a provider in a program",
      Architecture.directions,
      "torrent/A.ts",
      'import * as S from "../storage/provider/MemoryStorage.ts"'
    ],
    [
      "a provider in its contract",
      Architecture.directions,
      "storage/Storage.ts",
      'import * as M from "./provider/MemoryStorage.ts"'
    ],
    [
      "a program in a provider",
      Architecture.directions,
      "storage/provider/A.ts",
      'import * as T from "../../torrent/Torrent.ts"'
    ],
    ["a folder beside another", Architecture.directions, "metainfo/A.ts", 'import * as W from "../wire/Wire.ts"'],
    ["test tools in the program", Architecture.directions, "node/A.ts", 'import * as T from "../testing/Timeline.ts"'],
    [
      "an edge in the test tools",
      Architecture.directions,
      "testing/A.ts",
      'import * as N from "../node/NodeEngine.ts"'
    ],
    ["a node module in a pure file", Architecture.nodeModules, "wire/A.ts", 'import * as Fs from "node:fs"'],
    [
      "a node module in a provider of pages",
      Architecture.nodeModules,
      "storage/provider/A.ts",
      'import * as Fs from "node:fs"'
    ],
    [
      "a file of Node in a provider of pages",
      Architecture.nodeModules,
      "storage/provider/A.ts",
      'import * as N from "./node/NodeFile.ts"'
    ],
    [
      "the platform in a fiber",
      Architecture.nodeModules,
      "swarm/Swarm.ts",
      'import * as N from "@effect/platform-node/NodeSocket"'
    ],
    ["the system's wall clock", Architecture.elapsedTime, "node/A.ts", "const begun = Date.now()"],
    ["a date of now", Architecture.elapsedTime, "cli/A.ts", "const begun = new Date()"],
    ["Effect's wall clock", Architecture.elapsedTime, "swarm/A.ts", "const now = yield* Clock.currentTimeMillis"],
    ["a clock's wall clock", Architecture.elapsedTime, "swarm/A.ts", "const now = clock.currentTimeMillisUnsafe()"],
    [
      "a schedule that uses it",
      Architecture.elapsedTime,
      "tracker/A.ts",
      "const again = Schedule.upTo(self, oneMinute)"
    ],
    [
      "HTTP in a contract",
      Architecture.contractImports,
      "storage/Storage.ts",
      'import * as H from "effect/http/HttpClient"'
    ],
    [
      "a change of the state of pieces",
      Architecture.oneWriter,
      "swarm/A.ts",
      'import * as PieceTable from "../assembly/PieceTable.ts"\nPieceTable.setWanted(download.table, wanted)'
    ],
    ["the whole of effect", Architecture.style, "base/A.ts", 'import * as E from "effect"'],
    ["a default import", Architecture.style, "base/A.ts", 'import Fs from "node:fs"'],
    ["a name from a package", Architecture.style, "base/A.ts", 'import { gen } from "effect/Effect"'],
    ["a function imported by name", Architecture.style, "base/A.ts", 'import { type Bytes, concat } from "./B.ts"'],
    ["a file that re-exports modules", Architecture.reExports, "base/A.ts", 'export * as B from "./B.ts"'],
    ["a file that is too long", Architecture.sizes, "base/A.ts", "\n".repeat(401)]
  ])("finds %s", (_, rule, file, text) => {
    const bad = houseOf({
      "index.ts": "",
      "base/B.ts": "",
      "node/NodeEngine.ts": "",
      "storage/provider/MemoryStorage.ts": "",
      "storage/provider/node/NodeFile.ts": "",
      "torrent/Torrent.ts": "",
      "wire/Wire.ts": "",
      "testing/Timeline.ts": "",
      [file]: text
    })

    const violations = rule(bad)

    assert.strictEqual(violations.length, 1)
    assert.match(violations[0]!, new RegExp(`^src/${file}:\\d+ `))
  })

  it("accepts types and classes by name, namespaces, and Node in a provider", () => {
    const good = houseOf({
      "storage/Storage.ts": 'import type * as Effect from "effect/Effect"\n',
      "storage/provider/node/NodeStorage.ts": [
        'import * as Effect from "effect/Effect"',
        'import * as Fs from "node:fs/promises"',
        'import { Storage, type failure } from "../../Storage.ts"',
        'import type { open } from "../../Storage.ts"'
      ].join("\n")
    })

    const violations = [
      Architecture.style,
      Architecture.nodeModules,
      Architecture.directions,
      Architecture.paths
    ].flatMap((rule) => rule(good))

    assert.deepStrictEqual(violations, [])
  })

  it("takes the imports of an example in a docstring for text", () => {
    const source = houseOf({
      "base/A.ts": 'export interface A {}\n/**\n * ```ts\n * import { A } from "piecewise"\n * ```\n */'
    })

    assert.deepStrictEqual(source.get("base/A.ts")?.imports, [])
  })

  it("does not count examples in docstrings as lines of a file", () => {
    const example = ["/**", " * Adds.", " *", " * ```ts", ...Array(50).fill(" * add(1, 2)"), " * ```", " */"]
    const lines = (count: number) => [...example, ...Array(count).fill("// code")].join("\n")
    const violationsOf = (count: number) => Architecture.sizes(houseOf({ "base/A.ts": lines(count) }))

    assert.deepStrictEqual(violationsOf(398), [])
    assert.strictEqual(violationsOf(399).length, 1)
  })

  it("reports two folders whose providers need each other", () => {
    const entangled = houseOf({
      "resume/provider/A.ts": 'import * as C from "../../storage/provider/C.ts"',
      "resume/provider/B.ts": "",
      "storage/provider/C.ts": "",
      "storage/provider/D.ts": 'import * as B from "../../resume/provider/B.ts"'
    })

    const violations = Architecture.neighbours(entangled)

    assert.deepStrictEqual(violations, [
      "src/resume/provider/A.ts:1 needs storage/, and src/storage/provider/D.ts:1 needs resume/"
    ])
  })

  it("reports an import cycle once", () => {
    const circle = houseOf({
      "base/A.ts": 'import * as B from "./B.ts"',
      "base/B.ts": 'import type * as C from "./C.ts"',
      "base/C.ts": 'import * as B from "./B.ts"'
    })

    const violations = Architecture.cycles(circle)

    assert.deepStrictEqual(violations, ["src/base/C.ts:1 closes an import cycle: base/B.ts -> base/C.ts -> base/B.ts"])
  })
})
