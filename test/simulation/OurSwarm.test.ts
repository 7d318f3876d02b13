import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import type { KnownTorrent } from "../../src/testing/KnownTorrent.ts"
import type * as MemoryNetwork from "../../src/testing/MemoryNetwork.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { make, seed, small } from "./torrents.ts"

const listen = { port: 6_881 }
const { pieceCount, totalLength } = small.metainfo.layout.geometry

/**
 * 60 pieces of 4 blocks. Private, because all engines know each other, and peer exchange would take a third of the run.
 */
const fine = await make({ isPrivate: true, pieceLength: 65_536, files: [{ path: [], length: 60 * 65_536 - 5_000 }] })

const addressOf = (world: Swarms.World) => ({ host: world.host, port: listen.port })

/** Engines that all know each other: first those that have everything, last those that upload nothing. */
const swarm = Effect.fnUntraced(function* (
  first: Swarms.World,
  options: {
    readonly known?: KnownTorrent | undefined
    readonly seeds: number
    readonly others: number
    readonly freeRiders?: number | undefined
    readonly add?: Swarms.DownloadOptions | undefined
  }
) {
  const { freeRiders = 0, known = small } = options
  const everything = { stored: Bitfield.full(known.metainfo.layout.geometry.pieceCount), resume: undefined }
  const count = options.seeds + options.others + freeRiders
  const worlds = [first]
  while (worlds.length < count) worlds.push(yield* first.beside({ engine: { listen } }))
  const peers = worlds.map(addressOf)
  const downloads = yield* Effect.forEach(worlds, (world, index) =>
    world.download(known, {
      ...options.add,
      ...(index < count - freeRiders ? {} : { uploadSlots: 0 }),
      seed: true,
      peers: peers.filter(({ host }) => host !== world.host),
      from: index < options.seeds ? everything : undefined
    })
  )
  return { worlds, downloads, others: downloads.slice(options.seeds) }
})

const test = (
  name: string,
  program: (world: Swarms.World) => Effect.Effect<void, unknown, Scope.Scope>,
  link: Partial<MemoryNetwork.LinkOptions> = {}
) => it.effect(name, () => Swarms.use({ seed, engine: { listen }, link }, program))

describe("a swarm of our engines", () => {
  test("one engine uploads everything to another", (world) =>
    Effect.gen(function* () {
      const { downloads, others, worlds } = yield* swarm(world, { seeds: 1, others: 1 })

      const isComplete = yield* world.until(others[0]!.isComplete, "1 minute")
      const [giver, taker] = yield* Effect.forEach(downloads, ({ torrent }) => torrent.status)
      const summary = yield* worlds[1]!.summary(others[0]!)

      assert.isTrue(isComplete)
      assert.isTrue(summary.isRight)
      assert.deepStrictEqual(summary.writes, Array(pieceCount).fill(1))
      assert.deepStrictEqual([giver!.uploadedBytes, taker!.downloadedBytes], [totalLength, totalLength])
    }))

  test(
    "keeps one connection if two engines have dialled each other",
    (world) =>
      Effect.gen(function* () {
        const { downloads } = yield* swarm(world, { seeds: 0, others: 2 })

        yield* world.advance("30 seconds")

        const counts = yield* Effect.forEach(downloads, ({ torrent }) => torrent.status)
        assert.deepStrictEqual(
          counts.map(({ connectedPeers }) => connectedPeers),
          [1, 1]
        )
        assert.strictEqual((yield* world.network.counts).connections, 2)
      }),
    { latency: "30 millis" }
  )

  test("disconnects peers that have everything, and dials nobody any more", (world) =>
    Effect.gen(function* () {
      const { downloads, others } = yield* swarm(world, { seeds: 2, others: 2 })
      yield* world.until(() => others.every(({ isComplete }) => isComplete()), "2 minutes")
      yield* world.advance("1 minute")
      const told = downloads.map(({ events }) => events.length)

      yield* world.advance("20 minutes")

      assert.strictEqual((yield* world.network.counts).connections, 0)
      assert.deepStrictEqual(
        downloads.map(({ events }) => events.length),
        told
      )
    }))

  test(
    "engines upload to each other what the seed cannot upload to all at once",
    (world) =>
      Effect.gen(function* () {
        const { downloads, others, worlds } = yield* swarm(world, { seeds: 1, others: 5 })

        const isComplete = yield* world.until(() => others.every(({ isComplete }) => isComplete()), "10 minutes")
        const statuses = yield* Effect.forEach(downloads, ({ torrent }) => torrent.status)
        const summaries = yield* Effect.forEach(others, (download, index) => worlds[index + 1]!.summary(download))

        const given = statuses.slice(1).reduce((sum, { uploadedBytes }) => sum + uploadedBytes, 0)
        assert.isTrue(isComplete)
        assert.isTrue(summaries.every(({ isRight }) => isRight))
        assert.isAbove(given, totalLength)
        // Blocks that are on the way when a peer has everything are sent and not received.
        assert.isAtLeast(
          statuses.reduce((sum, { uploadedBytes }) => sum + uploadedBytes, 0),
          statuses.reduce((sum, { downloadedBytes }) => sum + downloadedBytes, 0)
        )
      }),
    { latency: "20 millis", bytesPerSecond: 50_000 }
  )

  test(
    "never unchokes more peers than it has slots, and serves all in turn",
    (world) =>
      Effect.gen(function* () {
        const { downloads, others } = yield* swarm(world, { seeds: 1, others: 6, add: { uploadSlots: 2 } })
        const unchoked: Array<number> = []
        const isDone = () => others.every(({ isComplete }) => isComplete())

        for (let second = 0; second < 1_800 && !isDone(); second++) {
          yield* world.advance("1 second")
          const statuses = yield* Effect.forEach(downloads, ({ torrent }) => torrent.status)
          unchoked.push(...statuses.map(({ unchokedPeers }) => unchokedPeers))
        }

        assert.isTrue(isDone())
        assert.strictEqual(Math.max(...unchoked), 2)
      }),
    { latency: "20 millis", bytesPerSecond: 100_000 }
  )

  // A block takes 4 s, so that a download is much longer than the first optimistic slots, when no peer has uploaded
  // yet.
  for (const number of [seed, seed + 1]) {
    it.effect(
      `30 complete, a free-rider at the end, and the only super-seed uploads less than 1.5 copies (seed ${number})`,
      () =>
        Swarms.use(
          {
            seed: number,
            engine: { listen },
            link: { latency: "20 millis", bytesPerSecond: 4_000 },
            network: { windowBytes: 8_192, sendBufferBytes: 8_192 }
          },
          Effect.fnUntraced(function* (world) {
            const { downloads, others, worlds } = yield* swarm(world, {
              known: fine,
              seeds: 1,
              others: 28,
              freeRiders: 1,
              add: { superSeed: true }
            })
            // If all waited for the seed alone, it would not matter who uploads.
            yield* Effect.forEach(worlds.slice(1), ({ host }) =>
              world.network.link(world.host, host, { bytesPerSecond: 30_000 })
            )
            const completions = yield* Effect.forEach(others, ({ torrent }) =>
              Effect.forkScoped(Effect.map(torrent.completed, () => world.simulation.nowUnsafe()))
            )

            const isComplete = yield* world.until(() => others.every(({ isComplete }) => isComplete()), "30 minutes")

            assert.isTrue(isComplete)
            const { uploadedBytes } = yield* downloads[0]!.torrent.status
            const summaries = yield* Effect.forEach(others, (download, index) => worlds[index + 1]!.summary(download))
            const completedAt = yield* Effect.forEach(completions, Fiber.join)
            assert.isTrue(summaries.every(({ isRight }) => isRight))
            assert.isBelow(uploadedBytes, 1.5 * fine.metainfo.layout.geometry.totalLength)
            assert.strictEqual(summaries.at(-1)!.status.uploadedBytes, 0)
            // One that was unlucky may be later.
            const last = completedAt.at(-1)!
            assert.isAtMost(completedAt.slice(0, -1).filter((at) => at > last).length, 1)
          })
        ),
      120_000
    )
  }

  test("fault 49: goes on with another seed if one has lost its bytes, and that one reports it once", (world) =>
    Effect.gen(function* () {
      const { downloads, others, worlds } = yield* swarm(world, { seeds: 2, others: 1 })
      world.faults.failAll("read", FaultyStorage.notStored)

      const isComplete = yield* world.until(others[0]!.isComplete, "5 minutes")

      const failed = downloads[0]!.events.flatMap((event) => (event._tag === "ReadFailed" ? [event.piece] : []))
      assert.isTrue(isComplete)
      assert.isTrue((yield* worlds[2]!.summary(others[0]!)).isRight)
      assert.strictEqual(new Set(failed).size, failed.length)
      assert.strictEqual((yield* downloads[0]!.torrent.status).unreadablePieces, failed.length)
    }))

  test("runs alike with the same seed", () =>
    Effect.gen(function* () {
      const story = Swarms.use({ seed, engine: { listen }, link: { latency: "10 millis" } }, (world) =>
        Effect.gen(function* () {
          const { downloads, others } = yield* swarm(world, { seeds: 1, others: 3 })
          yield* world.until(() => others.every(({ isComplete }) => isComplete()), "5 minutes")
          return downloads.map(({ events }) => events)
        })
      )

      const [first, second] = [yield* story, yield* story]

      assert.deepStrictEqual(second, first)
    }))
})
