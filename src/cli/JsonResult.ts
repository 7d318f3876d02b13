/**
 * Prints the one line of `info --json`, `verify --json`, `scrape --json` and `doctor --json`. What encodes it is loaded only then.
 */
import * as Effect from "effect/Effect"
import type * as JsonLines from "./JsonLines.ts"
import type { Output } from "./Output.ts"
import * as TerminalText from "./TerminalText.ts"

/** Prints a result. */
export const print = (output: Output, result: JsonLines.Result): Effect.Effect<void> =>
  Effect.map(
    Effect.promise(() => import("./JsonLines.ts")),
    ({ encodeResult }) => output.print([TerminalText.json(encodeResult(result))])
  )
