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

/** An expression threw in a page, or its promise was rejected. */
export class ExpressionFailed extends Data.TaggedError("ExpressionFailed")<{ readonly why: string }> {
  override get message() {
    return this.why
  }
}

/** An open page. */
export interface Tab {
  /** Evaluates an expression in the page, as after a click of the user, awaits it, and returns its value as JSON. */
  readonly evaluate: (expression: string) => Effect.Effect<unknown, ExpressionFailed>
}

export interface Browser {
  /** Opens the page in a new tab. It has begun to load then. */
  readonly open: (url: string) => Effect.Effect<Tab>
  /** Fails when the browser ends. */
  readonly ended: Effect.Effect<never, BrowserEnded>
  /** The last lines of the pages' console output. */
  readonly console: Effect.Effect<string>
}

/** Calls a method of the Chrome DevTools Protocol, in a session with a page if there is one. Its errors are defects. */
// biome-ignore lint/suspicious/noExplicitAny: what a method returns depends on the method
type Call = (method: string, params: object, sessionId?: string) => Effect.Effect<any>

/** The Chrome DevTools Protocol over a pipe: JSON, a NUL after each message. */
const devTools = (commands: Streams.Writable, answers: Streams.Readable): Call => {
  const waiting = new Map<number, (answer: { readonly result?: object; readonly error?: object }) => void>()
  let received = ""
  answers.setEncoding("utf8").on("data", (text: string) => {
    const messages = (received + text).split("\0")
    received = messages.pop()!
    for (const message of messages) {
      const answer = JSON.parse(message)
      waiting.get(answer.id)?.(answer)
    }
  })
  // The end of the browser is reported through `ended`, so errors of its pipe are ignored.
  commands.on("error", () => {})
  let id = 0
  return (method, params, sessionId) =>
    Effect.callback((resume) => {
      const call = ++id
      waiting.set(call, ({ error, result }) => {
        waiting.delete(call)
        resume(
          error === undefined ? Effect.succeed(result) : Effect.die(new Error(`${method}: ${JSON.stringify(error)}`))
        )
      })
      commands.write(`${JSON.stringify({ id: call, method, params, sessionId })}\0`)
      return Effect.sync(() => waiting.delete(call))
    })
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
  const call = devTools(child.stdio[3] as Streams.Writable, child.stdio[4] as Streams.Readable)

  const tab = (targetId: unknown): Tab => ({
    evaluate: Effect.fnUntraced(function* (expression) {
      const { sessionId } = yield* call("Target.attachToTarget", { targetId, flatten: true })
      const options = { awaitPromise: true, returnByValue: true, userGesture: true }
      const { exceptionDetails: failure, result } = yield* call(
        "Runtime.evaluate",
        { expression, ...options },
        sessionId
      )
      yield* call("Target.detachFromTarget", { sessionId })
      if (failure === undefined) return result.value
      return yield* new ExpressionFailed({ why: failure.exception?.description ?? failure.text })
    })
  })

  const browser: Browser = {
    open: (url) => Effect.map(call("Target.createTarget", { url }), ({ targetId }) => tab(targetId)),
    ended: Effect.flatMap(Deferred.await(ended), (how) => Effect.fail(new BrowserEnded({ how }))),
    console: Effect.sync(() => lines.join("\n"))
  }
  return browser
})
