import { execFile } from "node:child_process"
import { globSync, readFileSync } from "node:fs"
import { mkdir, readdir, rm } from "node:fs/promises"
import * as path from "node:path"
import { promisify } from "node:util"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as DocExamples from "./DocExamples.ts"
import * as Programs from "./Programs.ts"

const run = promisify(execFile)
const { root } = Programs

/** Exports that a user meets first. Each has an example in its docstring; a name alone means the header of the module. */
const main = [
  "Bencode.decode",
  "Bencode.encode",
  "Bitfield.make",
  "Bottleneck.describe",
  "CreateTorrent.fromPath",
  "Engine.Engine",
  "EngineMetrics",
  "FaultyStorage.layer",
  "FileLayout.make",
  "FileResumeStore.layer",
  "FileSystemStorage.layer",
  "FrameDecoder.make",
  "FrameEncoder.make",
  "Handshake.encode",
  "InfoHash.fromHex",
  "IoDaemon.layer",
  "KnownTorrent.make",
  "ListeningPort.make",
  "Magnet.parse",
  "MemoryNetwork.layer",
  "MemoryResumeStore.layer",
  "MemoryStorage.layerTest",
  "Metainfo",
  "NodeEngine.layer",
  "NodePieceHasher.layer",
  "NodeTracker.layer",
  "ObjectStorage",
  "PeerAddress.parse",
  "PeerId.make",
  "PeerPolicy",
  "PeerSource",
  "PeerSourceSuite",
  "PieceGeometry.make",
  "PiecePriority.ofFiles",
  "Property.check",
  "Property.commands",
  "StorageSuite",
  "Suite",
  "Swarms",
  "TcpTransport.layer",
  "TestEngine",
  "ThreadedPieceHasher.layer",
  "Torrent.Torrent",
  "TorrentEvent.TorrentEvent",
  "TorrentHttp",
  "TorrentStatus.TorrentStatus",
  "Tracker.Tracker",
  "TransportSuite",
  "WebCryptoPieceHasher.layer"
]

const read = (file: string): string => readFileSync(path.join(root, file), "utf8")

const sources = globSync("src/**/*.ts", { cwd: root }).map((file) => file.replaceAll(path.sep, "/"))
const examples = sources.flatMap((file) => DocExamples.examplesOf(file, read(file)))

const entries = DocExamples.entriesOf(JSON.parse(read("package.json")).exports)
const modules = new Map([...entries.values()].flatMap((file) => [...DocExamples.modulesOf(file, read(file))]))

describe("the docstrings", () => {
  it("are there for every public export", () => {
    const complaints = [...new Set(modules.values())].flatMap((file) => DocExamples.undocumented(file, read(file)))

    assert.isAbove(modules.size, 50)
    assert.deepStrictEqual(complaints, [])
  })

  it("have an example for each main export", () => {
    const without = main.filter((name) => {
      const [module, member = ""] = name.split(".")
      const file = modules.get(module!)
      return !examples.some((example) => example.file === file && example.of === member)
    })

    assert.isAtLeast(main.length, 30)
    assert.deepStrictEqual(without, [])
  })

  it("have whole programs as examples, which assert something", () => {
    assert.deepStrictEqual(examples.flatMap(DocExamples.incomplete), [])
  })
})

// Starts a compiler and a process, which are slow beside other tests.
describe("the examples of the docstrings", { timeout: 120_000 }, () => {
  let folder = ""

  beforeAll(async () => {
    folder = await Programs.write(examples)
  })

  afterAll(() => rm(folder, { recursive: true, force: true }))

  it("compile with our strict options", async () => {
    const errors = await Programs.compile(folder)

    assert.strictEqual(errors, "")
  })

  it("run, end by themselves, and leave no file behind", async () => {
    const temporary = path.join(folder, "temporary")
    await mkdir(temporary)
    const before = await readdir(folder)

    const programs = examples.map((example) => Programs.nameOf(example))
    const runner = path.join(root, "test", "runPrograms.ts")
    const { code, output } = await run(process.execPath, ["--conditions=@piecewise/source", runner, ...programs], {
      cwd: folder,
      env: { ...process.env, TMPDIR: temporary },
      timeout: 100_000
    }).then(
      ({ stderr, stdout }) => ({ code: 0, output: stdout + stderr }),
      ({ code, killed, stderr, stdout }: { code: number; killed: boolean; stderr: string; stdout: string }) => ({
        code,
        output: `${stdout}${stderr}${killed ? "they do not end" : ""}`
      })
    )

    assert.strictEqual(code, 0, output)
    assert.deepStrictEqual(await readdir(temporary), [])
    assert.deepStrictEqual(await readdir(folder), before)
  })
})

describe("DocExamples", () => {
  const text = [
    "/** The header. */",
    'import * as B from "./B.ts"',
    "",
    "/**",
    " * Adds.",
    " *",
    " * ```ts",
    ' * import assert from "node:assert/strict"',
    ' * import { A } from "piecewise"',
    " *",
    " * assert.equal(A.add(1, 2), 3)",
    " * ```",
    " */",
    "export const add = (one: number, other: number): number => one + other",
    "",
    "/** Values. */",
    "export const Value = B.value",
    "export type Value = typeof Value.Type",
    "",
    "export class Bare {}"
  ].join("\n")

  it("finds docstrings, and the exports that they describe", () => {
    const found = DocExamples.docstringsOf("src/A.ts", text).map(({ line, of }) => [line, of])

    assert.deepStrictEqual(found, [
      [1, ""],
      [4, "add"],
      [16, "Value"]
    ])
  })

  it("finds examples with their lines", () => {
    const [example, ...others] = DocExamples.examplesOf("src/A.ts", text)

    assert.deepStrictEqual(others, [])
    assert.deepInclude(example, { file: "src/A.ts", line: 8, of: "add" })
    assert.strictEqual(example?.code.split("\n")[3], "assert.equal(A.add(1, 2), 3)")
    assert.deepStrictEqual(DocExamples.incomplete(example!), [])
  })

  it("finds examples in the docstrings of members", () => {
    const member =
      "export interface A {\n  /**\n   * B.\n   *\n   * ```ts\n   * b()\n   * ```\n   */\n  readonly b: () => void\n}\n"

    const [example] = DocExamples.examplesOf("src/A.ts", member)

    assert.deepInclude(example, { line: 6, of: undefined, code: "b()\n" })
  })

  it.each([
    [
      "uses nothing of the package",
      'import assert from "node:assert/strict"\nassert(1 > 0)',
      "does not import piecewise"
    ],
    ["asserts nothing", 'import { A } from "piecewise"\nA.add(1, 2)', "asserts nothing"],
    [
      "imports what users do not have",
      'import assert from "node:assert/strict"\nimport {\n  A\n} from "piecewise"\nimport { B } from "../B.ts"\nassert(A === B)',
      "imports ../B.ts"
    ],
    [
      "is long",
      `import assert from "node:assert/strict"\nimport { A } from "piecewise"\n${"assert(A)\n".repeat(18)}`,
      "has 18 lines"
    ]
  ])("reports an example that %s", (_, code, expected) => {
    const block = { file: "src/A.ts", line: 8, language: "ts", code: `${code}\n` }

    assert.deepStrictEqual(DocExamples.incomplete(block), [`src/A.ts:8 has an example that ${expected}`])
  })

  it("reports exports and files without a docstring", () => {
    assert.deepStrictEqual(DocExamples.undocumented("src/A.ts", text), ["src/A.ts:20 does not describe Bare"])
    assert.deepStrictEqual(DocExamples.undocumented("src/B.ts", "\n"), ["src/B.ts:1 has no header"])
  })

  it("finds the entry points of a package", () => {
    const exports = { "./package.json": "./package.json", "./node": { "@piecewise/source": "./src/node/index.ts" } }

    assert.deepStrictEqual([...DocExamples.entriesOf(exports)], [["./node", "src/node/index.ts"]])
  })

  it("finds the modules of an entry point", () => {
    const found = DocExamples.modulesOf(
      "src/node/index.ts",
      'export * as A from "../base/A.ts"\nexport { b } from "./B.ts"\n'
    )

    assert.deepStrictEqual([...found], [["A", "src/base/A.ts"]])
  })
})
