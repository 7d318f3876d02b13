/**
 * Runs commands when a torrent of a session is complete for the first time.
 *
 * What is run is chosen where the program is configured, and never by whoever adds torrents. The names of a torrent come
 * from strangers, so they are given as whole values of variables of the environment, and are never a part of a command
 * line: there is no shell.
 *
 * A hook runs at least once for each torrent. That it is due is saved together with the completion, and that it has run
 * when it has ended, in whatever way. So a process that is killed meanwhile runs it again the next time. A hook that fails
 * changes nothing of the torrent, and is not tried again.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as ChildProcess from "effect/process/ChildProcess"
import type { ChildProcessSpawner } from "effect/process/ChildProcessSpawner"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as InfoHash from "../base/InfoHash.ts"
import { Session } from "./Session.ts"
import type { SessionStatus } from "./SessionStatus.ts"

/**
 * A command that is run when a torrent is complete. It reads which torrent that is from `PIECEWISE_INFO_HASH` (in hex),
 * `PIECEWISE_NAME`, `PIECEWISE_FOLDER` (the path of its download folder) and `PIECEWISE_LABELS` (one a line).
 */
export interface Hook {
  /** A program: a path, or a name that is looked for in `PATH`. */
  readonly command: string
  /** Its arguments, as they are. Default none. */
  readonly args?: ReadonlyArray<string> | undefined
  /** Only for torrents that have one of these labels. Default: for every torrent. */
  readonly labels?: ReadonlyArray<string> | undefined
  /** How long it may take; default that of all of them. */
  readonly timeLimit?: Duration.Input | undefined
}

/** How hooks are run. */
export interface Options {
  /** Those that are for a torrent are run one after the other. */
  readonly hooks: ReadonlyArray<Hook>
  /** The download folder of torrents that have none of their own. */
  readonly directory: string
  /** For how many torrents at once. Others wait. Default 2. */
  readonly atOnce?: number | undefined
  /** How long a command may take before it is ended, with everything that it has started. Default 10 minutes. */
  readonly timeLimit?: Duration.Input | undefined
}

/** How many bytes of the end of the standard error output are logged. */
const maxErrorBytes = 2_000

/** How long a command that is asked to end may take for that. A service must stop in 3 seconds. */
const killAfter = "500 millis"

/** How long the output of a command is waited for after its end, which a process that it has left may keep open. */
const outputAfter = "200 millis"

/** Secrets of this process that no command needs. */
const secrets: ReadonlyArray<string> = ["PIECEWISE_IO_DAEMON_TOKEN", "PIECEWISE_SERVICE_TOKEN"]

/** The variables that name the torrent to a command. It has the other variables of this process too. */
const ofTorrent = (directory: string, { infoHash, labels, name }: SessionStatus) => {
  // No variable can have a NUL. It is in no name that is shown, but a name of an earlier version may have one.
  const text = (value: string): string => value.replaceAll("\0", "\ufffd")
  return {
    PIECEWISE_INFO_HASH: InfoHash.toHex(infoHash),
    PIECEWISE_NAME: text(name),
    PIECEWISE_FOLDER: text(directory),
    // No name of a label has a line end.
    PIECEWISE_LABELS: text(labels.join("\n"))
  }
}

/** The end of what a stream has, as text. */
const endOf = <E>(stream: Stream.Stream<Uint8Array, E>): { readonly read: Effect.Effect<void>; text: () => string } => {
  let end = new Uint8Array()
  const add = (bytes: Uint8Array) =>
    Effect.sync(() => {
      const joined = new Uint8Array(end.length + bytes.length)
      joined.set(end)
      joined.set(bytes, end.length)
      end = joined.slice(-maxErrorBytes)
    })
  return { read: Effect.ignore(Stream.runForEach(stream, add)), text: () => new TextDecoder().decode(end).trim() }
}

/** Runs one command to its end. Logs how that was, and never fails. */
const run = (
  { args = [], command }: Hook,
  environment: ReturnType<typeof ofTorrent>,
  timeLimit: Duration.Input
): Effect.Effect<void, never, ChildProcessSpawner> =>
  Effect.scoped(
    Effect.gen(function* () {
      const child = yield* ChildProcess.make(command, args, {
        env: { ...Object.fromEntries(secrets.map((name) => [name, undefined])), ...environment },
        extendEnv: true,
        shell: false,
        stdin: "ignore",
        stdout: "ignore",
        stderr: "pipe",
        killSignal: "SIGTERM",
        forceKillAfter: killAfter
      })
      const errors = endOf(child.stderr)
      const reading = yield* Effect.forkScoped(errors.read, { startImmediately: true })
      const exit = yield* Effect.timeoutOption(child.exitCode, timeLimit)
      if (Option.isSome(exit)) yield* Effect.timeoutOption(Fiber.await(reading), outputAfter)
      const facts = { command, error: errors.text() }
      if (Option.isNone(exit)) {
        return yield* Effect.logWarning("a completion hook took too long, and is ended", facts)
      }
      if (exit.value === 0) return yield* Effect.logInfo("a completion hook has ended", facts)
      return yield* Effect.logWarning("a completion hook has failed", { ...facts, exitCode: Number(exit.value) })
    })
  ).pipe(
    Effect.catch(({ message }) => Effect.logWarning("a completion hook could not be run", { command, error: message })),
    Effect.annotateLogs({ infoHash: environment.PIECEWISE_INFO_HASH })
  )

/** Runs the hooks of a session until the scope closes, which ends those that run. They run again the next time. */
export const make = Effect.fnUntraced(function* ({
  atOnce = 2,
  directory,
  hooks,
  timeLimit = "10 minutes"
}: Options): Effect.fn.Return<void, never, Session | Path.Path | ChildProcessSpawner | Scope.Scope> {
  if (hooks.length === 0) return
  const session = yield* Session
  const path = yield* Path.Path
  const context = yield* Effect.context<ChildProcessSpawner>()
  const permits = yield* Semaphore.make(atOnce)
  yield* session.onCompleted((status) => {
    const { folder } = status.options
    const environment = ofTorrent(path.resolve(directory, folder ?? ""), status)
    const chosen = hooks.filter(
      ({ labels }) => labels === undefined || labels.some((name) => status.labels.includes(name))
    )
    const running = Effect.forEach(chosen, (hook) => run(hook, environment, hook.timeLimit ?? timeLimit), {
      discard: true
    })
    return permits.withPermit(Effect.provideContext(running, context))
  })
})

/** Runs the hooks of a session. */
export const layer = (options: Options): Layer.Layer<never, never, Session | Path.Path | ChildProcessSpawner> =>
  Layer.effectDiscard(make(options))
