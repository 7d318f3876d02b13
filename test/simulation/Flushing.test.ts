import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Bitfield from "../../src/base/Bitfield.ts"
import { StorageRefused } from "../../src/storage/Storage.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import * as Storages from "./storages.ts"
import { make, seed, small } from "./torrents.ts"

const test = <E>(
  name: string,
  program: (world: Swarms.World) => Effect.Effect<void, E, Scope.Scope>,
  options: Pick<Swarms.Options, "storage"> = {}
) => it.effect(name, () => Swarms.use({ seed, ...options }, program))

const count = ({ events }: Swarms.Download, tag: string) => events.filter(({ _tag }) => _tag === tag).length

const large = await make({
  name: "large",
  seed: 11,
  pieceLength: 1 << 20,
  files: [{ path: [], length: 72 << 20 }]
})

/** Two small files, with more padding between them than may be unflushed at any time. */
const padded = await make({
  name: "padded",
  seed: 8,
  pieceLength: 16 << 20,
  files: [
    { path: ["a"], length: 1_000 },
    { path: [".pad", "1"], length: 6 * (16 << 20) - 1_000, padding: true },
    { path: ["b"], length: 1_000 }
  ]
})

describe("flushing", () => {
  test("a torrent is complete only after a flush, and resume data says that everything survives a power cut", (world) =>
    Effect.gen(function* () {
      world.faults.delay("flush", "10 seconds")
      const download = yield* world.download(small, { behaviours: [{}] })

      yield* world.advance("8 seconds")
      const during = yield* download.torrent.status
      yield* world.until(download.isComplete, "1 minute")

      assert.strictEqual(during.state._tag, "Flushing")
      assert.deepStrictEqual([during.missingBytes, count(download, "Flushing")], [0, 1])
      assert.isTrue(Bitfield.isFull(world.resume.saved(small.metainfo.infoHash)!.flushed))
    }))

  test("while flushes fail the torrent is not complete; what may be lost is written again and then flushed", (world) =>
    Effect.gen(function* () {
      world.faults.failAll("sync", FaultyStorage.inputOutputError)
      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.advance("1 minute")
      const { state } = yield* download.torrent.status
      const flushedMeanwhile = world.resume.saved(small.metainfo.infoHash)!.flushed.count
      const written = (yield* world.summary(download)).writes

      world.faults.recover("sync")
      yield* world.until(download.isComplete, "1 minute")

      assert.strictEqual(state._tag, "StorageFailing")
      assert.strictEqual(flushedMeanwhile, 0)
      assert.isAbove(Math.min(...written), 1)
      assert.deepStrictEqual([count(download, "FlushFailed"), count(download, "StorageRecovered")], [1, 1])
      assert.isTrue((yield* world.summary(download)).isRight)
      assert.isTrue(Bitfield.isFull(world.resume.saved(small.metainfo.infoHash)!.flushed))
    }))

  test("a file whose flush fails does not keep the others from being flushed", (world) =>
    Effect.gen(function* () {
      world.medium.failFlushes("known/a.bin", FaultyStorage.inputOutputError.reason)
      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.advance("1 minute")
      const { flushed } = world.resume.saved(small.metainfo.infoHash)!
      world.medium.failFlushes("known/a.bin", undefined)
      yield* world.until(download.isComplete, "1 minute")

      assert.deepStrictEqual([...Bitfield.indices(flushed)], [8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19])
      assert.isTrue(download.isComplete())
    }))

  test("a piece that a failed flush has lost is fetched again", (world) =>
    Effect.gen(function* () {
      world.faults.failAll("sync", FaultyStorage.inputOutputError)
      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.advance("20 seconds")
      world.medium.damage(small.metainfo.layout, 3, 7)
      yield* world.advance("20 seconds")
      world.faults.recover("sync")
      yield* world.until(download.isComplete, "2 minutes")

      assert.strictEqual(count(download, "PiecesLost"), 1)
      assert.isTrue((yield* world.summary(download)).isRight)
    }))

  test("during a download at most 64 MiB are unflushed at any time", (world) =>
    Effect.gen(function* () {
      world.faults.delay("flush", "2 seconds")
      const download = yield* world.download(large, { behaviours: [{}, {}, {}, {}] })
      let most = 0
      for (let step = 0; step < 600 && !download.isComplete(); step++) {
        yield* world.advance("100 millis")
        const saved = world.resume.saved(large.metainfo.infoHash)
        if (saved !== undefined) most = Math.max(most, saved.stored.count - saved.flushed.count)
      }

      assert.isTrue(download.isComplete())
      assert.isAtMost(most, 64)
      assert.isAbove(most, 8)
    }))

  test("after a kill, unflushed pieces are digested at once, and the others before completion", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 30_000 }] })
      yield* world.advance("35 seconds")
      const killed = world.snapshot(small)
      const { flushed, stored } = killed.resume!

      const next = yield* world.beside()
      const again = yield* next.download(small, { from: killed, behaviours: [{}] })
      yield* next.simulation.settle
      const digestedAtOnce = next.faults.counts("digest").calls
      yield* next.until(again.isComplete, "1 minute")

      assert.isAbove(flushed.count, 0)
      assert.isAbove(stored.count, flushed.count)
      assert.isAtLeast(digestedAtOnce, stored.count - flushed.count)
      assert.isAtLeast(next.faults.counts("digest").calls, stored.count)
      assert.isTrue((yield* next.summary(again)).isRight)
      yield* download.stop
    }))

  test("what a failed flush may have lost is written again by the next run if this run could not", (world) =>
    Effect.gen(function* () {
      const broken = yield* world.download(small, { behaviours: [{}] })
      world.faults.failAll("sync", FaultyStorage.inputOutputError)
      yield* world.until(() => count(broken, "Flushing") > 0, "1 minute")
      world.faults.failAll("write", FaultyStorage.inputOutputError)
      yield* world.advance("3 seconds")
      const killed = world.resume.saved(small.metainfo.infoHash)!
      yield* broken.stop
      const stopped = world.resume.saved(small.metainfo.infoHash)!
      const before = (yield* world.summary(broken)).writes
      world.faults.recover()

      const again = yield* world.download(small, { behaviours: [{}] })
      yield* world.until(again.isComplete, "1 minute")

      const { isRight, writes } = yield* world.summary(again)
      assert.strictEqual(count(broken, "FlushFailed"), 1)
      assert.deepStrictEqual([killed.stored.count, stopped.stored.count], [0, 0])
      assert.deepStrictEqual(
        writes,
        before.map((times) => times + 1)
      )
      assert.isTrue(isRight)
    }))

  test("resume data that is saved again does not contain what a failed flush may have lost", (world) =>
    Effect.gen(function* () {
      world.faults.failAll("sync", FaultyStorage.inputOutputError)
      world.resume.failAppends(true)
      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.until(() => count(download, "Flushing") > 0, "1 minute")
      world.faults.failAll("write", FaultyStorage.inputOutputError)
      yield* world.advance("3 seconds")
      const snapshots = world.resume.saveCount()

      yield* download.stop

      assert.strictEqual(world.resume.saveCount(), snapshots + 1)
      assert.strictEqual(world.resume.saved(small.metainfo.infoHash)!.stored.count, 0)
    }))

  test("a torrent that stops flushes what it wrote, because its disk may be unplugged after that", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 30_000 }] })
      yield* world.advance("20 seconds")
      const before = world.resume.saved(small.metainfo.infoHash)!

      yield* download.stop
      const { flushed, stored } = world.resume.saved(small.metainfo.infoHash)!

      assert.isAbove(before.stored.count, before.flushed.count)
      assert.isAtLeast(stored.count, before.stored.count)
      assert.deepStrictEqual([...Bitfield.indices(flushed)], [...Bitfield.indices(stored)])
    }))

  test("a torrent that stops on a broken disk does not trust unflushed pieces, and goes on on fresh blocks", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 30_000 }] })
      yield* world.advance("20 seconds")
      const before = world.resume.saved(small.metainfo.infoHash)!
      world.faults.failAll("sync", FaultyStorage.inputOutputError)

      yield* download.stop
      const { files, flushed, stored } = world.resume.saved(small.metainfo.infoHash)!

      assert.isAbove(before.stored.count, before.flushed.count)
      assert.deepStrictEqual([...Bitfield.indices(stored)], [...Bitfield.indices(flushed)])
      const stale = [...files.values()].flatMap(({ identity, isStale }) => (isStale ? [identity] : []))
      assert.isAbove(stale.length, 0)

      world.faults.recover()
      const again = yield* world.download(small, { behaviours: [{}] })
      yield* world.until(again.isComplete, "1 minute")

      const after = [...world.resume.saved(small.metainfo.infoHash)!.files.values()]
      assert.isTrue((yield* world.summary(again)).isRight)
      assert.isTrue(after.every(({ identity, isStale }) => !isStale && !stale.includes(identity)))
    }))

  test("a torrent that stops during a flush waits for it", (world) =>
    Effect.gen(function* () {
      world.faults.delay("flush", "10 seconds")
      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.until(() => count(download, "Flushing") > 0, "1 minute")
      yield* world.advance("1 second")
      world.faults.recover()

      const stop = yield* Effect.forkChild(download.stop, { startImmediately: true })
      yield* world.advance("20 seconds")
      yield* Fiber.join(stop)

      const { flushed, stored } = world.resume.saved(small.metainfo.infoHash)!
      assert.isTrue(Bitfield.isFull(stored) && Bitfield.isFull(flushed))
    }))

  test("what a flush that fails during a stop may have lost is not trusted", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 30_000 }] })
      yield* world.advance("20 seconds")
      world.faults.delay("write", "10 minutes")
      world.faults.failAll("sync", FaultyStorage.inputOutputError)
      yield* world.until(() => count(download, "FlushFailed") > 0, "1 minute")

      const stop = yield* Effect.forkChild(download.stop, { startImmediately: true })
      yield* world.advance("15 minutes")
      yield* Fiber.join(stop)

      const { files, flushed, stored } = world.resume.saved(small.metainfo.infoHash)!
      assert.deepStrictEqual([...Bitfield.indices(stored)], [...Bitfield.indices(flushed)])
      assert.isTrue([...files.values()].some(({ isStale }) => isStale))
    }))

  test("a stale file is copied to fresh blocks even if its pieces are trusted again after a touch", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 30_000 }] })
      yield* world.advance("20 seconds")
      world.faults.failAll("sync", FaultyStorage.inputOutputError)
      yield* download.stop
      world.faults.recover()
      const before = world.resume.saved(small.metainfo.infoHash)!.files
      const stale = [...before.values()].flatMap(({ identity, isStale }) => (isStale ? [identity] : []))
      for (const path of world.medium.paths()) world.medium.touch(path)

      yield* world.download(small)
      yield* world.advance("1 minute")

      const { files, flushed } = world.resume.saved(small.metainfo.infoHash)!
      assert.isAbove(flushed.count, 0)
      assert.isAbove(stale.length, 0)
      assert.isTrue([...files.values()].every(({ identity, isStale }) => !isStale && !stale.includes(identity)))
    }))

  test("files that are all gone are not flushed again when the run ends", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 30_000 }] })
      yield* world.advance("20 seconds")
      for (const path of world.medium.paths()) world.medium.remove(path)
      const before = world.faults.counts("flush").calls

      yield* world.until(() => count(download, "FilesMissing") > 0, "1 minute")

      assert.strictEqual(world.faults.counts("flush").calls, before)
    }))

  test(
    "a file that is finished while it is flushed is not taken for one that others changed",
    (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 15_000 }], order: "sequential" })

        yield* world.until(download.isComplete, "5 minutes")

        assert.strictEqual(count(download, "FilesChanged"), 0)
        assert.isTrue((yield* world.summary(download)).isRight)
      }),
    { storage: Storages.slowToFlush("25 seconds") }
  )

  test("pieces of only padding do not wait for a flush", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(padded, { behaviours: [{}], order: "sequential", maxActivePieces: 2 })

      yield* world.until(download.isComplete, "1 minute")

      const { isComplete, isRight } = yield* world.summary(download)
      assert.deepStrictEqual([isComplete, isRight], [true, true])
    }))

  const emptyFile = Storages.refusing(1, new StorageRefused({ path: "known/empty", why: "permission denied" }))
  test(
    "while an empty file cannot be made, the torrent is not complete, reports it once, and goes on when it can",
    (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(small, { behaviours: [{}] })
        yield* world.advance("10 minutes")
        const { state } = yield* download.torrent.status

        emptyFile.state.reason = undefined
        yield* world.until(download.isComplete, "1 minute")

        assert.strictEqual(state._tag === "StorageFailing" && state.error.reason._tag, "StorageRefused")
        assert.deepStrictEqual(
          ["Flushing", "FlushFailed", "StorageRecovered", "Completed"].map((tag) => count(download, tag)),
          [1, 1, 1, 1]
        )
        assert.isTrue((yield* world.summary(download)).isRight)
      }),
    { storage: emptyFile.storage }
  )
})
