/**
 * Implements `piecewise resume`.
 */
import * as Arguments from "../Arguments.ts"
import type { Output } from "../Output.ts"
import * as EachTorrent from "./EachTorrent.ts"

/** Resumes torrents. */
export const run = (args: Arguments.Arguments, output: Output) => {
  const payload = { overwrite: Arguments.has(args, "overwrite"), startOver: Arguments.has(args, "start-over") }
  return EachTorrent.run(args, output, {
    command: "resume",
    done: "resumed",
    change: (client, { infoHash }) => client.torrents.resume({ params: { infoHash }, payload })
  })
}
