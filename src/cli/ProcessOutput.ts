/**
 * Makes the output of this process, and decides what happens when a write to it fails or nobody reads it.
 *
 * In `piecewise ... | head -1`, `head` closes its end of the pipe after one line, and the next write fails with EPIPE.
 * Then the program prints no message, and its exit code is the one that a shell reports for SIGPIPE, as with other
 * programs in a pipeline. If a write to standard output fails for another reason, the program prints one sentence and
 * exits with 1, because its result did not reach its destination.
 *
 * Node writes to a pipe without waiting. So a reader that is slow delays no event and no signal, and the output is kept
 * in memory until it is read.
 */
import * as Output from "./Output.ts"
import * as SystemErrors from "./SystemErrors.ts"

/** The exit codes after a failed write. `noReader` is for EPIPE, and is 128 plus the number of SIGPIPE. */
export const codes = { failed: 1, noReader: 141 } as const

/** The output of this process. */
export interface ProcessOutput extends Output.Output {
  /** Calls `listener` with the exit code when a write fails for the first time. Later failures do not call it. */
  readonly onFailed: (listener: (code: number) => void) => void
  /** Calls `done` when all output has left the process, or when writing it has failed and the failure was reported. */
  readonly flush: (done: () => void) => void
}

/**
 * Makes the output, and watches standard output and standard error. The first failed write sets the exit code of the
 * process, which may still be changed afterwards.
 */
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
    // A failure of standard error is not reported, because there is no place left to report it.
    if (stream === stdout && code === codes.failed) {
      output.note(`piecewise: standard output: ${SystemErrors.why(cause)}`)
    }
    for (const listener of listeners) listener(code)
  }
  for (const stream of [stdout, stderr]) stream.on("error", (cause) => fail(stream, cause))

  if (output.isTerminal) {
    process.once("exit", output.release)
    if (process.platform !== "win32") {
      // The user presses Ctrl-Z. The cursor is shown again, and then the process stops as it would without this
      // listener. When the user resumes it with `fg`, the next update draws the lines again.
      process.on("SIGTSTP", () => {
        output.release()
        process.kill(process.pid, "SIGSTOP")
      })
    }
  }
  return {
    ...output,
    onFailed: (listener) => void listeners.push(listener),
    // A stream calls the callbacks of failed writes first and emits its error right after that. So `done` has to wait
    // one more turn of the event loop.
    flush: (done) => void stdout.write("", () => stderr.write("", () => setImmediate(done)))
  }
}
