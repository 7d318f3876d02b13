import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import type { PeerId } from "../../src/base/PeerId.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as Callers from "../../src/connect/Callers.ts"
import * as Incoming from "../../src/connect/Incoming.ts"
import * as DiffieHellman from "../../src/connect/mse/DiffieHellman.ts"
import { Dialer } from "../../src/network/Transport.ts"
import * as MemoryNetwork from "../../src/testing/MemoryNetwork.ts"
import type { PeerBehaviour } from "../../src/testing/PeerBehaviour.ts"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import * as Handshake from "../../src/wire/Handshake.ts"
import { other, small } from "../simulation/torrents.ts"

const test = (
  name: string,
  program: (world: Swarms.World) => Effect.Effect<void, unknown, Scope.Scope>,
  options: Swarms.Options = {}
) => it.effect(name, () => Swarms.use({ ...options, engine: { listen: { port: 6_881 }, ...options.engine } }, program))

const ours = { host: MemoryNetwork.defaultHost, port: 6_881 }

/**
 * A peer of `small` on its own host that connects to the engine. Returns whether the engine has closed the connection.
 */
const connect = Effect.fnUntraced(function* (
  world: Swarms.World,
  host: number,
  behaviour: PeerBehaviour = {},
  peerId?: Uint8Array
) {
  const { infoHash, layout } = small.metainfo
  const peer = ScriptedPeer.make({
    infoHash,
    geometry: layout.geometry,
    content: small.content,
    behaviour: { seed: host, ...behaviour },
    peerId
  })
  const { dialer } = world.network.host(`10.1.0.${host}`)
  const fiber = yield* ScriptedPeer.connect(peer, ours).pipe(
    Effect.provideService(Dialer, dialer),
    Effect.ignore,
    Effect.forkScoped
  )
  yield* world.simulation.settle
  return { ...peer, isOver: () => fiber.pollUnsafe() !== undefined }
})

/** Opens a connection and sends `bytes`. */
const knock = Effect.fnUntraced(function* (world: Swarms.World, host: number, bytes: Uint8Array) {
  const connection = yield* world.network.host(`10.1.0.${host}`).dialer.connect(ours)
  const closed = yield* Effect.forkScoped(Effect.ignore(connection.closed), { startImmediately: true })
  let heard = 0
  connection.receiveUnsafe((view) => {
    heard += view.length
    return true
  })
  connection.writeUnsafe(bytes)
  yield* world.simulation.settle
  return { isClosed: () => closed.pollUnsafe() !== undefined, heard: () => heard }
})

const peerId = new Uint8Array(20).fill(9) as PeerId
const handshakeFor = (infoHash: InfoHash) => Handshake.encode({ features: Handshake.noFeatures, infoHash, peerId })

/** A storage whose files take a second to close, as after a write on a slow disk. */
const slowlyClosed: Swarms.Options["storage"] = (storage) => ({
  ...storage,
  open: (layout) =>
    Effect.tap(
      storage.open(layout),
      Effect.addFinalizer(() => Effect.sleep("1 second"))
    )
})

const stalls = { stopsAfter: { blocks: 0, how: "stall" } } as const

describe("Incoming", () => {
  test("downloads everything from a peer that connected", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small)
      yield* world.advance("1 second")
      yield* connect(world, 1)

      const isComplete = yield* world.until(download.isComplete, "1 minute")

      const connected = download.events.flatMap((event) => (event._tag === "PeerConnected" ? [event.address.host] : []))
      assert.isTrue(isComplete)
      assert.deepStrictEqual(connected, ["10.1.0.1"])
    }))

  test("passes on the bytes that came with the handshake", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small)
      yield* world.advance("1 second")
      const { features, infoHash } = { features: Handshake.noFeatures, infoHash: small.metainfo.infoHash }
      const bitfield = Uint8Array.of(0, 0, 0, 4, 5, 0xff, 0xff, 0xff)

      const wrong = Uint8Array.from([...Handshake.encode({ features, infoHash, peerId }), ...bitfield])
      const { isClosed } = yield* knock(world, 1, wrong)
      yield* world.advance("1 second")

      // The frame is decoded, because its spare bits are rejected.
      const why = download.events.flatMap((event) => (event._tag === "PeerDisconnected" ? [event.why] : []))
      assert.deepStrictEqual(why, ["a bitfield of 3 bytes that does not fit the torrent"])
      assert.isTrue(isClosed())
    }))

  describe("closes a connection", () => {
    test("fault 34: for a torrent that does not run, without a reply", (world) =>
      Effect.gen(function* () {
        yield* world.download(small)
        yield* world.advance("1 second")

        const { heard, isClosed } = yield* knock(world, 1, handshakeFor(other.metainfo.infoHash))

        assert.deepStrictEqual([isClosed(), heard()], [true, 0])
      }))

    test(
      "that speaks another protocol, at its first byte, and reports it once, if encryption is off",
      (world) =>
        Effect.gen(function* () {
          const download = yield* world.download(small)
          yield* world.advance("1 second")

          const { heard, isClosed } = yield* knock(world, 1, new TextEncoder().encode("G"))
          yield* knock(world, 1, new TextEncoder().encode("P"))
          yield* world.advance("1 minute")
          const early = download.events.filter((event) => event._tag === "PeersHungUp")
          yield* knock(world, 1, new TextEncoder().encode("G"))
          yield* knock(world, 3, new TextEncoder().encode("G"))
          yield* knock(world, 2, handshakeFor(other.metainfo.infoHash))
          yield* world.advance("1 second")

          const reported = download.events.filter((event) => event._tag === "PeersHungUp")
          assert.deepStrictEqual([isClosed(), heard(), early], [true, 0, []])
          assert.deepStrictEqual(reported, [{ _tag: "PeersHungUp", peers: 1, encryption: "off" }])
        }),
      { engine: { encryption: "off" } }
    )

    test("fault 32: whose handshake takes longer than 10 seconds", (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(small)
        yield* world.advance("1 second")
        const peer = yield* connect(world, 1, { trickle: "200 millis" })
        yield* world.advance("9 seconds")
        const early = peer.isOver()

        yield* world.advance("2 seconds")

        assert.deepStrictEqual([early, peer.isOver(), peer.counters.handshakes], [false, true, 0])
        assert.isFalse(download.events.some(({ _tag }) => _tag === "PeerConnected"))
      }))

    test("fault 32: that is our own, and does not report it", (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(small, { peers: [ours] })

        yield* world.advance("5 minutes")

        const { connections } = yield* world.network.counts
        assert.strictEqual(connections, 0)
        // It is of no use to anybody to know that.
        assert.isFalse(download.events.some(({ _tag }) => _tag.startsWith("Peer")))
      }))

    test("fault 32: of a peer that is connected already", (world) =>
      Effect.gen(function* () {
        yield* world.download(small)
        yield* world.advance("1 second")
        const first = yield* connect(world, 1, stalls, peerId)
        const second = yield* connect(world, 2, stalls, peerId)

        yield* world.advance("1 second")

        assert.deepStrictEqual([first.isOver(), second.isOver()], [false, true])
      }))

    test("fault 41: of a host that sent wrong bytes from three ports", (world) =>
      Effect.gen(function* () {
        // Nobody is banned for a piece that no other peer has.
        yield* world.download(small, { behaviours: [{ unchokes: "never" }] })
        yield* world.advance("1 second")
        for (let turn = 1; turn <= 3; turn++) {
          yield* connect(world, 1, { corrupts: "every block", seed: turn })
          yield* world.advance("5 seconds")
        }

        const peer = yield* connect(world, 1, { seed: 4 })
        const neighbour = yield* connect(world, 2, { seed: 5, pieces: [0] })

        assert.deepStrictEqual([peer.isOver(), peer.counters.handshakes], [true, 0])
        assert.deepStrictEqual([neighbour.isOver(), neighbour.counters.handshakes], [false, 1])
      }))

    test(
      "beyond the limit of the engine, and accepts one again when a place is free",
      (world) =>
        Effect.gen(function* () {
          yield* world.download(small)
          yield* world.advance("1 second")
          const peers = [yield* connect(world, 1, stalls), yield* connect(world, 2, stalls)]
          const late = yield* connect(world, 3, stalls)
          yield* world.network.cut("10.1.0.1")
          yield* world.simulation.settle
          const next = yield* connect(world, 4, stalls)

          assert.deepStrictEqual(
            [...peers, late, next].map((peer) => peer.isOver()),
            [true, false, true, false]
          )
        }),
      { engine: { listen: { port: 6_881 }, maxConnections: 2 } }
    )

    test("once the torrent is complete, unless it seeds", (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(small)
        yield* world.advance("1 second")
        yield* connect(world, 1)
        yield* world.until(download.isComplete, "1 minute")
        const selfish = yield* connect(world, 2, { pieces: [0] })
        const seeding = yield* world.download(other, { seed: true, behaviours: [{}] })
        yield* world.until(seeding.isComplete, "1 minute")
        const taken = yield* knock(world, 3, handshakeFor(other.metainfo.infoHash))

        assert.isTrue(selfish.isOver())
        assert.isFalse(taken.isClosed())
        assert.isAtLeast(taken.heard(), Handshake.length)
      }))
  })

  test("has room for peers however many strangers stay silent", (world) =>
    Effect.gen(function* () {
      yield* world.download(small)
      yield* world.advance("1 second")
      const first = yield* knock(world, 1, new Uint8Array(0))
      for (let stranger = 1; stranger < Incoming.maxStrangers; stranger++) yield* knock(world, 1, new Uint8Array(0))
      const before = first.isClosed()

      const peer = yield* connect(world, 2, stalls)

      assert.deepStrictEqual([before, first.isClosed(), peer.isOver()], [false, true, false])
      assert.strictEqual(peer.counters.handshakes, 1)
    }))

  test("fault 95: has room for peers in a flood of half encrypted handshakes, and ends each within 10 seconds", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small)
      yield* world.advance("1 second")
      const random = Prng.bytesOf(Prng.make(1))
      const strangers: Array<{ readonly isClosed: () => boolean; readonly heard: () => number }> = []
      for (let stranger = 0; stranger < 3 * Incoming.maxStrangers; stranger++) {
        // Part of a key, a key, or a key with padding.
        strangers.push(yield* knock(world, 1, random([50, 96, 300][stranger % 3]!)))
      }
      const open = () => strangers.filter(({ isClosed }) => !isClosed()).length
      const during = open()

      yield* connect(world, 2)
      const isComplete = yield* world.until(download.isComplete, "5 seconds")
      yield* world.advance("10 seconds")

      assert.deepStrictEqual([during, isComplete, open()], [Incoming.maxStrangers, true, 0])
      // The engine answers a whole key with its own, and no half of one.
      const answered = strangers.map(({ heard }) => heard() >= DiffieHellman.keyLength)
      assert.deepStrictEqual(answered.slice(0, 6), [false, true, true, false, true, true])
      assert.isFalse(download.events.some(({ _tag }) => _tag === "PeersHungUp"))
    }))

  test(
    "closes a plain connection if encryption is required, and reports a host that calls again",
    (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(small)
        yield* world.advance("1 second")

        const { heard, isClosed } = yield* knock(world, 1, handshakeFor(small.metainfo.infoHash))
        yield* world.advance("1 minute")
        yield* knock(world, 1, handshakeFor(small.metainfo.infoHash))
        yield* world.advance("1 second")

        const reported = download.events.filter((event) => event._tag === "PeersHungUp")
        assert.deepStrictEqual([isClosed(), heard()], [true, 0])
        assert.deepStrictEqual(reported, [{ _tag: "PeersHungUp", peers: 1, encryption: "require" }])
      }),
    { engine: { encryption: "require" } }
  )

  test("law 12: leaves nothing behind when its torrent stops", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small)
      yield* world.advance("1 second")
      const peers = [yield* connect(world, 1, stalls), yield* connect(world, 2, stalls)]

      yield* download.stop
      yield* world.simulation.settle

      assert.deepStrictEqual(
        peers.map((peer) => peer.isOver()),
        [true, true]
      )
      assert.strictEqual((yield* world.network.counts).connections, 0)
    }))

  test(
    "law 12: a peer that connects while its torrent stops takes no place of the engine",
    (world) =>
      Effect.gen(function* () {
        for (let round = 1; round <= 3; round++) {
          const download = yield* world.download(small)
          yield* world.advance("1 second")
          const stopping = yield* Effect.forkChild(download.stop, { startImmediately: true })
          yield* connect(world, round, stalls)
          yield* Fiber.join(stopping)
        }

        const next = yield* world.download(other)
        yield* world.advance("1 second")
        const { heard } = yield* knock(world, 9, handshakeFor(other.metainfo.infoHash))

        assert.isAtLeast(heard(), Handshake.length)
        assert.isFalse(next.events.some(({ _tag }) => _tag === "Failed"))
      }),
    { engine: { listen: { port: 6_881 }, maxConnections: 2 }, storage: slowlyClosed }
  )

  it.effect("closes the connection of a stranger that is dropped before its fiber has begun", () =>
    Effect.gen(function* () {
      const network = yield* MemoryNetwork.MemoryNetwork
      const { dialer, listener } = network.host("10.0.0.1")
      const listening = yield* listener.listen({ host: "10.0.0.1", port: 1, backlog: 4 * Incoming.maxStrangers })
      const callers = 2 * Incoming.maxStrangers
      yield* Effect.replicateEffect(dialer.connect({ host: "10.0.0.1", port: 1 }), callers)

      yield* Effect.forkScoped(Incoming.run({ listening, find: () => undefined, callers: Callers.make() }))
      for (let turn = 0; turn < 50; turn++) yield* Effect.yieldNow

      // The callers' ends, and our ends of those that may stay.
      assert.strictEqual((yield* network.counts).connections, callers + Incoming.maxStrangers)
    }).pipe(Effect.scoped, Effect.provide(MemoryNetwork.layer()))
  )

  it.effect("law 12: leaves no connection behind when it ends", () =>
    Effect.gen(function* () {
      const network = yield* MemoryNetwork.MemoryNetwork
      const { dialer, listener } = network.host("10.0.0.1")
      const running = yield* Effect.forkChild(
        Effect.scoped(
          Effect.gen(function* () {
            const listening = yield* listener.listen({ host: "10.0.0.1", port: 1 })
            return yield* Incoming.run({ listening, find: () => undefined, callers: Callers.make() })
          })
        ),
        { startImmediately: true }
      )
      yield* dialer.connect({ host: "10.0.0.1", port: 1 })
      for (let turn = 0; turn < 20; turn++) yield* Effect.yieldNow
      const before = (yield* network.counts).connections

      yield* Fiber.interrupt(running)

      assert.strictEqual(before, 2)
      assert.deepInclude(yield* network.counts, { connections: 1, waiting: 0, listening: 0 })
    }).pipe(Effect.scoped, Effect.provide(MemoryNetwork.layer()))
  )
})
