import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { make, other, seed, small } from "./torrents.ts"

const tags = (download: Swarms.Download) => download.events.map(({ _tag }) => _tag)

const test = <E>(name: string, program: (world: Swarms.World) => Effect.Effect<void, E, Scope.Scope>) =>
  it.effect(name, () => Swarms.use({ seed, engine: { listen: { port: 6_881 } } }, program))

const everything = { stored: Bitfield.full(small.metainfo.layout.geometry.pieceCount), resume: undefined }

describe("a paused torrent", () => {
  test("holds no connection and no buffer, keeps what it had, and goes on with the same peers", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 200_000 }] })
      const { torrent } = download
      yield* world.advance("3 seconds")

      yield* world.simulation.during(torrent.pause)

      const paused = yield* torrent.status
      const { connections } = yield* world.network.counts
      assert.strictEqual(paused.state._tag, "Paused")
      assert.strictEqual(paused.bottleneck._tag, "Paused")
      assert.deepStrictEqual([connections, yield* world.engine.heldBytes], [0, 0])
      assert.deepStrictEqual([paused.connectedPeers, paused.bufferedBytes, paused.downloadBytesPerSecond], [0, 0, 0])
      assert.isAbove(paused.storedPieces, 0)
      assert.strictEqual(world.resume.saved(small.metainfo.infoHash)?.flushed.count, paused.storedPieces)
      yield* world.advance("10 minutes")
      assert.strictEqual((yield* torrent.status).downloadedBytes, paused.downloadedBytes)

      yield* torrent.resume
      yield* world.until(download.isComplete, "1 minute")

      assert.isTrue(download.isComplete())
      assert.isTrue((yield* world.summary(download)).isRight)
      assert.deepStrictEqual(
        tags(download).filter((tag) => tag === "Paused" || tag === "Resumed" || tag === "Started"),
        ["Started", "Paused", "Resumed"]
      )
      assert.strictEqual(download.peers[0]!.counters.connections, 2)
    }))

  test("stores the pieces that are complete before it rests", (world) =>
    Effect.gen(function* () {
      world.faults.delay("write", "2 seconds")
      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.advance("1 second")
      const before = (yield* download.torrent.status).storedPieces

      yield* world.simulation.during(download.torrent.pause)

      const { missingBytes, storedPieces } = yield* download.torrent.status
      assert.strictEqual(before, 0)
      assert.isAbove(storedPieces, 0)
      assert.strictEqual(world.faults.counts("write").active, 0)
      assert.isAtLeast(missingBytes, 0)
    }))

  test("does not wait for a storage that takes no writes, and fetches those pieces again", (world) =>
    Effect.gen(function* () {
      world.faults.failAll("write", FaultyStorage.diskFull)
      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.advance("5 seconds")
      const failing = yield* download.torrent.status

      yield* world.simulation.during(download.torrent.pause)
      const paused = yield* download.torrent.status
      const held = yield* world.engine.heldBytes
      world.faults.recover()
      yield* download.torrent.resume
      yield* world.until(download.isComplete, "1 minute")

      assert.strictEqual(failing.state._tag, "StorageFailing")
      assert.strictEqual(paused.state._tag, "Paused")
      assert.strictEqual(held, 0)
      assert.isTrue((yield* world.summary(download)).isRight)
      assert.isTrue(download.isComplete())
    }))

  test("goes on if it is resumed while it comes to rest after a failed write", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 200_000 }] })
      yield* world.advance("3 seconds")
      world.faults.failAll("write", FaultyStorage.diskFull)
      yield* world.advance("2 seconds")
      const failing = yield* download.torrent.status

      world.faults.delay("flush", "2 seconds")
      const pause = yield* Effect.forkScoped(download.torrent.pause)
      yield* world.advance("1 second")
      yield* download.torrent.resume
      world.faults.recover()
      yield* world.until(download.isComplete, "1 minute")
      yield* Fiber.interrupt(pause)

      assert.strictEqual(failing.state._tag, "StorageFailing")
      assert.isTrue(download.isComplete())
      assert.strictEqual((yield* download.torrent.status).state._tag, "Complete")
    }))

  for (const bytesPerSecond of [20_000, 2_000_000])
    test(`does not wait for flushes that fail, and takes what is asked for, at ${bytesPerSecond} B/s`, (world) =>
      Effect.gen(function* () {
        world.faults.failAll("flush", FaultyStorage.inputOutputError)
        const download = yield* world.download(small, { behaviours: [{ bytesPerSecond }] })
        const { torrent } = download
        yield* world.advance("45 seconds")
        const failing = yield* torrent.status

        const pause = yield* Effect.forkScoped(torrent.pause)
        yield* world.advance("1 minute")
        const returned = pause.pollUnsafe()
        const { connections } = yield* world.network.counts
        const held = yield* world.engine.heldBytes
        world.faults.recover()
        yield* world.advance("1 minute")
        const paused = yield* torrent.status
        yield* torrent.resume
        yield* world.until(download.isComplete, "5 minutes")

        assert.strictEqual(failing.state._tag, "StorageFailing")
        assert.isDefined(returned)
        assert.deepStrictEqual([connections, held], [0, 0])
        assert.strictEqual(paused.state._tag, "Paused")
        assert.isTrue(download.isComplete())
        assert.isTrue((yield* world.summary(download)).isRight)
      }))

  test("is checked again, and goes on, also if flushes fail", (world) =>
    Effect.gen(function* () {
      world.faults.failAll("flush", FaultyStorage.inputOutputError)
      const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 2_000_000 }] })
      const { torrent } = download
      yield* world.advance("30 seconds")
      const pause = yield* Effect.forkScoped(torrent.pause)
      yield* world.advance("1 second")
      const recheck = yield* Effect.forkScoped(torrent.recheck)
      yield* world.advance("30 seconds")

      assert.isDefined(pause.pollUnsafe())
      assert.isDefined(recheck.pollUnsafe())
      world.faults.recover()
      yield* torrent.resume
      yield* world.until(download.isComplete, "1 minute")
      assert.isTrue(download.isComplete())
    }))

  test("fails if a file turns out to be somebody else's while it comes to rest", (world) =>
    Effect.gen(function* () {
      const path = "known/a.bin"
      const content = new Uint8Array(30_000).fill(7)
      world.medium.put(path, content)
      world.faults.delay("read", "5 seconds")
      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.advance("7 seconds")
      const before = (yield* download.torrent.status).state._tag

      const pause = yield* Effect.forkScoped(download.torrent.pause)
      yield* world.advance("1 minute")

      assert.strictEqual(before, "Downloading")
      assert.isDefined(pause.pollUnsafe())
      assert.strictEqual((yield* download.torrent.status).state._tag, "Failed")
      assert.deepStrictEqual(world.medium.read(path), content)
    }))

  test("uploads nothing, accepts nobody, and leaves its places to others", (world) =>
    Effect.gen(function* () {
      const giver = yield* world.download(small, { seed: true, from: everything })
      yield* world.advance("1 second")
      yield* world.simulation.during(giver.torrent.pause)
      const second = yield* world.beside()
      const taker = yield* second.download(small, { peers: [{ host: world.host, port: 6_881 }] })
      yield* world.advance("1 minute")
      const meanwhile = yield* giver.torrent.status

      yield* giver.torrent.resume
      yield* world.until(taker.isComplete, "5 minutes")

      assert.deepStrictEqual([meanwhile.connectedPeers, meanwhile.uploadedBytes], [0, 0])
      assert.isTrue(taker.isComplete())
      assert.isAbove((yield* giver.torrent.status).uploadedBytes, 0)
    }))

  test("keeps its files to itself", (world) =>
    Effect.gen(function* () {
      const rival = yield* Effect.promise(() =>
        make({
          seed: 9,
          pieceLength: 65_536,
          files: [
            { path: ["b", "c.bin"], length: 800_000 },
            { path: ["d"], length: 9 }
          ]
        })
      )
      const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 200_000 }], order: "sequential" })
      yield* world.advance("4 seconds")
      yield* world.simulation.during(download.torrent.pause)

      const second = yield* world.download(rival, { behaviours: [{}] })
      yield* world.advance("5 seconds")
      const { state } = yield* second.torrent.status

      assert.strictEqual(state._tag, "Failed")
      if (state._tag === "Failed" && state.error._tag === "piecewise/StorageError")
        assert.strictEqual(state.error.reason._tag, "WriterConflict")
    }))

  test("may be added paused: it is checked, and exchanges nothing", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { from: everything, isPaused: true, behaviours: [{}] })
      yield* world.advance("1 minute")
      const paused = yield* download.torrent.status

      assert.strictEqual(paused.state._tag, "Paused")
      assert.isTrue(paused.isPaused)
      assert.strictEqual(paused.missingBytes, 0)
      assert.isTrue(download.isComplete())
      assert.strictEqual(download.peers[0]!.counters.connections, 0)
    }))

  test("is paused and resumed as often as anybody likes, also at the same time", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 200_000 }] })
      const { torrent } = download
      yield* world.advance("1 second")
      for (let round = 0; round < 5; round++) {
        const fiber = yield* Effect.forkScoped(
          Effect.all([torrent.pause, torrent.pause, torrent.resume, torrent.pause])
        )
        yield* world.advance("500 millis")
        yield* torrent.resume
        yield* torrent.resume
        yield* world.advance("500 millis")
        yield* Fiber.join(fiber)
      }
      yield* world.until(download.isComplete, "1 minute")

      assert.isTrue(download.isComplete())
      assert.isTrue((yield* world.summary(download)).isRight)
    }))

  test("counts no time of rest as time of seeding", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { from: everything, seed: { time: "1 minute" } })
      yield* world.advance("30 seconds")
      yield* world.simulation.during(download.torrent.pause)
      yield* world.advance("10 minutes")
      yield* download.torrent.resume
      yield* world.advance("20 seconds")
      const still = tags(download).includes("SeedingEnded")
      yield* world.advance("20 seconds")

      assert.isFalse(still)
      assert.include(tags(download), "SeedingEnded")
    }))

  test("stops, and others go on", (world) =>
    Effect.gen(function* () {
      const first = yield* world.download(small, { behaviours: [{ bytesPerSecond: 200_000 }] })
      const second = yield* world.download(other, { behaviours: [{ bytesPerSecond: 200_000 }] })
      yield* world.advance("1 second")
      yield* world.simulation.during(first.torrent.pause)

      yield* first.stop
      yield* world.until(second.isComplete, "1 minute")

      assert.strictEqual((yield* first.torrent.status).state._tag, "Stopped")
      assert.isTrue(second.isComplete())
      assert.strictEqual(world.medium.openCount(), 1)
    }))
})

describe("a recheck", () => {
  test("finds what is wrong although it looks the same, and fetches it again", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.until(download.isComplete, "1 minute")
      // Neither its size nor its time tells.
      world.medium.damage(small.metainfo.layout, 7, 3)
      const before = yield* download.torrent.status

      yield* world.simulation.during(download.torrent.recheck)
      const after = yield* download.torrent.status
      yield* world.advance("1 minute")

      assert.strictEqual(before.missingBytes, 0)
      assert.isAtLeast(after.storedPieces, 19)
      assert.strictEqual(tags(download).filter((tag) => tag === "PieceStored").length, 21)
      assert.isTrue((yield* world.summary(download)).isRight)
      assert.strictEqual((yield* download.torrent.status).state._tag, "Complete")
      assert.isAtLeast((yield* download.torrent.status).downloadedBytes, before.downloadedBytes)
    }))

  test("runs during a download and while it is paused, which it stays", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 200_000 }] })
      yield* world.advance("3 seconds")
      yield* world.simulation.during(download.torrent.recheck)
      const during = yield* download.torrent.status
      yield* world.advance("1 second")
      yield* world.simulation.during(download.torrent.pause)
      yield* world.simulation.during(download.torrent.recheck)
      yield* world.advance("1 second")
      const paused = yield* download.torrent.status
      yield* download.torrent.resume
      yield* world.until(download.isComplete, "1 minute")

      assert.isAbove(during.storedPieces, 0)
      assert.strictEqual(paused.state._tag, "Paused")
      assert.isTrue((yield* world.summary(download)).isRight)
    }))

  test("leaves a file of somebody else's alone", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.until(download.isComplete, "1 minute")
      const [path] = world.medium.paths()
      world.medium.remove(path!)
      const content = new Uint8Array(small.metainfo.layout.files[0]!.length).fill(7)
      world.medium.put(path!, content)

      const recheck = yield* Effect.forkScoped(Effect.exit(download.torrent.recheck))
      yield* world.advance("1 minute")

      assert.isDefined(recheck.pollUnsafe())
      assert.deepStrictEqual(world.medium.read(path!), content)
      assert.strictEqual((yield* download.torrent.status).state._tag, "Failed")
    }))
})
