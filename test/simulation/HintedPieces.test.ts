import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as fc from "fast-check"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as Bytes from "../../src/base/Bytes.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import type { TransferFacts } from "../../src/discovery/PeerSource.ts"
import * as FileLayout from "../../src/metainfo/FileLayout.ts"
import type { KnownTorrent } from "../../src/testing/KnownTorrent.ts"
import * as Property from "../../src/testing/Property.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import type { TorrentEvent } from "../../src/torrent/TorrentEvent.ts"
import { make, seed, small } from "./torrents.ts"

const listen = { port: 6_881 }
const { geometry } = small.metainfo.layout
const { pieceCount, totalLength } = geometry
const [a, , c] = ["known/a.bin", "known/empty", "known/b/c.bin"] as const

/** 20 pieces of 256 KiB, of which one is verified at a time. */
const large = await make({ name: "large", seed: 10, pieceLength: 262_144, files: [{ path: [], length: 20 * 262_144 }] })

/** One file, so that a piece that another client has not finished can be told from what is somebody else's. */
const one = await make({ name: "one", seed: 9, pieceLength: 65_536, files: [{ path: [], length: 12 * 65_536 }] })

const test = <E>(name: string, program: (world: Swarms.World) => Effect.Effect<void, E, Scope.Scope>) =>
  it.effect(name, () => Swarms.use({ seed, engine: { listen } }, program))

const everything = Bitfield.full(pieceCount).bytes

const hintOf = (pieces: Iterable<number>, length = pieceCount): Uint8Array => {
  const hint = Bitfield.make(length)
  for (const piece of pieces) Bitfield.add(hint, piece)
  return hint.bytes
}

/** What another client has left on the disk: everything, with a wrong byte in these pieces. */
const leave = ({ medium }: Swarms.World, known: KnownTorrent = small, wrong: Iterable<number> = []): void => {
  const { layout } = known.metainfo
  for (const file of FileLayout.realFiles(layout)) {
    medium.put(FileLayout.pathOf(layout, file).join("/"), known.fileContent(file))
  }
  for (const piece of wrong) {
    const { file, fileOffset } = FileLayout.realSpans(layout, piece * layout.geometry.pieceLength, 1)[0]!
    const path = FileLayout.pathOf(layout, file).join("/")
    medium.modify(path, fileOffset, Uint8Array.of(medium.read(path)![fileOffset]! ^ 1))
  }
}

/** An engine without anything, which knows another one. */
const leecherOf = Effect.fnUntraced(function* (world: Swarms.World, known: KnownTorrent = small) {
  const beside = yield* world.beside({ engine: { listen } })
  const download = yield* beside.download(known, { peers: [{ host: world.host, port: listen.port }] })
  return { beside, download }
})

/** What a kill would leave now. */
const snapshotOf = ({ medium, resume }: Swarms.World): Swarms.Snapshot => {
  const { infoHash, layout } = small.metainfo
  const stored = Bitfield.make(pieceCount)
  for (let piece = 0; piece < pieceCount; piece++) {
    const isRight = FileLayout.pieceSpans(layout, piece as PieceIndex).every(({ file, fileOffset, length }) => {
      const found = medium.read(FileLayout.pathOf(layout, file).join("/"))!
      const end = fileOffset + length
      return Bytes.equals(found.subarray(fileOffset, end), small.fileContent(file).subarray(fileOffset, end))
    })
    if (isRight) Bitfield.add(stored, piece)
  }
  return { stored, resume: resume.saved(infoHash) }
}

const of = <Tag extends TorrentEvent["_tag"]>({ events }: Swarms.Download, tag: Tag) =>
  events.flatMap((event) => (event._tag === tag ? [event as Extract<TorrentEvent, { _tag: Tag }>] : []))

const digests = ({ faults }: Swarms.World) => faults.counts("digest").calls

describe("pieces that another client says it has stored", () => {
  test("are uploaded at once, each after it alone was verified, and count only when all are", (world) =>
    Effect.gen(function* () {
      const { totalLength } = large.metainfo.layout.geometry
      leave(world, large)
      world.faults.delay("digest", "1 second")
      const hinted = yield* world.download(large, { hintedPieces: everything, seed: true })
      yield* world.advance("100 millis")
      const atFirst = yield* hinted.torrent.status
      const { beside, download } = yield* leecherOf(world, large)

      const isServed = yield* world.until(() => of(download, "PieceStored").length > 0, "4 seconds")
      const meanwhile = yield* hinted.torrent.status
      yield* world.until(() => download.isComplete() && hinted.isComplete(), "2 minutes")
      const atEnd = yield* hinted.torrent.status
      const summary = yield* beside.summary(download)

      assert.deepStrictEqual(
        [atFirst.state._tag, atFirst.storedPieces, atFirst.unverifiedPieces, atFirst.missingBytes],
        ["Flushing", 0, 20, totalLength]
      )
      assert.isTrue(isServed)
      assert.isAtLeast(meanwhile.unverifiedPieces, 16)
      assert.strictEqual(meanwhile.unverifiedBytes, meanwhile.missingBytes)
      assert.isTrue(summary.isRight)
      assert.deepStrictEqual([atEnd.state._tag, atEnd.unverifiedPieces, atEnd.missingBytes], ["Complete", 0, 0])
      assert.strictEqual(atEnd.downloadedBytes, 0)
      assert.isAtLeast(atEnd.uploadedBytes, totalLength)
      assert.strictEqual(digests(world), 20)
      assert.strictEqual(of(hinted, "Completed").length, 1)
    }))

  test("that are wrong are refused, fetched and then uploaded, and nobody is banned", (world) =>
    Effect.gen(function* () {
      const wrong = [3, 7, 19]
      leave(world, small, wrong)
      const hinted = yield* world.download(small, { hintedPieces: everything, seed: true })
      const { beside, download } = yield* leecherOf(world)
      yield* world.advance("1 minute")
      const stuck = [yield* hinted.torrent.status, yield* download.torrent.status] as const

      const peer = yield* world.join(small, {})
      yield* hinted.torrent.addPeers([peer.address])
      yield* world.until(() => hinted.isComplete() && download.isComplete(), "10 minutes")
      const [giver, taker] = [yield* hinted.torrent.status, yield* download.torrent.status]

      assert.deepStrictEqual([stuck[0].state._tag, stuck[0].storedPieces], ["Downloading", pieceCount - 3])
      assert.deepStrictEqual([stuck[1].state._tag, stuck[1].storedPieces], ["Downloading", pieceCount - 3])
      assert.deepStrictEqual([taker.rejectedPieces, taker.wastedBytes, taker.bannedPeers], [0, 0, 0])
      assert.strictEqual(giver.bannedPeers, 0)
      assert.isTrue((yield* beside.summary(download)).isRight)
      const { isRight, writes } = yield* world.summary(hinted)
      assert.isTrue(isRight)
      assert.deepStrictEqual(
        writes.flatMap((count, piece) => (count > 0 ? [piece] : [])),
        wrong
      )
      const lost = of(hinted, "PiecesLost").flatMap(({ pieces }) => pieces)
      assert.deepStrictEqual(
        lost.sort((one, other) => one - other),
        wrong as typeof lost
      )
    }))

  test("are not read again after a kill if they were verified before, and the rest are only hints still", (world) =>
    Effect.gen(function* () {
      leave(world, small, [15])
      world.faults.delay("digest", "1 second")
      yield* world.download(small, { hintedPieces: everything })
      yield* world.until(() => digests(world) >= 10, "1 minute")
      yield* world.advance("500 millis")
      const snapshot = snapshotOf(world)
      const remembered = [...Bitfield.indices(world.resume.saved(small.metainfo.infoHash)!.stored)]

      const after = yield* world.beside({ engine: { listen } })
      const download = yield* after.download(small, { from: snapshot, hintedPieces: everything, behaviours: [{}] })
      yield* world.until(download.isComplete, "1 minute")

      assert.isAtLeast(remembered.length, 5)
      assert.isBelow(remembered.length, 15)
      // A piece that reaches into a file of which nothing was verified yet is a hint again.
      const trusted = of(download, "Started")[0]!.storedPieces
      assert.isAtLeast(trusted, remembered.length - 1)
      assert.strictEqual(digests(after), pieceCount - trusted)
      assert.strictEqual((yield* download.torrent.status).downloadedBytes, geometry.pieceLength)
      assert.isTrue((yield* after.summary(download)).isRight)
    }))

  test("leave the other pieces of their files unread, which are fetched", (world) =>
    Effect.gen(function* () {
      leave(world, one)
      world.medium.modify("one", 5 * 65_536 + 100, new Uint8Array(7 * 65_536 - 100))

      const download = yield* world.download(one, { hintedPieces: hintOf([0, 1, 2, 3, 4], 12), behaviours: [{}] })
      yield* world.until(download.isComplete, "1 minute")

      const { downloadedBytes } = yield* download.torrent.status
      assert.isTrue((yield* world.summary(download)).isRight)
      assert.deepStrictEqual([digests(world), downloadedBytes], [5, 7 * 65_536])
    }))

  test("are verified before a program reads them, ahead of those before them", (world) =>
    Effect.gen(function* () {
      leave(world, large)
      world.faults.delay("digest", "10 seconds")
      const download = yield* world.download(large, { hintedPieces: everything })

      const begin = 15 * 262_144 + 7
      const read = Stream.runCollect(download.torrent.read(0, { begin, end: begin + 10 }))
      const chunks = yield* world.during(read, "25 seconds")

      assert.deepStrictEqual([...chunks[0]!], [...large.fileContent(0).subarray(begin, begin + 10)])
      assert.isAtLeast((yield* download.torrent.status).unverifiedPieces, 17)
    }))

  test("are waited for if all of their files are gone", (world) =>
    Effect.gen(function* () {
      leave(world)
      for (const path of [a, c]) world.medium.move(path, `away/${path}`)

      const download = yield* world.download(small, { hintedPieces: everything, behaviours: [{}] })
      yield* world.advance("1 minute")
      const { state } = yield* download.torrent.status
      for (const path of [a, c]) world.medium.move(`away/${path}`, path)
      yield* world.until(download.isComplete, "1 minute")

      assert.strictEqual(state._tag, "FilesMissing")
      assert.strictEqual(download.peers[0]!.counters.requests, 0)
      assert.isTrue(download.isComplete())
    }))

  test("law 13: a file of which no hinted piece is right is never written", (world) =>
    Effect.gen(function* () {
      leave(world, one)
      const theirs = new Uint8Array(12 * 65_536).fill(0xee)
      world.medium.put("one", theirs)

      const download = yield* world.download(one, { hintedPieces: hintOf([0, 1, 2, 3], 12), behaviours: [{}] })
      const error = yield* world.during(Effect.flip(download.torrent.completed), "10 minutes")

      assert.strictEqual(error._tag, "piecewise/ContentExists")
      assert.deepStrictEqual(world.medium.read("one"), theirs)
    }))

  test("stay unproved files if they are zeros, and such a file is deleted only once it is whole", (world) =>
    Effect.gen(function* () {
      leave(world)
      world.faults.delay("digest", "10 seconds")
      const download = yield* world.download(small, { hintedPieces: everything })
      yield* world.advance("1 second")

      const removed = yield* world.during(download.torrent.remove({ data: true }))

      assert.deepStrictEqual([...removed.keptPaths].sort(), [a, c].sort())
      assert.isDefined(world.medium.read(a))
    }))

  test("count for nothing after a recheck, which verifies everything", (world) =>
    Effect.gen(function* () {
      leave(world, small, [2])
      world.faults.delay("digest", "10 millis")
      const download = yield* world.download(small, { hintedPieces: hintOf([0, 1, 2]), behaviours: [{}] })

      yield* world.during(download.torrent.recheck)
      yield* world.until(download.isComplete, "1 minute")

      assert.strictEqual((yield* download.torrent.status).downloadedBytes, geometry.pieceLength)
    }))

  test("count as missing in announces until they are verified", (world) =>
    Effect.gen(function* () {
      leave(world)
      world.faults.delay("digest", "1 second")
      let facts: (() => TransferFacts) | undefined
      let isCompletedKnown = false
      const download = yield* world.download(small, {
        hintedPieces: everything,
        seed: true,
        sources: [
          {
            name: "a source",
            peers: (context) => {
              facts = context.facts
              return Stream.drain(
                Stream.fromEffect(
                  Effect.map(context.completed, () => {
                    isCompletedKnown = true
                  })
                )
              )
            }
          }
        ]
      })
      yield* world.advance("5 seconds")
      const { left } = facts!()

      yield* world.until(download.isComplete, "1 minute")

      assert.isAbove(left, totalLength / 2)
      assert.strictEqual(facts!().left, 0)
      // As for a torrent that is complete from the start: it has downloaded nothing, and trackers are told so.
      assert.isTrue(isCompletedKnown)
    }))

  test("are verified while the torrent is paused", (world) =>
    Effect.gen(function* () {
      leave(world)
      const download = yield* world.download(small, { hintedPieces: everything, isPaused: true })

      yield* world.advance("1 minute")

      const { missingBytes, state, unverifiedPieces } = yield* download.torrent.status
      assert.deepStrictEqual([state._tag, missingBytes, unverifiedPieces], ["Paused", 0, 0])
    }))

  test("do not hold up the check of another torrent, whose memory they share", (world) =>
    Effect.gen(function* () {
      leave(world)
      leave(world, one)
      world.faults.delay("digest", "1 second")
      yield* world.download(small, { hintedPieces: everything })
      const other = yield* world.download(one)

      const isComplete = yield* world.until(other.isComplete, "2 minutes")

      assert.isTrue(isComplete)
    }))
})

describe("any hint of any disk", () => {
  /** A piece of each file that is right, and hinted at: otherwise the file may be somebody else's. */
  const proofs = [1, 10]
  const piece = fc.nat(pieceCount - 1)
  const damage = fc.record({
    hinted: fc.uniqueArray(piece).map((pieces) => [...pieces, ...proofs]),
    wrong: fc.uniqueArray(piece, { maxLength: 6 }).map((pieces) => pieces.filter((piece) => !proofs.includes(piece))),
    killedAfter: fc.nat({ max: 12 }),
    delay: fc.constantFrom(0, 0, 20)
  })

  it.effect("law 1: no wrong byte is uploaded, and a kill turns no hint into a stored piece", () =>
    Property.check(
      damage,
      ({ delay, hinted, killedAfter, wrong }) =>
        Swarms.use({ seed, engine: { listen } }, (world) =>
          Effect.gen(function* () {
            leave(world, small, wrong)
            if (delay > 0) world.faults.delay("digest", `${delay} millis`)
            const options = { hintedPieces: hintOf(hinted), seed: true, behaviours: [{}] }
            const first = yield* world.download(small, options)
            const { download: before } = yield* leecherOf(world)
            yield* world.until(() => of(before, "PieceStored").length >= killedAfter, "10 minutes")
            const snapshot = snapshotOf(world)
            const remembered = world.resume.saved(small.metainfo.infoHash)?.stored ?? Bitfield.make(pieceCount)
            const written = (yield* world.summary(first)).writes

            const after = yield* world.beside({ engine: { listen } })
            const second = yield* after.download(small, { ...options, from: snapshot })
            const { beside, download } = yield* leecherOf(after)
            yield* world.until(() => download.isComplete() && second.isComplete(), "5 minutes")
            const takers = [yield* before.torrent.status, yield* download.torrent.status]

            for (const piece of Bitfield.indices(remembered)) {
              assert.isTrue(!wrong.includes(piece) || written[piece]! > 0, `piece ${piece} is remembered`)
            }
            for (const taker of takers) {
              assert.deepStrictEqual([taker.rejectedPieces, taker.bannedPeers], [0, 0])
            }
            assert.isTrue((yield* after.summary(second)).isRight)
            assert.isTrue((yield* beside.summary(download)).isRight)
          })
        ),
      { runs: 6 }
    )
  )
})
