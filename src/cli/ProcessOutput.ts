/**
 * The output of this process, and what happens when a write fails or nobody reads it.
 *
 * `piecewise ... | head -1` closes its end of the pipe (EPIPE). Then the program prints nothing, and its exit code is
 * what a shell reports for SIGPIPE, like other programs in a pipeline. Any other failed write is reported in one
 * sentence and ends the program with 1, because the result did not reach its destination.
 *
 * Node writes to a pipe without waiting. So a reader that does not read delays no event and no signal; the output is
 * kept in memory meanwhile.
 */
import * as Output from "./Output.ts"
import * as SystemErrors from "./SystemErrors.ts"

/** Exit codes of a program whose output failed. `noReader` is 128 plus the number of SIGPIPE. */
export const codes = { failed: 1, noReader: 141 } as const

export interface ProcessOutput extends Output.Output {
  /** Calls `listener` once after the first failed write, with the resulting exit code. */
  readonly onFailed: (listener: (code: number) => void) => void
  /** Calls `done` when everything written has left the process, or has failed and was reported. */
  readonly flush: (done: () => void) => void
}

/**
 * Makes the output and watches both streams. The first failed write sets the process's exit code, unless it is set
 * later.
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
    // If standard error fails, there is no place to report it.
    if (stream === stdout && code === codes.failed) {
      output.note(`piecewise: standard output: ${SystemErrors.why(cause)}`)
    }
    for (const listener of listeners) listener(code)
  }
  for (const stream of [stdout, stderr]) stream.on("error", (cause) => fail(stream, cause))

  if (output.isTerminal) {
    process.once("exit", output.release)
    if (process.platform !== "win32") {
      // Ctrl-Z: the shell gets its cursor back. After `fg` the lines are drawn again.
      process.on("SIGTSTP", () => {
        output.release()
        process.kill(process.pid, "SIGSTOP")
      })
    }
  }
  return {
    ...output,
    onFailed: (listener) => void listeners.push(listener),
    // A stream emits its error right after the callbacks of the failed writes, so wait one more turn.
    flush: (done) => void stdout.write("", () => stderr.write("", () => setImmediate(done)))
  }
}
