import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as Descriptors from "../../src/base/Descriptors.ts"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import * as Places from "../../src/connect/Places.ts"
import { ConnectionError, Dialer } from "../../src/network/Transport.ts"
import type { KnownTorrent } from "../../src/testing/KnownTorrent.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import * as WireMessage from "../../src/testing/WireMessage.ts"
import * as Handshake from "../../src/wire/Handshake.ts"
import { make, seed } from "./torrents.ts"

const listen = { port: 6_881 }

const small = (index: number, pieces = 2) =>
  make({
    name: `t${index}`,
    seed: index + 1,
    pieceLength: 16_384,
    files: [{ path: [], length: pieces * 16_384 }]
  })

const torrents = await Promise.all(Array.from({ length: 8 }, (_, index) => small(index)))
const large = await small(20, 1_000)

const everything = ({ metainfo }: KnownTorrent): Swarms.Snapshot => ({
  stored: Bitfield.full(metainfo.layout.geometry.pieceCount),
  resume: undefined
})

const at = (host: string): PeerAddress => ({ host, port: listen.port })

const test = (
  name: string,
  options: Swarms.Options,
  program: (world: Swarms.World) => Effect.Effect<void, unknown, Scope.Scope>
) => it.effect(name, () => Swarms.use({ seed, ...options }, program))

/** Addresses that never answer. */
const dead = (world: Swarms.World, count: number) =>
  Effect.forEach(Array.from({ length: count }), (_, index) => {
    const host = `10.99.${index >>> 8}.${index & 255}`
    return Effect.as(world.network.partition(host), at(host))
  })

/** An engine that has nothing of a torrent, and stays. */
const idler = Effect.fnUntraced(function* (world: Swarms.World, known: KnownTorrent) {
  const other = yield* world.beside({ engine: { listen } })
  yield* other.download(known)
  return at(other.host)
})

const lost = ({ events }: Swarms.Download) =>
  events.flatMap((event) => (event._tag === "PeerDisconnected" ? [event] : []))

describe("fault 72: while places are short", () => {
  test("a peer of no use leaves for a seed, at the limit of the engine", { engine: { maxConnections: 3 } }, (world) =>
    Effect.gen(function* () {
      const peers = yield* Effect.forEach([1, 2, 3], () => idler(world, torrents[0]!))
      const download = yield* world.download(torrents[0]!, { peers })
      yield* world.advance("10 seconds")
      const giver = yield* world.join(torrents[0]!, {})

      yield* download.torrent.addPeers([giver.address])

      assert.isTrue(yield* world.until(download.isComplete, "5 minutes"))
    })
  )

  test("and does not return at once", { engine: { maxConnections: 1 } }, (world) =>
    Effect.gen(function* () {
      const peers = [yield* idler(world, torrents[0]!), yield* idler(world, torrents[0]!)]
      const download = yield* world.download(torrents[0]!, { peers })

      yield* world.advance("30 minutes")

      const connected = download.events.filter(({ _tag }) => _tag === "PeerConnected").length
      assert.isAtLeast(connected, 5)
      assert.isAtMost(connected, 16)
    })
  )

  test("dead addresses of one torrent cost another no connection", { engine: { maxConnections: 20 } }, (world) =>
    Effect.gen(function* () {
      const slow = { bytesPerSecond: 2_000 }
      const healthy = yield* world.download(large, { behaviours: Array.from({ length: 18 }, () => slow) })
      yield* world.advance("1 minute")
      const before = (yield* healthy.torrent.status).connectedPeers

      yield* world.download(torrents[1]!, { peers: yield* dead(world, 200) })
      yield* world.advance("5 minutes")

      const after = (yield* healthy.torrent.status).connectedPeers
      const displaced = lost(healthy).filter(({ why }) => why === "another torrent needs its place")
      assert.deepStrictEqual([before, displaced], [18, []])
      assert.isAtLeast(after, 16)
    })
  )

  test(
    "peers that connect to us are served, however many dials hang",
    { engine: { listen, maxConnections: 10 } },
    (world) =>
      Effect.gen(function* () {
        const seeds = yield* Effect.forEach(torrents.slice(0, 4), (known) =>
          world.download(known, { seed: true, from: everything(known) })
        )
        const addresses = yield* dead(world, 80)
        for (const [index, { torrent }] of seeds.entries()) {
          yield* torrent.addPeers(addresses.slice(20 * index, 20 * index + 20))
        }
        yield* world.advance("5 seconds")
        const taker = yield* world.beside()

        const takers = yield* Effect.forEach(torrents.slice(0, 4), (known) =>
          taker.download(known, { peers: [at(world.host)] })
        )

        assert.isTrue(yield* world.until(() => takers.every(({ isComplete }) => isComplete()), "10 seconds"))
      })
  )

  test(
    "a torrent whose peers connect to us gets its share of them",
    { engine: { listen, maxConnections: 4, limits: { uploadBytesPerSecond: 20_000 } } },
    (world) =>
      Effect.gen(function* () {
        yield* world.download(large, { seed: true, from: everything(large) })
        yield* world.download(torrents[0]!, { seed: true, from: everything(torrents[0]!) })
        for (let taker = 0; taker < 6; taker++) {
          yield* (yield* world.beside()).download(large, { peers: [at(world.host)] })
        }
        yield* world.advance("30 seconds")

        const taker = yield* (yield* world.beside()).download(torrents[0]!, { peers: [at(world.host)] })

        assert.isTrue(yield* world.until(taker.isComplete, "5 minutes"))
      })
  )

  test("a host with many connections leaves a seed to others", { engine: { listen, maxConnections: 12 } }, (world) =>
    Effect.gen(function* () {
      const { infoHash } = torrents[0]!.metainfo
      const giver = yield* world.download(torrents[0]!, { seed: true, from: everything(torrents[0]!) })
      yield* world.advance("1 second")
      const { dialer } = world.network.host("10.66.66.66")
      for (let index = 0; index < 15; index++) {
        const connection = yield* dialer.connect(at(world.host))
        connection.receiveUnsafe(() => true)
        const peerId = new Uint8Array(20).fill(index)
        connection.writeUnsafe(Handshake.encode({ features: Handshake.noFeatures, infoHash, peerId }))
        connection.writeUnsafe(WireMessage.encodeAll([{ _tag: "Interested" }]))
      }
      yield* world.advance("1 second")
      const before = (yield* giver.torrent.status).connectedPeers

      const takers = yield* Effect.forEach([1, 2, 3], () =>
        Effect.flatMap(world.beside(), (taker) => taker.download(torrents[0]!, { peers: [at(world.host)] }))
      )

      assert.strictEqual(before, 12)
      assert.isTrue(yield* world.until(() => takers.every(({ isComplete }) => isComplete()), "1 minute"))
    })
  )

  test("every torrent gets one in turn if there are fewer", { engine: { maxConnections: 2 } }, (world) =>
    Effect.gen(function* () {
      const other = yield* world.beside({ engine: { listen } })
      const downloads = yield* Effect.forEach(torrents, (known, index) =>
        Effect.gen(function* () {
          // Those of even numbers have only peers that have nothing and stay.
          if (index % 2 === 1) return yield* world.download(known, { behaviours: [{}] })
          yield* other.download(known)
          return yield* world.download(known, { peers: [at(other.host)] })
        })
      )
      const odd = downloads.filter((_, index) => index % 2 === 1)

      const isDone = yield* world.until(
        () => odd.every(({ isComplete }) => isComplete()),
        2 * torrents.length * Places.turn
      )

      assert.isTrue(isDone)
      assert.isTrue(downloads.every(({ events }) => events.some(({ _tag }) => _tag === "PeerConnected")))
    })
  )

  test(
    "seeds that are all busy for ever take turns",
    { engine: { maxConnections: 2, limits: { downloadBytesPerSecond: 3_000 } } },
    (world) =>
      Effect.gen(function* () {
        const known = yield* Effect.promise(() => Promise.all([30, 31, 32].map((index) => small(index, 400))))
        const downloads = yield* Effect.forEach(known, (one) => world.download(one, { behaviours: [{}] }))

        yield* world.advance(2 * known.length * Places.turn)

        const stored = yield* Effect.forEach(downloads, ({ torrent }) =>
          Effect.map(torrent.status, ({ storedPieces }) => storedPieces)
        )
        assert.isTrue(
          stored.every((pieces) => pieces > 0),
          stored.join(" ")
        )
      })
  )
})

describe("fault 56: when descriptors are short", () => {
  /** Gives one descriptor up. */
  const giveUp = Effect.gen(function* () {
    const { connections } = yield* Descriptors.Descriptors
    for (const holder of [...connections]) if (yield* holder) return true
    return false
  })

  test("a file has the connection that is of least use, but not the last one", {}, (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(large, {
        behaviours: [{ pieces: [] }, { bytesPerSecond: 2_000 }, { bytesPerSecond: 2_000 }]
      })
      const [useless] = download.peers
      yield* world.advance("1 minute")

      const isGiven = [yield* giveUp]
      yield* world.advance("1 second")
      const first = lost(download).map(({ address, why }) => [address, why])
      isGiven.push(yield* giveUp, yield* giveUp)
      yield* world.advance("1 second")

      assert.deepStrictEqual(isGiven, [true, true, false])
      assert.deepStrictEqual(first, [[useless!.address, "this process has too many open files"]])
      assert.strictEqual((yield* download.torrent.status).connectedPeers, 1)
    })
  )

  test("and a connection cannot be accepted, nobody is dialled for a while", {}, (world) =>
    Effect.gen(function* () {
      let dials = 0
      const { dialer } = world.network.host("10.77.0.1")
      const counted = Dialer.of({
        connect: (address) => {
          dials++
          return dialer.connect(address)
        }
      })
      const other = yield* world.beside({ dialer: counted })
      const download = yield* other.download(large, { behaviours: [{ bytesPerSecond: 2_000 }] })
      yield* world.advance("1 minute")
      dials = 0

      yield* Descriptors.acceptFailed
      yield* download.torrent.addPeers(yield* dead(world, 20))
      yield* world.advance("9 seconds")
      const early = dials
      yield* world.advance("1 minute")

      assert.strictEqual(early, 0)
      assert.isAbove(dials, 20)
    })
  )

  test("a peer that could not be dialled is not blamed, and is dialled again", {}, (world) =>
    Effect.gen(function* () {
      const taken = { dials: 0 }
      const { dialer } = world.network.host("10.77.0.1")
      const short = Dialer.of({
        connect: (address) =>
          taken.dials++ < 3
            ? Effect.fail(new ConnectionError({ address, why: "too many open files", code: "EMFILE" }))
            : dialer.connect(address)
      })
      const other = yield* world.beside({ dialer: short })
      const download = yield* other.download(torrents[0]!, { behaviours: [{}] })

      const isDone = yield* world.until(download.isComplete, "1 minute")

      assert.isTrue(isDone)
      assert.isFalse(download.events.some(({ _tag }) => _tag === "PeerUnreachable"))
    })
  )
})

describe("fault 73: a torrent that knows more addresses than it remembers", () => {
  test("still takes a new seed, and a peer that connects", { engine: { listen } }, (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(torrents[0]!, { peers: yield* dead(world, 3_000) })
      yield* world.advance("1 minute")

      const giver = yield* world.beside()
      yield* giver.download(torrents[0]!, { from: everything(torrents[0]!), seed: true, peers: [at(world.host)] })

      assert.isTrue(yield* world.until(download.isComplete, "1 minute"))
    })
  )
})
