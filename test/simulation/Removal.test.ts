import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { other, seed, small } from "./torrents.ts"

const test = <E>(
  name: string,
  program: (world: Swarms.World) => Effect.Effect<void, E, Scope.Scope>,
  verifies = false
) => it.effect(name, () => Swarms.use({ seed, verifies }, program))

const { infoHash } = small.metainfo
const everything = { stored: Bitfield.full(small.metainfo.layout.geometry.pieceCount), resume: undefined }

describe("a removed torrent", () => {
  test("is gone with its files and what was remembered of it, and may be added again", (world) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const download = yield* Scope.provide(world.download(small, { behaviours: [{}] }), scope)
      yield* world.until(download.isComplete, "1 minute")
      const there = world.medium.paths().length

      const { keptPaths } = yield* world.simulation.during(download.torrent.remove({ data: true }))

      assert.isAbove(there, 1)
      assert.deepStrictEqual(keptPaths, [])
      assert.deepStrictEqual(world.medium.paths(), [])
      assert.isUndefined(world.resume.saved(infoHash))
      assert.deepStrictEqual(yield* world.engine.torrents, [])
      assert.strictEqual((yield* download.torrent.status).state._tag, "Stopped")
      const again = yield* world.download(small, { behaviours: [{}] })
      yield* world.simulation.during(Scope.close(scope, Exit.void))
      yield* world.until(again.isComplete, "1 minute")
      assert.isTrue((yield* world.summary(again)).isRight, "closing the old scope does nothing more")
    }))

  test("leaves its files if they are to be kept, flushed", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 300_000 }] })
      yield* world.advance("2 seconds")

      const { keptPaths } = yield* world.simulation.during(download.torrent.remove({ data: false }))

      assert.deepStrictEqual(keptPaths, [])
      assert.isNotEmpty(world.medium.paths())
      assert.isUndefined(world.resume.saved(infoHash))
      assert.strictEqual(world.medium.openCount(), 0)
    }))

  for (const verifies of [false, true])
    test(
      `waits for what is being written to a medium that ${verifies ? "verifies" : "does not verify"}, and leaves nothing`,
      (world) =>
        Effect.gen(function* () {
          world.faults.delay("write", "3 seconds")
          const download = yield* world.download(small, { behaviours: [{}] })
          yield* world.advance("1 second")
          const writing = world.faults.counts("write").active

          yield* world.simulation.during(download.torrent.remove({ data: true }))

          assert.isAbove(writing, 0)
          assert.strictEqual(world.faults.counts("write").active, 0)
          assert.deepStrictEqual(world.medium.paths(), [])
          assert.strictEqual(yield* world.engine.heldBytes, 0)
        }),
      verifies
    )

  test("leaves a file that somebody put in the place of one of its own, and says so", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.until(download.isComplete, "1 minute")
      const path = "known/a.bin"
      const content = new Uint8Array(500_000).fill(7)
      world.medium.remove(path)
      world.medium.put(path, content)

      const { keptPaths } = yield* world.simulation.during(download.torrent.remove({ data: true }))

      assert.deepStrictEqual(world.medium.paths(), [path])
      assert.deepStrictEqual(world.medium.read(path), content)
      assert.deepStrictEqual(keptPaths, [path])
    }))

  test("says that nothing of what was deleted is stored any more, and what is left", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.until(download.isComplete, "1 minute")
      const { torrent } = download
      const changes = yield* Effect.forkScoped(Stream.runCollect(torrent.changes))
      yield* world.advance("1 second")

      yield* world.simulation.during(torrent.remove({ data: true }))

      const { missingBytes, storedBytes, storedPieces, totalBytes } = yield* torrent.status
      const lost = (yield* Fiber.join(changes)).flatMap((change) => (change._tag === "Lost" ? change.pieces : []))
      assert.deepStrictEqual([storedPieces, storedBytes, missingBytes], [0, 0, totalBytes])
      assert.strictEqual((yield* torrent.stored).count, 0)
      assert.isTrue((yield* torrent.files).every(({ storedBytes }) => storedBytes === 0))
      assert.strictEqual(lost.length, 20)
    }))

  test("still says what is stored if its files are kept", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.until(download.isComplete, "1 minute")

      yield* world.simulation.during(download.torrent.remove({ data: false }))

      assert.deepStrictEqual((yield* download.torrent.status).storedPieces, 20)
    }))

  test("leaves the file that kept it from starting", (world) =>
    Effect.gen(function* () {
      const path = "known/a.bin"
      const content = new Uint8Array(500_000).fill(7)
      world.medium.put(path, content)
      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.advance("1 second")
      const { state } = yield* download.torrent.status

      const { keptPaths } = yield* world.simulation.during(download.torrent.remove({ data: true }))

      assert.strictEqual(state._tag, "Failed")
      assert.deepStrictEqual(keptPaths, [path])
      assert.deepStrictEqual(world.medium.read(path), content)
      assert.deepStrictEqual(yield* world.engine.torrents, [])
    }))

  test("is deleted while it is checked, as far as it is remembered as its own", (world) =>
    Effect.gen(function* () {
      const first = yield* world.download(small, { behaviours: [{}] })
      yield* world.until(first.isComplete, "1 minute")
      yield* first.stop
      const left = world.medium.paths()
      world.medium.touch(left[0]!)
      world.faults.delay("digest", "1 hour")
      const second = yield* world.download(small)
      yield* world.advance("1 second")
      const { state } = yield* second.torrent.status

      yield* world.simulation.during(second.torrent.remove({ data: true }))

      assert.strictEqual(state._tag, "Checking")
      assert.deepStrictEqual(world.medium.paths(), [])
      assert.isUndefined(world.resume.saved(infoHash))
    }))

  test("says what could not be deleted, and may be removed again", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.until(download.isComplete, "1 minute")
      world.faults.failAll("remove", FaultyStorage.refused)

      const error = yield* world.simulation.during(Effect.flip(download.torrent.remove({ data: true })))
      const left = world.medium.paths()
      world.faults.recover()
      const again = yield* world.download(small)
      yield* world.until(again.isComplete, "1 minute")
      yield* world.simulation.during(again.torrent.remove({ data: true }))

      assert.strictEqual(error._tag, "piecewise/RemovalFailed")
      assert.include(error.message, "was not deleted")
      assert.isNotEmpty(left)
      assert.strictEqual((yield* download.torrent.status).state._tag, "Stopped")
      assert.deepStrictEqual(world.medium.paths(), [])
    }))

  test("tells everybody who removes it the same, and later ones that it has stopped", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.until(download.isComplete, "1 minute")
      const { torrent } = download
      world.faults.delay("remove", "1 second")

      const fiber = yield* Effect.forkScoped(
        Effect.all([torrent.remove({ data: true }), torrent.remove({ data: true })], { concurrency: 2 })
      )
      yield* world.advance("5 seconds")
      const [one, two] = yield* Fiber.join(fiber)
      const late = yield* Effect.flip(torrent.remove({ data: true }))

      assert.deepStrictEqual(one, two)
      assert.strictEqual(late._tag, "piecewise/TorrentStopped")
      assert.strictEqual((yield* Effect.flip(torrent.recheck))._tag, "piecewise/TorrentStopped")
    }))

  test("is deleted with its files if one of those who remove it at once wants that", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 200_000 }] })
      yield* world.advance("3 seconds")
      const { torrent } = download
      // The removal begins when the flush of the pause has ended.
      world.faults.delay("flush", "5 seconds")
      yield* Effect.forkScoped(torrent.pause)
      yield* world.advance("1 second")
      const keeping = yield* Effect.forkScoped(Effect.result(torrent.remove({ data: false })))
      yield* world.advance("1 second")
      const deleting = yield* Effect.forkScoped(Effect.result(torrent.remove({ data: true })))
      yield* world.advance("1 minute")
      const [one, two] = [yield* Fiber.join(keeping), yield* Fiber.join(deleting)]

      assert.deepStrictEqual([one._tag, two._tag], ["Success", "Success"])
      assert.deepStrictEqual(world.medium.paths(), [])
    }))

  test("is not said to be deleted with its files if it was too late for that", (world) =>
    Effect.gen(function* () {
      world.faults.delay("write", "3 seconds")
      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.advance("2 seconds")
      const { torrent } = download
      const keeping = yield* Effect.forkScoped(torrent.remove({ data: false }))
      yield* world.advance("500 millis")
      const late = yield* Effect.forkScoped(Effect.flip(torrent.remove({ data: true })))
      yield* world.advance("1 minute")

      yield* Fiber.join(keeping)
      assert.strictEqual((yield* Fiber.join(late))._tag, "piecewise/TorrentStopped")
      assert.isNotEmpty(world.medium.paths())
    }))

  test("of a read-only one no file is deleted", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { from: everything, readOnly: true, seed: true })
      yield* world.advance("1 second")
      const before = world.medium.paths()

      yield* world.simulation.during(download.torrent.remove({ data: true }))

      assert.isNotEmpty(before)
      assert.deepStrictEqual(world.medium.paths(), before)
    }))

  for (const data of [false, true])
    test(`of a read-only one stays what its writer remembers, if data is ${data}`, (world) =>
      Effect.gen(function* () {
        const writer = yield* world.download(small, { behaviours: [{}] })
        yield* world.until(writer.isComplete, "1 minute")
        yield* writer.stop
        const before = world.resume.saved(infoHash)
        const running = yield* world.download(small, { readOnly: true, seed: true })
        yield* world.advance("1 second")
        const { isRemembered } = yield* world.simulation.during(running.torrent.remove({ data }))
        world.faults.failAll("open", FaultyStorage.refused)
        const failed = yield* world.download(small, { readOnly: true, seed: true })
        yield* world.advance("1 second")
        const again = yield* world.simulation.during(failed.torrent.remove({ data }))

        assert.isDefined(before)
        assert.deepStrictEqual([isRemembered, again.isRemembered], [true, true])
        assert.deepStrictEqual(world.resume.saved(infoHash), before)
      }))

  test("needs no storage if its files are to be kept", (world) =>
    Effect.gen(function* () {
      const first = yield* world.download(small, { behaviours: [{}] })
      yield* world.until(first.isComplete, "1 minute")
      yield* first.stop
      world.faults.failAll("open", FaultyStorage.refused)
      const second = yield* world.download(small)
      yield* world.advance("1 second")
      const { state } = yield* second.torrent.status

      const { isRemembered } = yield* world.simulation.during(second.torrent.remove({ data: false }))

      assert.strictEqual(state._tag, "Failed")
      assert.isFalse(isRemembered)
      assert.isUndefined(world.resume.saved(infoHash))
    }))

  test("is reported by the engine, whose sums keep what was transferred", (world) =>
    Effect.gen(function* () {
      const read = yield* Effect.forkScoped(
        Stream.runCollect(
          world.engine.events.pipe(
            Stream.filter(({ event }) => ["Added", "Completed", "Removed"].includes(event._tag)),
            Stream.take(5)
          )
        )
      )
      const first = yield* world.download(small, { behaviours: [{}] })
      const second = yield* world.download(other, { behaviours: [{}] })
      yield* world.until(() => first.isComplete() && second.isComplete(), "1 minute")
      const status = yield* world.engine.status
      const late = yield* Stream.runCollect(Stream.take(world.engine.events, 2))

      yield* world.simulation.during(first.torrent.remove({ data: true }))
      const after = yield* world.engine.status

      const events = yield* Fiber.join(read)
      assert.deepStrictEqual(
        events.map(({ event }) => event._tag),
        ["Added", "Added", "Completed", "Completed", "Removed"]
      )
      assert.deepStrictEqual(
        late.map(({ event }) => event),
        [
          { _tag: "Added", name: "known" },
          { _tag: "Added", name: "other" }
        ]
      )
      assert.deepStrictEqual(events[4]!.infoHash, infoHash)
      assert.deepStrictEqual([status.torrents, status.states.Complete], [2, 2])
      assert.deepStrictEqual([after.torrents, after.states.Complete], [1, 1])
      assert.strictEqual(after.downloadedBytes, status.downloadedBytes)
      assert.isTrue(Option.isNone(yield* world.engine.get(infoHash)))
      assert.isTrue(Option.isSome(yield* world.engine.get(other.metainfo.infoHash)))
    }))
})
