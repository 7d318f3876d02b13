import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { seed, small } from "./torrents.ts"

const tags = (download: Swarms.Download) => download.events.map(({ _tag }) => _tag)

describe("the life of a torrent", () => {
  it.effect("ends seeding only after sent blocks had time to arrive", () =>
    Swarms.use(
      { seed, engine: { listen: { port: 6_881 } }, link: { latency: "20 millis", bytesPerSecond: 100_000 } },
      (world) =>
        Effect.gen(function* () {
          const everything = { stored: Bitfield.full(small.metainfo.layout.geometry.pieceCount), resume: undefined }
          const giver = yield* world.download(small, { seed: { time: "8 seconds" }, from: everything })
          const peers = [{ host: world.host, port: 6_881 }]
          yield* Effect.flatMap(world.beside(), (taker) => taker.download(small, { peers }))
          yield* world.advance("30 seconds")
          const told = tags(giver)
          assert.isBelow(told.indexOf("PeerDisconnected"), told.indexOf("SeedingEnded"))
        })
    )
  )

  it.effect("is complete if the piece that cannot be written is not wanted any more", () =>
    Swarms.use({ seed, engine: { listen: { port: 6_881 } } }, (world) =>
      Effect.gen(function* () {
        for (let nth = 13; nth < 3_000; nth++) world.faults.failNth("write", nth, FaultyStorage.diskFull)
        const download = yield* world.download(small, { files: ["normal", "skip", "high"], behaviours: [{}] })
        yield* world.advance("20 seconds")
        yield* download.torrent.setPriorities(["skip", "skip", "normal"])
        yield* world.advance("1 minute")
        const after = yield* download.torrent.status
        assert.strictEqual(after.missingBytes, 0)
        assert.include(tags(download), "Completed")
      })
    )
  )

  it.effect("reports the pieces that are stored while it stops", () =>
    Swarms.use({ seed, engine: { listen: { port: 6_881 } } }, (world) =>
      Effect.gen(function* () {
        world.faults.delay("write", "2 seconds")
        const download = yield* world.download(small, { behaviours: [{}] })
        yield* world.advance("3 seconds")
        const before = tags(download).filter((tag) => tag === "PieceStored").length
        yield* download.stop

        const events = yield* Stream.runCollect(download.torrent.events)
        const reported = events.flatMap((event) => (event._tag === "PieceStored" ? [event.piece as number] : []))
        const { stored } = world.snapshot(small)
        assert.isAbove(reported.length, before)
        assert.sameMembers(reported, [...Bitfield.indices(stored)])
      })
    )
  )

  it.effect("keeps the counters of its last status after it was stopped", () =>
    Swarms.use({ seed, engine: { listen: { port: 6_881 } } }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(small, { behaviours: [{}] })
        yield* world.until(download.isComplete, "1 minute")
        yield* download.stop
        const { missingBytes, state, storedPieces } = yield* download.torrent.status
        assert.deepStrictEqual([state._tag, storedPieces, missingBytes], ["Stopped", 20, 0])
      })
    )
  )
})
