import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { PiecePriority } from "../../src/assembly/PiecePriority.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import type { PeerSource, TransferFacts } from "../../src/discovery/PeerSource.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import * as Storages from "./storages.ts"
import { make, seed, small } from "./torrents.ts"

/** Of `small`: `a.bin` is in pieces 0 to 7, `c.bin` in 7 to 19. */
const onlyC: ReadonlyArray<PiecePriority> = ["skip", "skip", "normal"]
const onlyA: ReadonlyArray<PiecePriority> = ["normal", "skip", "skip"]
const all: ReadonlyArray<PiecePriority> = []

/** One file with bytes, and two empty ones. */
const twoEmpty = await make({
  name: "two",
  seed: 9,
  pieceLength: 65_536,
  files: [
    { path: ["a"], length: 100_000 },
    { path: ["e1"], length: 0 },
    { path: ["e2"], length: 0 }
  ]
})

const writesOfC = Array.from({ length: 20 }, (_, piece) => (piece < 7 ? 0 : 1))
const blocksOfC = 12 * 4 + 2
const bytesOfC = 12 * 65_536 + 20_001

const test = (
  name: string,
  program: (world: Swarms.World) => Effect.Effect<void, unknown, Scope.Scope>,
  options: Pick<Swarms.Options, "storage"> = {}
) => it.effect(name, () => Swarms.use({ seed, engine: { listen: { port: 6_881 } }, ...options }, program))

const count = (download: Swarms.Download, tag: string) => download.events.filter(({ _tag }) => _tag === tag).length

const order = (download: Swarms.Download) =>
  download.events.flatMap((event) => (event._tag === "PieceStored" ? [Number(event.piece)] : []))

describe("a torrent with selected files", () => {
  test("fetches only pieces of wanted files, and is complete with them", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { files: onlyC, behaviours: [{}] })

      yield* world.until(download.isComplete, "1 minute")
      yield* world.advance("10 seconds")

      const { counters, status, writes } = yield* world.summary(download)
      assert.deepStrictEqual(writes, writesOfC)
      assert.strictEqual(counters[0]!.requests, blocksOfC)
      assert.strictEqual(status.state._tag, "Complete")
      assert.deepStrictEqual([status.wantedPieces, status.wantedBytes, status.missingBytes], [13, bytesOfC, 0])
      assert.strictEqual(status.storedBytes, bytesOfC)
      yield* download.torrent.completed
    }))

  test("is complete at once if everything that is wanted is stored, and dials nobody", (world) =>
    Effect.gen(function* () {
      const first = yield* world.download(small, { files: onlyC, behaviours: [{}] })
      yield* world.until(first.isComplete, "1 minute")
      yield* first.stop

      const again = yield* world.download(small, { files: onlyC, behaviours: [{}] })
      yield* world.advance("10 seconds")

      assert.isTrue(again.isComplete())
      assert.strictEqual(again.peers[0]!.counters.connections, 0)
      assert.deepInclude(again.events, { _tag: "Started", storedPieces: 13, missingPieces: 0, totalPieces: 20 })
    }))

  test("fetches files that are wanted later from peers that it had left", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { files: onlyC, behaviours: [{}] })
      yield* world.until(download.isComplete, "1 minute")
      yield* world.advance("10 seconds")

      yield* download.torrent.setPriorities(all)
      const { state } = yield* download.torrent.status
      const isComplete = yield* world.until(() => count(download, "Completed") === 2, "1 minute")

      const summary = yield* world.summary(download)
      assert.strictEqual(state._tag, "Downloading")
      assert.isTrue(isComplete)
      assert.isTrue(summary.isRight)
      assert.deepStrictEqual(summary.writes, Array(20).fill(1))
      assert.strictEqual(summary.status.state._tag, "Complete")
    }))

  test("is complete as soon as nothing more is wanted", (world) =>
    Effect.gen(function* () {
      const has = Array.from({ length: 13 }, (_, index) => 7 + index)
      const download = yield* world.download(small, { behaviours: [{ pieces: has }] })
      yield* world.advance("10 seconds")
      const before = yield* download.torrent.status

      yield* download.torrent.setPriorities(onlyC)
      yield* world.simulation.settle

      const after = yield* download.torrent.status
      assert.deepStrictEqual([before.state._tag, before.missingBytes], ["Downloading", 7 * 65_536])
      assert.deepStrictEqual([after.state._tag, after.missingBytes], ["Complete", 0])
      assert.strictEqual(count(download, "Completed"), 1)
    }))

  test("makes an empty file that is wanted later, and is complete again only then", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { files: ["normal", "skip", "normal"], behaviours: [{}] })
      yield* world.until(download.isComplete, "1 minute")
      const before = world.medium.paths()

      yield* download.torrent.setPriorities(all)
      yield* world.until(() => count(download, "Completed") === 2, "1 minute")

      assert.notInclude(before, "known/empty")
      assert.strictEqual(count(download, "Completed"), 2)
      assert.isTrue((yield* world.summary(download)).isRight)
    }))

  const slowly = Storages.around((torrent) => ({
    claim: (claims) =>
      claims.some(({ file }) => file !== 0)
        ? Effect.andThen(Effect.sleep("5 seconds"), torrent.claim(claims))
        : torrent.claim(claims)
  }))
  test(
    "makes an empty file that is wanted while another one is being made at the end of the download",
    (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(twoEmpty, {
          files: ["normal", "normal", "skip"],
          behaviours: [{}]
        })
        yield* world.until(() => count(download, "Flushing") > 0, "1 minute")
        yield* world.advance("1 second")
        const before = world.medium.paths()

        yield* download.torrent.setPriorities(all)
        yield* world.until(download.isComplete, "1 minute")

        assert.deepStrictEqual(before, ["two/a"])
        assert.deepStrictEqual(world.medium.paths(), ["two/a", "two/e1", "two/e2"])
      }),
    { storage: slowly }
  )

  test("takes a selection while it is still checking", (world) =>
    Effect.gen(function* () {
      world.faults.delay("look", "1 second")
      const download = yield* world.download(small, { files: onlyA, behaviours: [{}] })
      yield* world.simulation.settle
      const { state } = yield* download.torrent.status

      yield* download.torrent.setPriorities(onlyC)
      yield* world.until(download.isComplete, "2 minutes")

      assert.strictEqual(state._tag, "Checking")
      assert.deepStrictEqual((yield* world.summary(download)).writes, writesOfC)
    }))

  test("keeps the old selection if the storage cannot take the files", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { files: onlyC, behaviours: [{}] })
      yield* world.until(download.isComplete, "1 minute")
      world.faults.failAll("prepare", FaultyStorage.diskFull)

      const error = yield* Effect.flip(download.torrent.setPriorities(all))
      yield* world.advance("10 seconds")

      assert.strictEqual(error.operation, "prepare")
      assert.deepStrictEqual((yield* world.summary(download)).writes, writesOfC)
    }))

  test("fetches files of high priority before all others", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, {
        files: ["normal", "normal", "high"],
        maxActivePieces: 1,
        behaviours: [{}]
      })

      yield* world.until(download.isComplete, "1 minute")

      const stored = order(download)
      assert.sameMembers(
        stored.slice(0, 13),
        Array.from({ length: 13 }, (_, index) => 7 + index)
      )
      assert.strictEqual(stored.length, 20)
    }))

  test("uploads and announces only the pieces that it has", (world) =>
    Effect.gen(function* () {
      const giver = yield* world.download(small, { files: onlyC, seed: true, behaviours: [{}] })
      yield* world.until(giver.isComplete, "1 minute")
      const other = yield* world.beside()

      const taker = yield* other.download(small, { peers: [{ host: world.host, port: 6_881 }] })
      yield* world.advance("2 minutes")

      const { status, writes } = yield* other.summary(taker)
      assert.deepStrictEqual(writes, writesOfC)
      assert.deepStrictEqual([status.state._tag, status.connectedPeers], ["Downloading", 1])
      assert.strictEqual((yield* giver.torrent.status).uploadedBytes, bytesOfC)
    }))

  test("announces to trackers what is missing of the whole torrent, and its completion once nothing is", (world) =>
    Effect.gen(function* () {
      const announced: Array<TransferFacts["left"] | "completed"> = []
      const source: PeerSource = {
        peers: ({ completed, facts }) => {
          announced.push(facts().left)
          return Stream.drain(Stream.fromEffect(Effect.map(completed, () => announced.push("completed", facts().left))))
        }
      }
      const download = yield* world.download(small, { files: onlyC, sources: [source], behaviours: [{}] })

      yield* world.until(download.isComplete, "1 minute")
      yield* world.advance("1 minute")
      const partly = announced.splice(0)
      yield* download.torrent.setPriorities(all)
      yield* world.until(() => announced.includes("completed"), "1 minute")

      const { totalLength } = small.metainfo.layout.geometry
      assert.deepStrictEqual(partly, [totalLength])
      // It had rested, and is asked again.
      assert.deepStrictEqual(announced, [totalLength - bytesOfC, "completed", 0])
    }))

  test("lets sources know at once if it was complete when it started", (world) =>
    Effect.gen(function* () {
      const announced: Array<TransferFacts["left"] | "completed"> = []
      const source: PeerSource = {
        peers: ({ completed, facts }) =>
          Stream.drain(Stream.fromEffect(Effect.map(completed, () => announced.push("completed", facts().left))))
      }
      const stored = Bitfield.full(small.metainfo.layout.geometry.pieceCount)
      const from = { stored, resume: undefined }
      const download = yield* world.download(small, { sources: [source], seed: true, from })

      yield* world.until(() => announced.length > 0, "10 seconds")

      assert.deepStrictEqual(announced, ["completed", 0])
      assert.isTrue(download.isComplete())
    }))
})

describe("a torrent with an order of pieces", () => {
  test("fetches pieces by index if it is sequential", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { order: "sequential", behaviours: [{ bytesPerSecond: 300_000 }] })

      yield* world.until(download.isComplete, "1 minute")

      assert.deepStrictEqual(order(download), [...Array(20).keys()])
    }))

  test("fetches pieces with a deadline before all others, the most urgent first", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, {
        order: "sequential",
        maxActivePieces: 1,
        behaviours: [{ bytesPerSecond: 100_000 }]
      })
      const due = (piece: number, seconds: number) => ({
        piece: piece as PieceIndex,
        within: `${seconds} seconds` as const
      })
      yield* download.torrent.setDeadlines([due(18, 9), due(15, 3)])
      yield* world.until(() => order(download).length >= 1, "1 minute")
      yield* download.torrent.setDeadlines([due(12, 9), due(10, 3)])

      yield* world.until(download.isComplete, "1 minute")

      const stored = order(download)
      assert.strictEqual(stored[0], 15)
      // 18 and 0 were being fetched before the second call.
      const rest = stored.filter((piece) => ![15, 18, 0].includes(piece))
      assert.deepStrictEqual(rest.slice(0, 3), [10, 12, 1])
    }))
})

describe("a selection that the storage takes long to prepare", () => {
  it.effect("reaches the run that follows if the files went away meanwhile", () => {
    const medium = Storages.unpluggable()
    const gate = Deferred.makeUnsafe<void>()
    let isGated = false
    const slow = Storages.around((torrent) => ({
      prepare: (files) => {
        if (!isGated) return torrent.prepare(files)
        isGated = false
        return Effect.andThen(Deferred.await(gate), torrent.prepare(files))
      }
    }))
    return Swarms.use({ seed }, (world) =>
      Effect.gen(function* () {
        const giver = yield* world.beside({
          engine: { listen: { port: 6_881 } },
          storage: (inner) => slow(medium.storage(inner))
        })
        const download = yield* giver.download(small, { files: onlyC, seed: true, behaviours: [{}] })
        yield* giver.until(download.isComplete, "1 minute")
        isGated = true
        const setting = yield* Effect.forkChild(download.torrent.setPriorities(all), { startImmediately: true })
        yield* world.advance("1 second")
        medium.state.isAway = true
        yield* world.download(small, { peers: [{ host: giver.host, port: 6_881 }] })
        yield* giver.until(() => count(download, "FilesMissing") > 0, "2 minutes")
        medium.state.isAway = false
        yield* giver.until(() => count(download, "Started") === 2, "2 minutes")
        yield* world.advance("10 seconds")

        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(setting)
        yield* giver.until(() => count(download, "Completed") === 3, "2 minutes")

        const status = yield* download.torrent.status
        assert.deepStrictEqual([status.state._tag, status.wantedPieces, status.storedPieces], ["Complete", 20, 20])
        yield* download.torrent.setPriorities(onlyA)
      })
    )
  })

  it.effect("does not keep peers waiting, and no session outlives the last flush", () => {
    let prepares = 0
    const atFlush: Array<number> = []
    const storage = Storages.around((torrent) => ({
      prepare: (files) => {
        const wait = ++prepares === 2 ? Effect.sleep("1 hour") : Effect.void
        return Effect.andThen(wait, torrent.prepare(files))
      },
      flush: (files) =>
        Effect.map(connected, (peers) => void atFlush.push(peers)).pipe(
          Effect.andThen(Effect.sleep("2 seconds")),
          Effect.andThen(torrent.flush(files))
        )
    }))
    let giver: Swarms.Download | undefined
    const connected = Effect.suspend(() =>
      giver === undefined ? Effect.succeed(0) : Effect.map(giver.torrent.status, ({ connectedPeers }) => connectedPeers)
    )
    return Swarms.use({ seed, storage, engine: { listen: { port: 6_881 } } }, (world) =>
      Effect.gen(function* () {
        world.faults.delay("look", "1 second")
        const stored = Bitfield.full(small.metainfo.layout.geometry.pieceCount)
        const from = { stored, resume: undefined }
        const seeding = yield* world.download(small, { seed: true, files: onlyC, from })
        giver = seeding
        yield* world.simulation.settle
        yield* Effect.forkScoped(seeding.torrent.setPriorities(all))
        yield* world.until(() => count(seeding, "Started") > 0, "30 seconds")
        const second = yield* world.beside()
        const taker = yield* second.download(small, { peers: [{ host: world.host, port: 6_881 }] })

        yield* world.until(taker.isComplete, "2 minutes")
        const third = yield* world.beside()
        yield* third.download(small, {
          peers: [{ host: world.host, port: 6_881 }],
          limits: { downloadBytesPerSecond: 1_000 }
        })
        yield* world.advance("5 seconds")
        const before = yield* connected
        yield* seeding.stop

        assert.isTrue((yield* second.summary(taker)).isRight)
        assert.isAbove(before, 0)
        assert.isAbove(atFlush.length, 0)
        assert.deepStrictEqual(new Set(atFlush), new Set([0]))
      })
    )
  })
})
