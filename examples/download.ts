/**
 * Downloads a torrent and prints its progress: `node examples/download.ts FILE.torrent`.
 */

import { readFile } from "node:fs/promises"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Data, Effect, Schedule } from "effect"
import { Bottleneck, Engine, Metainfo } from "piecewise"
import { NodeEngine } from "piecewise/node"

class Unreadable extends Data.TaggedError("Unreadable")<{ readonly message: string }> {}

const program = Effect.gen(function* () {
  const file = process.argv[2] ?? "the torrent"
  const bytes = yield* Effect.tryPromise({
    try: () => readFile(file),
    catch: () => new Unreadable({ message: `${file} cannot be read` })
  })
  const engine = yield* Engine.Engine
  const torrent = yield* engine.add(yield* Metainfo.fromBytes(bytes))
  const progress = Effect.flatMap(torrent.status, ({ bottleneck, missingBytes }) =>
    Console.log(`${missingBytes} bytes to go; ${Bottleneck.describe(bottleneck)}`)
  )
  yield* Effect.forkScoped(Effect.repeat(progress, Schedule.spaced("1 second")))
  yield* torrent.completed
  yield* Console.log("complete: verified, and flushed to the disk")
})

program.pipe(
  Effect.scoped,
  Effect.provide(NodeEngine.layer({ directory: "downloads" })),
  Effect.tapError((error) => Console.error(error.message)),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
