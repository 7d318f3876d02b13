/**
 * Runs an io-daemon as a child process within a scope. Starts it from its program, restarts it when it ends, and ends
 * it when the scope closes.
 *
 * Each start makes a new token and uses a free port. The daemon reads the token from its standard input, so that the
 * token is in no list of processes and in no environment. The input stays open until the scope closes. It also ends if
 * this process is killed, and then the daemon ends by itself.
 *
 * The daemon leads a process group of its own. Otherwise Ctrl-C in a terminal would end it at once, although torrents
 * still have to write.
 */
import * as ChildProcess from "node:child_process"
import * as Crypto from "node:crypto"
import * as Readline from "node:readline"
import type * as Stream from "node:stream"
import * as Config from "effect/Config"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Environment from "../../base/Environment.ts"
import * as Monotonic from "../../base/Monotonic.ts"
import { type Endpoint, IoDaemon, IoDaemonUnavailable } from "../IoDaemon.ts"
import * as IoDaemonProtocol from "../IoDaemonProtocol.ts"

/** The options with which a daemon is started. */
export interface IoDaemonProcessOptions {
  /** The path of the program `piecewise-io-daemon`. */
  readonly program: string
  /**
   * The folders below which the daemon may read and write, by the names of their roots. At the first start the daemon
   * makes folders that do not exist, and marks each by a file in its folder `.piecewise`. A restarted daemon makes
   * none, because a folder that has vanished since is probably on a drive that is not connected.
   */
  readonly roots: Readonly<Record<string, string>>
  /** The origins of web pages that may send requests to it. By default any page that knows the token may. */
  readonly allowOrigins?: ReadonlyArray<string> | undefined
}

/** How long a daemon may take to report that it accepts connections. It usually takes 10 ms. */
export const startTimeout = "10 seconds"

/** How long a daemon may take to end after SIGTERM before it is killed. */
export const stopTimeout = "2 seconds"

/**
 * How long a daemon must have run to be restarted without delay when it ends, in milliseconds. After a shorter life it
 * would probably end again, so the restart waits.
 */
export const shortLife = 100

/**
 * The first wait after a daemon that did not start or ran too briefly, in milliseconds. The wait doubles each time, up
 * to `maxDelay`.
 */
export const firstDelay = 50

/** The longest wait before a restart, in milliseconds. */
export const maxDelay = 5_000

/** Starts a daemon, and restarts it until the scope closes. Fails if the first start fails. */
export const make = Effect.fnUntraced(function* (options: IoDaemonProcessOptions) {
  // Holds the endpoint of the running daemon, or why the last start failed. It is pending while a daemon is started.
  let current = Deferred.makeUnsafe<Endpoint, IoDaemonUnavailable>()
  let rootsAreKnown = false

  /** Runs one daemon from its start to its end. Succeeds when the daemon ends, and fails if it did not start. */
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
      // A defect or an interruption ends the supervision.
      if (Exit.isFailure(exit) && error === undefined) return yield* exit
      const lived = (yield* Monotonic.now) - begun
      if (error === undefined) current = Deferred.makeUnsafe()
      if (error === undefined && lived >= shortLife) {
        delay = firstDelay
        continue
      }
      // Whoever asks for the endpoint during this wait fails with the error. Whoever asks later waits for the next
      // start.
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

/** Makes the service with a daemon that runs for as long as the layer exists. */
export const layer = (options: IoDaemonProcessOptions): Layer.Layer<IoDaemon, IoDaemonUnavailable> =>
  Layer.effect(IoDaemon, make(options))

/**
 * Reads `PIECEWISE_IO_DAEMON`, the path of the program, and `PIECEWISE_IO_DAEMON_ROOTS`, as in `downloads=/srv/torrents`
 * with commas between several, which must be set, and `PIECEWISE_IO_DAEMON_ORIGINS` with commas between them
 * (docs/configuration.md).
 */
export const fromEnvironment = (): Config.Config<IoDaemonProcessOptions> =>
  Config.all({
    program: Environment.text("PIECEWISE_IO_DAEMON"),
    roots: Environment.record("PIECEWISE_IO_DAEMON_ROOTS", "names of roots and their folders, such as downloads=/srv"),
    allowOrigins: Environment.optional(Environment.list("PIECEWISE_IO_DAEMON_ORIGINS"))
  })

/** Makes the service with a daemon that is started as `config` says. Fails with `ConfigError` if a value is bad. */
export const layerConfig = (
  config: Config.Wrap<IoDaemonProcessOptions> = fromEnvironment()
): Layer.Layer<IoDaemon, IoDaemonUnavailable | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap<IoDaemonProcessOptions>(config), layer))

/** A running daemon. */
interface Child {
  /** Waits until the daemon listens, and returns its port. Fails if it ends before. */
  readonly port: Effect.Effect<number, IoDaemonUnavailable>
  /** Waits until the daemon has ended, and returns how, as the end of a sentence. */
  readonly exited: Effect.Effect<string>
}

/** What differs between the first start and each restart. */
interface Life {
  readonly token: string
  /** Whether an earlier daemon has opened the roots, so that this one makes no folder. */
  readonly rootsAreKnown: boolean
}

const argumentsOf = ({ allowOrigins = [], roots }: IoDaemonProcessOptions, life: Life): ReadonlyArray<string> => [
  "--port=0",
  ...Object.entries(roots).map(([name, directory]) => `--root=${name}=${directory}`),
  ...allowOrigins.map((origin) => `--allow-origin=${origin}`),
  ...(life.rootsAreKnown ? ["--known-roots"] : [])
]

const decodeStarted = Schema.decodeUnknownOption(Schema.fromJsonString(IoDaemonProtocol.Started))

/** Starts the program until the scope closes. Returns at once, before the daemon listens. */
const spawn = Effect.fnUntraced(function* (options: IoDaemonProcessOptions, life: Life) {
  const exited = Deferred.makeUnsafe<string>()
  const port = Deferred.makeUnsafe<number, IoDaemonUnavailable>()
  // The last line that the daemon wrote to standard error, which is its reason if it does not start.
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
      // The daemon prefers a token in this variable to the one that it is sent. It would not watch its input then.
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
      // Writing fails if the daemon has already ended. `onEnd` reports that, so the error itself is not needed.
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

const eachLine = (stream: Stream.Readable, onLine: (line: string) => void): void => {
  Readline.createInterface({ input: stream }).on("line", onLine)
}
