/**
 * The keys that a user presses, without waiting for the end of a line.
 *
 * The terminal is in raw mode then, in which it makes no signals of Ctrl-C and Ctrl-Z: they are sent here. The mode ends
 * with the scope, and while the process is stopped.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"

/** A key, or what else makes a page look different: `resize`. */
export type Key = "up" | "down" | "pageUp" | "pageDown" | "home" | "end" | "toggle" | "quit" | "resize"

const keys: Readonly<Record<string, Key | "interrupt" | "stop">> = {
  "\x1b[A": "up",
  "\x1bOA": "up",
  k: "up",
  "\x1b[B": "down",
  "\x1bOB": "down",
  j: "down",
  "\x1b[5~": "pageUp",
  "\x1b[6~": "pageDown",
  "\x1b[H": "home",
  "\x1b[1~": "home",
  g: "home",
  "\x1b[F": "end",
  "\x1b[4~": "end",
  G: "end",
  p: "toggle",
  " ": "toggle",
  q: "quit",
  "\x03": "interrupt",
  "\x1a": "stop"
}

const escape = "\x1b"

/** Matches a key: an escape sequence (ECMA-48, section 5.4), or a character. */
const one = new RegExp(`${escape}(?:\\[[0-9;]*[~A-Za-z]|O[A-Za-z])|.`, "gsu")

/** The keys in what a terminal sent. Those that mean nothing here are left out. */
export const parse = (text: string): ReadonlyArray<Key | "interrupt" | "stop"> =>
  (text.match(one) ?? []).flatMap((key) => (Object.hasOwn(keys, key) ? keys[key]! : []))

/** Keys that wait; with more, the oldest is forgotten. */
const capacity = 64

/** The keys that are pressed until the scope closes. Without a terminal there are none. */
export const open: Effect.Effect<Queue.Dequeue<Key>, never, Scope.Scope> = Effect.gen(function* () {
  const queue = yield* Queue.sliding<Key>(capacity)
  const { stdin, stdout } = process
  const onResize = () => void Queue.offerUnsafe(queue, "resize")
  yield* Effect.acquireRelease(
    Effect.sync(() => stdout.on("resize", onResize)),
    () => Effect.sync(() => stdout.off("resize", onResize))
  )
  if (!stdin.isTTY) return queue
  const onData = (text: string): void => {
    for (const key of parse(text)) {
      if (key === "interrupt") process.kill(process.pid, "SIGINT")
      else if (key === "stop") {
        stdin.setRawMode(false)
        process.kill(process.pid, "SIGTSTP")
      } else Queue.offerUnsafe(queue, key)
    }
  }
  const onContinue = (): void => {
    stdin.setRawMode(true)
    onResize()
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      stdin.setRawMode(true).setEncoding("utf8").on("data", onData)
      process.on("SIGCONT", onContinue)
    }),
    () =>
      Effect.sync(() => {
        process.off("SIGCONT", onContinue)
        stdin.off("data", onData).setRawMode(false).pause()
      })
  )
  return queue
})
