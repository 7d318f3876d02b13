/**
 * Implements `piecewise remove`.
 */
import * as Readline from "node:readline"
import * as Effect from "effect/Effect"
import * as Arguments from "../Arguments.ts"
import { CommandFailed } from "../CommandFailed.ts"
import type { Output } from "../Output.ts"
import * as TerminalText from "../TerminalText.ts"
import * as Units from "../Units.ts"
import * as ServiceConnection from "./ServiceConnection.ts"
import * as ServiceLines from "./ServiceLines.ts"
import * as TorrentChoice from "./TorrentChoice.ts"
import * as TorrentWords from "./TorrentWords.ts"

/** Asks the user a question. Returns whether the answer is yes, or `undefined` if nobody can be asked. */
export type Ask = (question: string) => Effect.Effect<boolean | undefined>

/** Asks on the terminal. Nothing but `y` or `yes` is a yes. */
const askOnTerminal: Ask = (question) =>
  process.stdin.isTTY && process.stderr.isTTY
    ? Effect.callback<boolean>((resume) => {
        process.stderr.write(`${question} [y/N] `)
        // Without `terminal`, Ctrl-C is a signal as usual.
        const reader = Readline.createInterface({ input: process.stdin, terminal: false })
        reader.once("line", (answer) => {
          resume(Effect.succeed(/^\s*y(?:es)?\s*$/i.test(answer)))
          reader.close()
        })
        reader.once("close", () => resume(Effect.succeed(false)))
        return Effect.sync(() => reader.close())
      })
    : Effect.undefined

/** Removes torrents, and with `--data` their files, if the user agrees. */
export const run = (args: Arguments.Arguments, output: Output) => remove(args, output, askOnTerminal)

/** `run`, with another way to ask. */
export const remove = (args: Arguments.Arguments, output: Output, ask: Ask) =>
  ServiceConnection.use(args, (client) =>
    Effect.gen(function* () {
      const data = Arguments.has(args, "data")
      const asJson = Arguments.has(args, "json")
      const torrents = yield* TorrentChoice.findAll(client, args.operands)
      if (data && !Arguments.has(args, "yes")) {
        const isAgreed = yield* ask(questionOf(torrents))
        if (isAgreed === undefined) {
          return yield* new CommandFailed({ why: "nobody can be asked whether to delete files; use --yes to do so" })
        }
        if (!isAgreed) return yield* new CommandFailed({ why: "nothing was removed" })
      }
      for (const torrent of torrents) {
        const { infoHash, name } = torrent
        const { keptPaths } = yield* client.torrents.remove({ params: { infoHash }, query: { data } })
        if (asJson) {
          ServiceLines.print(output, { _tag: "Removed", infoHash, name, keptPaths })
          continue
        }
        const what = data ? "removed, and its files" : "removed"
        output.print([
          `${TorrentWords.shortHash(torrent)}  ${TorrentWords.nameOf(torrent)}: ${what}`,
          ...keptPaths.map((path) => `  kept, because it is not the torrent's own: ${TerminalText.clean(path)}`)
        ])
      }
    })
  )

type Torrents = ReadonlyArray<Parameters<typeof TorrentWords.sizeOf>[0]>

/** How many torrents a question names. */
const maxNamed = 3

const questionOf = (torrents: Torrents): string => {
  const names = torrents.slice(0, maxNamed).map(TorrentWords.nameOf).join(", ")
  const more = torrents.length > maxNamed ? `, and ${torrents.length - maxNamed} more` : ""
  const bytes = torrents.reduce(
    (sum, { progress }) => sum + (progress === undefined ? 0 : progress.wantedBytes - progress.missingBytes),
    0
  )
  return `Delete the files of ${names}${more} (${Units.bytes(bytes)})?`
}
