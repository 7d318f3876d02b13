/**
 * Runs a command to its end and makes an exit code of it: 0 when it succeeded, 1 when it failed, 2 for a wrong command
 * line, 130 when it was stopped by a signal, 1 or 141 when its output could not be written (`ProcessOutput.ts`).
 *
 * The first signal interrupts the command, which tidies up; the second ends the process at once. After a signal, output that
 * nobody reads is waited for no longer than a moment.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Arguments from "./Arguments.ts"
import type { CommandFailed } from "./CommandFailed.ts"
import type * as Output from "./Output.ts"
import type { ProcessOutput } from "./ProcessOutput.ts"

/** A command fails in one of these ways. */
export type Failure = CommandFailed | Arguments.WrongUsage

/** Exit codes besides 0 and `Arguments.wrongUsageCode`. */
export const codes = { failed: 1, stopped: 130 } as const

/**
 * A second signal within this time is the same key pressed once, in milliseconds: a terminal signals the whole group,
 * and npm passes on what it got itself.
 */
const echoMillis = 300

/** How long output may take to leave the process after a signal, in milliseconds: one who reads needs less. */
const flushMillis = 1_000

/** Logs of libraries, which would else be mixed into the results. */
const toNotes = (output: Output.Output) =>
  Logger.layer([Logger.make(({ message }) => output.note([message].flat().map(String).join(" ")))])

/** Runs `program` as the whole of this process, which ends with it. */
export const run = (program: Effect.Effect<void, Failure>, command: string, output: ProcessOutput): void => {
  let stoppedBy: number | undefined
  let stoppedAt = 0
  let hasEnded = false
  const fiber = Effect.runFork(program.pipe(Effect.provide(toNotes(output))))

  const stop = (code: number): void => {
    stoppedBy ??= code
    fiber.interruptUnsafe()
  }
  const leaveSoon = () => setTimeout(() => process.exit(codes.stopped), flushMillis)
  const onSignal = (): void => {
    const now = performance.now()
    if (stoppedBy === undefined) {
      stoppedAt = now
      stop(codes.stopped)
      if (hasEnded) leaveSoon()
    } else if (now - stoppedAt > echoMillis) {
      process.exit(codes.stopped)
    }
  }
  process.on("SIGINT", onSignal)
  process.on("SIGTERM", onSignal)
  process.on("SIGHUP", onSignal)
  output.onFailed(stop)

  fiber.addObserver((exit) => {
    hasEnded = true
    output.release()
    const code = stoppedBy ?? report(exit, command, output)
    process.exitCode = code
    if (stoppedBy === codes.stopped) leaveSoon()
    output.flush(() => process.exit(stoppedBy ?? code))
  })
}

/** Tells a failure; gives the exit code. */
const report = (exit: Exit.Exit<void, Failure>, command: string, output: Output.Output): number => {
  if (Exit.isSuccess(exit)) return 0
  const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
  if (error instanceof Arguments.WrongUsage) {
    output.note(Arguments.complaint(command, error.message))
    return Arguments.wrongUsageCode
  }
  if (error !== undefined) {
    output.note(`piecewise: ${error.message}`)
    return codes.failed
  }
  const { PIECEWISE_DEBUG } = process.env
  const defect = Cause.squash(exit.cause)
  const what = defect instanceof Error ? defect.message : String(defect)
  output.note(`piecewise: this is a mistake in piecewise: ${what} (PIECEWISE_DEBUG=1 tells where)`)
  if (PIECEWISE_DEBUG) for (const line of Cause.pretty(exit.cause).split("\n")) output.note(line)
  return codes.failed
}
