/** How evenly a seed with an upload limit serves downloaders that do not know each other. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { make, seed } from "./torrents.ts"

const listen = { port: 6_881 }
const known = await make({ isPrivate: true, pieceLength: 32_768, files: [{ path: [], length: 40 * 32_768 }] })
const { pieceCount, totalLength } = known.metainfo.layout.geometry
const bytesPerSecond = 200_000

const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((one, other) => one - other)
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2
}

describe("fair uploading", () => {
  it.effect("gives nobody more than 1.5 times the median from the 5th second on, whatever their speeds", () =>
    Swarms.use(
      { seed, engine: { listen, limits: { uploadBytesPerSecond: bytesPerSecond } }, link: { latency: "20 millis" } },
      Effect.fnUntraced(function* (first) {
        const everything = { stored: Bitfield.full(pieceCount), resume: undefined }
        yield* first.download(known, { seed: true, from: everything })
        // Slots are for all: 200,000 bytes a second suit nine. The slowest can take twice their share.
        const downloads = yield* Effect.forEach([1_600, 40, 50, 60, 80, 100, 200, 400, 800], (kilobytes, index) =>
          Effect.gen(function* () {
            const world = yield* first.beside()
            yield* world.network.link(first.host, world.host, { bytesPerSecond: kilobytes * 1_000 })
            // The fastest comes first, and has the seed for itself for a while.
            yield* Effect.when(first.advance("300 millis"), Effect.succeed(index > 0))
            return yield* world.download(known, { peers: [{ host: first.host, port: listen.port }] })
          })
        )
        const ratios: Array<number> = []
        const finished = new Map<Swarms.Download, number>()
        yield* first.advance("5 seconds")
        for (let second = 0; second < 120 && finished.size < downloads.length; second++) {
          const statuses = yield* Effect.forEach(downloads, ({ torrent }) => torrent.status)
          const received = statuses.map(({ downloadedBytes }) => downloadedBytes)
          ratios.push(Math.max(...received) / median(received))
          for (const download of downloads) {
            if (download.isComplete() && !finished.has(download)) finished.set(download, first.simulation.nowUnsafe())
          }
          yield* first.advance("1 second")
        }

        const ends = [...finished.values()].map((millis) => millis / 1_000)
        const whole = (downloads.length * totalLength) / bytesPerSecond
        assert.strictEqual(finished.size, downloads.length)
        assert.isAtMost(Math.max(...ratios), 1.5)
        assert.isAtMost(Math.max(...ends), 1.1 * whole + 3)
        assert.isAtMost(median(ends), 1.02 * whole)
      })
    )
  )
})
