/**
 * A line that a user types and nobody sees, such as a password.
 */
import * as Effect from "effect/Effect"

/** What was typed so far, and what the last key meant. */
export interface Typed {
  readonly text: string
  readonly end: "none" | "done" | "cancelled" | "interrupt"
}

/** Nothing was typed yet. */
export const empty: Typed = { text: "", end: "none" }

const backspaces = new Set(["\x7f", "\b"])
const ends: Readonly<Record<string, Typed["end"]>> = {
  "\r": "done",
  "\n": "done",
  // Ctrl-D
  "\x04": "cancelled",
  // Ctrl-C
  "\x03": "interrupt"
}
/** Ctrl-U */
const clear = "\x15"

const escape = "\x1b"

/** What stands before and after text that is pasted in some terminals, and other escape sequences (ECMA-48). */
const sequences = new RegExp(`${escape}(?:\\[[0-9;]*[~A-Za-z]|O[A-Za-z])`, "g")

/** After what a terminal sent. What comes after the end of the line is ignored, and so are keys that are no characters. */
export const type = (self: Typed, sent: string): Typed => {
  let { end, text } = self
  for (const character of sent.replaceAll(sequences, "")) {
    if (end !== "none") break
    if (Object.hasOwn(ends, character)) end = ends[character]!
    else if (backspaces.has(character)) text = Array.from(text).slice(0, -1).join("")
    else if (character === clear) text = ""
    else if (character >= " ") text += character
  }
  return { text, end }
}

/**
 * Asks on the terminal of this process, and returns the line; `undefined` if the user ends the input without one. Standard
 * input must be a terminal. Ctrl-C is the signal that it is otherwise.
 */
export const ask = (question: string): Effect.Effect<string | undefined> =>
  Effect.callback<string | undefined>((resume) => {
    const { stderr, stdin } = process
    let typed = empty
    const stop = (): void => {
      stdin.off("data", onData).setRawMode(false).pause()
      stderr.write("\n")
    }
    const onData = (sent: string): void => {
      typed = type(typed, sent)
      if (typed.end === "none") return
      // The terminal is left when the signal arrives. Without it the process would have nothing to wait for until then.
      if (typed.end === "interrupt") return void process.kill(process.pid, "SIGINT")
      stop()
      resume(Effect.succeed(typed.end === "done" ? typed.text : undefined))
    }
    stderr.write(question)
    stdin.setRawMode(true).setEncoding("utf8").on("data", onData).resume()
    return Effect.sync(stop)
  })
