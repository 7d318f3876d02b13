import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Bitfield from "../../src/base/Bitfield.ts"
import { blockLength } from "../../src/base/PieceGeometry.ts"
import type * as Engine from "../../src/engine/Engine.ts"
import * as RateLimiter from "../../src/rate/RateLimiter.ts"
import * as PeerBehaviour from "../../src/testing/PeerBehaviour.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { other, seed, small } from "./torrents.ts"

const { honest } = PeerBehaviour
const { pieceCount, totalLength } = small.metainfo.layout.geometry
const everything: Swarms.Snapshot = { stored: Bitfield.full(pieceCount), resume: undefined }
const rate = 100_000
const listen = { port: 6_881 }

/** The least number of seconds that bytes take, because half a second's worth and one block may pass at once. */
const secondsFor = (bytes: number, bytesPerSecond: number): number =>
  (bytes - bytesPerSecond * RateLimiter.burstSeconds - blockLength) / bytesPerSecond

const test = (
  name: string,
  engine: Engine.EngineOptions,
  program: (world: Swarms.World) => Effect.Effect<void, unknown, Scope.Scope>
) => it.effect(name, () => Swarms.use({ seed, engine, link: { latency: "20 millis" } }, program))

/** Returns how many seconds the download took, after checking that all of it is right. */
const seconds = Effect.fnUntraced(function* (world: Swarms.World, download: Swarms.Download) {
  const began = world.simulation.nowUnsafe()
  assert.isTrue(yield* world.until(download.isComplete, "20 minutes"))
  const summary = yield* world.summary(download)
  assert.isTrue(summary.isRight)
  return (summary.millis - began) / 1_000
})

const assertTook = (took: number, bytes: number, bytesPerSecond: number): void => {
  assert.isAtLeast(took, secondsFor(bytes, bytesPerSecond))
  assert.isAtMost(took, 1.1 * (bytes / bytesPerSecond) + 1)
}

describe("rate limits", () => {
  test("of the engine hold for a torrent", { limits: { downloadBytesPerSecond: rate } }, (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [honest, honest, honest] })

      const took = yield* seconds(world, download)

      assertTook(took, totalLength, rate)
    })
  )

  test("of a torrent hold for all its peers together", {}, (world) =>
    Effect.gen(function* () {
      const limits = { downloadBytesPerSecond: rate }
      const download = yield* world.download(small, { behaviours: [honest, honest, honest], limits })

      const took = yield* seconds(world, download)

      assertTook(took, totalLength, rate)
    })
  )

  test("of a peer hold for each peer", {}, (world) =>
    Effect.gen(function* () {
      const peerLimits = { downloadBytesPerSecond: rate }
      const download = yield* world.download(small, { behaviours: [honest, honest, honest], peerLimits })

      const took = yield* seconds(world, download)

      assert.isAtLeast(took, secondsFor(totalLength, 3 * rate) - 1)
      assert.isBelow(took, totalLength / (2 * rate))
    })
  )

  test("are reported as the bottleneck of a torrent", { limits: { downloadBytesPerSecond: rate } }, (world) =>
    Effect.gen(function* () {
      const { torrent } = yield* world.download(small, { behaviours: [honest] })
      const told = new Set<string>()

      for (let second = 0; second < 8; second++) {
        yield* world.advance("1 second")
        told.add((yield* torrent.status).bottleneck._tag)
      }

      assert.deepStrictEqual([...told], ["RateLimited"])
    })
  )

  test("are shared evenly by two torrents, however many peers each has", {}, (world) =>
    Effect.gen(function* () {
      const first = yield* world.download(small, { behaviours: Array(6).fill(honest) })
      const second = yield* world.download(other, { behaviours: [honest] })
      yield* world.engine.setLimits({ downloadBytesPerSecond: rate })

      yield* world.advance("15 seconds")

      const [one, two] = yield* Effect.forEach([first, second], ({ torrent }) => torrent.status)
      const [fewer, more] = [one!.downloadedBytes, two!.downloadedBytes].sort((a, b) => a - b)
      assert.isAtMost(more! - fewer!, 0.15 * more!)
      assert.isAtMost(fewer! + more!, 15.5 * rate + blockLength)
    })
  )

  test(
    "are used fully, whatever other peers have nothing more to send",
    { limits: { downloadBytesPerSecond: rate / 5 } },
    (world) =>
      Effect.gen(function* () {
        const partial = { pieces: [0, 1] }
        const behaviours = [honest, ...Array(8).fill(partial)]
        const download = yield* world.download(small, { behaviours })

        const took = yield* seconds(world, download)

        assertTook(took, totalLength, rate / 5)
      })
  )

  test(
    "are left to other torrents by one that wants nothing",
    { listen, limits: { downloadBytesPerSecond: rate } },
    (world) =>
      Effect.gen(function* () {
        yield* world.download(small, { seed: true, from: everything, behaviours: Array(3).fill({ pieces: [0, 1] }) })
        const download = yield* world.download(other, { behaviours: [honest] })

        const took = yield* seconds(world, download)

        assertTook(took, other.metainfo.layout.geometry.totalLength, rate)
      })
  )

  test(
    "so low that a piece takes minutes lose none of its blocks",
    { limits: { downloadBytesPerSecond: 500 } },
    (world) =>
      Effect.gen(function* () {
        const downloads = [
          yield* world.download(small, { behaviours: Array(3).fill(honest) }),
          yield* world.download(other, { behaviours: [honest] })
        ]

        yield* world.advance("1 hour")

        for (const { events, known, torrent } of downloads) {
          const { downloadedBytes, storedBytes } = yield* torrent.status
          // Bytes that are not stored are in the buffers. All of those that were lent may be half full.
          assert.isAtLeast(storedBytes, downloadedBytes - 20 * known.metainfo.layout.geometry.pieceLength)
          assert.isAbove(storedBytes, 0)
          // Scripted peers send nothing by themselves.
          const whys = events.flatMap((event) => (event._tag === "PeerDisconnected" ? [event.why] : []))
          assert.deepStrictEqual(
            whys.filter((why) => why !== "it was silent for 3 minutes"),
            []
          )
        }
      })
  )

  test("can change while a torrent runs", { limits: { downloadBytesPerSecond: 10_000 } }, (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [honest] })
      yield* world.advance("10 seconds")
      const slow = (yield* download.torrent.status).downloadedBytes

      yield* download.torrent.setLimits({ downloadBytesPerSecond: 200_000 })
      yield* world.engine.setLimits({})
      const took = yield* seconds(world, download)

      assert.isAtMost(slow, 10.5 * 10_000 + blockLength)
      assertTook(took, totalLength - slow, 200_000)
    })
  )

  test("far below a block a second lose no peer", { limits: { downloadBytesPerSecond: 1_024 } }, (world) =>
    Effect.gen(function* () {
      const { events, torrent } = yield* world.download(small, { behaviours: [honest, honest] })

      yield* world.advance("10 minutes")

      const { downloadedBytes, wastedBytes } = yield* torrent.status
      assert.isAtMost(downloadedBytes, 600.5 * 1_024 + blockLength)
      assert.isAtLeast(downloadedBytes, 560 * 1_024)
      assert.strictEqual(wastedBytes, 0)
      assert.isFalse(events.some(({ _tag }) => _tag === "PeerDisconnected"))
    })
  )

  test("hold for uploads", { listen, limits: { uploadBytesPerSecond: rate } }, (world) =>
    Effect.gen(function* () {
      yield* world.download(small, { seed: true, from: everything })
      const takers = [yield* world.beside(), yield* world.beside()]
      const peers = [{ host: world.host, port: 6_881 }]
      const downloads = yield* Effect.forEach(takers, (taker) => taker.download(small, { peers }))

      const isDone = yield* world.until(() => downloads.every(({ isComplete }) => isComplete()), "5 minutes")

      assert.isTrue(isDone)
      assertTook(world.simulation.nowUnsafe() / 1_000, 2 * totalLength, rate)
    })
  )

  const low = { limits: { downloadBytesPerSecond: 0.3 * rate } }

  test("fault 45: serve the one peer that sends, whatever grants the peers that choke give back", low, (world) =>
    Effect.gen(function* () {
      // They choke before a block is answered, so they send nothing.
      const chokers = Array.from({ length: 6 }, (_, index) => ({
        features: { fast: false },
        delay: 500,
        chokesEvery: 30 + 7 * index
      }))
      const download = yield* world.download(small, { behaviours: [{ delay: 300 }, ...chokers] })

      const took = yield* seconds(world, download)

      assertTook(took, totalLength, 0.3 * rate)
    })
  )

  test("fault 45: are used fully when peers choke and send wrong blocks at once", low, (world) =>
    Effect.gen(function* () {
      const poisoners = Array.from({ length: 8 }, (_, index) => ({
        chokesEvery: 30 + 7 * index,
        corrupts: { probability: 0.1 }
      }))
      const download = yield* world.download(small, { behaviours: [honest, honest, ...poisoners] })

      const took = yield* seconds(world, download)

      const { downloadedBytes, rejectedPieces } = yield* download.torrent.status
      assert.isAbove(rejectedPieces, 0)
      assert.isAtMost(took, 1.2 * (downloadedBytes / (0.3 * rate)) + 5)
    })
  )

  test("go on when the torrent whose turn it was to step them is stopped", {}, (world) =>
    Effect.gen(function* () {
      yield* world.engine.setLimits({ downloadBytesPerSecond: rate })
      const first = yield* world.download(other, { behaviours: [honest] })
      const second = yield* world.download(small, { behaviours: [honest] })
      yield* world.advance("2 seconds")

      yield* first.stop
      const took = yield* seconds(world, second)

      assert.isAtMost(took, totalLength / rate + 2)
    })
  )
})
