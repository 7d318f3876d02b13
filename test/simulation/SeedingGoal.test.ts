import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PeerSource } from "../../src/discovery/PeerSource.ts"
import type * as Engine from "../../src/engine/Engine.ts"
import * as PeerBehaviour from "../../src/testing/PeerBehaviour.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { seed, small } from "./torrents.ts"

const listen = { port: 6_881 }
const { pieceCount, totalLength } = small.metainfo.layout.geometry
const everything: Swarms.Snapshot = { stored: Bitfield.full(pieceCount), resume: undefined }

/** An engine that has everything and a goal, and others that dial it. */
const test = (
  name: string,
  goal: Engine.AddOptions["seed"],
  program: (
    seed: Swarms.Download,
    world: Swarms.World,
    take: () => Effect.Effect<Swarms.Download, unknown, Scope.Scope>
  ) => Effect.Effect<void, unknown, Scope.Scope>
) =>
  it.effect(name, () =>
    Swarms.use({ seed, engine: { listen }, link: { latency: "20 millis", bytesPerSecond: 100_000 } }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(small, { seed: goal, from: everything })
        const peers = [{ host: world.host, port: listen.port }]
        const take = () => Effect.flatMap(world.beside(), (taker) => taker.download(small, { peers }))
        yield* program(download, world, take)
      })
    )
  )

const ended = ({ events }: Swarms.Download) =>
  events.flatMap((event) => (event._tag === "SeedingEnded" ? [event.reached] : []))

describe("a seed", () => {
  test("uploads to every peer until its ratio is reached, and then to none", { ratio: 2 }, (giver, world, take) =>
    Effect.gen(function* () {
      const [first, second] = [yield* take(), yield* take()]
      const isDone = yield* world.until(() => first.isComplete() && second.isComplete(), "5 minutes")
      yield* world.advance("5 seconds")
      const atTheEnd = yield* giver.torrent.status

      const third = yield* take()
      yield* world.advance("5 minutes")

      const { shareRatio, uploadedBytes } = yield* giver.torrent.status
      assert.isTrue(isDone)
      assert.deepStrictEqual(ended(giver), ["ratio"])
      assert.deepStrictEqual([atTheEnd.isSeeding, atTheEnd.connectedPeers], [false, 0])
      assert.strictEqual(uploadedBytes, atTheEnd.uploadedBytes)
      assert.isAtLeast(shareRatio, 2)
      assert.isFalse(third.isComplete())
      assert.strictEqual((yield* third.torrent.status).downloadedBytes, 0)
    })
  )

  test("ends when its time is over, in the middle of an upload", { time: "8 seconds" }, (giver, world, take) =>
    Effect.gen(function* () {
      const taker = yield* take()

      yield* world.advance("30 seconds")

      assert.deepStrictEqual(ended(giver), ["time"])
      assert.isBelow((yield* giver.torrent.status).uploadedBytes, totalLength)
      assert.isFalse(taker.isComplete())
    })
  )

  it.effect("ends again after more was wanted and stored", () =>
    Swarms.use({ seed }, (world) =>
      Effect.gen(function* () {
        const behaviours = [PeerBehaviour.honest]
        const download = yield* world.download(small, {
          files: ["normal", "normal", "skip"],
          seed: { time: "5 seconds" },
          behaviours
        })
        yield* world.advance("20 seconds")
        const first = ended(download)
        const isSeeding = [(yield* download.torrent.status).isSeeding]

        yield* download.torrent.setPriorities([])
        isSeeding.push((yield* download.torrent.status).isSeeding)
        yield* world.advance("1 minute")

        assert.deepStrictEqual([first, ended(download)], [["time"], ["time", "time"]])
        assert.deepStrictEqual(isSeeding, [false, true])
        assert.isTrue((yield* world.summary(download)).isRight)
      })
    )
  )

  it.effect("says which goal was reached, although more was wanted and stored before its peers had left", () =>
    Swarms.use({ seed }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(small, {
          files: ["normal", "normal", "skip"],
          seed: { time: "5 seconds" },
          behaviours: [PeerBehaviour.honest]
        })
        yield* world.until(download.isComplete, "1 minute")
        yield* world.advance("6 seconds")

        yield* download.torrent.setPriorities([])
        yield* world.advance("1 minute")

        assert.deepStrictEqual(ended(download), ["time", "time"])
      })
    )
  )

  test("never ends without a goal", true, (giver, world, take) =>
    Effect.gen(function* () {
      const taker = yield* take()
      yield* world.until(taker.isComplete, "5 minutes")

      yield* world.advance("2 hours")

      assert.deepStrictEqual(ended(giver), [])
      assert.isTrue((yield* giver.torrent.status).isSeeding)
    })
  )
})

describe("the sources of peers of a torrent", () => {
  /** Notes when it is asked, and when it is not any more. */
  const watched = () => {
    const log: Array<string> = []
    const source: PeerSource = {
      peers: () =>
        Stream.unwrap(
          Effect.as(
            Effect.acquireRelease(
              Effect.sync(() => void log.push("asked")),
              () => Effect.sync(() => void log.push("ended"))
            ),
            Stream.never
          )
        )
    }
    return { log, source }
  }

  it.effect("end soon after it is complete, and are asked again if more is wanted", () =>
    Swarms.use({ seed }, (world) =>
      Effect.gen(function* () {
        const { log, source } = watched()
        const download = yield* world.download(small, {
          files: ["normal", "skip", "skip"],
          sources: [source],
          behaviours: [PeerBehaviour.honest]
        })
        yield* world.until(download.isComplete, "1 minute")
        yield* world.advance("5 seconds")
        const soon = [...log]
        yield* world.advance("10 seconds")
        const later = [...log]
        yield* download.torrent.setPriorities([])
        yield* world.advance("1 second")

        assert.deepStrictEqual([soon, later, log], [["asked"], ["asked", "ended"], ["asked", "ended", "asked"]])
      })
    )
  )

  it.effect("are asked as long as it seeds, and end after its goal", () =>
    Swarms.use({ seed }, (world) =>
      Effect.gen(function* () {
        const { log, source } = watched()
        const download = yield* world.download(small, {
          seed: { time: "10 minutes" },
          sources: [source],
          from: everything
        })
        yield* world.advance("9 minutes")
        const during = [...log]
        yield* world.until(() => ended(download).length > 0, "2 minutes")
        yield* world.advance("15 seconds")

        assert.deepStrictEqual([during, log], [["asked"], ["asked", "ended"]])
      })
    )
  )
})
