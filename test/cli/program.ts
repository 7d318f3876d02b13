/**
 * Runs the command line as a child process, by this Node and from the sources, and makes temporary folders for it.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { assert } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as JsonLines from "../../src/cli/JsonLines.ts"
import type * as Output from "../../src/cli/Output.ts"
import type { TorrentStatus } from "../../src/torrent/TorrentStatus.ts"

export const main = path.resolve(import.meta.dirname, "..", "..", "src", "node", "main.ts")

/** A program's exit code, its output, and how long it ran. */
export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  readonly millis: number
}

/** A running program. */
export interface Running {
  readonly child: ChildProcessWithoutNullStreams
  readonly ended: Promise<Ended>
  /** Waits until standard output contains `text`, or matches it. Rejects if the program ends without it. */
  readonly wrote: (text: string | RegExp) => Promise<void>
}

/**
 * The command prefix with which file permissions apply to the program. Root ignores permissions unless it drops the
 * capability to override them.
 */
const withPermissions: ReadonlyArray<string> =
  process.getuid?.() === 0 ? ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] : []

/**
 * Starts `piecewise` with `args`. Its standard streams are pipes, and file permissions apply to it. It listens on this
 * machine only.
 */
export const start = (args: ReadonlyArray<string>, cwd?: string, env?: NodeJS.ProcessEnv): Running => {
  const began = performance.now()
  const [command, ...words] = [...withPermissions, process.execPath, main, ...args]
  const child = spawn(command!, words, {
    cwd,
    env: { ...process.env, LANG: "C.UTF-8", PIECEWISE_BIND: "127.0.0.1", ...env }
  })
  const read = { stdout: "", stderr: "" }
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      read[name] += text
    })
  }
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once("error", reject)
    child.once("close", (code) => resolve({ code, ...read, millis: performance.now() - began }))
  })
  const wrote = (text: string | RegExp) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        const isThere = typeof text === "string" ? read.stdout.includes(text) : text.test(read.stdout)
        if (isThere) resolve()
      }
      child.stdout.on("data", look)
      void ended.then((end) => reject(new Error(`ended with ${end.code} without ${text}: ${end.stderr}`)))
      look()
    })
  return { child, ended, wrote }
}

/** Runs `piecewise` to its end. */
export const run = (args: ReadonlyArray<string>, cwd?: string): Promise<Ended> => start(args, cwd).ended

/** Runs `piecewise` to its end, and kills it if the effect is interrupted. */
export const runScoped = (args: ReadonlyArray<string>, cwd?: string, env?: NodeJS.ProcessEnv) =>
  Effect.flatMap(startScoped(args, cwd, env), ({ ended }) => Effect.promise(() => ended))

/** Starts `piecewise`, and kills it when the scope closes. */
export const startScoped = (args: ReadonlyArray<string>, cwd?: string, env?: NodeJS.ProcessEnv) =>
  Effect.acquireRelease(
    Effect.sync(() => start(args, cwd, env)),
    ({ child, ended }) =>
      Effect.promise(() => {
        child.kill("SIGKILL")
        return ended
      })
  )

const makeFolder = () => mkdtemp(path.join(tmpdir(), "piecewise-cli-"))
const removeFolder = (folder: string) => rm(folder, { recursive: true, force: true })

/** A temporary folder that is removed when the scope closes. */
export const folderScoped = Effect.acquireRelease(Effect.promise(makeFolder), (folder) =>
  Effect.promise(() => removeFolder(folder))
)

/** Parses the lines of `--json`. */
export const eventsOf = (stdout: string): ReadonlyArray<Record<string, unknown>> =>
  stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const value = JSON.parse(line)
      // Every line is one of the contract, without any other field.
      decodeLine(value, { onExcessProperty: "error" })
      return value as Record<string, unknown>
    })

const decodeLine = Schema.decodeUnknownSync(Schema.toCodecJson(Schema.Union([JsonLines.Line, JsonLines.Result])))

/** The last line of a download or seed, with the parts of its status that tests look at. */
export const endedOf = (
  stdout: string
): {
  readonly exit: unknown
  readonly why: unknown
  readonly seconds: unknown
  readonly status: TorrentStatus
} => {
  const last = eventsOf(stdout).at(-1)!
  const { _tag } = last
  assert.strictEqual(_tag, "Ended")
  return last as never
}

/** An output that records what is written. */
export const fakeOutput = (terminal: boolean) => {
  const written = {
    printed: [] as Array<string>,
    notes: [] as Array<string>,
    drawn: [] as Array<ReadonlyArray<string>>,
    pages: [] as Array<ReadonlyArray<string>>
  }
  const output: Output.Output = {
    isTerminal: terminal,
    style: () => ({ columns: 60, color: false, unicode: true }),
    rows: () => 24,
    isBehind: () => false,
    print: (lines) => void written.printed.push(...lines),
    note: (text) => void written.notes.push(text),
    draw: (lines) => void written.drawn.push(lines),
    page: (lines) => void written.pages.push(lines),
    release: () => {}
  }
  return { output, written }
}
