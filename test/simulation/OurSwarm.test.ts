import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import type * as MemoryNetwork from "../../src/testing/MemoryNetwork.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { seed, small } from "./torrents.ts"

const listen = { port: 6_881 }
const { pieceCount, totalLength } = small.metainfo.layout.geometry

const everything: Swarms.Snapshot = { stored: Bitfield.full(pieceCount), resume: undefined }

const addressOf = (world: Swarms.World) => ({ host: world.host, port: listen.port })

/** Engines that all know each other; those that have everything come first. */
const swarm = Effect.fnUntraced(function* (
  first: Swarms.World,
  options: { readonly seeds: number; readonly others: number; readonly add?: Swarms.DownloadOptions | undefined }
) {
  const count = options.seeds + options.others
  const worlds = [first]
  while (worlds.length < count) worlds.push(yield* first.beside({ engine: { listen } }))
  const peers = worlds.map(addressOf)
  const downloads = yield* Effect.forEach(worlds, (world, index) =>
    world.download(small, {
      ...options.add,
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
  test("one gives everything to another", (world) =>
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
    "keeps one connection where two have dialled each other",
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

  test("lets go of whoever has everything, and dials nobody any more", (world) =>
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
    "gives to each other what the seed cannot give to all at once",
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
        // What is under way when somebody has everything is sent and not received.
        assert.isAtLeast(
          statuses.reduce((sum, { uploadedBytes }) => sum + uploadedBytes, 0),
          statuses.reduce((sum, { downloadedBytes }) => sum + downloadedBytes, 0)
        )
      }),
    { latency: "20 millis", bytesPerSecond: 50_000 }
  )

  test(
    "never unchokes more than it has slots, and serves all in turn",
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

  test(
    "super-seeding gives 30 others less than 1.5 copies, and all complete",
    (world) =>
      Effect.gen(function* () {
        const { downloads, others, worlds } = yield* swarm(world, { seeds: 1, others: 30, add: { superSeed: true } })

        const isComplete = yield* world.until(() => others.every(({ isComplete }) => isComplete()), "30 minutes")

        const { uploadedBytes } = yield* downloads[0]!.torrent.status
        const summaries = yield* Effect.forEach(others, (download, index) => worlds[index + 1]!.summary(download))
        assert.isTrue(isComplete)
        assert.isTrue(summaries.every(({ isRight }) => isRight))
        assert.isBelow(uploadedBytes, 1.5 * totalLength)
      }),
    { latency: "20 millis", bytesPerSecond: 200_000 }
  )

  test("fault 49: goes on with another seed where one has lost its bytes, and the one tells of it once", (world) =>
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

  test("is the same run again with the same seed", () =>
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
