/** Processes that hold locks: Node's, and the io-daemon's module in the example `writer_locks` of its crate. */
import * as ChildProcess from "node:child_process"
import * as NFS from "node:fs"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** A process that was started to hold locks. */
export interface Holder {
  readonly pid: number
  /** `held`, or why it holds nothing. */
  readonly said: string
  readonly kill: (signal: NodeJS.Signals) => void
  /** Makes it release its locks and end; also waits for one that was killed. */
  readonly end: Effect.Effect<void>
}

const fileOf = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** The command of a holder in Node. */
export const node: ReadonlyArray<string> = [process.execPath, fileOf("programs/hold-locks.ts")]

// Written by `cargo test`, `cargo build --examples`, and the latter with `--release`.
const builds = ["debug", "release"].map((profile) =>
  fileOf(`../../native-host/target/${profile}/examples/writer_locks`)
)

/** The command of a holder of the io-daemon's crate; `undefined` if it is not built. */
export const daemon: ReadonlyArray<string> | undefined = builds.filter(NFS.existsSync).map((program) => [program])[0]

/** Starts a holder of `paths` and waits for its answer. It is killed with the scope if it still runs. */
export const start = (
  command: ReadonlyArray<string>,
  directory: string,
  ...paths: ReadonlyArray<string>
): Effect.Effect<Holder, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Holder>((resume) => {
      const [program, ...words] = command
      const child = ChildProcess.spawn(program!, [...words, directory, ...paths], {
        stdio: ["pipe", "pipe", "inherit"]
      })
      const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()))
      child.stdin.on("error", () => {})
      let said = ""
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        said += text
        if (!said.includes("\n")) return
        const holder: Holder = {
          pid: child.pid!,
          said: said.trim(),
          kill: (signal) => void child.kill(signal),
          end: Effect.andThen(
            Effect.sync(() => void child.stdin.end()),
            Effect.promise(() => ended)
          )
        }
        resume(Effect.succeed(holder))
      })
      child.once("exit", (code) => resume(Effect.die(new Error(`the holder ended with ${code} and said nothing`))))
    }),
    (holder) =>
      Effect.andThen(
        Effect.sync(() => holder.kill("SIGKILL")),
        holder.end
      )
  )
