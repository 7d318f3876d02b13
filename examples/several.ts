/**
 * Downloads several torrents at once, at 4 MiB per second together and half of that each, and without limits once only
 * one is left: `node examples/several.ts FILE.torrent...`.
 */
import { readFile } from "node:fs/promises"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { Engine, Metainfo } from "piecewise"
import { NodeEngine } from "piecewise/node"

const mebibyte = 1024 * 1024

/** What all torrents together may receive, in bytes per second. */
export const limits = { downloadBytesPerSecond: 4 * mebibyte }

/** Downloads the torrents. If one fails, the others continue. Returns the names of those that completed. */
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
    // Stops a completed torrent and its connections while the others continue.
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
