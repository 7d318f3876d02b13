/**
 * Implements `piecewise pause`.
 */
import type * as Arguments from "../Arguments.ts"
import type { Output } from "../Output.ts"
import * as EachTorrent from "./EachTorrent.ts"

/** Pauses torrents. */
export const run = (args: Arguments.Arguments, output: Output) =>
  EachTorrent.run(args, output, {
    command: "pause",
    done: "paused",
    change: (client, { infoHash }) => client.torrents.pause({ params: { infoHash } })
  })
