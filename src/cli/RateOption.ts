/**
 * Reads options that are rates.
 */
import * as Effect from "effect/Effect"
import * as Arguments from "./Arguments.ts"
import * as Units from "./Units.ts"

/** Reads an option in bytes a second; `undefined` if it was not given. Fails with `WrongUsage`. */
export const read = Effect.fnUntraced(function* (args: Arguments.Arguments, name: string) {
  const text = Arguments.get(args, name)
  const value = text === undefined ? undefined : Units.parseRate(text)
  if (text === undefined || value !== undefined) return value
  return yield* Effect.fail(
    new Arguments.WrongUsage(`--${name} ${text} is not a rate: it must be bytes per second, such as 500KiB or 2MiB`)
  )
})
