import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as fc from "fast-check"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import type { KnownTorrent } from "../../src/testing/KnownTorrent.ts"
import type { PeerBehaviour } from "../../src/testing/PeerBehaviour.ts"
import * as Property from "../../src/testing/Property.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import type { ReadRange, Torrent } from "../../src/torrent/Torrent.ts"
import { TorrentStopped } from "../../src/torrent/TorrentStopped.ts"
import * as Storages from "./storages.ts"
import { make, seed, small } from "./torrents.ts"

/** 200 pieces of 4 blocks in one file. */
const film = await make({ name: "film", seed: 5, pieceLength: 65_536, files: [{ path: [], length: 200 * 65_536 }] })

/** 12 pieces of 64 blocks: what is requested at one time is only a part of them. */
const large = await make({
  name: "large",
  seed: 6,
  pieceLength: 1_048_576,
  files: [{ path: [], length: 12 * 1_048_576 }]
})

/** Eight peers of 30 to 240 kB/s, each 20 ms away, that have everything. */
const peers: ReadonlyArray<PeerBehaviour> = Array.from({ length: 8 }, (_, index) => ({
  bytesPerSecond: 30_000 * (index + 1)
}))
const link = { latency: 20 }

const test = (
  name: string,
  program: (world: Swarms.World) => Effect.Effect<void, unknown, Scope.Scope>,
  options: Omit<Swarms.Options, "seed"> = {}
) => it.effect(name, () => Swarms.use({ seed, ...options }, program))

/** Collects what a reader emits, from its own fiber, with the time of each chunk. */
interface Reading {
  readonly fiber: Fiber.Fiber<void, unknown>
  readonly chunks: ReadonlyArray<Uint8Array>
  readonly times: ReadonlyArray<number>
  readonly bytes: () => number
}

const start = Effect.fnUntraced(function* (
  world: Swarms.World,
  torrent: Torrent,
  file: number,
  range?: ReadRange,
  each: Effect.Effect<unknown> = Effect.void
) {
  const chunks: Array<Uint8Array> = []
  const times: Array<number> = []
  const reading = Stream.runForEach(torrent.read(file, range), (chunk) =>
    Effect.suspend(() => {
      chunks.push(chunk)
      times.push(world.simulation.nowUnsafe())
      return each
    })
  )
  const fiber = yield* Effect.forkScoped(reading)
  const self: Reading = { fiber, chunks, times, bytes: () => chunks.reduce((sum, { length }) => sum + length, 0) }
  return self
})

const isDone = ({ fiber }: Reading) => fiber.pollUnsafe() !== undefined

/** Whether a reader emitted exactly a part of a file. */
const isRight = ({ chunks }: Reading, known: KnownTorrent, file: number, range: ReadRange = {}) =>
  Buffer.concat(chunks).equals(known.fileContent(file).subarray(range.begin ?? 0, range.end))

/** How long the first byte takes of readers that begin at these pieces of `film` at once, in a busy download. */
const firstBytes = (seed: number, pieces: ReadonlyArray<number>) =>
  Swarms.use({ seed, link }, (world) =>
    Effect.gen(function* () {
      const { torrent } = yield* world.download(film, { behaviours: peers })
      yield* world.advance("1 second")
      const begun = world.simulation.nowUnsafe()
      const readings = yield* Effect.forEach(pieces, (piece) => start(world, torrent, 0, { begin: piece * 65_536 }))
      while (readings.some(({ times }) => times.length === 0)) yield* world.advance("10 millis")
      return readings.map(({ times }) => times[0]! - begun)
    })
  )

describe("torrent.read", () => {
  test("emits a whole file while it is downloaded, in chunks of at most 256 KiB", (world) =>
    Effect.gen(function* () {
      const { torrent } = yield* world.download(small, { behaviours: [{ bytesPerSecond: 300_000 }] })

      const reading = yield* start(world, torrent, 0)
      const other = yield* start(world, torrent, 2)
      yield* world.until(() => isDone(reading) && isDone(other), "1 minute")

      assert.isTrue(isRight(reading, small, 0))
      assert.isTrue(isRight(other, small, 2))
      for (const { length } of [...reading.chunks, ...other.chunks]) assert.isAtMost(length, 262_144)
    }))

  test("emits any part of a file, and an empty one ends at once", (world) =>
    Effect.gen(function* () {
      const { torrent } = yield* world.download(small, { behaviours: [{}] })
      const length = small.metainfo.layout.files[2]!.length
      const ranges: ReadonlyArray<ReadRange> = [
        { begin: 65_536, end: 65_537 },
        { begin: length - 1 },
        { end: 100_000 },
        { begin: 40_000, end: 40_000 },
        { begin: length }
      ]

      const readings = yield* Effect.forEach(ranges, (range) => start(world, torrent, 2, range))
      const empty = yield* start(world, torrent, 1)
      yield* world.until(() => [...readings, empty].every(isDone), "1 minute")

      assert.deepStrictEqual(
        readings.map((reading, index) => isRight(reading, small, 2, ranges[index])),
        ranges.map(() => true)
      )
      assert.isTrue(Exit.isSuccess(empty.fiber.pollUnsafe()!))
    }))

  test("dies if there is no such file or range", (world) =>
    Effect.gen(function* () {
      const { torrent } = yield* world.download(small, { behaviours: [{}] })
      const asked: ReadonlyArray<readonly [number, ReadRange]> = [
        [3, {}],
        [-1, {}],
        [0.5, {}],
        [0, { begin: -1 }],
        [0, { end: 500_001 }],
        [0, { begin: 2, end: 1 }],
        [0, { begin: Number.NaN }]
      ]

      const exits = yield* Effect.forEach(asked, ([file, range]) =>
        Effect.exit(Stream.runDrain(torrent.read(file, range)))
      )

      for (const exit of exits) assert.instanceOf(Exit.isFailure(exit) && Cause.squash(exit.cause), RangeError)
    }))

  test("has the piece of a far seek requested next of every peer, and emits it when it is verified", (world) =>
    Effect.gen(function* () {
      const sought = 9
      /** The pieces of the blocks that each peer sends. */
      const sent = [0, 1].map((): Array<number> => [])
      const serving = yield* Effect.forEach(sent, (log) => {
        const content = (piece: PieceIndex) => {
          const bytes = large.content(piece).slice()
          // A peer takes each block that it sends from the piece.
          const subarray = (begin?: number, end?: number) => {
            log.push(piece)
            return Uint8Array.prototype.subarray.call(bytes, begin, end)
          }
          return Object.assign(bytes, { subarray })
        }
        return world.join({ ...large, content }, { bytesPerSecond: 100_000 })
      })
      const download = yield* world.download(large, {
        maxActivePieces: 1,
        order: "sequential",
        peers: serving.map(({ address }) => address)
      })
      yield* world.advance("2 seconds")
      const { bufferedBytes } = yield* download.torrent.status
      const before = sent.map(({ length }) => length)
      const outstanding = serving.map(({ counters }, peer) => counters.requests - counters.cancels - before[peer]!)

      const reading = yield* start(world, download.torrent, 0, { begin: sought * 1_048_576 + 7 })
      const isWritten = () => world.medium.torrent(large.metainfo.layout).writes(sought) > 0
      let wasWritten = false
      for (let step = 0; step < 3_000 && reading.chunks.length === 0; step++) {
        wasWritten = isWritten()
        yield* world.advance("50 millis")
      }

      assert.strictEqual(bufferedBytes, 1_048_576)
      const isNeeded = (piece: number) => piece === sought || piece === sought + 1
      const after = sent.map((log, peer) => log.slice(before[peer]!))
      const first = after.map((log) => log.findIndex(isNeeded))
      // What was requested before comes first, unless it was cancelled, and then the blocks that the reader needs.
      for (const peer of [0, 1]) {
        assert.isAtLeast(first[peer]!, 0)
        assert.isAtMost(first[peer]!, outstanding[peer]!)
        assert.isTrue(after[peer]!.slice(first[peer]!).every(isNeeded), `${after[peer]}`)
      }
      assert.isTrue(after.some((log, peer) => log[first[peer]!] === sought))
      // Emitted as soon as it was verified and stored.
      assert.deepStrictEqual([wasWritten, isWritten()], [false, true])
      assert.strictEqual(reading.chunks[0]!.length, 262_144)
    }))

  it.effect(
    "two at once each wait for their first byte at most 1.5 times as long as alone",
    () =>
      Effect.gen(function* () {
        const waits: Array<number> = []
        for (const [run, pieces] of [
          [120, 170],
          [151, 17]
        ].entries()) {
          const alone = [
            ...(yield* firstBytes(seed + run, [pieces[0]!])),
            ...(yield* firstBytes(seed + run, [pieces[1]!]))
          ]

          const both = yield* firstBytes(seed + run, pieces)

          for (const index of [0, 1]) assert.isAtMost(both[index]!, 1.5 * alone[index]!, `${both} and ${alone}`)
          waits.push(...alone)
        }
        // Few of the pieces were there already.
        assert.isAtLeast(waits.filter((wait) => wait > 0).length, 3)
      }),
    60_000
  )

  test(
    "shares what a slow swarm sends evenly among readers",
    (world) =>
      Effect.gen(function* () {
        const { torrent } = yield* world.download(film, { behaviours: peers.slice(0, 4) })
        const readings = yield* Effect.forEach([0, 50, 100, 150], (piece) =>
          start(world, torrent, 0, { begin: piece * 65_536 })
        )

        yield* world.advance("15 seconds")

        const bytes = readings.map((reading) => reading.bytes())
        assert.isAbove(Math.min(...bytes), 0.5 * Math.max(...bytes), `${bytes}`)
        // Nearly all that the four peers send is for readers.
        assert.isAbove(
          bytes.reduce((sum, one) => sum + one, 0),
          0.7 * 15 * 300_000,
          `${bytes}`
        )
      }),
    { link }
  )

  test(
    "holds back for a slow consumer: fetches a few seconds ahead, and nothing waits in memory",
    (world) =>
      Effect.gen(function* () {
        const files = ["skip" as const]
        // It consumes 65,536 bytes a second of 630,000.
        const { torrent } = yield* world.download(film, { files, order: "sequential", behaviours: peers.slice(5) })
        const reading = yield* start(world, torrent, 0, {}, Effect.sleep("1 second"))

        yield* world.advance("10 seconds")

        assert.isAtLeast(reading.chunks.length, 8)
        assert.isAtMost(reading.bytes(), 11 * 65_536)
        // What is fetched ahead is on the disk. Only what was consumed, and the chunk after it, was read.
        assert.isAtMost(world.faults.counts("read").calls, reading.chunks.length + 1)
      }),
    { link }
  )

  test("wants a skipped file while it is read, and no longer", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, {
        files: ["normal", "normal", "skip"],
        behaviours: [{ bytesPerSecond: 200_000 }]
      })
      yield* world.until(download.isComplete, "1 minute")
      const before = yield* download.torrent.status

      const reading = yield* start(world, download.torrent, 2, { begin: 100_000, end: 300_000 })
      const second = yield* start(world, download.torrent, 2, { begin: 200_000, end: 200_001 })
      yield* world.until(() => isDone(second), "1 minute")
      const during = yield* download.torrent.status
      yield* world.until(() => isDone(reading), "1 minute")
      yield* world.advance("1 second")
      const after = yield* download.torrent.status

      assert.isTrue(isRight(reading, small, 2, { begin: 100_000, end: 300_000 }))
      assert.deepStrictEqual(
        [before, during, after].map(({ wantedPieces }) => wantedPieces),
        [8, 20, 8]
      )
      assert.strictEqual(after.state._tag, "Complete")
    }))

  test(
    "wants a skipped file whose reader begins while files are looked at, or while a selection is applied",
    (world) =>
      Effect.gen(function* () {
        const all = ["skip", "skip", "skip"] as const
        const { torrent } = yield* world.download(small, { files: all, behaviours: [{ bytesPerSecond: 20_000 }] })
        // Files are moved for ten seconds, and then looked at.
        yield* world.advance("15 seconds")
        const early = yield* start(world, torrent, 0)
        assert.isTrue(yield* world.until(() => isDone(early), "10 minutes"))

        yield* Effect.forkScoped(torrent.setPriorities(["skip", "skip", "normal"]))
        yield* world.advance("35 seconds")
        yield* Effect.forkScoped(torrent.setPriorities(["normal", "skip", "skip"]))
        yield* world.advance("5 seconds")
        const second = yield* start(world, torrent, 2)
        assert.isTrue(yield* world.until(() => isDone(second), "10 minutes"))
        yield* Effect.forkScoped(torrent.setPriorities(all))
        yield* world.advance("1 minute")

        assert.isTrue(isRight(early, small, 0))
        assert.isTrue(isRight(second, small, 2))
        assert.strictEqual((yield* torrent.status).wantedPieces, 0)
      }),
    { storage: Storages.slowToLook("10 seconds") }
  )

  test("keeps a file wanted that the user skips while it is read, and one that the user wants after it was read", (world) =>
    Effect.gen(function* () {
      const { torrent } = yield* world.download(small, { behaviours: [{ bytesPerSecond: 50_000 }] })
      const reading = yield* start(world, torrent, 0)
      yield* world.advance("1 second")

      yield* torrent.setPriorities(["skip", "skip", "skip"])
      const during = yield* torrent.status
      yield* world.until(() => isDone(reading), "1 minute")
      yield* world.advance("1 second")
      const after = yield* torrent.status

      assert.isTrue(isRight(reading, small, 0))
      assert.deepStrictEqual([during.wantedPieces, after.wantedPieces], [8, 0])
    }))

  test("fails if the storage cannot take the skipped file, and leaves it unwanted", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { files: ["normal", "normal", "skip"], behaviours: [{}] })
      yield* world.until(download.isComplete, "1 minute")
      world.faults.failAll("prepare", FaultyStorage.diskFull)

      const error = yield* Effect.flip(Stream.runDrain(download.torrent.read(2)))
      world.faults.recover()
      yield* world.advance("10 seconds")

      assert.strictEqual(error._tag === "piecewise/StorageError" && error.reason._tag, "DiskFull")
      assert.strictEqual((yield* download.torrent.status).wantedPieces, 8)
    }))

  test("waits for a piece that was deleted until it is fetched again", (world) =>
    Effect.gen(function* () {
      const { torrent } = yield* world.download(small, { seed: true, behaviours: [{}] })
      yield* Effect.forkChild(torrent.completed)
      yield* world.advance("10 seconds")

      world.medium.remove("known/b/c.bin")
      const reading = yield* start(world, torrent, 2)
      yield* world.until(() => isDone(reading), "2 minutes")

      assert.isTrue(isRight(reading, small, 2))
    }))

  test("gives no byte that changed on the disk", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { seed: true, behaviours: [{}] })
      yield* world.until(download.isComplete, "1 minute")

      world.medium.modify("known/a.bin", 70_000, new Uint8Array(10))
      world.medium.touch("known/a.bin")
      const reading = yield* start(world, download.torrent, 0)
      yield* world.until(() => isDone(reading), "2 minutes")

      assert.isTrue(isRight(reading, small, 0))
    }))

  it.effect("goes on in the next run if all files were away", () => {
    const medium = Storages.unpluggable()
    return Swarms.use({ seed, storage: medium.storage }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(small, { seed: true, behaviours: [{ bytesPerSecond: 50_000 }] })
        yield* world.advance("8 seconds")
        const reading = yield* start(world, download.torrent, 0, {}, Effect.sleep("2 seconds"))
        yield* world.advance("3 seconds")
        medium.state.isAway = true
        yield* world.advance("1 minute")
        const { state } = yield* download.torrent.status
        medium.state.isAway = false

        yield* world.until(() => isDone(reading), "5 minutes")

        assert.strictEqual(state._tag, "FilesMissing")
        assert.isTrue(isRight(reading, small, 0))
      })
    )
  })

  test("reads a read-only torrent, and waits for what it lacks until somebody restores it", (world) =>
    Effect.gen(function* () {
      const c = small.fileContent(2)
      world.medium.put("known/a.bin", small.fileContent(0))
      world.medium.put("known/b/c.bin", c)
      const files = ["normal", "normal", "skip"] as const
      const { torrent } = yield* world.download(small, { readOnly: true, seed: true, files })
      yield* world.advance("1 second")
      world.medium.put("known/b/c.bin", c.slice().fill(0, 300_000, 300_010))

      const right = yield* start(world, torrent, 0, { end: 400_000 })
      const lost = yield* start(world, torrent, 2)
      yield* world.advance("20 seconds")
      const before = [isDone(right), isDone(lost)]
      const until = lost.bytes()
      world.medium.put("known/b/c.bin", c)
      yield* world.until(() => isDone(lost), "2 minutes")
      yield* world.advance("1 second")

      assert.deepStrictEqual(before, [true, false])
      assert.isTrue(isRight(right, small, 0, { end: 400_000 }))
      assert.deepStrictEqual(
        (["reserve", "prepare", "write"] as const).map((operation) => world.faults.counts(operation).calls),
        [0, 0, 0]
      )
      // It emitted what comes before the damaged piece.
      assert.strictEqual(500_000 + until, 12 * 65_536)
      assert.isTrue(isRight(lost, small, 2))
    }))

  test("repeats a read that fails for a while, and fails with an error that lasts", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { seed: true, behaviours: [{}] })
      yield* world.until(download.isComplete, "1 minute")
      world.faults.failAll("read", FaultyStorage.inputOutputError)

      const reading = yield* start(world, download.torrent, 0)
      yield* world.advance("5 seconds")
      const before = isDone(reading)
      world.faults.recover()
      yield* world.until(() => isDone(reading), "10 seconds")
      world.faults.failAll("read", FaultyStorage.refused)
      const error = yield* Effect.flip(Stream.runDrain(download.torrent.read(0)))
      world.faults.failAll("read", FaultyStorage.inputOutputError)
      const hopeless = yield* start(world, download.torrent, 0)
      yield* world.until(() => isDone(hopeless), "2 minutes")

      assert.isFalse(before)
      assert.isTrue(isRight(reading, small, 0))
      assert.strictEqual(error._tag === "piecewise/StorageError" && error.reason._tag, "StorageRefused")
      assert.isTrue(Exit.isFailure(hopeless.fiber.pollUnsafe()!))
    }))

  test("fails with TorrentStopped when the torrent stops, and from then on", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(film, { behaviours: [{ bytesPerSecond: 50_000 }] })
      const fiber = yield* Effect.forkScoped(Effect.flip(Stream.runDrain(download.torrent.read(0))))
      yield* world.advance("3 seconds")

      yield* download.stop
      yield* world.simulation.settle
      const error = yield* Fiber.join(fiber)
      const late = yield* Effect.flip(Stream.runDrain(download.torrent.read(0, { end: 0 })))

      assert.deepStrictEqual(error, new TorrentStopped({ infoHash: film.metainfo.infoHash }))
      assert.deepStrictEqual(late, error)
    }))

  test("fails with the error of a torrent that fails", (world) =>
    Effect.gen(function* () {
      world.medium.put("known/a.bin", new Uint8Array(500_000).fill(7))
      const { torrent } = yield* world.download(small, { behaviours: [{}] })

      const error = yield* Effect.flip(Stream.runDrain(torrent.read(0)))

      assert.strictEqual(error._tag, "piecewise/ContentExists")
    }))

  const moment = fc.record({
    seed: fc.nat(),
    millis: fc.integer({ min: 0, max: 6_000 }),
    begin: fc.nat(600_000),
    readMillis: fc.constantFrom(0, 0, 300),
    isSkipped: fc.boolean(),
    prepareMillis: fc.constantFrom(0, 700),
    stops: fc.boolean()
  })

  it.effect(
    "leaves nothing behind wherever it is interrupted: no deadline, no wanted file, no read",
    () =>
      Property.check(
        moment,
        ({ begin, isSkipped, millis, prepareMillis, readMillis, seed, stops }) =>
          Swarms.use({ seed, link: { latency: 10 } }, (world) =>
            Effect.gen(function* () {
              const download = yield* world.download(small, {
                files: ["normal", "normal", isSkipped ? "skip" : "normal"],
                behaviours: [{ bytesPerSecond: 80_000 }, { bytesPerSecond: 60_000 }]
              })
              yield* world.advance("1 second")
              if (readMillis > 0) world.faults.delay("read", readMillis)
              if (prepareMillis > 0) world.faults.delay("prepare", prepareMillis)
              const readings = yield* Effect.forEach([begin, 5], (begin) =>
                start(world, download.torrent, 2, { begin })
              )
              yield* world.advance(millis)

              if (stops) yield* download.stop
              else {
                for (const { fiber } of readings) yield* world.simulation.during(Fiber.interrupt(fiber))
                yield* world.advance("2 seconds")
              }

              const { wantedPieces } = yield* download.torrent.status
              assert.isTrue(readings.every(isDone))
              assert.strictEqual(world.faults.counts("read").active, 0)
              if (!stops) {
                assert.strictEqual(wantedPieces, isSkipped ? 8 : 20)
                yield* world.until(download.isComplete, "1 minute")
                assert.strictEqual((yield* world.summary(download)).status.state._tag, "Complete")
                yield* download.stop
              }
              assert.strictEqual(world.medium.openCount(), 0)
              assert.strictEqual(yield* world.engine.heldBytes, 0)
            })
          ),
        { runs: 15 }
      ),
    60_000
  )
})
