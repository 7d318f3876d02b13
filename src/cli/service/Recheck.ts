/**
 * Implements `piecewise recheck`.
 */
import type * as Arguments from "../Arguments.ts"
import type { Output } from "../Output.ts"
import * as EachTorrent from "./EachTorrent.ts"

/** Has the files of torrents verified again. It does not wait for that. */
export const run = (args: Arguments.Arguments, output: Output) =>
  EachTorrent.run(args, output, {
    command: "recheck",
    done: "is being verified",
    change: (client, { infoHash }) => client.torrents.recheck({ params: { infoHash } })
  })
