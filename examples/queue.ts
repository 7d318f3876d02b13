/**
 * Downloads any number of torrents, a few at a time: the others are paused. Those that fail are removed with what they
 * have stored: `node examples/queue.ts FILE.torrent...`.
 */
import { readFile } from "node:fs/promises"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Semaphore } from "effect"
import { Engine, Metainfo, type Torrent } from "piecewise"
import { NodeEngine } from "piecewise/node"

/** How many torrents are downloaded at a time. */
export const atOnce = 5

/** Adds the torrents paused, and downloads them in their order. Returns the names of those that completed. */
export const downloadAll = Effect.fnUntraced(function* (
  torrents: ReadonlyArray<Metainfo.Metainfo>,
  options: (metainfo: Metainfo.Metainfo) => Engine.AddOptions = () => ({})
) {
  const engine = yield* Engine.Engine
  const turns = yield* Semaphore.make(atOnce)
  const added = yield* Effect.forEach(torrents, (metainfo) =>
    engine.add(metainfo, { ...options(metainfo), isPaused: true })
  )
  const download = Effect.fnUntraced(function* (torrent: Torrent.Torrent) {
    yield* torrent.resume
    // A storage that refuses would otherwise be asked until somebody changes something.
    yield* Effect.raceFirst(torrent.completed, Effect.flatMap(torrent.refused, Effect.fail))
    yield* torrent.pause
    return [yield* torrent.name]
  }, turns.withPermits(1))
  const names = yield* Effect.forEach(
    added,
    (torrent) =>
      Effect.catch(download(torrent), (error) =>
        Effect.gen(function* () {
          yield* Console.error(error.message)
          // Whoever removed it meanwhile has done so.
          yield* Effect.ignore(torrent.remove({ data: true }))
          return []
        })
      ),
    { concurrency: "unbounded" }
  )
  return names.flat()
})

const program = Effect.gen(function* () {
  const files = yield* Effect.promise(() => Promise.all(process.argv.slice(2).map((file) => readFile(file))))
  const names = yield* downloadAll(yield* Effect.forEach(files, (bytes) => Metainfo.fromBytes(bytes)))
  yield* Console.log(names.join("\n"))
})

if (import.meta.main) {
  NodeRuntime.runMain(Effect.provide(Effect.scoped(program), NodeEngine.layer({ directory: "downloads" })))
}
