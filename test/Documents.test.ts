import { execFile, spawn } from "node:child_process"
import { existsSync, globSync, readFileSync } from "node:fs"
import { cp, mkdir, rm, writeFile } from "node:fs/promises"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { promisify } from "node:util"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Commands from "../src/cli/Commands.ts"
import * as NodePieceHasher from "../src/hash/provider/node/NodePieceHasher.ts"
import * as KnownTorrent from "../src/testing/KnownTorrent.ts"
import * as DocExamples from "./DocExamples.ts"
import * as Documents from "./Documents.ts"
import * as Programs from "./Programs.ts"

const run = promisify(execFile)
const { bin, root } = Programs

const left = new Set(["node_modules", "target", "dist", "fixtures", ".venv", ".cache", ".git", ".pytest_cache"])

const textsOf = (...patterns: ReadonlyArray<string>): Documents.Texts =>
  new Map(
    globSync(patterns, { cwd: root, exclude: (name) => left.has(path.basename(name)) })
      .map((file) => file.replaceAll(path.sep, "/"))
      .filter((file) => !file.startsWith(Programs.prefix))
      .sort()
      .map((file) => [file, readFileSync(path.join(root, file), "utf8")])
  )

const exists = (file: string): boolean => existsSync(path.join(root, file))

const documents = textsOf("*.md", "{docs,examples,src,test,native-host,scripts}/**/*.md")
const tests = textsOf("test/**/*.{ts,py}", "native-host/io-daemon/{src,tests}/**/*.rs")
const sources = new Map([...tests, ...textsOf("{src,scripts,examples}/**/*.ts", "native-host/**/*.toml")])
// Contains examples of mistakes.
sources.delete("test/Documents.test.ts")

const blocks = [...documents].flatMap(([file, text]) => Documents.blocksOf(file, text))
const blocksIn = (language: string) => blocks.filter((block) => block.language === language)
const isTest = ({ code }: Documents.Block): boolean => code.includes('from "@effect/vitest"')

const readme = documents.get("README.md")!

describe("the documents", () => {
  it("are found with their blocks of code", () => {
    assert.includeMembers([...documents.keys()], ["README.md", "docs/io-daemon.md", "docs/faults.md"])
    assert.isAbove(blocksIn("ts").length, 3)
    assert.isAbove(sources.size, 100)
  })

  it.each<[string, () => ReadonlyArray<string>]>([
    ["link only to existing files and headings", () => Documents.links(documents, exists)],
    ["can all be reached from the README", () => Documents.unreachable(documents)],
    ["name only existing files", () => Documents.paths(documents, exists)],
    ["are the only ones that sources name", () => Documents.mentions(sources, documents)],
    ["describe every fault and law that is named by its number", () => Documents.numbers(sources, documents)],
    ["name the tests of every fault", () => Documents.heldFaults(documents.get("docs/faults.md")!, tests)]
  ])("%s", (_, complaints) => {
    assert.deepStrictEqual(complaints(), [])
  })

  it("keep the README short", () => {
    assert.isAtMost(readme.trimEnd().split("\n").length, 150)
  })

  it("contain valid JSON", () => {
    for (const { code, file, line } of blocksIn("json")) {
      assert.doesNotThrow(() => JSON.parse(code), undefined, `${file}:${line}`)
    }
  })

  it("contain valid shell commands with existing scripts", async () => {
    const { scripts } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"))
    for (const { code, file, line } of blocksIn("sh")) {
      const { stderr } = await run("sh", ["-n", "-c", code]).catch((error: { stderr: string }) => error)
      assert.strictEqual(stderr, "", `${file}:${line}`)
      for (const [, script] of code.matchAll(/npm run (?:--silent )?([\w-]+)/g)) {
        assert.property(scripts, script!, `${file}:${line}`)
      }
    }
  })

  it("describe every route and every kind of error of the io-daemon", () => {
    const contract = documents.get("docs/io-daemon.md")!
    const daemon = [...sources].filter(([file]) => file.startsWith("native-host/io-daemon/src/"))
    const found = (pattern: RegExp) =>
      daemon.flatMap(([, text]) => [...text.matchAll(pattern)].map((match) => match[1]!))
    const routes = found(/\.route\(\s*"([^"]+)"/g)
    const kinds = found(/^\s*Self::.* => "(\w+)",$/gm)

    assert.isAbove(routes.length, 15)
    assert.isAbove(kinds.length, 20)
    // Two routes may share a heading, so the second one may end it.
    for (const route of routes) {
      const isThere = contract.includes(route) || contract.includes(`\`/${route.split("/").at(-1)}\``)
      assert.isTrue(isThere, `${route} is not described`)
    }
    for (const kind of kinds) assert.include(contract, `\`${kind}\``)
  })

  it("link every program of examples from the cookbook", () => {
    const programs = globSync("examples/*.ts", { cwd: root }).map((file) => file.replaceAll(path.sep, "/"))
    const linked = Documents.targetsOf("docs/cookbook.md", documents.get("docs/cookbook.md")!)

    assert.isAbove(programs.length, 3)
    assert.deepStrictEqual(
      programs.filter((file) => !linked.has(file)),
      []
    )
  })

  it("say once how stable each module is, and name every entry point", () => {
    const versions = documents.get("docs/versions.md")!
    const { exports } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"))
    const entries = DocExamples.entriesOf(exports)
    const modules = [...entries.values()].flatMap((file) => [
      ...DocExamples.modulesOf(file, readFileSync(path.join(root, file), "utf8")).keys()
    ])

    assert.deepStrictEqual(Documents.rated(versions).sort(), [...new Set(modules)].sort())
    for (const entry of entries.keys()) {
      assert.include(versions, `\n### \`${path.posix.join("piecewise", entry)}\`\n`, entry)
    }
  })

  it("name the versions that the package needs and writes", () => {
    const versions = documents.get("docs/versions.md")!
    const { engines, peerDependencies } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"))
    const [, resume] = /^const version = (\d+)$/m.exec(sources.get("src/resume/ResumeFile.ts")!)!

    assert.include(versions, `| Node | ${engines.node.replace(">=", "")} and later |`)
    assert.include(versions, `| Effect | ${peerDependencies.effect.replace(/^\^(\d+\.\d+)\.0$/, "$1")} and later`)
    assert.include(versions, `| Resume data in files | ${resume} |`)
  })

  it("list what is deprecated", () => {
    const deprecated = [...textsOf("src/**/*.ts").values()].filter((text) => text.includes("@deprecated"))
    const saysNothing = documents.get("docs/versions.md")!.includes("\nNothing is deprecated.\n")

    assert.strictEqual(saysNothing, deprecated.length === 0)
  })

  it("list exactly the options of every command", () => {
    const synopsis = blocks.find(({ file, code }) => file === "docs/command-line.md" && code.startsWith("piecewise "))!
    const shown = synopsis.code.split(/^(?=piecewise )/m).map((text) => {
      const [, name] = /^piecewise (\w+)/.exec(text)!
      return [name, [...text.matchAll(/--([\w-]+)/g)].map((match) => match[1]).sort()]
    })

    const known = Commands.all.map(({ name, options }) => [name, options.map((option) => option.name).sort()])

    assert.deepStrictEqual(shown, known)
  })
})

// Starts compilers and test runners, which are slow beside other tests.
describe("the programs of the documents", { timeout: 120_000 }, () => {
  let folder = ""
  const nameOf = (block: Documents.Block): string => Programs.nameOf(block, isTest(block) ? ".test.ts" : ".ts")

  beforeAll(async () => {
    folder = await Programs.write(blocksIn("ts"), nameOf)
  })

  afterAll(() => rm(folder, { recursive: true, force: true }))

  const start = (block: Documents.Block, ...args: ReadonlyArray<string>) =>
    run(process.execPath, ["--conditions=@piecewise/source", nameOf(block), ...args], { cwd: folder }).then(
      ({ stderr, stdout }) => ({ code: 0, output: stdout + stderr }),
      ({ code, stderr, stdout }: { code: number; stderr: string; stdout: string }) => ({
        code,
        output: stdout + stderr
      })
    )

  const first = Documents.blocksOf("README.md", readme).find(({ language }) => language === "ts")!

  it("compile with our strict options", async () => {
    const errors = await Programs.compile(folder)

    assert.strictEqual(errors, "")
  })

  it("pass if they are tests", async () => {
    await cp(path.join(root, "vitest.config.ts"), path.join(folder, "vitest.config.ts"))
    const files = blocksIn("ts")
      .filter(isTest)
      .map((block) => path.join(folder, nameOf(block)))

    const { stdout } = await run(path.join(bin, "vitest"), ["run", ...files], {
      cwd: root,
      env: { ...process.env, NO_COLOR: "1" }
    }).catch((error: { stdout: string }) => error)

    assert.isAbove(files.length, 0)
    assert.match(stdout, new RegExp(`Test Files {2}${files.length} passed`))
  })

  it("include one in the README that is also an example", () => {
    const example = readFileSync(path.join(root, "examples", "download.ts"), "utf8")

    assert.strictEqual(first.code, example.slice(example.indexOf("*/\n") + 3).trimStart())
  })

  it("include one in the README that reports a missing file", async () => {
    const { code, output } = await start(first, "nothing.torrent")

    assert.deepStrictEqual([code, output.trim()], [1, "nothing.torrent cannot be read"])
  })

  const makeTorrent = (name: string) =>
    Effect.runPromise(
      KnownTorrent.make({ name, files: [{ path: [], length: 70_000 }], pieceLength: 16_384 }).pipe(
        Effect.provide(NodePieceHasher.layer)
      )
    )

  it("include one in the README that reports that there are no peers", async () => {
    await writeFile(path.join(folder, "lonely.torrent"), (await makeTorrent("lonely.bin")).bytes)
    const child = spawn(process.execPath, ["--conditions=@piecewise/source", nameOf(first), "lonely.torrent"], {
      cwd: folder,
      stdio: ["ignore", "pipe", "inherit"]
    })
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve))

    const seen: Array<string> = []
    for await (const line of createInterface({ input: child.stdout })) {
      if (seen.push(line) === 1000 || line.includes("no peers")) break
    }
    child.kill("SIGINT")

    assert.strictEqual(seen.at(-1), "70000 bytes to go; no peers found yet")
    assert.strictEqual(await ended, 130)
  })

  it("include one in the README that reports when a download is complete", async () => {
    const known = await makeTorrent("seven.bin")
    await mkdir(path.join(folder, "downloads"), { recursive: true })
    await writeFile(path.join(folder, "downloads", "seven.bin"), known.fileContent(0))
    await writeFile(path.join(folder, "seven.torrent"), known.bytes)

    const { code, output } = await start(first, "seven.torrent")

    assert.strictEqual(code, 0, output)
    assert.match(output, /^complete: verified, and flushed to the disk$/m)
  })
})

describe("Documents", () => {
  const sample = new Map([
    ["README.md", "# One\n\n## It's `a` b\n\n[a](docs/a.md#there) [b](#its-a-b) [c](https://example.org/)\n"],
    ["docs/a.md", "# There\n\n[back](../README.md)\n"]
  ])
  const inSample = (file: string): boolean => sample.has(file)

  it("reports nothing for correct documents", () => {
    assert.deepStrictEqual(Documents.links(sample, inSample), [])
    assert.deepStrictEqual(Documents.unreachable(sample), [])
  })

  it("computes the same anchors as GitHub", () => {
    const anchors = Documents.anchorsOf(
      "# `POST /v1/sets/{id}/write`: store\n## Same\n## Same\n```\n# no heading\n```\n"
    )

    assert.deepStrictEqual([...anchors], ["post-v1setsidwrite-store", "same", "same-1"])
  })

  it.each([
    ["a missing file", "[x](gone.md)", /README.md:1 links to gone.md, which does not exist/],
    ["a missing heading", "[x](#gone)", /which has no such heading/],
    ["a file outside", "[x](../other/README.md)", /outside of the project/]
  ])("reports a link to %s", (_, text, expected) => {
    const [complaint] = Documents.links(new Map([["README.md", text]]), (file) => file === "README.md")

    assert.match(complaint!, expected)
  })

  it("finds the modules that a document rates, and nothing else", () => {
    const text =
      "| modules | are | stability |\n| --- | --- | --- |\n| `A`, `B` | values, unlike `C` | stable |\n| Node | 24 | 22 |\n"

    assert.deepStrictEqual(Documents.rated(text), ["A", "B"])
  })

  it("finds the files that a document links to", () => {
    assert.deepStrictEqual([...Documents.targetsOf("README.md", sample.get("README.md")!)], ["docs/a.md", "README.md"])
  })

  it("reports an unlinked document, and a path that does not exist", () => {
    const lonely = new Map([...sample, ["docs/b.md", "`src/Gone.ts`"]])

    assert.deepStrictEqual(Documents.unreachable(lonely), ["docs/b.md:1 is not linked from any document"])
    assert.deepStrictEqual(
      Documents.paths(lonely, () => false),
      ["docs/b.md:1 names src/Gone.ts, which does not exist"]
    )
  })

  it("reports a document that is named in a comment and does not exist", () => {
    const source = new Map([["src/A.ts", "/** As in design.md. */\nconst a = '/tmp/notes.md' // README.md\n"]])

    assert.deepStrictEqual(Documents.mentions(source, sample), [
      "src/A.ts:1 names design.md, which is not a document of the project"
    ])
  })

  const catalogue =
    "### Fault 1\n\nTests: [a](../test/A.test.ts)\n\n### Fault 2\n\nNot tested: there is no such thing.\n"

  it("reports numbers that no document describes", () => {
    const described = new Map([
      ["docs/faults.md", catalogue],
      ["docs/architecture.md", "### Law 12\n"]
    ])
    const source = new Map([
      ["test/A.test.ts", 'it("fault 1: a")\nit("faults 2, 3 and 4")\n'],
      ["tests/a.rs", "fn fault_5_a() {}\n// law 12, law 13, a default 6"]
    ])

    assert.deepStrictEqual(Documents.numbers(source, described), [
      "test/A.test.ts:2 names fault 3, which no document describes",
      "test/A.test.ts:2 names fault 4, which no document describes",
      "tests/a.rs:1 names fault 5, which no document describes",
      "tests/a.rs:2 names law 13, which no document describes"
    ])
  })

  it("reports faults whose tests do not carry their number, and faults that have tests and deny it", () => {
    const wrong = new Map([["test/A.test.ts", 'it("fault 2: a")']])
    const right = new Map([["test/A.test.ts", 'it("fault 1: a")']])

    assert.deepStrictEqual(Documents.heldFaults(catalogue, wrong), [
      "docs/faults.md: fault 1 names test/A.test.ts, which does not carry its number",
      "docs/faults.md: fault 2 is tested by test/A.test.ts"
    ])
    assert.deepStrictEqual(Documents.heldFaults(catalogue, right), [])
    assert.deepStrictEqual(Documents.heldFaults("### Fault 3\n\nTests: none\n", right), [
      "docs/faults.md: fault 3 names no test, and does not say that there is none"
    ])
  })
})
