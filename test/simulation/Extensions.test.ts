import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as PeerAddress from "../../src/base/PeerAddress.ts"
import * as WebCryptoPieceHasher from "../../src/hash/provider/WebCryptoPieceHasher.ts"
import * as Magnet from "../../src/metainfo/Magnet.ts"
import * as AllowedFast from "../../src/peer/AllowedFast.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { seed, small } from "./torrents.ts"

const listen = { port: 6_881 }

const known = (options: KnownTorrent.Options) => Effect.provide(KnownTorrent.make(options), WebCryptoPieceHasher.layer)

const addressOf = (world: Swarms.World): PeerAddress.PeerAddress => ({ host: world.host, port: listen.port })

const connected = ({ torrent }: Swarms.Download) => Effect.map(torrent.status, ({ connectedPeers }) => connectedPeers)

/** Three engines in a row, each of which knows only the next. None of them has any piece. */
const row = Effect.fnUntraced(function* (first: Swarms.World, torrent: KnownTorrent.KnownTorrent) {
  const worlds = [first, yield* first.beside({ engine: { listen } }), yield* first.beside({ engine: { listen } })]
  const downloads = yield* Effect.forEach(worlds, (world, index) =>
    world.download(torrent, { peers: worlds.slice(index + 1, index + 2).map(addressOf) })
  )
  return { worlds, downloads }
})

const test = (name: string, program: (world: Swarms.World) => Effect.Effect<void, unknown, Scope.Scope>) =>
  it.effect(name, () => Swarms.use({ seed, engine: { listen } }, program))

describe("extensions between our engines", () => {
  test("two engines that do not know each other meet through a third", (world) =>
    Effect.gen(function* () {
      const { downloads } = yield* row(world, small)

      yield* world.advance("5 minutes")

      assert.deepStrictEqual(yield* Effect.forEach(downloads, connected), [2, 2, 2])
      // Each knows where the peers listen that connected to it, and does not dial them again.
      const tags = downloads.flatMap(({ events }) => events.map(({ _tag }) => _tag))
      assert.notInclude(tags, "PeerUnreachable")
      assert.notInclude(tags, "PeerDisconnected")
    }))

  test("fault 38: the engines of a private torrent do not meet through a third", (world) =>
    Effect.gen(function* () {
      const files = [{ path: [], length: 100_000 }]
      const { downloads } = yield* row(world, yield* known({ pieceLength: 65_536, isPrivate: true, files }))

      yield* world.advance("5 minutes")

      assert.deepStrictEqual(yield* Effect.forEach(downloads, connected), [1, 2, 1])
    }))

  test("an engine dials a peer that connected to it before, at the port where it says that it listens", (world) =>
    Effect.gen(function* () {
      const second = yield* world.beside({ engine: { listen } })
      const listener = yield* second.download(small)
      const dialler = yield* world.download(small, { peers: [addressOf(second)] })
      yield* world.advance("5 seconds")
      const before = listener.events.flatMap((event) => (event._tag === "PeerConnected" ? [event.address.port] : []))
      yield* dialler.stop
      yield* world.download(small)

      yield* world.advance("1 minute")

      const after = listener.events.flatMap((event) => (event._tag === "PeerConnected" ? [event.address] : []))
      assert.notDeepEqual(before, [listen.port])
      assert.deepStrictEqual(after.slice(1), [addressOf(world)])
    }))

  test("an engine that chokes all peers serves each the pieces of its allowed fast set", (world) =>
    Effect.gen(function* () {
      const second = yield* world.beside()
      const stored = Bitfield.full(small.metainfo.layout.geometry.pieceCount)
      yield* world.download(small, { seed: true, uploadSlots: 0, from: { stored, resume: undefined } })
      const { torrent } = yield* second.download(small, { peers: [addressOf(world)] })

      yield* world.advance("1 minute")

      const { storedPieces, wastedBytes } = yield* torrent.status
      assert.deepStrictEqual([storedPieces, wastedBytes], [AllowedFast.defaultSize, 0])
    }))

  test("an engine that has lost all its pieces withdraws them, and no peer is interested in it any more", (world) =>
    Effect.gen(function* () {
      const second = yield* world.beside()
      const stored = Bitfield.full(small.metainfo.layout.geometry.pieceCount)
      world.faults.failAll("read", FaultyStorage.notStored)
      const giver = yield* world.download(small, { seed: true, from: { stored, resume: undefined } })
      yield* second.download(small, { peers: [addressOf(world)] })

      yield* world.advance("1 minute")

      const { connectedPeers, unchokedPeers, unreadablePieces } = yield* giver.torrent.status
      assert.deepStrictEqual([connectedPeers, unchokedPeers, unreadablePieces], [1, 0, stored.count])
    }))

  test("an engine sends the info dict of a magnet link to another", (world) =>
    Effect.gen(function* () {
      const second = yield* world.beside()
      // Its info dict takes ten messages, more than are queued for a peer at once.
      const files = [{ path: [], length: 8_000 * 1_024 }]
      const torrent = yield* known({ pieceLength: 1_024, files })
      const { metainfo } = torrent
      yield* world.download(torrent)
      const link = `magnet:?xt=urn:btih:${InfoHash.toHex(metainfo.infoHash)}&x.pe=${PeerAddress.format(addressOf(world))}`

      const fiber = yield* Effect.forkScoped(second.engine.metadata(Result.getOrThrow(Magnet.parse(link))))
      yield* world.advance("900 millis")
      const exit = fiber.pollUnsafe()

      assert.isTrue(exit !== undefined && Exit.isSuccess(exit))
      assert.deepStrictEqual((yield* Fiber.join(fiber)).metainfo.infoBytes, metainfo.infoBytes)
    }))

  test("a magnet link without any source waits for a peer that connects, and returns where that one listens", (world) =>
    Effect.gen(function* () {
      const second = yield* world.beside({ engine: { listen } })
      const link = Result.getOrThrow(Magnet.parse(`magnet:?xt=urn:btih:${InfoHash.toHex(small.metainfo.infoHash)}`))

      const fiber = yield* Effect.forkScoped(second.engine.metadata(link))
      yield* world.advance("1 minute")
      const isWaiting = fiber.pollUnsafe() === undefined
      yield* world.download(small, { peers: [addressOf(second)] })
      yield* world.advance("10 seconds")
      const { metainfo, peers } = yield* Fiber.join(fiber)

      assert.isTrue(isWaiting)
      assert.deepStrictEqual(metainfo.infoHash, small.metainfo.infoHash)
      assert.deepStrictEqual(peers, [addressOf(world)])
    }))
})
