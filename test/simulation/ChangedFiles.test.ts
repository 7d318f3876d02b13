import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import type { TorrentEvent } from "../../src/torrent/TorrentEvent.ts"
import * as Storages from "./storages.ts"
import { make, other, seed, small } from "./torrents.ts"

const test = <E>(name: string, program: (world: Swarms.World) => Effect.Effect<void, E, Scope.Scope>) =>
  it.effect(name, () => Swarms.use({ seed }, program))

const [a, empty, c] = ["known/a.bin", "known/empty", "known/b/c.bin"] as const

/** One file of many small pieces, so that some are being fetched at any time. */
const many = await make({ name: "many", seed: 7, pieceLength: 16_384, files: [{ path: [], length: 600 * 16_384 }] })

const of = <Tag extends TorrentEvent["_tag"]>({ events }: Swarms.Download, tag: Tag) =>
  events.flatMap((event) => (event._tag === tag ? [event as Extract<TorrentEvent, { _tag: Tag }>] : []))

const everything = Bitfield.full(small.metainfo.layout.geometry.pieceCount)

/** A download that is complete, stopped, and remembered. */
const completed = Effect.fnUntraced(function* (world: Swarms.World) {
  const download = yield* world.download(small, { behaviours: [{}] })
  yield* world.until(download.isComplete, "1 minute")
  yield* download.stop
  return download
})

/** Runs the torrent again until it is complete. Returns how many pieces were digested and fetched for it. */
const again = Effect.fnUntraced(function* (world: Swarms.World) {
  const before = world.faults.counts("digest").calls
  const download = yield* world.download(small, { behaviours: [{}] })
  yield* world.until(download.isComplete, "1 minute")
  const { downloadedBytes } = yield* download.torrent.status
  yield* download.stop
  return { download, digested: world.faults.counts("digest").calls - before, downloadedBytes }
})

describe("files that change between two runs", () => {
  test("what has not changed is not read again", (world) =>
    Effect.gen(function* () {
      yield* completed(world)

      const { digested, downloadedBytes } = yield* again(world)

      assert.deepStrictEqual([digested, downloadedBytes], [0, 0])
    }))

  test("a piece that somebody changed is fetched again, and only its file is read", (world) =>
    Effect.gen(function* () {
      yield* completed(world)
      world.medium.modify(a, 70_000, new Uint8Array(7))

      const { digested, download, downloadedBytes } = yield* again(world)

      assert.isTrue((yield* world.summary(download)).isRight)
      assert.deepStrictEqual([digested, downloadedBytes], [8, 65_536])
    }))

  test("a file that was only touched is digested once, and never again", (world) =>
    Effect.gen(function* () {
      yield* completed(world)
      world.medium.touch(a)

      const first = yield* again(world)
      const second = yield* again(world)

      assert.deepStrictEqual([first.digested, first.downloadedBytes], [8, 0])
      assert.deepStrictEqual([second.digested, second.downloadedBytes], [0, 0])
    }))

  test("a missing file is fetched again, and the event names its missing pieces", (world) =>
    Effect.gen(function* () {
      yield* completed(world)
      world.medium.remove(a)

      const { download } = yield* again(world)

      assert.strictEqual(of(download, "Started")[0]!.missingPieces, 8)
      assert.isTrue((yield* world.summary(download)).isRight)
    }))

  test("while all files are gone nothing is fetched, and the torrent goes on when they are back", (world) =>
    Effect.gen(function* () {
      yield* completed(world)
      for (const path of [a, c]) world.medium.move(path, `away/${path}`)

      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.advance("10 minutes")
      const { state } = yield* download.torrent.status
      for (const path of [a, c]) world.medium.move(`away/${path}`, path)
      yield* world.until(download.isComplete, "1 minute")

      assert.strictEqual(state._tag, "FilesMissing")
      assert.deepStrictEqual(
        of(download, "FilesMissing").map(({ missingFiles, paths }) => [missingFiles, paths]),
        [[2, [a, c]]]
      )
      assert.strictEqual(download.peers[0]!.counters.requests, 0)
      assert.isTrue(download.isComplete())
    }))

  test("if all files are gone, everything is fetched again if that is asked for", (world) =>
    Effect.gen(function* () {
      yield* completed(world)
      for (const path of [a, c]) world.medium.remove(path)

      const download = yield* world.download(small, { behaviours: [{}], startOver: true })
      yield* world.until(download.isComplete, "1 minute")

      const { isRight, writes } = yield* world.summary(download)
      assert.isTrue(isRight)
      assert.deepStrictEqual(writes, Array(20).fill(2))
    }))

  test("resume data of other files than those on disk is not trusted", (world) =>
    Effect.gen(function* () {
      yield* completed(world)
      world.medium.put(a, small.fileContent(0).fill(1, 0, 65_536))
      const planted = yield* world.download(small, { behaviours: [{}] })

      const error = yield* Effect.flip(planted.torrent.completed)

      assert.strictEqual(error._tag, "piecewise/ContentExists")
    }))
})

describe("fault 78: a file that is replaced between the start of a run and its first write", () => {
  const path = "other"
  const length = other.metainfo.layout.geometry.totalLength
  const theirs = new Uint8Array(length).fill(0xee)
  const replacements: ReadonlyArray<readonly [string, (world: Swarms.World, partly: Uint8Array) => void]> = [
    ["by a rename", ({ medium }) => medium.put(path, theirs)],
    ["by a shorter one", ({ medium }) => medium.put(path, theirs.slice(0, 5 * 32_768))],
    [
      "after it was deleted",
      ({ medium }) => {
        medium.remove(path)
        medium.put(path, theirs)
      }
    ],
    [
      "by one that begins alike",
      ({ medium }, partly) => {
        const bytes = theirs.slice()
        bytes.set(partly.subarray(0, 4 * 32_768))
        medium.put(path, bytes)
      }
    ]
  ]
  for (const [name, replace] of replacements)
    test(`${name}, is left as it is`, (world) =>
      Effect.gen(function* () {
        const first = yield* world.download(other, {
          behaviours: [{ bytesPerSecond: 32_768 }],
          order: "sequential"
        })
        yield* world.advance("5500 millis")
        yield* first.stop
        const before = world.medium.read(path)!
        const download = yield* world.download(other, { order: "sequential" })
        yield* world.advance("10 seconds")
        const { state, storedPieces } = yield* download.torrent.status

        replace(world, before)
        const left = world.medium.read(path)!
        yield* download.torrent.addPeers([(yield* world.join(other, {})).address])
        yield* world.advance("1 minute")

        assert.strictEqual(state._tag, "Downloading")
        assert.isAbove(storedPieces, 3)
        assert.deepStrictEqual(world.medium.read(path)!, left)
        assert.strictEqual((yield* Effect.flip(download.torrent.completed))._tag, "piecewise/ContentExists")
      }))

  test("by its own bytes, is completed", (world) =>
    Effect.gen(function* () {
      const first = yield* world.download(other, { behaviours: [{ bytesPerSecond: 32_768 }], order: "sequential" })
      yield* world.advance("5500 millis")
      yield* first.stop
      const download = yield* world.download(other, { order: "sequential" })
      yield* world.advance("10 seconds")

      world.medium.replace(path)
      yield* download.torrent.addPeers([(yield* world.join(other, {})).address])
      yield* world.until(download.isComplete, "5 minutes")

      assert.isTrue((yield* world.summary(download)).isRight)
      assert.deepStrictEqual(of(download, "PiecesLost"), [])
    }))

  test("while it is empty and then filled in its place, is left as it is", (world) =>
    Effect.gen(function* () {
      world.medium.put(path, 0)
      const download = yield* world.download(other, {})
      yield* world.advance("1 second")

      world.medium.modify(path, 0, theirs)
      yield* download.torrent.addPeers([(yield* world.join(other, {})).address])
      yield* world.advance("1 minute")

      assert.deepStrictEqual(world.medium.read(path), theirs)
      assert.strictEqual((yield* Effect.flip(download.torrent.completed))._tag, "piecewise/ContentExists")
    }))

  test("by any other is overwritten if it may be", (world) =>
    Effect.gen(function* () {
      world.medium.put(path, theirs)
      const download = yield* world.download(other, { overwrite: true })
      yield* world.advance("1 second")

      world.medium.put(path, theirs.slice(0, 100_000))
      yield* download.torrent.addPeers([(yield* world.join(other, {})).address])
      yield* world.until(download.isComplete, "1 minute")

      assert.isTrue((yield* world.summary(download)).isRight)
    }))
})

describe("files that change while a torrent runs", () => {
  const changes: ReadonlyArray<readonly [string, (world: Swarms.World) => void, lost: boolean]> = [
    ["deleted", ({ medium }) => medium.remove(a), true],
    ["cut off", ({ medium }) => medium.cut(a, 100_000), true],
    ["changed", ({ medium }) => medium.modify(a, 70_000, new Uint8Array(7)), true],
    ["replaced by the same bytes", ({ medium }) => medium.replace(a), false],
    ["replaced by an empty one", ({ medium }) => medium.put(a, 0), true],
    ["touched", ({ medium }) => medium.touch(a), false]
  ]
  for (const [name, change, isLost] of changes) {
    test(`a finished file that is ${name} during the download is right at completion`, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(small, {
          behaviours: [{ bytesPerSecond: 100_000 }],
          order: "sequential"
        })
        yield* world.advance("9 seconds")
        const { storedPieces } = yield* download.torrent.status

        change(world)
        yield* world.until(download.isComplete, "5 minutes")

        const { isComplete, isRight } = yield* world.summary(download)
        assert.isAbove(storedPieces, 8)
        assert.deepStrictEqual([isComplete, isRight], [true, true])
        assert.strictEqual(of(download, "PiecesLost").length, isLost ? 1 : 0)
      }))

    test(`no wrong byte is uploaded of a file that is ${name} while it is seeded`, (world) =>
      Effect.gen(function* () {
        const listen = { port: 6_881 }
        const giver = yield* world.beside({ engine: { listen } })
        const seeding = yield* giver.download(small, { seed: true, from: { stored: everything, resume: undefined } })
        yield* giver.until(seeding.isComplete, "1 minute")

        change(giver)
        const taker = yield* world.download(small, { peers: [{ host: giver.host, port: listen.port }] })
        yield* world.advance("1 minute")
        yield* taker.torrent.addPeers([(yield* world.join(small, {})).address])
        yield* world.until(taker.isComplete, "5 minutes")

        const { rejectedPieces } = yield* taker.torrent.status
        assert.strictEqual(rejectedPieces, 0)
        assert.isTrue((yield* world.summary(taker)).isRight)
      }))
  }

  test("a touch costs at most one digest a piece", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { seed: true, from: { stored: everything, resume: undefined } })
      yield* world.until(download.isComplete, "1 minute")
      const before = world.faults.counts("digest").calls

      world.medium.touch(a)
      const taker = yield* world.beside()
      const taken = yield* taker.download(small, { peers: [] })
      yield* download.torrent.addPeers([])
      yield* world.advance("10 seconds")
      void taken

      assert.isAtMost(world.faults.counts("digest").calls - before, 8)
    }))

  test("a read-only torrent does not fetch missing files again, and uploads them once they are back", (world) =>
    Effect.gen(function* () {
      const listen = { port: 6_881 }
      const giver = yield* world.beside({ engine: { listen } })
      const seeding = yield* giver.download(small, {
        seed: true,
        readOnly: true,
        from: { stored: everything, resume: undefined }
      })
      yield* giver.until(seeding.isComplete, "1 minute")
      giver.medium.remove(a)

      const taker = yield* world.download(small, { peers: [{ host: giver.host, port: listen.port }] })
      yield* world.advance("1 minute")

      const { storedPieces } = yield* taker.torrent.status
      const given = yield* seeding.torrent.status
      const missing = giver.medium.read(a)
      giver.medium.put(a, small.fileContent(0))
      yield* world.until(taker.isComplete, "10 minutes")

      assert.strictEqual(storedPieces, 12)
      assert.strictEqual(given.storedPieces, 12)
      assert.isUndefined(missing)
      assert.isTrue((yield* world.summary(taker)).isRight)
      assert.strictEqual((yield* seeding.torrent.status).storedPieces, 20)
      assert.strictEqual(of(seeding, "PiecesLost").length, 1)
    }))

  test("if all files go away during seeding, the torrent waits for them and does not fetch them again", (world) =>
    Effect.gen(function* () {
      const listen = { port: 6_881 }
      const giver = yield* world.beside({ engine: { listen } })
      const seeding = yield* giver.download(small, { seed: true, behaviours: [{}] })
      yield* giver.until(seeding.isComplete, "1 minute")
      const requests = seeding.peers[0]!.counters.requests
      for (const path of [a, c]) giver.medium.move(path, `away/${path}`)

      const taker = yield* world.download(small, { peers: [{ host: giver.host, port: listen.port }] })
      yield* world.advance("1 minute")
      const { state } = yield* seeding.torrent.status
      const paths = giver.medium.paths()
      for (const path of [a, c]) giver.medium.move(`away/${path}`, path)
      yield* world.until(taker.isComplete, "10 minutes")

      assert.strictEqual(state._tag, "FilesMissing")
      assert.deepStrictEqual(paths, [`away/${a}`, `away/${c}`, "known/empty"])
      assert.strictEqual(seeding.peers[0]!.counters.requests, requests)
      assert.isTrue((yield* world.summary(taker)).isRight)
    }))

  test("if all files go away during the download, the torrent waits, and goes on when they are back", (world) =>
    Effect.gen(function* () {
      const listen = { port: 6_881 }
      const { state: disk, storage } = Storages.unpluggable()
      const giver = yield* world.beside({ engine: { listen }, storage })
      const download = yield* giver.download(many, {
        behaviours: [{ bytesPerSecond: 2_000_000 }],
        order: "sequential"
      })
      yield* giver.advance("2 seconds")
      disk.isAway = true
      yield* world.download(many, { peers: [{ host: giver.host, port: listen.port }] })
      yield* giver.advance("5 seconds")
      const { state } = yield* download.torrent.status

      disk.isAway = false
      yield* giver.until(download.isComplete, "5 minutes")

      assert.strictEqual(state._tag, "FilesMissing")
      assert.deepStrictEqual(of(download, "Failed"), [])
      assert.isTrue((yield* giver.summary(download)).isRight)
    }))

  for (const operation of ["write", "sync"] as const) {
    test(`if all files go away while it cannot ${operation}, it does not fail any more once they are back`, (world) =>
      Effect.gen(function* () {
        const listen = { port: 6_881 }
        const { state: disk, storage } = Storages.unpluggable()
        const giver = yield* world.beside({ engine: { listen }, storage })
        const download = yield* giver.download(many, {
          behaviours: [{ bytesPerSecond: 50_000 }],
          order: "sequential"
        })
        yield* giver.advance("10 seconds")
        giver.faults.failAll(operation, FaultyStorage.inputOutputError)
        yield* giver.advance("40 seconds")
        const failing = (yield* download.torrent.status).state
        disk.isAway = true
        yield* world.download(many, { peers: [{ host: giver.host, port: listen.port }] })
        yield* giver.advance("10 seconds")
        const missing = (yield* download.torrent.status).state

        giver.faults.recover()
        disk.isAway = false
        yield* giver.advance("20 seconds")
        const back = (yield* download.torrent.status).state
        yield* giver.until(download.isComplete, "10 minutes")

        assert.deepStrictEqual(
          [failing._tag, missing._tag, back._tag],
          ["StorageFailing", "FilesMissing", "Downloading"]
        )
        assert.isTrue((yield* giver.summary(download)).isRight)
      }))
  }

  test("a wrong piece that several peers request at once is dropped once, and fetched again", (world) =>
    Effect.gen(function* () {
      const listen = { port: 6_881 }
      const giver = yield* world.beside({ engine: { listen } })
      const seeding = yield* giver.download(small, {
        seed: true,
        behaviours: [{ bytesPerSecond: 20_000 }],
        from: { stored: everything, resume: undefined }
      })
      yield* giver.until(seeding.isComplete, "1 minute")
      giver.faults.delay("digest", "200 millis")
      giver.medium.modify(a, 70_000, new Uint8Array(7))

      const takers = yield* Effect.forEach([1, 2, 3], () =>
        Effect.flatMap(world.beside(), (taker) =>
          taker.download(small, { peers: [{ host: giver.host, port: listen.port }] })
        )
      )
      yield* giver.until(() => takers.every((taker) => taker.isComplete()), "5 minutes")

      const { status } = yield* giver.summary(seeding)
      assert.strictEqual(status.state._tag, "Complete")
      assert.deepStrictEqual(
        of(seeding, "PiecesLost").map(({ pieces }) => pieces.map(Number)),
        [[1]]
      )
      assert.deepStrictEqual(
        takers.map((taker) => taker.isComplete()),
        [true, true, true]
      )
    }))

  test("a file that somebody made longer is left as it is, and the torrent fails instead of completing", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, {
        behaviours: [{ bytesPerSecond: 100_000 }],
        order: "sequential"
      })
      yield* world.advance("9 seconds")

      world.medium.modify(a, 500_000, new Uint8Array(1_000).fill(9))
      yield* world.advance("1 minute")

      const error = yield* Effect.flip(download.torrent.completed)
      assert.deepStrictEqual(error._tag === "piecewise/ContentExists" && error.files, [
        { path: a, totalPieces: 8, verifiedPieces: 8, excessBytes: 1_000, isOther: false }
      ])
      assert.isFalse(download.isComplete())
      assert.strictEqual(world.medium.read(a)!.length, 501_000)
    }))

  test("a file that somebody made longer is cut if it may be overwritten", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, {
        behaviours: [{ bytesPerSecond: 100_000 }],
        order: "sequential",
        overwrite: true
      })
      yield* world.advance("9 seconds")

      world.medium.modify(a, 500_000, new Uint8Array(1_000).fill(9))
      yield* world.until(download.isComplete, "1 minute")

      assert.isTrue((yield* world.summary(download)).isRight)
    }))

  test("an empty file that is deleted during the download is made again", (world) =>
    Effect.gen(function* () {
      world.medium.put(empty, 0)
      const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 100_000 }] })
      yield* world.advance("5 seconds")

      world.medium.remove(empty)
      yield* world.until(download.isComplete, "1 minute")

      const { isComplete, isRight } = yield* world.summary(download)
      assert.deepStrictEqual([isComplete, isRight], [true, true])
    }))

  test("a read-only torrent without files waits for them, and goes on when they are there", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { readOnly: true, seed: true })
      yield* world.advance("1 minute")
      const { state } = yield* download.torrent.status
      const wasComplete = download.isComplete()

      world.medium.put(a, small.fileContent(0))
      world.medium.put(empty, 0)
      world.medium.put(c, small.fileContent(2))
      yield* world.advance("1 minute")

      const after = yield* download.torrent.status
      assert.deepStrictEqual([state._tag, wasComplete], ["FilesMissing", false])
      assert.deepStrictEqual([after.state._tag, after.storedPieces], ["Complete", 20])
    }))
})
