/**
 * Does the same to each torrent that a command names, and says so.
 */
import * as Effect from "effect/Effect"
import type { TorrentItem } from "../../control/api/TorrentModel.ts"
import * as Arguments from "../Arguments.ts"
import type { Output } from "../Output.ts"
import * as ServiceConnection from "./ServiceConnection.ts"
import * as ServiceLines from "./ServiceLines.ts"
import * as TorrentChoice from "./TorrentChoice.ts"
import * as TorrentWords from "./TorrentWords.ts"

/** Torrents that are changed at once. */
const concurrency = 8

/** What is done to each torrent. */
export interface Options<E> {
  readonly command: (typeof ServiceLines.Done.Type)["command"]
  /** The past participle for people: `paused`. */
  readonly done: string
  readonly change: (client: ServiceConnection.Client, torrent: TorrentItem) => Effect.Effect<unknown, E>
  /** Whether the torrents are changed one after the other, in their order. Default: several at once. */
  readonly isOrdered?: boolean | undefined
}

/** Runs a command that does the same to each torrent. It ends with the first that fails. */
export const run = <E extends { readonly message: string }>(
  args: Arguments.Arguments,
  output: Output,
  { change, command, done, isOrdered = false }: Options<E>
) =>
  ServiceConnection.use(args, (client) =>
    Effect.gen(function* () {
      const asJson = Arguments.has(args, "json")
      const torrents = yield* TorrentChoice.read(client, args)
      yield* Effect.forEach(
        torrents,
        (torrent) =>
          Effect.map(change(client, torrent), () => {
            const { infoHash, name } = torrent
            if (asJson) ServiceLines.print(output, { _tag: "Done", command, infoHash, name })
            else output.print([`${TorrentWords.shortHash(torrent)}  ${TorrentWords.nameOf(torrent)}: ${done}`])
          }),
        { concurrency: isOrdered ? 1 : concurrency, discard: true }
      )
      if (torrents.length === 0 && !asJson) output.note("There are no torrents.")
    })
  )
