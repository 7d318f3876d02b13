import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as InfoHash from "../../src/base/InfoHash.ts"
import type * as PeerAddress from "../../src/base/PeerAddress.ts"
import type { PeerSource } from "../../src/discovery/PeerSource.ts"
import * as Magnet from "../../src/metainfo/Magnet.ts"
import { Dialer } from "../../src/network/Transport.ts"
import * as PeerPolicy from "../../src/swarm/PeerPolicy.ts"
import type { KnownTorrent } from "../../src/testing/KnownTorrent.ts"
import * as MemoryNetwork from "../../src/testing/MemoryNetwork.ts"
import type { PeerBehaviour } from "../../src/testing/PeerBehaviour.ts"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import * as MetadataPeer from "../torrent/metadataPeer.ts"
import { make, seed, small } from "./torrents.ts"

const listen = { port: 6_881 }

const large = await make({ name: "large", seed: 3, pieceLength: 16_384, files: [{ path: [], length: 400 * 16_384 }] })

const everything = ({ metainfo }: KnownTorrent): Swarms.Snapshot => ({
  stored: Bitfield.full(metainfo.layout.geometry.pieceCount),
  resume: undefined
})

const at = (host: string): PeerAddress.PeerAddress => ({ host, port: listen.port })

/** A world whose first engine has a policy. */
const test = (
  name: string,
  policy: Partial<PeerPolicy.PeerPolicy>,
  program: (world: Swarms.World) => Effect.Effect<void, unknown, Scope.Scope>,
  options: Swarms.Options = {}
) =>
  it.effect(name, () =>
    Swarms.use({ seed, ...options, engine: { listen, ...options.engine } }, program).pipe(
      Effect.provideService(PeerPolicy.PeerPolicy, { ...PeerPolicy.standard, ...policy })
    )
  )

/** Another engine, which has the standard policy. */
const beside = (world: Swarms.World, options?: Swarms.NeighbourOptions) =>
  world
    .beside({ ...options, engine: { listen, ...options?.engine } })
    .pipe(Effect.provideService(PeerPolicy.PeerPolicy, PeerPolicy.standard))

const peerOf = (known: KnownTorrent, behaviour: PeerBehaviour, id: string) => ({
  infoHash: known.metainfo.infoHash,
  geometry: known.metainfo.layout.geometry,
  content: known.content,
  behaviour,
  peerId: new TextEncoder().encode(id.padEnd(20, "x").slice(0, 20))
})

/** A scripted peer that listens at a host. */
const serveAt = (world: Swarms.World, host: string, known: KnownTorrent, behaviour: PeerBehaviour = {}, id = host) =>
  ScriptedPeer.serve({ ...peerOf(known, behaviour, id), listen: at(host) }).pipe(
    Effect.provide(MemoryNetwork.host(host)),
    Effect.provideService(MemoryNetwork.MemoryNetwork, world.network),
    Effect.orDie
  )

/** A scripted peer that connects to the engine from a host. */
const callFrom = Effect.fnUntraced(function* (
  world: Swarms.World,
  host: string,
  known: KnownTorrent,
  behaviour: PeerBehaviour = {},
  id = host
) {
  const peer = ScriptedPeer.make(peerOf(known, behaviour, id))
  const fiber = yield* ScriptedPeer.connect(peer, at(world.host)).pipe(
    Effect.provideService(Dialer, world.network.host(host).dialer),
    Effect.ignore,
    Effect.forkScoped
  )
  yield* world.simulation.settle
  return { ...peer, isOver: () => fiber.pollUnsafe() !== undefined }
})

/** A source that finds these addresses. */
const tracker = (...hosts: ReadonlyArray<string>): PeerSource => ({
  peers: () =>
    Stream.make({ _tag: "Peers" as const, source: "http://tracker.example/announce", addresses: hosts.map(at) })
})

/** A magnet link that names peers. */
const linkTo = ({ metainfo }: KnownTorrent, ...hosts: ReadonlyArray<string>): Magnet.Magnet => {
  const link = Result.getOrThrow(Magnet.parse(`magnet:?xt=urn:btih:${InfoHash.toHex(metainfo.infoHash)}`))
  return { ...link, peers: hosts.map(at) }
}

const hostsOf = <T extends string>({ events }: Swarms.Download, tag: T) =>
  events.flatMap((event) => (event._tag === tag && "address" in event ? [event.address!.host] : []))

const whysOf = ({ events }: Swarms.Download) =>
  events.flatMap((event) => (event._tag === "PeerDisconnected" ? [event.why] : []))

describe("a policy that prefers the local network", () => {
  const strangers = Array.from({ length: 8 }, (_, index) => `198.51.100.${index + 1}`)
  const around = ["192.168.1.5", "fd12::5"]

  test("dials it first", PeerPolicy.lanFirst, (world) =>
    Effect.gen(function* () {
      const hosts = [...strangers, ...around]

      const download = yield* world.download(small, { maxConnections: 1, peers: hosts.map(at) })
      yield* world.advance("0 seconds")

      const dialled = hostsOf(download, "PeerUnreachable")
      assert.sameMembers(dialled.slice(0, 2), around)
      assert.sameMembers(dialled, hosts)
    })
  )

  test("gives a place that is short to it, and to nobody in return", PeerPolicy.lanFirst, (world) =>
    Effect.gen(function* () {
      const slow = { bytesPerSecond: 8_000 }
      for (const host of strangers) yield* serveAt(world, host, large, slow)
      const download = yield* world.download(large, { maxConnections: 3, peers: strangers.map(at) })
      yield* world.advance("10 seconds")
      const before = hostsOf(download, "PeerConnected").length
      for (const host of around) yield* serveAt(world, host, large, slow)

      yield* download.torrent.addPeers(around.map(at))
      yield* world.advance("1 minute")

      const displaced = whysOf(download).filter((why) => why === "another peer is preferred to it").length
      const left = hostsOf(download, "PeerDisconnected")
      assert.deepStrictEqual([before, displaced, (yield* download.torrent.status).connectedPeers], [3, 2, 3])
      assert.includeMembers(hostsOf(download, "PeerConnected"), around)
      for (const host of around) assert.notInclude(left, host)
    })
  )

  test("dials nobody more while its places are full of equals", {}, (world) =>
    Effect.gen(function* () {
      const slow = { bytesPerSecond: 8_000 }
      for (const host of [...strangers, ...around]) yield* serveAt(world, host, large, slow)
      const download = yield* world.download(large, { maxConnections: 3, peers: strangers.map(at) })
      yield* world.advance("10 seconds")

      yield* download.torrent.addPeers(around.map(at))
      yield* world.advance("20 seconds")

      assert.deepStrictEqual([hostsOf(download, "PeerConnected").length, whysOf(download)], [3, []])
    })
  )
})

describe("a policy that denies a subnet", () => {
  const denied = "203.0.113.9"
  const policy = PeerPolicy.subnets({ deny: ["203.0.113.0/24"] })

  test("dials nobody in it, whoever names the address", policy, (world) =>
    Effect.gen(function* () {
      const peer = yield* serveAt(world, denied, small)
      const neighbour = yield* beside(world)
      // The neighbour is connected to a denied peer, and tells us of it (BEP 11).
      const giver = yield* serveAt(world, "203.0.113.8", large, { bytesPerSecond: 8_000 })
      yield* neighbour.download(large, { peers: [giver.address] })

      const download = yield* world.download(small, { peers: [at(denied)], sources: [tracker(denied)] })
      yield* download.torrent.addPeers([at(denied), { host: "::ffff:203.0.113.9", port: listen.port }])
      const told = yield* world.download(large, { peers: [at(neighbour.host)] })
      yield* world.advance("2 minutes")

      assert.deepStrictEqual([peer.counters.connections, giver.counters.connections], [0, 1])
      assert.strictEqual((yield* told.torrent.status).connectedPeers, 1)
      assert.deepStrictEqual((yield* download.torrent.status).knownPeers, 0)
    })
  )

  test("learns of the same peer by peer exchange without the policy", {}, (world) =>
    Effect.gen(function* () {
      const neighbour = yield* beside(world)
      const giver = yield* serveAt(world, denied, large, { bytesPerSecond: 8_000 })
      yield* neighbour.download(large, { peers: [giver.address] })

      yield* world.download(large, { peers: [at(neighbour.host)] })
      yield* world.advance("2 minutes")

      assert.strictEqual(giver.counters.connections, 2)
    })
  )

  test("closes connections from it before a byte is read or sent", policy, (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, { seed: true, from: everything(small) })
      yield* world.advance("1 second")
      const connection = yield* world.network.host(denied).dialer.connect(at(world.host))
      const closed = yield* Effect.forkScoped(Effect.ignore(connection.closed), { startImmediately: true })
      let heard = 0
      connection.receiveUnsafe((view) => {
        heard += view.length
        return true
      })
      yield* world.simulation.settle

      const other = yield* callFrom(world, "198.51.100.1", small)

      assert.isDefined(closed.pollUnsafe())
      assert.deepStrictEqual([heard, other.isOver()], [0, false])
      assert.deepStrictEqual(hostsOf(download, "PeerConnected"), ["198.51.100.1"])
    })
  )

  test("fetches metadata from nobody in it", policy, (world) =>
    Effect.gen(function* () {
      const { infoBytes: info, infoHash } = small.metainfo
      const [bad, good] = yield* Effect.forEach([denied, "198.51.100.1"], (host) =>
        MetadataPeer.serve({ host, infoHash, info, manner: "honest" }).pipe(
          Effect.provide(MemoryNetwork.host(host)),
          Effect.provideService(MemoryNetwork.MemoryNetwork, world.network)
        )
      )
      const link = linkTo(small, denied)
      const fetching = yield* Effect.forkScoped(world.engine.metadata(link, { sources: [tracker(denied)] }))
      yield* world.advance("1 minute")
      const before = fetching.pollUnsafe()

      const found = yield* world.engine.metadata({ ...link, peers: [bad!.address, good!.address] })

      assert.isUndefined(before)
      assert.deepStrictEqual(found.metainfo.infoHash, infoHash)
      assert.deepStrictEqual([bad!.counters.connections, good!.counters.connections], [0, 1])
      yield* Fiber.interrupt(fetching)
    })
  )
})

describe("a policy that denies a client", () => {
  const policy = PeerPolicy.clients({ deny: ["-XL"] })

  test("closes a connection to it right after the handshake, and does not dial it again for a while", policy, (world) =>
    Effect.gen(function* () {
      const peer = yield* serveAt(world, "198.51.100.1", small, {}, "-XL0012-")
      const download = yield* world.download(small, { peers: [peer.address] })

      yield* world.advance("40 minutes")
      const early = { ...peer.counters }
      yield* world.advance("40 minutes")

      assert.deepStrictEqual([early.connections, early.openConnections, early.requests], [1, 0, 0])
      assert.strictEqual(peer.counters.connections, 2)
      assert.deepStrictEqual(hostsOf(download, "PeerConnected"), [])
      assert.deepStrictEqual(hostsOf(download, "PeerUnreachable"), ["198.51.100.1", "198.51.100.1"])
    })
  )

  test("sends it no handshake if it connects to us, and downloads from others", policy, (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small)
      yield* world.advance("1 second")

      const denied = yield* callFrom(world, "198.51.100.1", small, {}, "-XL0012-")
      const other = yield* callFrom(world, "198.51.100.2", small, {}, "-qB4650-")

      assert.isTrue(yield* world.until(download.isComplete, "1 minute"))
      assert.deepStrictEqual([denied.isOver(), denied.counters.requests], [true, 0])
      assert.isAbove(other.counters.requests, 0)
      assert.deepStrictEqual(hostsOf(download, "PeerConnected"), ["198.51.100.2"])
    })
  )

  const known: Array<string> = []
  test(
    "by the name that it gives itself, as soon as it has",
    { admits: ({ client }) => client === undefined || known.push(client) === 0 },
    (world) =>
      Effect.gen(function* () {
        known.splice(0)
        const neighbour = yield* beside(world, { engine: { limits: { uploadBytesPerSecond: 1_000 } } })
        yield* neighbour.download(small, { seed: true, from: everything(small) })
        const download = yield* world.download(small, { peers: [at(neighbour.host)] })

        yield* world.advance("40 minutes")

        assert.deepStrictEqual(known, ["piecewise/0.1.0"])
        assert.deepStrictEqual(whysOf(download), ["the peer policy does not admit it"])
      })
  )

  test(
    "by that name, and then does not dial it where it listens either",
    { admits: ({ client }) => client === undefined },
    (world) =>
      Effect.gen(function* () {
        const neighbour = yield* beside(world)
        yield* neighbour.download(small, { peers: [at(world.host)] })
        const download = yield* world.download(small)
        yield* world.advance("10 seconds")

        yield* download.torrent.addPeers([at(neighbour.host)])
        yield* world.advance("30 minutes")

        const ports = download.events.flatMap((event) =>
          event._tag === "PeerDisconnected" ? [event.address.port] : []
        )
        assert.isAbove(ports.length, 0)
        assert.notInclude(ports, listen.port)
      })
  )

  test("by that name also while metadata is fetched", { admits: ({ client }) => client === undefined }, (world) =>
    Effect.gen(function* () {
      const neighbour = yield* beside(world)
      yield* neighbour.download(small, { seed: true, from: everything(small) })
      const link = linkTo(small, neighbour.host)

      const fetching = yield* Effect.forkScoped(world.engine.metadata(link))
      yield* world.advance("10 minutes")

      assert.isUndefined(fetching.pollUnsafe())
      yield* Fiber.interrupt(fetching)
    })
  )
})

describe("a policy that chokes by itself", () => {
  const favourite = "10.128.0.2"
  const rounds: Array<number> = []
  const policy: Partial<PeerPolicy.PeerPolicy> = {
    choker:
      () =>
      (peers, { slots }) => {
        rounds.push(slots)
        return peers.filter(({ address, peerInterested }) => address.host === favourite && peerInterested)
      }
  }

  test("uploads to the peers that it names alone", policy, (world) =>
    Effect.gen(function* () {
      rounds.splice(0)
      yield* world.download(large, { seed: true, from: everything(large), uploadSlots: 2 })
      const [other, chosen] = [yield* beside(world), yield* beside(world)]
      const waiting = yield* other.download(large, { peers: [at(world.host)] })

      const served = yield* chosen.download(large, { peers: [at(world.host)] })
      const isServed = yield* world.until(served.isComplete, "2 minutes")

      assert.strictEqual(chosen.host, favourite)
      assert.isTrue(isServed)
      // A peer may request ten pieces although it is choked (BEP 6).
      const { pieceLength } = large.metainfo.layout.geometry
      assert.isAtMost((yield* waiting.torrent.status).downloadedBytes, 10 * pieceLength)
      assert.deepStrictEqual(new Set(rounds), new Set([2]))
    })
  )

  test("has no more slots than there are, whatever it returns", { choker: () => (peers) => peers }, (world) =>
    Effect.gen(function* () {
      const seeding = yield* world.download(large, {
        seed: true,
        from: everything(large),
        uploadSlots: 1,
        limits: { uploadBytesPerSecond: 10_000 }
      })
      for (let taker = 0; taker < 3; taker++) {
        yield* (yield* beside(world)).download(large, { peers: [at(world.host)] })
      }

      // The laws of every swarm are inspected as time passes, and the slots are one of them.
      yield* world.advance("20 seconds")

      const { connectedPeers, unchokedPeers } = yield* seeding.torrent.status
      assert.deepStrictEqual([connectedPeers, unchokedPeers], [3, 1])
    })
  )
})

describe("a policy that bans", () => {
  const broken: PeerBehaviour = { announces: "long bitfield" }
  const offences: Array<PeerPolicy.Offence> = []
  const policy: Partial<PeerPolicy.PeerPolicy> = {
    ban: (offence) => {
      offences.push(offence)
      return offence.what === "protocol error" ? "20 minutes" : undefined
    }
  }

  test("does not connect to the address while the ban lasts, and does afterwards", policy, (world) =>
    Effect.gen(function* () {
      offences.splice(0)
      const peer = yield* serveAt(world, "198.51.100.1", small, broken, "-BR0001-")
      const download = yield* world.download(small, { sources: [tracker("198.51.100.1")] })

      yield* world.advance("19 minutes")
      const { bannedPeers } = yield* download.torrent.status
      const early = peer.counters.connections
      yield* world.advance("2 minutes")

      const [first] = offences
      assert.deepStrictEqual([early, bannedPeers, peer.counters.connections], [1, 1, 2])
      assert.deepStrictEqual([first!.what, first!.bans, first!.isProven], ["protocol error", 0, false])
      const source = "http://tracker.example/announce"
      assert.deepStrictEqual(first!.candidate.origin, { _tag: "Source", source, reach: "public" })
      assert.match(first!.why, /^a bitfield of/)
      assert.strictEqual(offences[1]!.bans, 1)
    })
  )

  test("tells a flood from an error", policy, (world) =>
    Effect.gen(function* () {
      offences.splice(0)
      const download = yield* world.download(small, { seed: true, from: everything(small) })
      yield* world.advance("1 second")

      yield* callFrom(world, "198.51.100.1", small, { floods: 5_000 })

      assert.deepStrictEqual(
        offences.map(({ what, why }) => [what, why]),
        [["flood", "requests without end"]]
      )
      assert.deepStrictEqual(hostsOf(download, "PeerBanned"), [])
    })
  )

  test("for no lie bans for a lie all the same, so that the liar leaves", { ban: () => undefined }, (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(small, {
        behaviours: [{ corrupts: "every block", bytesPerSecond: 400_000 }, { bytesPerSecond: 50_000 }]
      })

      assert.isTrue(yield* world.until(download.isComplete, "10 minutes"))
      const summary = yield* world.summary(download)

      assert.isTrue(summary.isRight)
      assert.strictEqual(hostsOf(download, "PeerBanned")[0], "10.0.0.0")
    })
  )
})

describe("a policy that throws", () => {
  const bug = new Error("a bug in the policy")
  const throwing = () => {
    throw bug
  }

  for (const name of ["admits", "rank", "priority", "choker"] as const) {
    test(`fails its torrent with the defect, in ${name}`, { [name]: throwing }, (world) =>
      Effect.gen(function* () {
        const peer = yield* serveAt(world, "198.51.100.1", small)
        const download = yield* world.download(small, { peers: [peer.address] })

        yield* world.advance("10 seconds")
        const exit = yield* Effect.exit(download.torrent.completed)

        const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
        assert.include([error, (error as { cause?: unknown } | undefined)?.cause], bug)
        assert.strictEqual(peer.counters.openConnections, 0)
        assert.deepStrictEqual((yield* world.network.counts).connections, 0)
      })
    )
  }

  test("in a round fails its torrent too", { choker: () => throwing }, (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(large, { behaviours: [{ bytesPerSecond: 8_000 }] })

      yield* world.advance("10 seconds")

      assert.isTrue(Exit.isFailure(yield* Effect.exit(download.torrent.completed)))
    })
  )

  test("fails a fetch of metadata, and accepts nobody", { admits: throwing }, (world) =>
    Effect.gen(function* () {
      const link = linkTo(small, "198.51.100.1")

      const exit = yield* Effect.exit(world.engine.metadata(link))
      const caller = yield* callFrom(world, "198.51.100.2", small)

      assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) === bug)
      assert.isTrue(caller.isOver())
    })
  )
})
