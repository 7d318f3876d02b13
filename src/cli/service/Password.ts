/**
 * Implements `piecewise password`, which sets or removes the password of a service, whether or not the service runs.
 */
import * as Effect from "effect/Effect"
import { Credentials } from "../../control/security/Credentials.ts"
import * as PasswordText from "../../control/security/PasswordText.ts"
import * as NodeCredentials from "../../control/security/provider/node/NodeCredentials.ts"
import * as ServiceFolder from "../../node/ServiceFolder.ts"
import * as Arguments from "../Arguments.ts"
import * as Failure from "../CommandFailed.ts"
import { CommandFailed } from "../CommandFailed.ts"
import type { Output } from "../Output.ts"
import * as HiddenLine from "./HiddenLine.ts"

/** Returns a password that the user chose. */
export type Choose = Effect.Effect<string, CommandFailed>

const failed = (why: string) => Effect.fail(new CommandFailed({ why }))

/** Asks twice, because the user does not see what is typed. */
const chosenOnTerminal: Choose = Effect.gen(function* () {
  const first = yield* HiddenLine.ask("New password: ")
  if (first === undefined) return yield* failed("no password was set")
  // What cannot be set need not be repeated.
  if (PasswordText.whyNot(first) !== undefined) return first
  const second = yield* HiddenLine.ask("The same again: ")
  return first === second ? first : yield* failed("the two passwords are different, so none was set")
})

/** A line of standard input that is longer holds no password. */
const maxLength = 4 * PasswordText.maxBytes

/** Reads the first line of standard input. */
const readLine = async (input: AsyncIterable<Uint8Array>): Promise<string> => {
  const decoder = new TextDecoder("utf-8", { fatal: true })
  let text = ""
  for await (const chunk of input) {
    text += decoder.decode(chunk, { stream: true })
    if (text.includes("\n") || text.length > maxLength) return text.split(/\r?\n/, 1)[0]!
  }
  return text + decoder.decode()
}

const chosenFromInput: Choose = Effect.tryPromise({
  try: () => readLine(process.stdin),
  catch: (cause) => Failure.ofFile("standard input", cause)
})

/** Sets the password, which is typed on the terminal or comes from standard input, or removes it. */
export const run = (args: Arguments.Arguments, output: Output) =>
  change(args, output, process.stdin.isTTY && process.stderr.isTTY ? chosenOnTerminal : chosenFromInput)

/** `run`, with another way to choose, and another cost of the hash. */
export const change = (
  args: Arguments.Arguments,
  output: Output,
  choose: Choose,
  { cost }: Pick<NodeCredentials.Options, "cost"> = {}
) => {
  const directory = Arguments.get(args, "state") ?? ServiceFolder.defaultFolder()
  return Effect.gen(function* () {
    const credentials = yield* Credentials
    if (Arguments.has(args, "remove")) {
      const { isSet } = yield* credentials.password
      yield* credentials.removePassword
      return output.print([isSet ? "The password is removed. The token is still good." : "No password is set."])
    }
    yield* credentials.setPassword(yield* choose)
    output.print(["The password is set. Whoever was logged in has to log in again."])
  }).pipe(
    Effect.provide(NodeCredentials.layer({ directory, cost })),
    Effect.mapError((error) => (error instanceof CommandFailed ? error : new CommandFailed({ why: error.message })))
  )
}
