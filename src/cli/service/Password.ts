/**
 * Implements `piecewise password`: sets or removes the password of a service, in its state folder. A service that runs
 * notices that by itself.
 */
import * as Readline from "node:readline"
import { Writable } from "node:stream"
import * as Effect from "effect/Effect"
import { Credentials } from "../../control/security/Credentials.ts"
import * as PasswordText from "../../control/security/PasswordText.ts"
import * as NodeCredentials from "../../control/security/provider/node/NodeCredentials.ts"
import * as ServiceFolder from "../../node/ServiceFolder.ts"
import * as Arguments from "../Arguments.ts"
import { CommandFailed } from "../CommandFailed.ts"
import type { Output } from "../Output.ts"

const failed = (why: string) => Effect.fail(new CommandFailed({ why }))

/** Where passwords are typed. */
export interface Input extends NodeJS.ReadableStream {
  readonly isTTY?: boolean | undefined
}

/** A terminal that shows nothing of what is typed, until the scope closes. */
const quiet = (input: Input) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
      const reader = Readline.createInterface({ input, output: nowhere, terminal: true, historySize: 0 })
      // The terminal is in raw mode, where Ctrl-C is a key.
      reader.on("SIGINT", () => process.kill(process.pid, "SIGINT"))
      return reader
    }),
    (reader) => Effect.sync(() => reader.close())
  )

/** Asks for a line. Fails if there is none. */
const ask = (reader: Readline.Interface, question: string): Effect.Effect<string, CommandFailed> =>
  Effect.callback<string, CommandFailed>((resume) => {
    const none = () => {
      process.stderr.write("\n")
      resume(failed("no password was given, and nothing was changed"))
    }
    reader.once("line", (line) => {
      process.stderr.write("\n")
      reader.off("close", none)
      resume(Effect.succeed(line))
    })
    reader.once("close", none)
    process.stderr.write(question)
  })

const askTwice = (input: Input) =>
  Effect.scoped(
    Effect.gen(function* () {
      const reader = yield* quiet(input)
      const text = yield* ask(reader, "New password: ")
      const why = PasswordText.whyNot(text)
      if (why !== undefined) return yield* failed(`this password cannot be set: ${why}`)
      if ((yield* ask(reader, "The same again: ")) === text) return text
      return yield* failed("the two passwords differ, and nothing was changed")
    })
  )

/** The first line of what is not a terminal. What follows is not read. */
const firstLine = Effect.fnUntraced(function* (input: Input) {
  const text = yield* Effect.tryPromise({
    try: async () => {
      const chunks: Array<Uint8Array> = []
      let length = 0
      for await (const chunk of input as AsyncIterable<Uint8Array>) {
        chunks.push(chunk)
        length += chunk.length
        // Longer than any password that can be set.
        if (chunk.includes(0x0a) || length > 8 * PasswordText.maxBytes) break
      }
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks))
    },
    catch: () =>
      new CommandFailed({ why: "the password on standard input cannot be read: it must be one line of UTF-8" })
  })
  return text.split(/\r?\n/, 1)[0]!
})

/** Sets or removes the password. */
export const run = (args: Arguments.Arguments, output: Output) => change(args, output, process.stdin)

/** `run`, with another standard input. */
export const change = (args: Arguments.Arguments, output: Output, input: Input) =>
  Effect.gen(function* () {
    const state = Arguments.get(args, "state") ?? ServiceFolder.defaultFolder()
    const isRemoval = Arguments.has(args, "remove")
    const text = isRemoval ? undefined : yield* input.isTTY === true ? askTwice(input) : firstLine(input)
    const program = Credentials.use(({ removePassword, setPassword }) =>
      text === undefined ? removePassword : setPassword(text)
    )
    yield* program.pipe(
      Effect.provide(NodeCredentials.layer({ directory: state })),
      Effect.mapError(({ message }) => new CommandFailed({ why: message }))
    )
    output.print([isRemoval ? `the service of ${state} has no password` : `the service of ${state} has a new password`])
  })
