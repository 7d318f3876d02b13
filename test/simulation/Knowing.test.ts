import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import type { TorrentChange } from "../../src/torrent/TorrentChange.ts"
import { seed, small } from "./torrents.ts"

const test = <E>(name: string, program: (world: Swarms.World) => Effect.Effect<void, E, Scope.Scope>) =>
  it.effect(name, () => Swarms.use({ seed, engine: { listen: { port: 6_881 } } }, program))

const { layout } = small.metainfo
const { pieceCount, totalLength } = layout.geometry
const everything = { stored: Bitfield.full(pieceCount), resume: undefined }

describe("what a program knows of a torrent", () => {
  test("its changes begin with what is so, whenever they are read, and end with the torrent", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 400_000 }] })
      const early = yield* Effect.forkScoped(Stream.runCollect(download.torrent.changes))
      yield* world.advance("2 seconds")
      const stored = yield* download.torrent.stored
      const late = yield* Effect.forkScoped(Stream.runCollect(download.torrent.changes))
      yield* world.until(download.isComplete, "1 minute")
      world.medium.remove("known/b/c.bin")
      yield* download.torrent.setPriorities(["normal", "normal", "skip"])
      yield* world.advance("5 seconds")
      const left = yield* download.torrent.stored
      yield* download.stop

      const [first, ...rest] = yield* Fiber.join(late)
      const all = yield* Fiber.join(early)
      assert.isAbove(stored.count, 0)
      assert.isBelow(stored.count, pieceCount)
      assert.strictEqual(first?._tag, "Current")
      if (first?._tag === "Current")
        assert.deepStrictEqual([...Bitfield.indices(first.stored)], [...Bitfield.indices(stored)])
      assert.includeMembers(
        rest.map(({ _tag }) => _tag),
        ["Stored", "StateChanged", "Selected"]
      )
      for (const changes of [all, [first!, ...rest]]) {
        const pieces = new Set<number>()
        for (const change of changes) apply(pieces, change)
        assert.sameMembers([...pieces], [...Bitfield.indices(left)])
        const last = changes.at(-1)
        assert.strictEqual(last?._tag === "StateChanged" && last.state._tag, "Stopped")
      }
    }))

  test("its files say how far each of them is", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, {
        files: ["high", "normal", "skip"],
        behaviours: [{}]
      })
      yield* world.until(download.isComplete, "1 minute")

      const [a, empty, c] = yield* download.torrent.files
      const { storedBytes } = yield* download.torrent.status

      assert.deepStrictEqual(a, {
        index: 0,
        path: "known/a.bin",
        length: 500_000,
        storedBytes: 500_000,
        priority: "high",
        isComplete: true
      })
      assert.deepStrictEqual([empty?.storedBytes, empty?.isComplete], [0, true])
      assert.deepStrictEqual([c?.priority, c?.isComplete], ["skip", false])
      assert.strictEqual(c!.storedBytes, storedBytes - 500_000)
    }))

  test("its peers say who they are, what they have, and how fast they are", (world) =>
    Effect.gen(function* () {
      const second = yield* world.beside()
      const giver = yield* world.download(small, {
        from: everything,
        seed: true,
        limits: { uploadBytesPerSecond: 100_000 }
      })
      const taker = yield* second.download(small, { peers: [{ host: world.host, port: 6_881 }] })
      yield* world.advance("8 seconds")

      const [seen, ...others] = yield* taker.torrent.peers
      const [us] = yield* giver.torrent.peers

      assert.deepStrictEqual(others, [])
      assert.deepStrictEqual(seen?.address, { host: world.host, port: 6_881 })
      assert.match(seen!.client, /^piecewise/)
      assert.isFalse(seen!.isEncrypted)
      assert.deepStrictEqual(
        [seen?.isIncoming, seen?.isSeed, seen?.amInterested, seen?.peerChoking, seen?.amChoking, seen?.pieces],
        [false, true, true, false, true, pieceCount]
      )
      assert.deepStrictEqual(
        [us?.isIncoming, us?.isSeed, us?.peerInterested, us?.amChoking],
        [true, false, true, false]
      )
      assert.approximately(seen!.downloadBytesPerSecond, 100_000, 30_000)
      assert.approximately(us!.uploadBytesPerSecond, 100_000, 30_000)
      assert.isAbove(seen!.downloadedBytes, 400_000)
      assert.strictEqual(us!.uploadedBytes, seen!.downloadedBytes)
      yield* taker.stop
      assert.deepStrictEqual(yield* taker.torrent.peers, [])
    }))

  test("its statuses come in intervals, and the last one is that of the end", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { behaviours: [{ bytesPerSecond: 200_000 }] })
      const read = yield* Effect.forkScoped(Stream.runCollect(download.torrent.statuses("1 second")))
      yield* world.advance("5500 millis")
      yield* download.stop

      const statuses = yield* Fiber.join(read)
      assert.strictEqual(statuses.length, 7)
      assert.strictEqual(statuses[0]!.state._tag, "Checking")
      assert.strictEqual(statuses.at(-1)!.state._tag, "Stopped")
      for (const [index, { downloadedBytes }] of statuses.entries())
        assert.isAtLeast(downloadedBytes, statuses[index - 1]?.downloadedBytes ?? 0)
    }))

  test("a refusal of the storage that lasts can be waited for, and one that may pass is none", (world) =>
    Effect.gen(function* () {
      world.faults.failAll("write", FaultyStorage.diskFull)
      const download = yield* world.download(small, { behaviours: [{}] })
      const refused = yield* Effect.forkScoped(download.torrent.refused)
      yield* world.advance("20 seconds")
      const isWaiting = refused.pollUnsafe() === undefined
      world.faults.recover()
      world.faults.failAll("write", FaultyStorage.refused)
      yield* world.advance("20 seconds")
      const { reason } = yield* Fiber.join(refused)
      const stopped = yield* Effect.forkScoped(Effect.flip(download.torrent.refused))
      world.faults.recover()
      yield* world.until(download.isComplete, "1 minute")

      assert.isTrue(isWaiting)
      assert.strictEqual(reason._tag, "StorageRefused")
      assert.isDefined(stopped)
      assert.strictEqual((yield* download.torrent.status).storedBytes, totalLength)
    }))
})

const apply = (pieces: Set<number>, change: TorrentChange): void => {
  switch (change._tag) {
    case "Current":
      pieces.clear()
      for (const piece of Bitfield.indices(change.stored)) pieces.add(piece)
      break
    case "Stored":
      for (const piece of change.pieces) pieces.add(piece)
      break
    case "Lost":
      for (const piece of change.pieces) pieces.delete(piece)
  }
}
