/**
 * Downloads a torrent with an engine that the environment configures: `PIECEWISE_DIRECTORY=downloads
 * PIECEWISE_DOWNLOAD_LIMIT=2MiB PIECEWISE_LISTEN_PORT=6881-6889 node examples/config.ts FILE.torrent`.
 * docs/configuration.md lists the variables.
 */
import { readFile } from "node:fs/promises"
import { NodeRuntime } from "@effect/platform-node"
import { ByteSize, Config, Console, Effect } from "effect"
import { Engine, Metainfo } from "piecewise"
import { NodeEngine } from "piecewise/node"

/** An engine with the variables of piecewise. A bad value fails with an error that names the variable. */
export const layer = NodeEngine.layerConfig()

/** The same with names of your own, and another default. */
export const layerOwn = NodeEngine.layerConfig({
  directory: Config.NonEmptyString("DOWNLOADS"),
  limits: {
    uploadBytesPerSecond: Config.ByteSize("UPLOAD").pipe(Config.withDefault(ByteSize.mebibytes(1)))
  }
})

/** Downloads a torrent, and says what was done. */
export const download = Effect.fnUntraced(function* (bytes: Uint8Array) {
  const engine = yield* Engine.Engine
  const torrent = yield* engine.add(yield* Metainfo.fromBytes(bytes))
  yield* torrent.completed
  const { name, storedBytes } = yield* torrent.status
  return `${name}: ${storedBytes} bytes are stored`
}, Effect.scoped)

const program = Effect.gen(function* () {
  const bytes = yield* Effect.promise(() => readFile(process.argv[2]!))
  yield* Console.log(yield* download(bytes))
})

if (import.meta.main) {
  program.pipe(
    Effect.provide(layer),
    Effect.tapError(({ message }) => Console.error(message)),
    NodeRuntime.runMain({ disableErrorReporting: true })
  )
}
