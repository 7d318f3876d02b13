import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as PeerAddress from "../../src/base/PeerAddress.ts"
import type { Policy } from "../../src/connect/Encryption.ts"
import type * as PeerSource from "../../src/discovery/PeerSource.ts"
import * as Magnet from "../../src/metainfo/Magnet.ts"
import { Dialer } from "../../src/network/Transport.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { seed, small } from "./torrents.ts"

const listen = { port: 6_881 }

const addressOf = (world: Swarms.World): PeerAddress.PeerAddress => ({ host: world.host, port: listen.port })

const everything = { stored: Bitfield.full(small.metainfo.layout.geometry.pieceCount), resume: undefined }

/** How a download of an engine with one policy goes from a seed with another one, which it dials. */
const meet = (theirs: Policy | undefined, ours: Policy | undefined, seconds = 30) =>
  Swarms.use({ seed, engine: { listen, encryption: theirs } }, (world) =>
    Effect.gen(function* () {
      const serving = yield* world.download(small, { seed: true, from: everything })
      yield* world.until(serving.isComplete, "10 seconds")
      const second = yield* world.beside({ engine: { listen, encryption: ours } })
      const download = yield* second.download(small, { seed: true, peers: [addressOf(world)] })
      const isMet = () => download.events.some(({ _tag }) => _tag === "PeerConnected")
      yield* world.until(isMet, `${seconds} seconds`)
      const [met] = yield* download.torrent.peers
      const [caller] = yield* serving.torrent.peers
      if (isMet()) yield* world.until(download.isComplete, `${seconds} seconds`)
      const whys = download.events.flatMap((event) => (event._tag === "PeerUnreachable" ? [event.why] : []))
      const { isComplete, isRight } = yield* second.summary(download)
      const { bottleneck } = yield* download.torrent.status
      const hungUp = [serving, download].map(({ events }) =>
        events.flatMap((event) => (event._tag === "PeersHungUp" ? [[event.peers, event.encryption]] : []))
      )
      return {
        isRight: isComplete && isRight,
        ways: [met, caller].map((peer) => peer && [peer.hasEncryptedHandshake, peer.isEncrypted]),
        why: whys[0],
        bottleneck,
        hungUp
      }
    })
  )

/** How an engine dials a peer that has connected to it before, and has left since, and in how many attempts. */
const dialBack = (theirs: Policy) =>
  Swarms.use({ seed, engine: { listen, encryption: theirs } }, (world) =>
    Effect.gen(function* () {
      const { dialer } = world.network.host("10.77.0.1")
      let dials = 0
      const counted = Dialer.of({
        connect: (address) => {
          dials++
          return dialer.connect(address)
        }
      })
      const second = yield* world.beside({ engine: { listen }, dialer: counted })
      const listener = yield* second.download(small)
      const caller = yield* world.download(small, { peers: [addressOf(second)] })
      yield* world.advance("5 seconds")
      const [before] = yield* listener.torrent.peers
      yield* caller.stop
      yield* world.download(small)
      yield* world.advance("1 minute")
      const [after] = yield* listener.torrent.peers
      return { met: [before, after].map((peer) => peer && [peer.isIncoming, peer.hasEncryptedHandshake]), dials }
    })
  )

const encrypted = [true, true]
const plain = [false, false]

describe("two engines", () => {
  it.effect.each([
    ["prefer", "prefer", plain],
    [undefined, undefined, plain],
    ["off", "off", plain],
    ["prefer", "off", plain],
    ["off", "prefer", plain],
    ["require", "require", encrypted],
    ["require", "prefer", encrypted],
    ["prefer", "require", encrypted]
  ] as const)("exchange pieces if the policies are %s and %s", ([theirs, ours, ways]) =>
    Effect.gen(function* () {
      const found = yield* meet(theirs, ours)

      assert.isTrue(found.isRight)
      assert.deepStrictEqual(found.ways, [ways, ways])
      assert.deepStrictEqual(found.hungUp, [[], []])
    })
  )

  it.effect("do not meet if one requires encryption and the other has none, and say why", () =>
    Effect.gen(function* () {
      const off = yield* meet("require", "off", 90)
      const required = yield* meet("off", "require", 90)

      assert.deepStrictEqual([off.isRight, required.isRight], [false, false])
      assert.deepStrictEqual(
        [off.why, required.why],
        [
          "it closed the connection; it may accept only encrypted connections",
          "it closed the connection; it may not encrypt, which is required here"
        ]
      )
      assert.deepStrictEqual(
        [off.bottleneck, required.bottleneck],
        [
          { _tag: "PeersHangUp", peers: 1, encryption: "off" },
          { _tag: "PeersHangUp", peers: 1, encryption: "require" }
        ]
      )
      // The seeds notice the repeated calls, too.
      assert.deepStrictEqual(off.hungUp, [[[1, "require"]], [[1, "off"]]])
      assert.deepStrictEqual(required.hungUp, [[[1, "off"]], [[1, "require"]]])
    })
  )

  it.effect("fetch metadata and pieces over encrypted connections, dialled and accepted", () =>
    Swarms.use({ seed, engine: { listen, encryption: "require" } }, (world) =>
      Effect.gen(function* () {
        yield* world.download(small, { seed: true, from: everything })
        const second = yield* world.beside({ engine: { listen, encryption: "require" } })
        const third = yield* world.beside({ engine: { encryption: "require" } })
        const hex = InfoHash.toHex(small.metainfo.infoHash)
        const link = `magnet:?xt=urn:btih:${hex}&x.pe=${PeerAddress.format(addressOf(world))}`

        const fetching = yield* Effect.forkScoped(second.engine.metadata(Result.getOrThrow(Magnet.parse(link))))
        yield* world.until(() => fetching.pollUnsafe() !== undefined, "1 minute")
        const { metainfo } = yield* Fiber.join(fetching)
        const half = yield* second.download(small, { seed: true, peers: [addressOf(world)] })
        const last = yield* third.download(small, { peers: [addressOf(second)] })
        yield* world.until(() => half.isComplete() && last.isComplete(), "2 minutes")

        assert.deepStrictEqual(metainfo.infoBytes, small.metainfo.infoBytes)
        assert.isTrue((yield* second.summary(half)).isRight)
        assert.isTrue((yield* third.summary(last)).isRight)
      })
    )
  )

  it.effect("dial a peer that called in plain as it says that it prefers", () =>
    Effect.gen(function* () {
      const preferring = yield* dialBack("prefer")
      const without = yield* dialBack("off")

      assert.deepStrictEqual(preferring.met, [
        [true, false],
        [false, true]
      ])
      assert.deepStrictEqual(without.met, [
        [true, false],
        [false, false]
      ])
      assert.deepStrictEqual([preferring.dials, without.dials], [1, 1])
    })
  )

  it.effect("dial a peer whose metadata they fetched as it says that it prefers", () =>
    Swarms.use({ seed, engine: { listen } }, (world) =>
      Effect.gen(function* () {
        const second = yield* world.beside({ engine: { listen } })
        const link = Result.getOrThrow(Magnet.parse(`magnet:?xt=urn:btih:${InfoHash.toHex(small.metainfo.infoHash)}`))
        const fetching = yield* Effect.forkScoped(second.engine.metadata(link))
        yield* world.advance("1 second")
        yield* world.download(small, { seed: true, from: everything, peers: [addressOf(second)] })
        yield* world.until(() => fetching.pollUnsafe() !== undefined, "1 minute")
        const { peers } = yield* Fiber.join(fetching)

        const download = yield* second.download(small, { peers })
        yield* world.until(() => download.events.some(({ _tag }) => _tag === "PeerConnected"), "1 minute")
        const [met] = yield* download.torrent.peers

        assert.deepStrictEqual(peers, [addressOf(world)])
        assert.deepStrictEqual([met?.isIncoming, met?.hasEncryptedHandshake], [false, true])
      })
    )
  )

  it.effect("dial as a source says that the peer prefers, which is told how they encrypt", () =>
    Swarms.use({ seed, engine: { listen, encryption: "prefer" } }, (world) =>
      Effect.gen(function* () {
        yield* world.download(small, { seed: true, from: everything, limits: { uploadBytesPerSecond: 2_000 } })
        const told: Array<PeerSource.PeerSourceContext["encryption"]> = []
        const sourceOf = (isPreferred: boolean, isLocal: boolean): PeerSource.PeerSource => ({
          isLocal,
          peers: ({ encryption }) => {
            told.push(encryption)
            const addresses = [addressOf(world)]
            const preferring = isPreferred && { preferringEncryption: addresses }
            return Stream.make({ _tag: "Peers", source: "a tracker", addresses, ...preferring })
          }
        })
        const link = Result.getOrThrow(Magnet.parse(`magnet:?xt=urn:btih:${InfoHash.toHex(small.metainfo.infoHash)}`))
        const ways: Array<boolean | undefined> = []
        for (const [isPreferred, encryption, first] of [
          [true, "prefer", "torrent"],
          [false, "prefer", "torrent"],
          [true, "off", "torrent"],
          [true, "prefer", "link"],
          [true, "prefer", "stranger"]
        ] as const) {
          const second = yield* world.beside({ engine: { encryption } })
          // A stranger may not name addresses of the local network, so here the user does.
          const sources = [sourceOf(isPreferred, first !== "stranger")]
          if (first === "link") {
            const fetching = yield* Effect.forkScoped(second.engine.metadata(link, { sources }))
            yield* world.until(() => fetching.pollUnsafe() !== undefined, "1 minute")
          }
          const peers = first === "torrent" ? [] : [addressOf(world)]
          const download = yield* second.download(small, first === "link" ? { peers } : { peers, sources })
          yield* world.until(() => download.events.some(({ _tag }) => _tag === "PeerConnected"), "1 minute")
          ways.push((yield* download.torrent.peers)[0]?.hasEncryptedHandshake)
        }

        assert.deepStrictEqual(ways, [true, false, false, true, false])
        assert.deepStrictEqual(told, ["prefer", "prefer", "off", "prefer", "prefer"])
      })
    )
  )

  it.effect("meet with encryption through peer exchange if they prefer it", () =>
    Swarms.use({ seed, engine: { listen } }, (world) =>
      Effect.gen(function* () {
        const second = yield* world.beside({ engine: { listen } })
        const third = yield* world.beside({ engine: { listen } })
        yield* world.download(small)
        yield* second.download(small, { peers: [addressOf(world)] })
        const download = yield* third.download(small, { peers: [addressOf(world)] })

        yield* world.advance("5 minutes")

        const peers = yield* download.torrent.peers
        // Plain with the one whose address was given, encrypted with the one that was heard of.
        const ways = peers.map(({ hasEncryptedHandshake }) => hasEncryptedHandshake)
        assert.deepStrictEqual(ways.sort(), [false, true])
      })
    )
  )

  it.effect("meet through peer exchange although one of them requires encryption", () =>
    Swarms.use({ seed, engine: { listen, encryption: "prefer" } }, (world) =>
      Effect.gen(function* () {
        const limits = { uploadBytesPerSecond: 2_000 }
        yield* world.download(small, { seed: true, from: everything, limits })
        const strict = yield* world.beside({ engine: { listen, encryption: "require" } })
        const third = yield* world.beside({ engine: { listen } })
        yield* strict.download(small, { seed: true, peers: [addressOf(world)], limits })
        const download = yield* third.download(small, { seed: true, peers: [addressOf(world)], limits })

        const address = PeerAddress.format(addressOf(strict))
        const isMet = () =>
          download.events.some(
            (event) => event._tag === "PeerConnected" && PeerAddress.format(event.address) === address
          )
        assert.isTrue(yield* world.until(isMet, "3 minutes"))

        const peers = yield* download.torrent.peers
        const met = peers.find((peer) => PeerAddress.format(peer.address) === address)
        assert.isTrue(met?.isEncrypted)
      })
    )
  )
})
