/**
 * Runs one torrent for a command and shows its progress until an event ends it: the shared part of `download` and
 * `seed`.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Engine from "../engine/Engine.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import type { TorrentEvent } from "../torrent/TorrentEvent.ts"
import type { TorrentStatus } from "../torrent/TorrentStatus.ts"
import * as Arguments from "./Arguments.ts"
import { CommandFailed } from "./CommandFailed.ts"
import * as DownloadDisplay from "./DownloadDisplay.ts"
import * as GivingUp from "./GivingUp.ts"
import type { JsonOutput } from "./JsonOutput.ts"
import type { Output } from "./Output.ts"

/** The kind of display. */
export type Show = "people" | "json" | "silent"

/** Where JSON is printed; `undefined` without `--json`. */
export type Json = JsonOutput | undefined

/**
 * Runs `program`, with `--json` between the first and the last line. What encodes JSON is loaded only then.
 */
export const withJson = <A, E extends { readonly message: string }, R>(
  show: Show,
  command: "download" | "seed",
  output: Output,
  program: (json: Json) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  show === "json"
    ? Effect.flatMap(
        Effect.promise(() => import("./JsonOutput.ts")),
        (JsonOutput) => JsonOutput.run(command, output, () => performance.now(), program)
      )
    : program(undefined)

/** Reads `--json` and `--quiet`. Fails with `WrongUsage`. */
export const readShow = Effect.fnUntraced(function* (args: Arguments.Arguments) {
  const asJson = Arguments.has(args, "json")
  const isQuiet = Arguments.has(args, "quiet")
  if (asJson && isQuiet) {
    return yield* Effect.fail(new Arguments.WrongUsage("--json and --quiet cannot be used together"))
  }
  const show: Show = asJson ? "json" : isQuiet ? "silent" : "people"
  return show
})

/** What is run, and how. */
export interface Options {
  readonly metainfo: Metainfo
  readonly engine: Layer.Layer<Engine.Engine, CommandFailed>
  readonly add: Engine.AddOptions
  readonly show: Show
  readonly json: Json
  /** Whether people are told the port, because they may have to pass it on. */
  readonly showsPort: boolean
  readonly output: Output
  /** How long it may go without progress; default: no limit. */
  readonly giveUp?: GivingUp.GiveUp | undefined
  /** How an event ends the command; `undefined` if it does not. */
  readonly outcomeOf: (event: TorrentEvent) => Exit.Exit<void, CommandFailed> | undefined
  /** What is kept after a signal, as a sentence for people; `undefined` if there is nothing to say. */
  readonly keptOf?: ((status: TorrentStatus) => string | undefined) | undefined
}

const displayOf = ({ json, show }: Pick<Options, "json" | "show">) => {
  if (json !== undefined) return DownloadDisplay.json(json)
  return show === "silent" ? DownloadDisplay.silent : DownloadDisplay.people
}

/**
 * Runs the torrent until an event ends the command. Events are read for longer than the torrent runs, so that pieces
 * stored while it stops are shown too.
 */
export const run = Effect.fnUntraced(function* ({ add, keptOf, metainfo, outcomeOf, output, ...options }: Options) {
  const seeds = add.seed !== undefined && add.seed !== false
  const display = displayOf(options)({ metainfo, output, seeds, now: () => performance.now() })
  const outcome = yield* Deferred.make<void, CommandFailed>()
  let listener: Fiber.Fiber<void> | undefined
  let last: Effect.Effect<TorrentStatus> | undefined

  const work = Effect.gen(function* () {
    const engine = Context.get(yield* Layer.build(options.engine), Engine.Engine)
    const showsPort = options.showsPort || options.show === "json"
    if (engine.listening !== undefined && showsPort) display.listen(engine.listening)
    const { completed, events, status } = yield* Effect.mapError(
      engine.add(metainfo, add),
      ({ message }) => new CommandFailed({ why: message })
    )
    last = status
    listener = yield* events.pipe(
      Stream.runForEachArray((batch) =>
        Effect.map(status, (now) => {
          display.report(batch, now)
          for (const event of batch) {
            const exit = outcomeOf(event)
            if (exit !== undefined) Deferred.doneUnsafe(outcome, exit)
          }
        })
      ),
      Effect.forkDetach({ startImmediately: true })
    )
    if (display.intervalMillis !== undefined) {
      yield* Effect.map(status, display.tick).pipe(
        // A terminal shows something at once. A log or a program gets no line for what is over within one interval.
        output.isTerminal ? Effect.tap(Effect.sleep(display.intervalMillis)) : Effect.delay(display.intervalMillis),
        Effect.forever,
        Effect.forkScoped
      )
    }
    // After a defect, `completed` dies with the original cause. The event only says that there was a defect.
    const defect = Effect.andThen(Effect.ignore(completed), Effect.never)
    const over = options.giveUp === undefined ? Effect.never : GivingUp.watch(status, options.giveUp)
    yield* Effect.raceAllFirst([Deferred.await(outcome), defect, over])
  })
  yield* Effect.scoped(work).pipe(
    Effect.tapError(({ why }) => Effect.sync(() => display.fail(why))),
    Effect.ensuring(Effect.suspend(() => (listener === undefined ? Effect.void : Fiber.await(listener)))),
    // The torrent has stopped, so this is all that is kept.
    Effect.onInterrupt(() =>
      last === undefined ? Effect.void : Effect.map(last, (status) => display.stop(status, keptOf?.(status)))
    )
  )
})
