/**
 * The output of this process, and what becomes of it where a write fails or nobody reads.
 *
 * A reader that has gone (EPIPE) is how `piecewise ... | head -1` ends: nothing is said of it, and the exit code is the one
 * that a shell reports for SIGPIPE, as for other programs of a pipeline. Any other failed write is told in one sentence and
 * ends the program with 1: what was asked for did not reach its place.
 *
 * Node writes to a pipe without waiting. So a reader that does not read holds up no event and no signal; what is written
 * meanwhile is kept in memory.
 */
import * as Output from "./Output.ts"
import * as SystemErrors from "./SystemErrors.ts"

/** Exit codes of a program whose output failed: 128 and the number of SIGPIPE where nobody reads it any more. */
export const codes = { failed: 1, noReader: 141 } as const

/** Writes to the streams of this process. */
export interface ProcessOutput extends Output.Output {
  /** Calls `listener` when a write has failed, once, with the exit code that follows from it. */
  readonly onFailed: (listener: (code: number) => void) => void
  /** Calls `done` when all that was written has left the process, or failed to and was told. */
  readonly flush: (done: () => void) => void
}

/** Makes it, and watches both streams. The process has the exit code of the first failed write, unless it is given another. */
export const make = (): ProcessOutput => {
  const { env: environment, stderr, stdout } = process
  const output = Output.make({ stdout, stderr, environment })
  const listeners: Array<(code: number) => void> = []
  let hasFailed = false

  const fail = (stream: Output.Stream, cause: unknown): void => {
    if (hasFailed) return
    hasFailed = true
    const code = SystemErrors.codeOf(cause) === "EPIPE" ? codes.noReader : codes.failed
    process.exitCode = code
    // Of a standard error that fails nobody can be told.
    if (stream === stdout && code === codes.failed) {
      output.note(`piecewise: standard output: ${SystemErrors.why(cause)}`)
    }
    for (const listener of listeners) listener(code)
  }
  for (const stream of [stdout, stderr]) stream.on("error", (cause) => fail(stream, cause))

  if (output.isTerminal) {
    process.once("exit", output.release)
    if (process.platform !== "win32") {
      // Ctrl-Z: the shell gets its cursor, and after `fg` the lines are drawn afresh.
      process.on("SIGTSTP", () => {
        output.release()
        process.kill(process.pid, "SIGSTOP")
      })
    }
  }
  return {
    ...output,
    onFailed: (listener) => void listeners.push(listener),
    // A stream reports a failure right after the callbacks of the writes that it concerns.
    flush: (done) => void stdout.write("", () => stderr.write("", () => setImmediate(done)))
  }
}
