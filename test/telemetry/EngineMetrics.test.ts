import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { other, seed, small } from "../simulation/torrents.ts"
import * as Observed from "./observed.ts"

const infoHashOf = ({ metainfo }: typeof small) => InfoHash.toHex(metainfo.infoHash)

/** The value of a metric that has no labels. */
const at = (metrics: Readonly<Record<string, number>>, name: string) => metrics[name]!

const gaugesIn = (metrics: Readonly<Record<string, number>>) =>
  Object.keys(metrics).filter((name) => !/_total|_duration_seconds/.test(name))

describe("the metrics of an engine", () => {
  it.effect("equal what a swarm with a liar has transferred, stored and rejected", () => {
    const { metrics, within } = Observed.make()
    return within(
      Swarms.use({ seed, link: { latency: "20 millis" } }, (world) =>
        Effect.gen(function* () {
          const liar = { corrupts: "every block", bytesPerSecond: 200_000 } as const
          const download = yield* world.download(small, { seed: true, behaviours: [{ bytesPerSecond: 300_000 }, liar] })
          const isComplete = yield* world.until(download.isComplete, "10 minutes")

          const status = yield* download.torrent.status
          const now = metrics()

          assert.isTrue(isComplete)
          assert.isAbove(status.rejectedPieces, 0)
          assert.isAbove(status.wastedBytes, 0)
          assert.deepInclude(now, {
            piecewise_download_bytes_total: status.downloadedBytes,
            piecewise_wasted_bytes_total: status.wastedBytes,
            piecewise_upload_bytes_total: 0,
            piecewise_pieces_stored_total: 20,
            piecewise_pieces_rejected_total: status.rejectedPieces,
            piecewise_write_duration_seconds: 20,
            piecewise_verify_duration_seconds: 20 + status.rejectedPieces,
            'piecewise_torrents{state="complete"}': 1,
            'piecewise_torrents{state="downloading"}': 0,
            piecewise_peers_connected: status.connectedPeers,
            piecewise_peers_known: status.knownPeers,
            piecewise_peers_banned: 1,
            piecewise_missing_bytes: 0,
            piecewise_buffer_lent_bytes: 0
          })
          // A piece that was requested twice has two such blocks at most.
          assert.isAtLeast(at(now, "piecewise_request_duration_seconds"), 20)
        })
      )
    )
  })

  it.effect("are read when somebody asks, and updated by no block, piece or tick", () => {
    const { metrics, registry, within } = Observed.make()
    return within(
      Swarms.use({ seed, link: { latency: "20 millis", bytesPerSecond: 100_000 } }, (world) =>
        Effect.gen(function* () {
          const download = yield* world.download(small, { behaviours: [{}] })
          const before = registry.lookups
          yield* world.advance("5 seconds")
          const half = at(metrics(), "piecewise_download_bytes_total")
          const status = yield* download.torrent.status
          yield* world.until(download.isComplete, "10 minutes")

          assert.strictEqual(registry.lookups, before)
          assert.strictEqual(half, status.downloadedBytes)
          assert.isAbove(half!, 0)
          assert.isBelow(half!, small.metainfo.layout.geometry.totalLength)
        })
      )
    )
  })

  it.effect("have no stale gauge when the torrents have left, and keep the counters", () => {
    const { metrics, within } = Observed.make()
    return within(
      Swarms.use({ seed }, (world) =>
        Effect.gen(function* () {
          const first = yield* world.download(small, { seed: true, behaviours: [{}] })
          const second = yield* world.download(other, { behaviours: [{}] })
          yield* world.until(() => first.isComplete() && second.isComplete(), "1 minute")
          const bytes = (yield* first.torrent.status).downloadedBytes + (yield* second.torrent.status).downloadedBytes
          const both = metrics()

          yield* first.stop
          const one = metrics()
          yield* second.stop
          const none = metrics()

          assert.strictEqual(both['piecewise_torrents{state="complete"}'], 2)
          assert.strictEqual(one['piecewise_torrents{state="complete"}'], 1)
          assert.strictEqual(at(one, "piecewise_peers_connected"), 0)
          assert.isAbove(gaugesIn(one).length, 10)
          assert.deepStrictEqual(gaugesIn(none), [])
          for (const metrics of [both, one, none])
            assert.strictEqual(at(metrics, "piecewise_download_bytes_total"), bytes)
        })
      )
    )
  })

  it.effect("keep the bytes of a torrent whose files went away, in its next run", () => {
    const { metrics, within } = Observed.make()
    return within(
      Swarms.use({ seed }, (world) =>
        Effect.gen(function* () {
          const seeder = yield* world.beside({ engine: { listen: { port: 6_881 } } })
          const seeding = yield* seeder.download(small, { seed: true, behaviours: [{}] })
          yield* world.until(seeding.isComplete, "1 minute")
          const { downloadedBytes } = yield* seeding.torrent.status
          const paths = seeder.medium.paths()
          for (const path of paths) seeder.medium.move(path, `away/${path}`)
          // Its files are missed when a peer asks for them.
          const asking = yield* world.download(small, { peers: [{ host: seeder.host, port: 6_881 }] })
          yield* world.advance("1 minute")
          const missing = metrics()
          for (const path of paths) seeder.medium.move(`away/${path}`, path)
          yield* world.until(asking.isComplete, "10 minutes")
          const asked = (yield* asking.torrent.status).downloadedBytes
          const again = metrics()

          assert.strictEqual(missing['piecewise_torrents{state="files_missing"}'], 1)
          assert.isAtLeast(at(missing, "piecewise_download_bytes_total"), downloadedBytes)
          assert.isTrue(asking.isComplete())
          assert.strictEqual(at(again, "piecewise_download_bytes_total"), downloadedBytes + asked)
          assert.strictEqual(again['piecewise_torrents{state="files_missing"}'], 0)
        })
      )
    )
  })

  it.effect("sum the engines that share a registry, and what one sends is what the other receives", () => {
    const { metrics, within } = Observed.make()
    return within(
      Swarms.use({ seed }, (world) =>
        Effect.gen(function* () {
          const seeder = yield* world.beside({ engine: { listen: { port: 6_881 } } })
          const uploading = yield* seeder.download(small, { seed: true, behaviours: [{}] })
          yield* world.until(uploading.isComplete, "1 minute")
          const before = at(metrics(), "piecewise_download_bytes_total")
          const download = yield* world.download(small, { seed: true, peers: [{ host: seeder.host, port: 6_881 }] })
          yield* world.until(download.isComplete, "1 minute")

          const now = metrics()
          const { downloadedBytes } = yield* download.torrent.status

          assert.strictEqual(now['piecewise_torrents{state="complete"}'], 2)
          assert.strictEqual(at(now, "piecewise_pieces_stored_total"), 40)
          assert.strictEqual(at(now, "piecewise_upload_bytes_total"), downloadedBytes)
          assert.strictEqual(at(now, "piecewise_download_bytes_total"), before + downloadedBytes)
          yield* download.stop
          assert.strictEqual(metrics()['piecewise_torrents{state="complete"}'], 1)
        })
      )
    )
  })

  it.effect("show who is interested and unchoked while a peer is served", () => {
    const { metrics, within } = Observed.make()
    return within(
      Swarms.use({ seed, link: { latency: "20 millis", bytesPerSecond: 50_000 } }, (world) =>
        Effect.gen(function* () {
          const seeder = yield* world.beside({ engine: { listen: { port: 6_881 } } })
          const uploading = yield* seeder.download(small, { seed: true, behaviours: [{}] })
          yield* world.until(uploading.isComplete, "10 minutes")
          yield* world.download(small, { peers: [{ host: seeder.host, port: 6_881 }] })
          yield* world.advance("15 seconds")

          // The seeder has one peer that is interested and unchoked; the downloader has one that is interesting and
          // unchokes it. The seeder's first peer is a seed, so it has left.
          assert.deepInclude(metrics(), {
            piecewise_peers_connected: 2,
            piecewise_peers_interested: 1,
            piecewise_peers_unchoked: 1,
            piecewise_peers_interesting: 1,
            piecewise_peers_unchoking: 1
          })
        })
      )
    )
  })

  it.effect("count failed writes while the disk is full", () => {
    const { metrics, within } = Observed.make()
    return within(
      Swarms.use({ seed }, (world) =>
        Effect.gen(function* () {
          world.faults.failAll("write", FaultyStorage.diskFull)
          const download = yield* world.download(small, { behaviours: [{}] })
          yield* world.advance("5 seconds")
          const failing = metrics()
          world.faults.recover("write")
          yield* world.until(download.isComplete, "1 minute")

          assert.strictEqual(failing['piecewise_torrents{state="storage_failing"}'], 1)
          assert.isAbove(at(failing, "piecewise_writes_failed_total"), 0)
          assert.strictEqual(at(failing, "piecewise_pieces_stored_total"), 0)
          assert.isAbove(at(failing, "piecewise_buffer_lent_bytes"), 0)
          assert.isAtLeast(at(failing, "piecewise_buffer_held_bytes"), at(failing, "piecewise_buffer_lent_bytes"))
          assert.strictEqual(at(metrics(), "piecewise_pieces_stored_total"), 20)
        })
      )
    )
  })

  it.effect("time a request from its sending, and a write until it is confirmed", () => {
    const { histogram, within } = Observed.make()
    return within(
      Swarms.use({ seed, link: { latency: "100 millis" } }, (world) =>
        Effect.gen(function* () {
          world.faults.delay("write", "4 seconds")
          const download = yield* world.download(small, { behaviours: [{}] })
          yield* world.until(download.isComplete, "10 minutes")
          const requests = histogram("piecewise_request_duration_seconds")!
          const writes = histogram("piecewise_write_duration_seconds")!

          assert.strictEqual(requests.count, 20)
          assert.isAtLeast(requests.min, 0.2)
          assert.isBelow(requests.max, 1)
          assert.strictEqual(writes.count, 20)
          assert.approximately(writes.min, 4, 0.001)
          assert.approximately(writes.sum, 80, 0.001)
          assert.deepStrictEqual(
            writes.buckets.filter(([bound]) => bound === 2.5 || bound === 5),
            [
              [2.5, 0],
              [5, 20]
            ]
          )
        })
      )
    )
  })

  it.effect("exist for each torrent only if that is asked for, and leave with it", () => {
    const { metrics, within } = Observed.make()
    const named = `piecewise_torrent_download_bytes_total{info_hash="${infoHashOf(small)}"}`
    return within(
      Swarms.use({ seed, engine: { telemetry: { byTorrent: true } } }, (world) =>
        Effect.gen(function* () {
          const first = yield* world.download(small, { behaviours: [{}] })
          const second = yield* world.download(other, { behaviours: [{}] })
          yield* world.until(() => first.isComplete() && second.isComplete(), "1 minute")
          const both = metrics()
          const { downloadedBytes } = yield* first.torrent.status

          yield* first.stop
          const left = Object.keys(metrics()).filter((name) => name.includes("info_hash"))

          assert.strictEqual(both[named], downloadedBytes)
          assert.strictEqual(left.length, 6)
          assert.isTrue(left.every((name) => name.includes(infoHashOf(other))))
        })
      )
    )
  })

  it.effect("do not exist if they are not wanted, and are those of the engine alone by default", () => {
    const without = Observed.make()
    const byDefault = Observed.make()
    const complete = (options: Swarms.Options) =>
      Swarms.use({ seed, ...options }, (world) =>
        Effect.gen(function* () {
          const download = yield* world.download(small, { behaviours: [{}] })
          yield* world.until(download.isComplete, "1 minute")
          assert.isTrue(download.isComplete())
          return [Object.keys(without.metrics()), Object.keys(byDefault.metrics())] as const
        })
      )
    return Effect.gen(function* () {
      const [none] = yield* without.within(complete({ engine: { telemetry: { metrics: false, byTorrent: true } } }))
      const [, some] = yield* byDefault.within(complete({}))

      assert.deepStrictEqual(none, [])
      assert.isTrue(some.every((name) => !name.includes("info_hash")))
      assert.isAbove(some.length, 25)
    })
  })

  it.effect("add no task of any fiber to a download", () => {
    const tasks = (metrics: boolean) =>
      Swarms.use(
        { seed, link: { latency: "20 millis" }, engine: { telemetry: { metrics, byTorrent: metrics } } },
        (world) =>
          Effect.gen(function* () {
            const download = yield* world.download(small, { behaviours: [{}, { corrupts: "last block" }] })
            const before = world.simulation.turns()
            yield* world.until(download.isComplete, "1 minute")
            return [world.simulation.turns() - before, world.simulation.nowUnsafe(), download.isComplete()] as const
          })
      )
    return Effect.gen(function* () {
      const without = yield* tasks(false)
      const withThem = yield* tasks(true)

      assert.isAbove(without[0], 100)
      assert.deepStrictEqual(withThem, without)
    })
  })

  it.effect("keep engines apart that have other attributes", () => {
    const { metrics, within } = Observed.make()
    const stored = (tenant: string) =>
      Effect.provideService(Swarms.run({ seed, torrent: small, peers: [{}] }), Metric.CurrentMetricAttributes, {
        tenant
      })
    return within(
      Effect.gen(function* () {
        yield* stored("a")
        yield* stored("a")
        yield* stored("b")

        assert.deepInclude(metrics(), {
          'piecewise_pieces_stored_total{tenant="a"}': 40,
          'piecewise_pieces_stored_total{tenant="b"}': 20
        })
      })
    )
  })
})
