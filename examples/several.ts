/**
 * Downloads several torrents at once: 4 MiB a second for all of them, half of that for each, and no limit any more once
 * only one is left: `node examples/several.ts FILE.torrent...`.
 */
import { readFile } from "node:fs/promises"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { Engine, Metainfo } from "piecewise"
import { NodeEngine } from "piecewise/node"

const mebibyte = 1024 * 1024

/** What all torrents may receive together, in bytes a second. */
export const limits = { downloadBytesPerSecond: 4 * mebibyte }

/** Downloads them; one that fails leaves the others alone. Returns the names of those that are complete. */
export const downloadAll = Effect.fnUntraced(function* (
  torrents: ReadonlyArray<Metainfo.Metainfo>,
  options: Engine.AddOptions = {}
) {
  const engine = yield* Engine.Engine
  let left = torrents.length
  const downloadOne = Effect.fnUntraced(
    function* (metainfo: Metainfo.Metainfo) {
      const own = { downloadBytesPerSecond: limits.downloadBytesPerSecond / 2 }
      const torrent = yield* engine.add(metainfo, { ...options, limits: own })
      yield* Effect.ensuring(
        torrent.completed,
        Effect.suspend(() => (--left === 1 ? engine.setLimits({}) : Effect.void))
      )
      yield* Console.log(`${metainfo.name} is complete`)
      return [metainfo.name]
    },
    // Ends the torrent and its connections before the others are complete.
    Effect.scoped
  )
  const names = yield* Effect.forEach(
    torrents,
    (metainfo) =>
      Effect.catch(downloadOne(metainfo), (error) =>
        Effect.as(Console.error(`${metainfo.name}: ${error.message}`), [])
      ),
    { concurrency: "unbounded" }
  )
  return names.flat()
})

const program = Effect.gen(function* () {
  const files = yield* Effect.promise(() => Promise.all(process.argv.slice(2).map((file) => readFile(file))))
  yield* downloadAll(yield* Effect.forEach(files, (bytes) => Metainfo.fromBytes(bytes)))
})

if (import.meta.main) NodeRuntime.runMain(Effect.provide(program, NodeEngine.layer({ directory: "downloads", limits })))
