/**
 * Implements `piecewise label`.
 */
import * as Effect from "effect/Effect"
import { LabelName } from "../../control/api/ApiOptions.ts"
import * as Arguments from "../Arguments.ts"
import type { Output } from "../Output.ts"
import * as EachTorrent from "./EachTorrent.ts"
import * as TextOptions from "./TextOptions.ts"

/** Adds labels to torrents, behind those that they have, and removes others. */
export const run = Effect.fnUntraced(function* (args: Arguments.Arguments, output: Output) {
  const added = yield* TextOptions.readAll(args, "add", LabelName)
  const removed = Arguments.all(args, "remove")
  if (added.length + removed.length === 0) {
    return yield* Effect.fail(new Arguments.WrongUsage("label needs --add or --remove"))
  }
  yield* EachTorrent.run(args, output, {
    command: "label",
    done: "labelled",
    change: (client, { infoHash, labels }) => {
      const left = [...new Set([...labels, ...added])].filter((name) => !removed.includes(name))
      return client.torrents.update({ params: { infoHash }, payload: { labels: left } })
    }
  })
})
