/**
 * The io-daemon as a scoped resource: started from its program, restarted when it dies, ended with the scope.
 *
 * Each start makes a new token, which the daemon reads from its standard input, so that it is in no list of processes
 * and in no environment; each start finds a free port. The input stays open for as long as this process lives: a daemon
 * whose parent was killed ends by itself. It is the leader of a process group, because Ctrl-C in a terminal would
 * otherwise end it before the torrents that still write.
 */
import * as ChildProcess from "node:child_process"
import * as Crypto from "node:crypto"
import * as Readline from "node:readline"
import type * as Stream from "node:stream"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Monotonic from "../../base/Monotonic.ts"
import { type Endpoint, IoDaemon, IoDaemonUnavailable } from "../IoDaemon.ts"
import * as IoDaemonProtocol from "../IoDaemonProtocol.ts"

/** How a daemon is started. */
export interface IoDaemonProcessOptions {
  /** Path of the program `piecewise-io-daemon`. */
  readonly program: string
  /**
   * Folders below which it may read and write, by their names. Made, and marked by a file in `.piecewise`, at the first
   * start. A restarted daemon makes none: a folder that is gone by then is on a drive that is away.
   */
  readonly roots: Readonly<Record<string, string>>
  /** Origins of pages that may send requests to it; default: any that know the token. */
  readonly allowOrigins?: ReadonlyArray<string> | undefined
}

/** How long a daemon may take to report that it accepts connections. It takes 10 ms. */
export const startTimeout = "10 seconds"

/** How long a daemon may take to end after it was asked to, before it is killed. */
export const stopTimeout = "2 seconds"

/**
 * A daemon that lived for this long is replaced at once when it dies (milliseconds); after a shorter life it would only
 * die again.
 */
export const shortLife = 100

/** First wait after a start that failed or lived too briefly (milliseconds); doubles up to `maxDelay`. */
export const firstDelay = 50

/** The longest wait before another start (milliseconds). */
export const maxDelay = 5_000

/** Starts a daemon; fails if the first start does. */
export const make = Effect.fnUntraced(function* (options: IoDaemonProcessOptions) {
  let current = Deferred.makeUnsafe<Endpoint, IoDaemonUnavailable>()
  let rootsAreKnown = false

  /** One life of the daemon, from its start to its end. */
  const live = Effect.fnUntraced(function* () {
    const token = Crypto.randomBytes(32).toString("base64url")
    const child = yield* spawn(options, { token, rootsAreKnown })
    const port = yield* child.port.pipe(
      Effect.timeoutOrElse({
        duration: startTimeout,
        orElse: () => Effect.fail(new IoDaemonUnavailable({ why: "it did not start in time" }))
      })
    )
    rootsAreKnown = true
    Deferred.doneUnsafe(current, Exit.succeed({ url: `http://127.0.0.1:${port}`, token: Redacted.make(token) }))
    yield* Effect.logDebug(`the io-daemon ${yield* child.exited}, and is started again`)
  }, Effect.scoped)

  const supervise = Effect.gen(function* () {
    for (let delay = firstDelay; ; ) {
      const begun = yield* Monotonic.now
      const exit = yield* Effect.exit(live())
      const error = Option.getOrUndefined(Exit.findErrorOption(exit))
      if (Exit.isFailure(exit) && error === undefined) return yield* exit
      const lived = (yield* Monotonic.now) - begun
      if (error === undefined) current = Deferred.makeUnsafe()
      if (error === undefined && lived >= shortLife) {
        delay = firstDelay
        continue
      }
      // Callers during the wait learn why; callers after it wait for the next start.
      if (error !== undefined) Deferred.doneUnsafe(current, Exit.fail(error))
      yield* Effect.sleep(delay)
      delay = Math.min(maxDelay, delay * 2)
      if (error !== undefined) current = Deferred.makeUnsafe()
    }
  })

  yield* Effect.forkScoped(supervise)
  yield* Deferred.await(current)
  return IoDaemon.of({ endpoint: Effect.suspend(() => Deferred.await(current)) })
})

/** A daemon of this process, for as long as the layer exists. */
export const layer = (options: IoDaemonProcessOptions): Layer.Layer<IoDaemon, IoDaemonUnavailable> =>
  Layer.effect(IoDaemon, make(options))

interface Child {
  /** The port it listens on, once it does; fails if it ends before. */
  readonly port: Effect.Effect<number, IoDaemonUnavailable>
  /** How it ended, as the end of a sentence. */
  readonly exited: Effect.Effect<string>
}

/** What distinguishes one life of the daemon from others. */
interface Life {
  readonly token: string
  /** Whether an earlier daemon has opened the roots. */
  readonly rootsAreKnown: boolean
}

const argumentsOf = ({ allowOrigins = [], roots }: IoDaemonProcessOptions, life: Life): ReadonlyArray<string> => [
  "--port=0",
  ...Object.entries(roots).map(([name, directory]) => `--root=${name}=${directory}`),
  ...allowOrigins.map((origin) => `--allow-origin=${origin}`),
  ...(life.rootsAreKnown ? ["--known-roots"] : [])
]

const decodeStarted = Schema.decodeUnknownOption(Schema.fromJsonString(IoDaemonProtocol.Started))

const spawn = Effect.fnUntraced(function* (options: IoDaemonProcessOptions, life: Life) {
  const exited = Deferred.makeUnsafe<string>()
  const port = Deferred.makeUnsafe<number, IoDaemonUnavailable>()
  let complaint: string | undefined

  const onStarted = (line: string) => {
    const started = decodeStarted(line)
    if (Option.isSome(started)) Deferred.doneUnsafe(port, Exit.succeed(started.value.port))
  }
  const onEnd = (how: string) => {
    Deferred.doneUnsafe(port, Exit.fail(new IoDaemonUnavailable({ why: complaint ?? `it ${how}` })))
    Deferred.doneUnsafe(exited, Exit.succeed(how))
  }

  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const { PIECEWISE_IO_DAEMON_TOKEN: _, ...env } = process.env
      const child = ChildProcess.spawn(options.program, argumentsOf(options, life), {
        stdio: "pipe",
        detached: true,
        env
      })
      eachLine(child.stdout, onStarted)
      eachLine(child.stderr, (line) => {
        complaint = line
      })
      child.on("error", (error) => onEnd(`could not be started: ${options.program} (${codeOf(error)})`))
      child.on("close", (code, signal) => onEnd(signal === null ? `ended with ${code}` : `was ended by ${signal}`))
      // If the daemon has already died, its end is the reason.
      child.stdin.on("error", () => {})
      child.stdin.write(`${life.token}\n`)
      return child
    }),
    (child) =>
      Effect.suspend(() => {
        child.stdin.end()
        child.kill("SIGTERM")
        return Deferred.await(exited).pipe(
          Effect.timeoutOrElse({
            duration: stopTimeout,
            orElse: () => {
              child.kill("SIGKILL")
              return Deferred.await(exited)
            }
          })
        )
      })
  )
  const child: Child = { port: Deferred.await(port), exited: Deferred.await(exited) }
  return child
})

const codeOf = (error: NodeJS.ErrnoException): string => error.code ?? error.message

const eachLine = (stream: Stream.Readable, tell: (line: string) => void): void => {
  Readline.createInterface({ input: stream }).on("line", tell)
}
