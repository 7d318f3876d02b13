import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { PeerSource, PeerSourceEvent } from "../../src/discovery/PeerSource.ts"
import type { TorrentStorage } from "../../src/storage/Storage.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { make, other, small } from "../simulation/torrents.ts"

const tags = (download: Swarms.Download) => download.events.map(({ _tag }) => _tag)

const test = <E>(name: string, program: (world: Swarms.World) => Effect.Effect<void, E, Scope.Scope>) =>
  it.effect(name, () => Swarms.use({}, program))

/** Bugs of a layer, by when they strike. */
const deaths: ReadonlyArray<readonly [string, (storage: TorrentStorage) => TorrentStorage]> = [
  ["while it starts", (storage) => ({ ...storage, prepare: () => Effect.die(new Error("no such luck")) })],
  ["in the middle", (storage) => ({ ...storage, writePiece: () => Effect.die(new Error("no such luck")) })]
]

describe("Torrent", () => {
  test(
    "reports a download from its start to its end, in order",
    Effect.fnUntraced(function* (world) {
      const download = yield* world.download(small, { behaviours: [{}] })

      yield* world.until(download.isComplete, "1 minute")

      const reported = tags(download)
      const stored = download.events.flatMap((event) => (event._tag === "PieceStored" ? [event] : []))
      assert.deepStrictEqual(
        reported.filter((tag) => tag !== "PieceStored" && tag !== "PeerDisconnected"),
        ["Started", "SourceAnswered", "PeerConnected", "Flushing", "Completed"]
      )
      assert.deepStrictEqual(
        stored.map(({ storedPieces }) => storedPieces),
        Array.from({ length: 20 }, (_, index) => index + 1)
      )
      assert.strictEqual(new Set(stored.map(({ piece }) => piece)).size, 20)
      assert.isBelow(reported.lastIndexOf("PieceStored"), reported.indexOf("Completed"))
    })
  )

  test(
    "counts bytes correctly, including the short last piece",
    Effect.fnUntraced(function* (world) {
      const download = yield* world.download(small, { behaviours: [{ pieces: [19] }] })
      yield* world.advance("1 second")
      const part = yield* download.torrent.status
      yield* download.torrent.addPeers([(yield* world.join(small, {})).address])
      yield* world.until(download.isComplete, "1 minute")

      const whole = yield* download.torrent.status

      assert.strictEqual(part.storedBytes, 20_001)
      assert.strictEqual(part.storedPieces, 1)
      assert.strictEqual(part.downloadedBytes, 20_001)
      assert.strictEqual(part.state._tag, "Downloading")
      assert.strictEqual(whole.storedBytes, 19 * 65_536 + 20_001)
      assert.strictEqual(whole.totalBytes, whole.storedBytes)
      assert.strictEqual(whole.bufferedBytes, 0)
      assert.strictEqual(whole.resumedBytes, 0)
      assert.strictEqual(whole.state._tag, "Complete")
    })
  )

  test(
    "takes addresses before and after it has started",
    Effect.fnUntraced(function* (world) {
      const early = yield* world.join(small, { pieces: [0, 1, 2] })
      const late = yield* world.join(small, {})
      world.faults.delay("digest", "1 second")
      const download = yield* world.download(small)
      yield* download.torrent.addPeers([early.address])
      const { state } = yield* download.torrent.status
      yield* world.advance("30 seconds")
      const { storedPieces } = yield* download.torrent.status
      yield* download.torrent.addPeers([late.address])

      const isComplete = yield* world.until(download.isComplete, "1 minute")

      assert.strictEqual(state._tag, "Checking")
      assert.strictEqual(storedPieces, 3)
      assert.isTrue(isComplete)
    })
  )

  test(
    "dials addresses again that it was given in an earlier run",
    Effect.fnUntraced(function* (world) {
      const download = yield* world.download(other, { behaviours: [] })
      yield* world.advance("1 second")
      const peer = yield* world.join(other, { bytesPerSecond: 100_000 })
      yield* download.torrent.addPeers([peer.address])
      yield* world.advance("5 seconds")
      world.medium.move("other", "away")
      yield* world.advance("40 seconds")
      const { state } = yield* download.torrent.status

      world.medium.move("away", "other")
      yield* world.until(download.isComplete, "1 minute")

      assert.strictEqual(state._tag, "FilesMissing")
      assert.isTrue(download.isComplete())
    })
  )

  test(
    "is complete at once if everything is stored, and asks and dials nobody",
    Effect.fnUntraced(function* (world) {
      const first = yield* world.download(small, { behaviours: [{}] })
      yield* world.until(first.isComplete, "1 minute")
      yield* first.stop
      const again = yield* world.download(small, { behaviours: [{}] })

      yield* world.until(again.isComplete, "1 minute")
      yield* world.advance("10 seconds")

      const status = yield* again.torrent.status
      assert.deepStrictEqual(tags(again), ["Started", "Completed"])
      assert.strictEqual(status.resumedBytes, status.totalBytes)
      assert.strictEqual(again.peers[0]!.counters.connections, 0)
      yield* again.torrent.completed
    })
  )

  test(
    "fails if the storage cannot be prepared, and holds nothing from then on",
    Effect.fnUntraced(function* (world) {
      world.faults.failAll("prepare", FaultyStorage.refused)
      const idle = world.simulation.turns()
      yield* world.advance("1 hour")
      const idleTurns = world.simulation.turns() - idle
      const download = yield* world.download(small, { behaviours: [{}] })
      yield* world.simulation.settle

      const exit = yield* Effect.exit(download.torrent.completed)

      const { state } = yield* download.torrent.status
      assert.isTrue(Exit.isFailure(exit))
      assert.strictEqual(state._tag, "Failed")
      assert.strictEqual(tags(download).at(-1), "Failed")
      assert.strictEqual(world.medium.openCount(), 0)
      const before = world.simulation.turns()
      yield* world.advance("1 hour")
      assert.strictEqual(world.simulation.turns() - before, idleTurns)
    })
  )

  for (const [when, broken] of deaths) {
    it.effect(`reports a defect and ends all its parts if a part dies ${when}`, () =>
      Swarms.use(
        { storage: (storage) => ({ open: (layout) => Effect.map(storage.open(layout), broken) }) },
        Effect.fnUntraced(function* (world) {
          const download = yield* world.download(small, { behaviours: [{}] })
          yield* world.advance("10 seconds")

          const exit = yield* Effect.exit(download.torrent.completed)

          const { state } = yield* download.torrent.status
          assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
          assert.strictEqual(state._tag === "Failed" && state.error._tag, "piecewise/TorrentDefect")
          assert.match(state._tag === "Failed" ? state.error.message : "", /internal error: no such luck/)
          assert.strictEqual(tags(download).filter((tag) => tag === "Failed").length, 1)
          assert.strictEqual(world.medium.openCount(), 0)
          assert.strictEqual((yield* world.network.counts).connections, 0)
          assert.strictEqual(yield* world.engine.heldBytes, 0)
        })
      )
    )
  }

  test(
    "tells whoever waits for its completion that it was stopped, and shows nothing that is not so any more",
    Effect.fnUntraced(function* (world) {
      const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 200_000 }] })
      const waiting = yield* Effect.forkScoped(Effect.flip(download.torrent.completed))
      yield* world.advance("3 seconds")
      const before = yield* download.torrent.status

      yield* download.stop
      const error = yield* Fiber.join(waiting)

      const after = yield* download.torrent.status
      assert.strictEqual(error._tag, "piecewise/TorrentStopped")
      assert.strictEqual(before.connectedPeers, 1)
      assert.isAbove(before.downloadBytesPerSecond, 0)
      assert.strictEqual(after.state._tag, "Stopped")
      assert.strictEqual(after.bottleneck._tag, "Stopped")
      assert.deepStrictEqual(
        [after.connectedPeers, after.unchokedPeers, after.downloadBytesPerSecond, after.bufferedBytes],
        [0, 0, 0, 0]
      )
      assert.isAbove(after.storedPieces, 0)
      assert.isAtLeast(after.storedPieces, before.storedPieces)
      assert.isAtLeast(after.downloadedBytes, before.downloadedBytes)
    })
  )

  test(
    "leaves nothing behind: no connection, file, buffer, timer or fiber",
    Effect.fnUntraced(function* (world) {
      const idle = world.simulation.turns()
      yield* world.advance("1 hour")
      const idleTurns = world.simulation.turns() - idle
      const download = yield* world.download(small, {
        behaviours: [{ bytesPerSecond: 50_000 }, { silent: "from the start" }]
      })
      yield* world.advance("5 seconds")
      const during = yield* world.network.counts

      yield* download.stop
      yield* world.advance("10 seconds")

      const after = yield* world.network.counts
      assert.isAtLeast(during.connections, 1)
      assert.strictEqual(after.connections, 0)
      assert.strictEqual(after.dials, 0)
      assert.strictEqual(world.medium.openCount(), 0)
      assert.strictEqual(yield* world.engine.heldBytes, 0)
      const before = world.simulation.turns()
      yield* world.advance("1 hour")
      assert.strictEqual(world.simulation.turns() - before, idleTurns)
    })
  )

  test(
    "asks its sources for more while it has no peer, but not once it is complete",
    Effect.fnUntraced(function* (world) {
      let wantsMore: (() => boolean) | undefined
      const source: PeerSource = {
        peers: (context) => {
          wantsMore = context.wantsMore
          return Stream.empty
        }
      }
      const download = yield* world.download(small, { sources: [source] })
      yield* world.simulation.settle
      const alone = wantsMore?.()
      yield* download.torrent.addPeers([(yield* world.join(small, { bytesPerSecond: 100_000 })).address])
      yield* world.advance("2 seconds")
      const served = wantsMore?.()

      yield* world.until(download.isComplete, "1 minute")

      assert.isTrue(alone)
      assert.isFalse(served)
      assert.isFalse(wantsMore?.())
    })
  )

  test(
    "says how each source is doing: its last answer, and why it failed since",
    Effect.fnUntraced(function* (world) {
      const url = "https://tracker.example/announce"
      const answer = { _tag: "Peers", source: url, addresses: [{ host: "10.0.0.9", port: 1 }] } as const
      const events: ReadonlyArray<PeerSourceEvent> = [
        { ...answer, seeders: 3, leechers: 4, warning: "soon closed" },
        { _tag: "Failed", source: url, why: "connection refused" },
        { ...answer, addresses: [], seeders: 5 }
      ]
      const heard: PeerSource = {
        name: url,
        peers: () =>
          Stream.fromIterable(events).pipe(Stream.schedule(Schedule.spaced("10 seconds")), Stream.concat(Stream.never))
      }
      const silent: PeerSource = { name: "silent", peers: () => Stream.never }
      const download = yield* world.download(small, { sources: [silent, heard] })
      const { sources } = download.torrent
      const before = yield* sources
      const seen = []
      for (const _ of events) {
        yield* world.advance("10 seconds")
        seen.push(yield* sources)
      }
      yield* world.advance("4 seconds")
      const [last] = yield* sources

      const first = { source: url, hasAnswered: true, peers: 1, seeders: 3, leechers: 4, warning: "soon closed" }
      assert.deepStrictEqual(before, [])
      assert.deepStrictEqual(
        seen
          .slice(0, 2)
          .flat()
          .map(({ reportedMillisAgo: _, ...status }) => status),
        [first, { ...first, failure: "connection refused" }]
      )
      assert.isUndefined(last!.failure)
      assert.deepInclude(last, { hasAnswered: true, peers: 0, seeders: 5, leechers: undefined, warning: undefined })
      assert.closeTo(last!.reportedMillisAgo, 4000, 1000)
    })
  )

  test(
    "tells its sources that it has few peers only while it lacks something that is wanted",
    Effect.fnUntraced(function* (world) {
      let hasFew: (() => boolean) | undefined
      const source: PeerSource = {
        peers: (context) => {
          hasFew = context.hasFew
          return Stream.never
        }
      }
      const options = { sources: [source], seed: true, files: ["skip", "skip", "skip"] } as const
      const download = yield* world.download(small, options)
      yield* world.advance("2 seconds")
      const whenNothingIsWanted = hasFew?.()
      yield* download.torrent.setPriorities(["normal", "skip", "skip"])
      yield* world.advance("2 seconds")
      const whenSomethingIs = hasFew?.()
      yield* download.torrent.addPeers([(yield* world.join(small, {})).address])
      yield* world.advance("1 minute")

      assert.isFalse(whenNothingIsWanted)
      assert.isTrue(whenSomethingIs)
      const { missingBytes, state } = yield* download.torrent.status
      assert.deepStrictEqual([missingBytes, state._tag], [0, "Complete"])
      assert.isFalse(hasFew?.())
    })
  )

  test(
    "says that all trackers refused it for good, unless one of them or another source finds somebody",
    Effect.fnUntraced(function* (world) {
      const queue = yield* Queue.unbounded<PeerSourceEvent>()
      const known = yield* Effect.promise(() =>
        make({
          files: [{ path: [], length: 1 }],
          pieceLength: 16_384,
          trackers: [["http://a/x", "http://b/x"], ["file:c"]]
        })
      )
      const source: PeerSource = { isLocal: true, peers: () => Stream.fromQueue(queue) }
      const download = yield* world.download(known, { sources: [source] })
      const fail = (name: string, isFinal?: boolean) =>
        Queue.offer(queue, { _tag: "Failed", source: `http://${name}/x`, why: "no", isFinal })
      const found: Array<string> = []
      const look = Effect.gen(function* () {
        yield* world.simulation.settle
        const { bottleneck } = yield* download.torrent.status
        const reports = download.events.filter(({ _tag }) => _tag === "TrackersRefused").length
        found.push(`${bottleneck._tag} ${reports}`)
      })

      for (const step of [fail("a", true), fail("b"), fail("b", true), fail("a"), fail("a", true)]) {
        yield* step
        yield* look
      }
      yield* Queue.offer(queue, { _tag: "Peers", source: "http://a/x", addresses: [{ host: "10.9.9.9", port: 1 }] })
      yield* look

      assert.deepStrictEqual(found, [
        "SourcesFailing 0",
        "SourcesFailing 0",
        "TrackersRefused 1",
        "SourcesFailing 1",
        "TrackersRefused 2",
        "NobodyConnected 2"
      ])
    })
  )

  test(
    "counts the IPv4 and the IPv6 spelling of an address as one",
    Effect.fnUntraced(function* (world) {
      const peer = yield* world.join(small, { unchokes: "never" })
      const download = yield* world.download(small)

      yield* download.torrent.addPeers([
        { ...peer.address, host: `::ffff:${peer.address.host}` },
        peer.address,
        { ...peer.address, host: `::FFFF:${peer.address.host}` }
      ])
      yield* world.advance("1 second")

      const { connectedPeers, knownPeers } = yield* download.torrent.status
      assert.deepStrictEqual([connectedPeers, knownPeers], [1, 1])
    })
  )

  test(
    "pauses the only peer if it sends nothing but wrong bytes, and goes on when another one joins",
    Effect.fnUntraced(function* (world) {
      const download = yield* world.download(small, { behaviours: [{ corrupts: "every block" }] })
      yield* world.advance("1 minute")
      const alone = yield* download.torrent.status
      yield* download.torrent.addPeers([(yield* world.join(small, {})).address])

      const isComplete = yield* world.until(download.isComplete, "1 minute")

      assert.strictEqual(alone.connectedPeers, 1)
      assert.strictEqual(alone.bannedPeers, 0)
      assert.strictEqual(alone.bottleneck._tag, "PiecesDamaged")
      assert.isAtLeast(alone.rejectedPieces, 2)
      assert.isAtMost(alone.rejectedPieces, 40)
      assert.isTrue(isComplete)
    })
  )

  test(
    "names its bottleneck: nobody known, nobody reached, all choke, the disk, the peer, nothing",
    Effect.fnUntraced(function* (world) {
      const why = (download: Swarms.Download) =>
        Effect.map(download.torrent.status, ({ bottleneck }) => bottleneck._tag)
      const download = yield* world.download(small)
      yield* world.advance("2 seconds")
      const alone = yield* why(download)
      yield* download.torrent.addPeers([{ host: "10.9.9.9", port: 1 }])
      yield* world.advance("5 seconds")
      const unreachable = yield* why(download)
      yield* download.torrent.addPeers([(yield* world.join(small, { unchokes: "never" })).address])
      yield* world.advance("5 seconds")
      const choked = yield* why(download)
      world.faults.failAll("write", FaultyStorage.diskFull)
      yield* download.torrent.addPeers([(yield* world.join(small, { bytesPerSecond: 100_000 })).address])
      yield* world.advance("5 seconds")
      const full = yield* why(download)
      world.faults.recover()
      yield* world.advance("6 seconds")
      const slow = yield* why(download)
      yield* world.until(download.isComplete, "2 minutes")

      assert.deepStrictEqual(
        [alone, unreachable, choked, full, slow, yield* why(download)],
        ["NobodyKnown", "NobodyConnected", "AllChoke", "DiskFull", "PeersSlow", "Nothing"]
      )
    })
  )
})
