/**
 * Implements `piecewise move`.
 */
import * as Effect from "effect/Effect"
import * as Arguments from "../Arguments.ts"
import type { Output } from "../Output.ts"
import * as EachTorrent from "./EachTorrent.ts"

/** Moves torrents to an end of the queue. Several keep the order in which they are named. */
export const run = Effect.fnUntraced(function* (args: Arguments.Arguments, output: Output) {
  const isFirst = Arguments.has(args, "first")
  if (isFirst === Arguments.has(args, "last")) {
    return yield* Effect.fail(new Arguments.WrongUsage("move needs --first or --last"))
  }
  const place = isFirst ? "first" : "last"
  // Whichever comes to the front last is the first one.
  const operands = isFirst ? args.operands.toReversed() : args.operands
  yield* EachTorrent.run({ ...args, operands }, output, {
    command: "move",
    done: isFirst ? "moved to the front" : "moved to the end",
    isOrdered: true,
    change: (client, { infoHash }) => client.torrents.move({ params: { infoHash }, payload: { place } })
  })
})
