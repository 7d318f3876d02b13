import { execFile } from "node:child_process"
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import * as path from "node:path"
import { promisify } from "node:util"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as NodePieceHasher from "../src/piece/NodePieceHasher.ts"
import * as KnownTorrent from "../src/testing/KnownTorrent.ts"

const run = promisify(execFile)
const root = path.resolve(import.meta.dirname, "..")
const modules = path.join(root, "node_modules")

/** The programs of the README, in order: whole program, two layers, test. */
const programs = async (): Promise<ReadonlyArray<string>> => {
  const text = await readFile(path.join(root, "README.md"), "utf8")
  return [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map((match) => match[1]!)
}

/** A folder of the checkout, so that the programs find the package by its name. */
let folder = ""

beforeAll(async () => {
  folder = await mkdtemp(path.join(root, "test", ".readme-"))
  const [program, inMemory, throughDaemon, property] = await programs()
  await writeFile(path.join(folder, "program.ts"), program!)
  await writeFile(path.join(folder, "inMemory.ts"), inMemory!)
  await writeFile(path.join(folder, "throughDaemon.ts"), throughDaemon!)
  await writeFile(path.join(folder, "property.test.ts"), property!)
})

afterAll(() => rm(folder, { recursive: true, force: true }))

describe("the README", () => {
  it("has programs that compile as strictly as ours", async () => {
    const config = { extends: path.join(root, "tsconfig.json"), include: ["*.ts"] }
    await writeFile(path.join(folder, "tsconfig.json"), JSON.stringify(config))

    const { stdout } = await run(path.join(modules, ".bin", "tsc"), ["-p", folder, "--noEmit"]).catch(
      (error: { stdout: string }) => error
    )

    assert.strictEqual(stdout, "")
  })

  it("has a program that runs", async () => {
    const known = await Effect.runPromise(
      KnownTorrent.make({ name: "seven.bin", files: [{ path: [], length: 70_000 }], pieceLength: 16_384 }).pipe(
        Effect.provide(NodePieceHasher.layer)
      )
    )
    await mkdir(path.join(folder, "downloads"))
    await writeFile(path.join(folder, "downloads", "seven.bin"), known.fileContent(0))
    await writeFile(path.join(folder, "seven.torrent"), known.bytes)

    const { stdout } = await run(process.execPath, ["--conditions=@piecewise/source", "program.ts", "seven.torrent"], {
      cwd: folder
    })

    const events = stdout
      .trim()
      .split("\n")
      .filter((event) => event !== "Checking" && event !== "SourceAnswered")
    assert.deepStrictEqual(events, ["Started", "Flushing", "Completed"])
  })

  it("has a test that passes", async () => {
    await cp(path.join(root, "vitest.config.ts"), path.join(folder, "vitest.config.ts"))

    const { stdout } = await run(path.join(modules, ".bin", "vitest"), ["run", path.join(folder, "property.test.ts")], {
      cwd: root,
      env: { ...process.env, NO_COLOR: "1" }
    }).catch((error: { stdout: string }) => error)

    assert.match(stdout, /Tests {2}1 passed/)
  })
})
