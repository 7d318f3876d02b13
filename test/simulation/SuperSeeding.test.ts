/** Super-seeding (BEP 16) to our own downloaders, with a bound on the copies that the seed uploads. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { make, seed } from "./torrents.ts"

const listen = { port: 6_881 }

/** 40 pieces of 4 blocks, private: peers know each other only if they are told. */
const known = await make({ isPrivate: true, pieceLength: 65_536, files: [{ path: [], length: 40 * 65_536 - 5_000 }] })
const { pieceCount, totalLength } = known.metainfo.layout.geometry

/** Two files of 200 pieces each. */
const halves = await make({
  isPrivate: true,
  pieceLength: 65_536,
  files: [
    { path: ["wanted"], length: 200 * 65_536 },
    { path: ["other"], length: 200 * 65_536 }
  ]
})

/** Returns how many copies the super-seed uploaded until all downloaders that stay have everything, and how long. */
const superSeed = (options: {
  readonly downloaders: number
  readonly areStrangers?: boolean
  /** How many of them leave when they have a third. */
  readonly leaving?: number
}) =>
  Swarms.use(
    {
      seed,
      engine: { listen },
      link: { latency: "20 millis", bytesPerSecond: 100_000 },
      network: { windowBytes: 65_536, sendBufferBytes: 65_536 }
    },
    Effect.fnUntraced(function* (first) {
      const everything = { stored: Bitfield.full(pieceCount), resume: undefined }
      const giver = yield* first.download(known, { seed: true, superSeed: true, from: everything })
      const addresses = [{ host: first.host, port: listen.port }]
      const downloads: Array<Swarms.Download> = []
      for (let count = 0; count < options.downloaders; count++) {
        const world = yield* first.beside({ engine: { listen } })
        const peers = options.areStrangers === true ? addresses.slice(0, 1) : [...addresses]
        downloads.push(yield* world.download(known, { seed: true, peers }))
        addresses.push({ host: world.host, port: listen.port })
      }
      const piecesOf = (download: Swarms.Download) =>
        download.events.filter(({ _tag }) => _tag === "PieceStored").length
      const leaving = downloads.slice(0, options.leaving ?? 0)
      yield* first.until(() => leaving.every((download) => piecesOf(download) >= pieceCount / 3), "10 minutes")
      yield* Effect.forEach(leaving, ({ stop }) => stop)
      const staying = downloads.slice(leaving.length)

      const isComplete = yield* first.until(() => staying.every(({ isComplete }) => isComplete()), "20 minutes")

      assert.isTrue(isComplete)
      const { uploadedBytes } = yield* giver.torrent.status
      return { copies: uploadedBytes / totalLength, seconds: first.simulation.nowUnsafe() / 1_000 }
    })
  )

describe("super-seeding", () => {
  it.effect("completes a single downloader without waiting", () =>
    Effect.gen(function* () {
      const { copies, seconds } = yield* superSeed({ downloaders: 1 })

      assert.isAtMost(copies, 1.01)
      assert.isAtMost(seconds, 1.2 * (totalLength / 100_000) + 5)
    })
  )

  for (const downloaders of [2, 3, 8]) {
    it.effect(`uploads hardly more than one copy to ${downloaders} that know each other`, () =>
      Effect.gen(function* () {
        const { copies } = yield* superSeed({ downloaders })

        assert.isAtMost(copies, 1.1)
      })
    )
  }

  for (const downloaders of [2, 3]) {
    it.effect(`completes ${downloaders} that know only the seed, with a copy for each`, () =>
      Effect.gen(function* () {
        const { copies, seconds } = yield* superSeed({ downloaders, areStrangers: true })

        assert.isAtMost(copies, downloaders + 0.01)
        assert.isAtMost(seconds, 1.2 * (totalLength / 100_000) + 30)
      })
    )
  }

  it.effect("completes six of eight if two leave with what they have alone", () =>
    Effect.gen(function* () {
      const { copies } = yield* superSeed({ downloaders: 8, leaving: 2 })

      assert.isAtMost(copies, 1.4)
    })
  )

  it.effect("completes a downloader that wants one of two files", () =>
    Swarms.use(
      { seed, engine: { listen }, link: { latency: "20 millis", bytesPerSecond: 100_000 } },
      Effect.fnUntraced(function* (first) {
        const everything = { stored: Bitfield.full(halves.metainfo.layout.geometry.pieceCount), resume: undefined }
        yield* first.download(halves, { seed: true, superSeed: true, from: everything })
        const world = yield* first.beside({ engine: { listen } })
        const peers = [{ host: first.host, port: listen.port }]
        const download = yield* world.download(halves, { peers, files: ["normal", "skip"] })

        const isFinished = yield* first.until(() => download.isComplete(), "4 minutes")

        assert.isTrue(isFinished)
      })
    )
  )
})
