/**
 * Implements `piecewise link`.
 */
import * as Effect from "effect/Effect"
import * as Arguments from "../Arguments.ts"
import type { Output } from "../Output.ts"
import * as TerminalText from "../TerminalText.ts"
import * as ServiceConnection from "./ServiceConnection.ts"
import * as ServiceLines from "./ServiceLines.ts"
import * as TorrentChoice from "./TorrentChoice.ts"

/** Prints a URL of the files of a torrent that needs no credentials. */
export const run = (args: Arguments.Arguments, output: Output) =>
  ServiceConnection.use(args, (client, place) =>
    Effect.gen(function* () {
      const [torrent] = yield* TorrentChoice.findAll(client, args.operands)
      const { infoHash, name } = torrent!
      const { path } = yield* client.torrents.link({ params: { infoHash } })
      const url = new URL(path.replace(/^\/+/, ""), place.url).href
      if (Arguments.has(args, "json")) {
        return ServiceLines.print(output, { _tag: "Linked", infoHash, name, url })
      }
      output.print([TerminalText.clean(url)])
    })
  )
