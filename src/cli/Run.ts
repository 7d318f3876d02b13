/**
 * Runs a command to its end and maps the result to an exit code: 0 for success, 1 for failure, 2 for a wrong command
 * line, 130 if a signal stopped it, or 0 if that was SIGTERM and it is a service, and 1 or 141 if its output could not be
 * written (`ProcessOutput.ts`).
 *
 * The first signal interrupts the command, which cleans up. The second one ends the process at once. After a signal,
 * output that nobody reads delays the end by `flushMillis` at most.
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

/** The errors of a command. */
export type Failure = CommandFailed | Arguments.WrongUsage

/** Exit codes besides 0 and `Arguments.wrongUsageCode`. */
export const codes = { failed: 1, stopped: 130 } as const

/**
 * In milliseconds. A second signal within this time comes from the same key press: a terminal signals the whole process
 * group, and npm forwards the signal that it received.
 */
const echoMillis = 300

/** How long output may take to leave the process after a signal, in milliseconds. An active reader needs less. */
const flushMillis = 1_000

/** Prints the logs of libraries as notes, so that they do not mix with the results. */
const toNotes = (output: Output.Output) =>
  Logger.layer([Logger.make(({ message }) => output.note([message].flat().map(String).join(" ")))])

/** Runs `program`, and exits the process when it ends. */
export const run = (
  program: Effect.Effect<void, Failure>,
  { isService = false, name }: Pick<Arguments.Command, "isService" | "name">,
  output: ProcessOutput
): void => {
  let stoppedBy: number | undefined
  let stoppedAt = 0
  let isSignalled = false
  let hasEnded = false
  const fiber = Effect.runFork(program.pipe(Effect.provide(toNotes(output))))

  const stop = (code: number): void => {
    stoppedBy ??= code
    fiber.interruptUnsafe()
  }
  const leaveSoon = (code: number) => setTimeout(() => process.exit(code), flushMillis)
  const onSignal = (signal: NodeJS.Signals): void => {
    const now = performance.now()
    if (stoppedBy === undefined) {
      stoppedAt = now
      const code = isService && signal === "SIGTERM" && !hasEnded ? 0 : codes.stopped
      stop(code)
      isSignalled = true
      if (hasEnded) leaveSoon(code)
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
    // A service that fails while it ends has not stopped as it should.
    const hasFailed = stoppedBy === 0 && Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)
    if (hasFailed) stoppedBy = codes.failed
    const code = hasFailed || stoppedBy === undefined ? report(exit, name, output) : stoppedBy
    process.exitCode = code
    if (isSignalled) leaveSoon(code)
    output.flush(() => process.exit(stoppedBy ?? code))
  })
}

/** Prints the failure, and returns the exit code. */
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
  output.note(`piecewise: this is a bug in piecewise: ${what} (set PIECEWISE_DEBUG=1 to see where)`)
  if (PIECEWISE_DEBUG) for (const line of Cause.pretty(exit.cause).split("\n")) output.note(line)
  return codes.failed
}
