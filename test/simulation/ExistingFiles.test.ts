import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import { DiskFull, StorageError } from "../../src/storage/Storage.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import type { ContentExists } from "../../src/torrent/ContentExists.ts"
import * as Storages from "./storages.ts"
import { make, other, seed, small } from "./torrents.ts"

const test = <E>(
  name: string,
  program: (world: Swarms.World) => Effect.Effect<void, E, Scope.Scope>,
  options: Pick<Swarms.Options, "storage"> = {}
) => it.effect(name, () => Swarms.use({ seed, ...options }, program))

const [a, empty, c] = ["known/a.bin", "known/empty", "known/b/c.bin"] as const

/** Bytes that a torrent would never write: none is zero, and none is right. */
const foreign = (length: number) => new Uint8Array(length).fill(0xee)

const right = (file: number) => small.fileContent(file)

/** Right bytes up to `end`, and zeros after it. */
const partly = (file: number, end: number) => right(file).fill(0, end)

const failure = (download: Swarms.Download) =>
  Effect.map(Effect.flip(download.torrent.completed), (error) => error as ContentExists)

/** Three files that share one piece. */
const shared = await make({
  name: "shared",
  seed: 5,
  pieceLength: 65_536,
  files: [
    { path: ["x"], length: 1_000 },
    { path: ["y"], length: 2_000 },
    { path: ["z"], length: 200_000 }
  ]
})

describe("files that exist at a torrent's paths", () => {
  test("another file fails the torrent before it writes anything, and stays as it is", (world) =>
    Effect.gen(function* () {
      world.medium.put(c, foreign(200_000))

      const download = yield* world.download(small, { behaviours: [{}] })
      const error = yield* failure(download)
      yield* world.advance("1 minute")

      assert.strictEqual(error._tag, "piecewise/ContentExists")
      assert.deepStrictEqual(error.files, [
        { path: c, totalPieces: 13, verifiedPieces: 0, excessBytes: 0, isOther: false }
      ])
      assert.deepStrictEqual(world.medium.read(c), foreign(200_000))
      assert.deepStrictEqual(world.medium.paths(), [c])
      assert.strictEqual(download.peers[0]!.counters.connections, 0)
      assert.strictEqual(world.medium.openCount(), 0)
    }))

  test("a longer file fails the torrent although all of it is right, and is cut if it may be overwritten", (world) =>
    Effect.gen(function* () {
      const longer = new Uint8Array(right(0).length + 77).fill(7)
      longer.set(right(0))
      world.medium.put(a, longer)
      world.medium.put(empty, new Uint8Array(0))
      world.medium.put(c, right(2))
      const refused = yield* world.download(small, { behaviours: [{}] })
      const error = yield* failure(refused)
      yield* refused.stop

      const download = yield* world.download(small, { behaviours: [{}], overwrite: true })
      yield* world.until(download.isComplete, "1 minute")

      assert.deepStrictEqual(error.files, [
        { path: a, totalPieces: 8, verifiedPieces: 8, excessBytes: 77, isOther: false }
      ])
      assert.isTrue((yield* world.summary(download)).isRight)
    }))

  test("a file longer than an empty one of the torrent fails the torrent", (world) =>
    Effect.gen(function* () {
      world.medium.put(empty, foreign(3))

      const error = yield* failure(yield* world.download(small, { behaviours: [{}] }))

      assert.deepStrictEqual(
        error.files.map(({ excessBytes, path }) => [path, excessBytes]),
        [[empty, 3]]
      )
      assert.deepStrictEqual(world.medium.read(empty), foreign(3))
    }))

  test("a path that is not a regular file fails the torrent", (world) =>
    Effect.gen(function* () {
      world.medium.block(a)

      const error = yield* failure(yield* world.download(small, { behaviours: [{}] }))

      assert.deepStrictEqual(
        error.files.map(({ isOther, path }) => [path, isOther]),
        [[a, true]]
      )
    }))

  const adopted: ReadonlyArray<readonly [string, () => Uint8Array | number]> = [
    ["an empty file", () => new Uint8Array(0)],
    ["a hole", () => 500_000],
    ["a file whose pieces are right or zeros", () => partly(0, 3 * 65_536)],
    ["a file whose pieces are right and that ends early", () => right(0).slice(0, 2 * 65_536)],
    ["a right file", () => right(0)]
  ]
  for (const [name, content] of adopted) {
    test(`${name} is adopted`, (world) =>
      Effect.gen(function* () {
        world.medium.put(a, content())

        const download = yield* world.download(small, { behaviours: [{}] })
        yield* world.until(download.isComplete, "1 minute")

        const { isComplete, isRight } = yield* world.summary(download)
        assert.deepStrictEqual([isComplete, isRight], [true, true])
      }))
  }

  test("zeros that somebody wrote prove nothing, and the torrent fails once a piece shows other bytes", (world) =>
    Effect.gen(function* () {
      world.medium.put(a, new Uint8Array(500_000))

      const download = yield* world.download(small, { behaviours: [{}] })
      const error = yield* failure(download)

      assert.deepStrictEqual(
        error.files.map(({ path }) => path),
        [a]
      )
      assert.deepStrictEqual(world.medium.read(a), new Uint8Array(500_000))
    }))

  test("a wrong piece among right ones makes the file a foreign one", (world) =>
    Effect.gen(function* () {
      const mixed = right(0)
      mixed[70_000]! ^= 1
      world.medium.put(a, mixed)

      const error = yield* failure(yield* world.download(small, { behaviours: [{}] }))

      assert.deepStrictEqual(
        error.files.map(({ path, verifiedPieces }) => [path, verifiedPieces]),
        [[a, 6]]
      )
      assert.deepStrictEqual(world.medium.read(a), mixed)
    }))

  test("a foreign file may be overwritten, and its right pieces are kept", (world) =>
    Effect.gen(function* () {
      const mixed = right(0)
      mixed[70_000]! ^= 1
      world.medium.put(a, mixed)
      world.medium.put(c, foreign(1_000_000))

      const download = yield* world.download(small, { behaviours: [{}], overwrite: true })
      yield* world.until(download.isComplete, "1 minute")

      const { isRight, writes } = yield* world.summary(download)
      assert.isTrue(isRight)
      assert.deepStrictEqual(writes.slice(0, 7), [0, 1, 0, 0, 0, 0, 0])
    }))

  test("an undecided file is compared with its pieces, fetched first, and adopted if the bytes are equal", (world) =>
    Effect.gen(function* () {
      const ours = shared.fileContent(1)
      world.medium.put("shared/y", ours)

      const download = yield* world.download(shared, { behaviours: [{}] })
      yield* world.until(download.isComplete, "1 minute")

      const { events, isRight } = yield* world.summary(download)
      const stored = events.flatMap((event) => (event._tag === "PieceStored" ? [event.piece] : []))
      assert.isTrue(isRight)
      assert.strictEqual(stored[0], 0)
    }))

  test("an undecided file is compared with its pieces, and fails the torrent if the bytes differ", (world) =>
    Effect.gen(function* () {
      const notes = shared.fileContent(1).slice(0, 900)
      notes[17]! ^= 1
      world.medium.put("shared/y", notes)

      const download = yield* world.download(shared, { behaviours: [{}] })
      const error = yield* failure(download)
      yield* world.advance("1 minute")

      assert.deepStrictEqual(
        error.files.map(({ path }) => path),
        ["shared/y"]
      )
      assert.deepStrictEqual(world.medium.read("shared/y"), notes)
      assert.strictEqual((yield* download.torrent.status).state._tag, "Failed")
      assert.strictEqual(world.medium.openCount(), 0)
    }))

  test("an unwanted foreign file is not touched because of a wanted neighbour", (world) =>
    Effect.gen(function* () {
      world.medium.put("shared/x", foreign(1_000))

      const error = yield* failure(
        yield* world.download(shared, { behaviours: [{}], files: ["skip", "normal", "skip"] })
      )

      assert.strictEqual(error._tag, "piecewise/ContentExists")
      assert.deepStrictEqual(world.medium.read("shared/x"), foreign(1_000))
    }))

  test("a foreign file that no wanted piece reaches is ignored", (world) =>
    Effect.gen(function* () {
      world.medium.put(c, foreign(1_000))

      const download = yield* world.download(other, { behaviours: [{}] })
      yield* world.until(download.isComplete, "1 minute")

      assert.isTrue(download.isComplete())
      assert.deepStrictEqual(world.medium.read(c), foreign(1_000))
    }))

  test("a file that appears during a run is not overwritten, and the torrent goes on once it is gone", (world) =>
    Effect.gen(function* () {
      const slow = yield* world.download(small, { behaviours: [{ bytesPerSecond: 20_000 }], order: "sequential" })
      yield* world.advance("5 seconds")
      world.medium.put(c, foreign(10))
      yield* world.advance("2 minutes")
      const { state } = yield* slow.torrent.status
      const kept = world.medium.read(c)

      world.medium.remove(c)
      yield* world.until(slow.isComplete, "3 minutes")

      assert.strictEqual(state._tag === "StorageFailing" && state.error.reason._tag, "FileExists")
      assert.deepStrictEqual(kept, foreign(10))
      assert.isTrue((yield* world.summary(slow)).isRight)
    }))

  test("a file that replaces a finished one is not overwritten while the torrent runs", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, {
        behaviours: [{ bytesPerSecond: 100_000 }],
        order: "sequential"
      })
      yield* world.advance("9 seconds")

      world.medium.put(a, foreign(500_000))
      yield* world.advance("1 minute")

      const error = yield* failure(download)

      assert.deepStrictEqual(error.files, [
        { path: a, totalPieces: 8, verifiedPieces: 0, excessBytes: 0, isOther: false }
      ])
      assert.deepStrictEqual(world.medium.read(a), foreign(500_000))
      assert.isFalse(download.isComplete())
    }))

  test("a file that replaces one that is being written is not overwritten while the torrent runs", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, {
        behaviours: [{ bytesPerSecond: 50_000 }],
        order: "sequential"
      })
      yield* world.advance("5 seconds")
      const { storedPieces } = yield* download.torrent.status

      world.medium.put(a, foreign(500_000))
      yield* world.advance("1 minute")

      const error = yield* failure(download)

      assert.isBelow(storedPieces, 7)
      assert.deepStrictEqual(
        error.files.map(({ path }) => path),
        [a]
      )
      assert.deepStrictEqual(world.medium.read(a), foreign(500_000))
    }))

  test("a file at the path of a skipped one does not count as the torrent's when that is wanted later", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(shared, { behaviours: [{}], files: ["skip", "skip", "normal"] })
      yield* world.until(download.isComplete, "1 minute")
      world.medium.put("shared/x", foreign(1_000))

      yield* download.torrent.setPriorities(["normal", "normal", "normal"])
      yield* world.advance("1 minute")

      const { state } = yield* download.torrent.status
      assert.strictEqual(state._tag === "Failed" && state.error._tag, "piecewise/ContentExists")
      assert.deepStrictEqual(world.medium.read("shared/x"), foreign(1_000))
    }))

  const half = { isNext: true }
  const claimsHalf = Storages.around((torrent) => ({
    claim: (claims) => {
      if (!half.isNext || claims.length < 2) return torrent.claim(claims)
      half.isNext = false
      const error = StorageError.of("claim", [new DiskFull({ path: "shared/y" })])
      return Effect.andThen(torrent.claim(claims.slice(0, 1)), Effect.fail(error))
    }
  }))
  test(
    "files that a failed claim has made are the torrent's when the claim is repeated",
    (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(shared, { behaviours: [{}] })

        yield* world.until(download.isComplete, "5 minutes")

        const { events, isRight } = yield* world.summary(download)
        const failures = events.flatMap((event) => (event._tag === "StorageFailed" ? [event.error.reason._tag] : []))
        assert.deepStrictEqual(failures, ["DiskFull"])
        assert.isTrue(isRight)
      }),
    { storage: claimsHalf }
  )

  test("an undecided file that is moved away does not hold up the torrent", (world) =>
    Effect.gen(function* () {
      world.medium.put("shared/x", shared.fileContent(0))
      const download = yield* world.download(shared, { behaviours: [{ bytesPerSecond: 20_000 }] })
      yield* world.advance("1 second")

      world.medium.remove("shared/x")
      yield* world.until(download.isComplete, "1 minute")

      assert.isTrue((yield* world.summary(download)).isRight)
    }))

  test("a file that was half written at a kill is decided by the pieces that have bytes in it", (world) =>
    Effect.gen(function* () {
      world.medium.put(a, right(0).slice(0, 100))
      // Right, except the piece that it shares with the other file.
      world.medium.put(c, right(2).fill(0, 0, 8 * 65_536 - 500_000))
      const killed = yield* world.download(small, { behaviours: [{ bytesPerSecond: 50_000 }] })
      yield* world.advance("5 seconds")
      const { stored } = world.resume.saved(small.metainfo.infoHash)!
      yield* killed.stop
      const [torn, whole] = [1, 2, 3, 4, 5, 6].filter((piece) => !Bitfield.has(stored, piece))
      for (const [piece, length] of [
        [whole!, 65_536],
        [torn!, 30_000]
      ] as const) {
        world.medium.modify(a, piece * 65_536, right(0).slice(piece * 65_536, piece * 65_536 + length))
      }

      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.until(download.isComplete, "1 minute")

      assert.isTrue(Bitfield.has(stored, 0))
      assert.isTrue((yield* world.summary(download)).isRight)
    }))

  test("pieces that decide whose a file is are fetched before all others, whatever deadlines are set", (world) =>
    Effect.gen(function* () {
      world.medium.put("shared/y", shared.fileContent(1))
      const download = yield* world.download(shared, {
        behaviours: [{ bytesPerSecond: 20_000 }],
        files: ["normal", "normal", "high"],
        maxActivePieces: 1,
        order: "sequential"
      })

      yield* download.torrent.setDeadlines([{ piece: 3 as PieceIndex, within: "1 second" }])
      yield* world.advance("1 millis")
      yield* download.torrent.setDeadlines([{ piece: 2 as PieceIndex, within: "1 second" }])
      yield* world.until(download.isComplete, "2 minutes")

      const stored = download.events.flatMap((event) => (event._tag === "PieceStored" ? [Number(event.piece)] : []))
      assert.deepStrictEqual(stored, [0, 2, 1, 3])
    }))
})

describe("torrents with the same paths", () => {
  const twin = make({ seed: 9, pieceLength: 65_536, files: [{ path: ["a.bin"], length: 300_000 }] })

  test("the second writer fails before it touches anything", (world) =>
    Effect.gen(function* () {
      const first = yield* world.download(small, { behaviours: [{ bytesPerSecond: 50_000 }] })
      yield* world.advance("1 second")
      const second = yield* world.download(yield* Effect.promise(() => twin), { behaviours: [{}] })

      const error = yield* Effect.flip(second.torrent.completed)
      const remembered = world.resume.saved(second.known.metainfo.infoHash)
      yield* world.until(first.isComplete, "2 minutes")

      assert.strictEqual(error._tag === "piecewise/StorageError" && error.reason._tag, "WriterConflict")
      assert.isUndefined(remembered)
      assert.isTrue((yield* world.summary(first)).isRight)
    }))

  test("any number of them may read and upload complete files", (world) =>
    Effect.gen(function* () {
      const again = yield* Effect.promise(() =>
        make({
          pieceLength: 32_768,
          files: [
            { path: ["a.bin"], length: 500_000 },
            { path: ["empty"], length: 0 },
            { path: ["b", "c.bin"], length: 19 * 65_536 + 20_001 - 500_000 }
          ]
        })
      )
      const first = yield* world.download(small, { behaviours: [{}], seed: true })
      yield* world.until(first.isComplete, "1 minute")

      const second = yield* world.download(again, { seed: true })
      yield* world.until(second.isComplete, "1 minute")

      assert.isTrue(second.isComplete())
      assert.strictEqual((yield* first.torrent.status).state._tag, "Complete")
    }))
})
