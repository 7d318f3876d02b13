/** A headless Chromium as a scoped child process. */
import * as ChildProcess from "node:child_process"
import { existsSync } from "node:fs"
import * as Path from "node:path"
import * as Readline from "node:readline"
import type * as Streams from "node:stream"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { temporaryFolder } from "../storage/disk.ts"

const { CHROMIUM, PATH = "" } = process.env

const names = ["chromium", "chromium-browser", "google-chrome"]

/** The browser's path: the variable `CHROMIUM`, or the first on the `PATH`; `undefined` if there is none. */
export const program: string | undefined = [
  ...(CHROMIUM === undefined ? [] : [CHROMIUM]),
  ...names.flatMap((name) => PATH.split(Path.delimiter).map((folder) => Path.join(folder, name)))
].find((path) => existsSync(path))

const flags = [
  "--headless",
  // The sandbox needs rights that root in a container does not have. The browser opens only our own pages.
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // The console output of pages goes to standard error.
  "--enable-logging=stderr",
  // Accepts commands on descriptor 3, and ends when that closes, so it does not outlive tests that are killed.
  "--remote-debugging-pipe"
]

/** Lines of console output that are kept, to explain why a page failed. */
const maxConsoleLines = 20

/** The browser ended by itself, or did not start. */
export class BrowserEnded extends Data.TaggedError("BrowserEnded")<{ readonly how: string }> {
  override get message() {
    return `Chromium: ${this.how}`
  }
}

export interface Browser {
  /** Opens the page in a new tab. The page itself must report its results. */
  readonly open: (url: string) => Effect.Effect<void>
  /** Fails when the browser ends. */
  readonly ended: Effect.Effect<never, BrowserEnded>
  /** The last lines of the pages' console output. */
  readonly console: Effect.Effect<string>
}

/** Starts a browser with a temporary profile. Both are removed when the scope closes. */
export const make = Effect.gen(function* () {
  const profile = yield* temporaryFolder
  const ended = Deferred.makeUnsafe<string>()
  const lines: Array<string> = []

  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const child = ChildProcess.spawn(program ?? names[0]!, [...flags, `--user-data-dir=${profile}`], {
        // A process group, so that all its processes can be ended at once.
        detached: true,
        stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"]
      })
      Readline.createInterface({ input: child.stderr! }).on("line", (line) => {
        if (line.includes(":CONSOLE")) lines.push(line)
        if (lines.length > maxConsoleLines) lines.shift()
      })
      child.on("error", (error) => Deferred.doneUnsafe(ended, Exit.succeed(error.message)))
      // Emitted after all processes that hold its standard error have ended, so none can still write to the profile.
      child.on("close", (code, signal) => Deferred.doneUnsafe(ended, Exit.succeed(`it ended with ${signal ?? code}`)))
      return child
    }),
    (child) =>
      Effect.suspend(() => {
        const isRunning = child.pid !== undefined && child.exitCode === null && child.signalCode === null
        if (isRunning) process.kill(-child.pid, "SIGKILL")
        return Deferred.await(ended)
      })
  )
  const commands = child.stdio[3] as Streams.Writable
  const answers = child.stdio[4] as Streams.Readable
  answers.resume()
  // The end of the browser is reported through `ended`, so errors of its pipe are ignored.
  commands.on("error", () => {})
  let commandId = 0

  const browser: Browser = {
    // The Chrome DevTools Protocol over a pipe: JSON, a NUL after each message.
    open: (url) =>
      Effect.sync(() => {
        commands.write(`${JSON.stringify({ id: ++commandId, method: "Target.createTarget", params: { url } })}\0`)
      }),
    ended: Effect.flatMap(Deferred.await(ended), (how) => Effect.fail(new BrowserEnded({ how }))),
    console: Effect.sync(() => lines.join("\n"))
  }
  return browser
})
