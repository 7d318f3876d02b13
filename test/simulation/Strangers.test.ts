import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as IpRanges from "../../src/base/IpRanges.ts"
import * as Naming from "../../src/base/Naming.ts"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import * as Bencode from "../../src/bencode/Bencode.ts"
import type { PeerSource, PeerSourceEvent } from "../../src/discovery/PeerSource.ts"
import type { AnnounceResponse } from "../../src/discovery/tracker/Tracker.ts"
import { Tracker, TrackerError } from "../../src/discovery/tracker/Tracker.ts"
import * as TrackerSource from "../../src/discovery/tracker/TrackerSource.ts"
import * as Magnet from "../../src/metainfo/Magnet.ts"
import * as Addresses from "../../src/swarm/Addresses.ts"
import * as PeerPolicy from "../../src/swarm/PeerPolicy.ts"
import type { KnownTorrent } from "../../src/testing/KnownTorrent.ts"
import * as MemoryNetwork from "../../src/testing/MemoryNetwork.ts"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import * as Sources from "../../src/torrent/Sources.ts"
import * as PexMessage from "../../src/wire/extension/PexMessage.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"
import * as Handshake from "../../src/wire/Handshake.ts"
import * as MetadataPeer from "../torrent/metadataPeer.ts"
import { make, seed, small } from "./torrents.ts"

const listen = { port: 6_881 }

const large = await make({ name: "large", seed: 3, pieceLength: 16_384, files: [{ path: [], length: 400 * 16_384 }] })

const url = (name: string) => `http://${name}.example/announce`

const makeClosed = (...trackers: ReadonlyArray<string>) =>
  make({
    name: "closed",
    seed: 4,
    pieceLength: 16_384,
    files: [{ path: [], length: 400 * 16_384 }],
    trackers: trackers.map((tracker) => [tracker]),
    isPrivate: true
  })

const closed = await makeClosed(url("a"), url("b"))

/** With one tracker, which is called `a` over HTTP and `b` over HTTPS below. */
const closedTwice = await makeClosed(url("a"), url("a").replace("http", "https"))

const at = (host: string, port = listen.port): PeerAddress => ({ host, port })

const test = (
  name: string,
  program: (world: Swarms.World) => Effect.Effect<void, unknown, Scope.Scope>,
  policy: Partial<PeerPolicy.PeerPolicy> = {}
) =>
  it.effect(name, () =>
    Swarms.use({ seed, engine: { listen } }, program).pipe(
      Effect.provideService(PeerPolicy.PeerPolicy, { ...PeerPolicy.standard, ...policy })
    )
  )

/** A slow seed at a host, so that a download meets it for as long as the test looks. */
const serveAt = (world: Swarms.World, host: string, known: KnownTorrent = large) =>
  ScriptedPeer.serve({
    infoHash: known.metainfo.infoHash,
    geometry: known.metainfo.layout.geometry,
    content: known.content,
    behaviour: { bytesPerSecond: 2_000 },
    peerId: new TextEncoder().encode(host.padEnd(20, "x").slice(0, 20)),
    listen: at(host)
  }).pipe(
    Effect.provide(MemoryNetwork.host(host)),
    Effect.provideService(MemoryNetwork.MemoryNetwork, world.network),
    Effect.orDie
  )

type Found = Extract<PeerSourceEvent, { _tag: "Peers" }>

/** A source that finds these addresses, and is asked by nobody again. */
const finds = (
  addresses: ReadonlyArray<PeerAddress>,
  event: Partial<Found> = {},
  source: Partial<PeerSource> = {}
): PeerSource => ({
  ...source,
  peers: () => Stream.make({ _tag: "Peers" as const, source: "found", addresses, ...event })
})

const connected = ({ events }: Swarms.Download) =>
  events.flatMap((event) => (event._tag === "PeerConnected" ? [event.address.host] : []))

const dialled = ({ events }: Swarms.Download) =>
  events.flatMap((event) =>
    event._tag === "PeerConnected" || event._tag === "PeerUnreachable" ? [event.address.host] : []
  )

const refusals = ({ events }: Swarms.Download) =>
  events.flatMap((event) =>
    event._tag === "AddressesRefused" ? [[event.source, event.addresses, event.why] as const] : []
  )

const left = ({ events }: Swarms.Download) =>
  events.flatMap((event) => (event._tag === "PeerDisconnected" ? [`${event.address.host} ${event.why}`] : []))

const public_ = ["198.51.100.1", "2600::7"]
const around = ["10.0.3.1", "192.168.1.9", "100.64.0.9", "169.254.7.7", "fd12::5"]
const here = ["127.0.0.2", "::1"]
const nowhere = ["224.0.0.1", "ff02::1", "255.255.255.255", "0.0.0.0", "::", "169.254.169.254"]
const everywhere = [...public_, ...around, ...here, ...nowhere].map((host) => at(host))

describe("addresses of the local network from strangers (fault 91)", () => {
  test("are not dialled if a tracker in the internet names them, nor counted as known", (world) =>
    Effect.gen(function* () {
      const peers = yield* Effect.forEach([...around, ...here], (host) => serveAt(world, host))
      for (const host of public_) yield* serveAt(world, host)
      const inDisguise = ["::ffff:10.0.3.1", "64:ff9b::a00:301", "2002:7f00:2::1"].map((host) => at(host))
      const addresses = [...everywhere, ...inDisguise, { host: "198.51.100.9", port: 0 }]

      const download = yield* world.download(large, { sources: [finds(addresses, { from: "203.0.113.1" })] })
      yield* world.advance("2 minutes")

      assert.sameMembers(dialled(download), public_)
      assert.deepStrictEqual(
        peers.map(({ counters }) => counters.connections),
        peers.map(() => 0)
      )
      assert.strictEqual((yield* download.torrent.status).knownPeers, public_.length)
      assert.deepStrictEqual(
        new Map(refusals(download).map(([, count, why]) => [why, count])),
        new Map([
          [Naming.lessPublic, 10],
          ["no peer can have such an address", nowhere.length],
          ["it has no port", 1]
        ])
      )
    }))

  test("are not dialled in another spelling either, nor is anything that a resolver may take for one", (world) =>
    Effect.gen(function* () {
      const peers = yield* Effect.forEach(["10.0.3.1", "127.0.0.2"], (host) => serveAt(world, host))
      const spelled = ["127.0.0.2.", "10.0.3.1.", "::FFFF:127.0.0.2", "LocalHost.", "127.2", "2130706434", "0x7f000002"]

      const download = yield* world.download(large, { sources: [finds(spelled.map((host) => at(host)))] })
      yield* world.advance("2 minutes")

      assert.deepStrictEqual(
        peers.map(({ counters }) => counters.connections),
        [0, 0]
      )
      assert.deepStrictEqual(
        new Map(refusals(download).map(([, count, why]) => [why, count])),
        new Map([
          [Naming.lessPublic, 4],
          ["no peer can have such an address", 3]
        ])
      )
    }))

  const cases: ReadonlyArray<readonly [string, PeerSource, ReadonlyArray<string>]> = [
    ["a source that says nothing about itself", finds(everywhere), public_],
    ["a tracker in the local network", finds(everywhere, { from: "192.168.1.1" }), [...public_, ...around]],
    ["a tracker on this machine", finds(everywhere, { from: "127.0.0.1" }), [...public_, ...around, ...here]],
    ["a local source", finds(everywhere, {}, { isLocal: true }), [...public_, ...around, ...here]],
    ["a list of the user's", finds(everywhere, {}, { isGiven: true }), [...public_, ...around, ...here]],
    [
      "a local source, whatever its events say",
      finds(everywhere, { from: "203.0.113.1" }, { isLocal: true }),
      [...public_, ...around, ...here]
    ]
  ]
  for (const [what, source, expected] of cases) {
    test(`are dialled as far as ${what} may know them`, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(large, { sources: [source] })
        yield* world.advance("1 minute")

        assert.sameMembers([...new Set(dialled(download))], [...expected])
      }))
  }

  test("are dialled if the user names them, but for what no peer can have", (world) =>
    Effect.gen(function* () {
      const download = yield* world.download(large, { peers: everywhere })
      yield* world.advance("1 minute")

      assert.sameMembers([...new Set(dialled(download))], [...public_, ...around, ...here])
    }))

  test("that are names are not kept after a fetch of metadata, when nobody knows any more who named them", (world) =>
    Effect.gen(function* () {
      const { infoBytes: info, infoHash } = small.metainfo
      yield* MetadataPeer.serve({ host: "peer.example", infoHash, info, manner: "honest" }).pipe(
        Effect.provide(MemoryNetwork.host("peer.example")),
        Effect.provideService(MemoryNetwork.MemoryNetwork, world.network)
      )
      const link = { ...(yield* Effect.fromResult(Magnet.parse(`magnet:?xt=urn:btih:${"0".repeat(40)}`))), infoHash }
      const names = finds([at("peer.example"), at("198.51.100.1")], { from: "203.0.113.1" })

      const { peers } = yield* world.during(world.engine.metadata(link, { sources: [names] }))

      assert.deepStrictEqual(peers, [at("198.51.100.1")])
    }))

  test("take no part in a fetch of metadata either", (world) =>
    Effect.gen(function* () {
      const peer = yield* serveAt(world, "10.0.3.1", small)
      const { infoHash } = small.metainfo
      const link = { ...(yield* Effect.fromResult(Magnet.parse(`magnet:?xt=urn:btih:${"0".repeat(40)}`))), infoHash }
      const fetching = yield* Effect.forkScoped(
        world.engine.metadata(link, { sources: [finds(everywhere, { from: "203.0.113.1" })] })
      )

      yield* world.advance("1 minute")

      assert.isUndefined(fetching.pollUnsafe())
      assert.strictEqual(peer.counters.connections, 0)
    }))
})

/** A peer at a host that speaks BEP 11, and names these addresses to everybody who connects. */
const nameAt = Effect.fnUntraced(function* (
  world: Swarms.World,
  host: string,
  known: KnownTorrent,
  addresses: ReadonlyArray<PeerAddress>
) {
  const { listener } = world.network.host(host)
  const listening = yield* Effect.orDie(listener.listen(at(host)))
  const scope = yield* Effect.scope
  const talk = Effect.gen(function* () {
    const connection = yield* Scope.provide(listening.accept, scope)
    connection.receiveUnsafe(() => true)
    const out = FrameEncoder.make()
    const handshake = Bencode.encode({ m: { ut_pex: 1 } })
    FrameEncoder.extended(out, 0, handshake)
    // The id under which we take `ut_pex`.
    FrameEncoder.extended(
      out,
      2,
      PexMessage.encode({ added: addresses.map((address) => ({ address, flags: 0 })), dropped: [] })
    )
    const peerId = new TextEncoder().encode(`-XX0000-${host}`.padEnd(20, "x").slice(0, 20))
    connection.writeUnsafe(
      Handshake.encode({
        infoHash: known.metainfo.infoHash,
        peerId,
        features: { extensionProtocol: true, fast: false, dht: false }
      })
    )
    connection.writeUnsafe(FrameEncoder.take(out))
  })
  yield* Effect.forkScoped(Effect.forever(talk))
})

describe("addresses from peers (fault 92)", () => {
  test("of the local network are not dialled if a peer in the internet names them, nor are our own", (world) =>
    Effect.gen(function* () {
      const named = ["198.51.100.2", "10.0.3.1", "127.0.0.2"]
      const peers = yield* Effect.forEach(named, (host) => serveAt(world, host))
      yield* nameAt(
        world,
        "198.51.100.1",
        large,
        [...named, world.host].map((host) => at(host))
      )

      const download = yield* world.download(large, { peers: [at("198.51.100.1")] })
      yield* world.advance("2 minutes")

      assert.deepStrictEqual(
        peers.map(({ counters }) => counters.connections),
        [1, 0, 0]
      )
      assert.deepStrictEqual(refusals(download), [["peer exchange", 3, Naming.lessPublic]])
    }))

  test("of the local network are dialled if the peer is there itself, but not our own", (world) =>
    Effect.gen(function* () {
      const named = ["198.51.100.2", "10.0.3.1", "127.0.0.2"]
      const peers = yield* Effect.forEach(named, (host) => serveAt(world, host))
      yield* nameAt(
        world,
        "127.0.0.9",
        large,
        [...named, world.host].map((host) => at(host))
      )

      const download = yield* world.download(large, { peers: [at("127.0.0.9")] })
      yield* world.advance("2 minutes")

      assert.deepStrictEqual(
        peers.map(({ counters }) => counters.connections),
        [1, 1, 1]
      )
      assert.deepStrictEqual(refusals(download), [["peer exchange", 1, Addresses.ownAddress]])
    }))

  test("that are our own are not dialled: where we listen, and where a tracker sees us", (world) =>
    Effect.gen(function* () {
      const external = "198.51.100.77"
      const neighbour = yield* serveAt(world, external)
      const addresses = [at(world.host), at(external), at(external, 7_000)]

      const download = yield* world.download(large, {
        sources: [finds(addresses, { externalHost: external }, { isLocal: true })]
      })
      yield* world.advance("1 minute")

      const tried = download.events.flatMap((event) => (event._tag === "PeerUnreachable" ? [event.address.port] : []))
      assert.strictEqual(neighbour.counters.connections, 0)
      // Another client behind the same router.
      assert.deepStrictEqual([...new Set(tried)], [7_000])
      assert.deepStrictEqual(refusals(download), [["found", 2, Addresses.ownAddress]])
    }))

  test("that are our own are not dialled any more once it is known", (world) =>
    Effect.gen(function* () {
      const external = "198.51.100.77"
      const events = yield* Queue.unbounded<PeerSourceEvent>()
      const source: PeerSource = { peers: () => Stream.fromQueue(events) }
      const download = yield* world.download(large, { sources: [source] })
      yield* Queue.offer(events, { _tag: "Peers", source: "a", addresses: [at(external)] })
      yield* world.advance("10 seconds")
      const before = dialled(download).length

      yield* Queue.offer(events, { _tag: "Peers", source: "b", addresses: [], externalHost: external })
      yield* world.advance("1 minute")

      assert.isAbove(before, 0)
      assert.strictEqual(dialled(download).length, before)
    }))
})

interface Reply {
  /** The hosts of the peers; a tracker without them does not answer. */
  peers: ReadonlyArray<string> | undefined
}

interface Replies {
  a: Reply
  b: Reply
}

/** The trackers `a` and `b`, asked by the schedule of every torrent, at public addresses. */
const trackers = Effect.fnUntraced(function* (replies: Replies) {
  const asked: Array<string> = []
  const source = yield* TrackerSource.make().pipe(
    Effect.provideService(Tracker, {
      announce: (url, { event }) =>
        Effect.suspend(() => {
          const { hostname, protocol } = new URL(url)
          const name = protocol === "https:" ? "b" : (hostname[0] as keyof Replies)
          const { peers } = replies[name]
          asked.push(event === undefined ? name : `${name} ${event}`)
          if (peers === undefined) return Effect.fail(new TrackerError({ url, why: "it is down" }))
          const response: AnnounceResponse = {
            peers: peers.map((host) => at(host)),
            intervalSeconds: 120,
            minIntervalSeconds: 60,
            seeders: undefined,
            leechers: undefined,
            trackerId: undefined,
            warning: undefined,
            externalHost: undefined,
            from: "203.0.113.1"
          }
          return Effect.succeed(response)
        }),
      scrape: () => Effect.die("nobody scrapes")
    })
  )
  return { source, asked }
})

describe("a private torrent (fault 93)", () => {
  const [first, second, both, mine, caller] = [1, 2, 3, 4, 5].map((host) => `198.51.100.${host}`) as [
    string,
    string,
    string,
    string,
    string
  ]

  test("leaves the peers of a tracker when another one takes over, and keeps those of the user", (world) =>
    Effect.gen(function* () {
      const replies: Replies = { a: { peers: [first, both] }, b: { peers: [second, both] } }
      const { asked, source } = yield* trackers(replies)
      const peers = yield* Effect.forEach([first, second, both, mine], (host) => serveAt(world, host, closed))
      const download = yield* world.download(closed, { peers: [at(mine)], sources: [source] })
      yield* world.advance("10 seconds")
      const stranger = ScriptedPeer.make({
        ...peers[0]!.options,
        peerId: new TextEncoder().encode("caller".padEnd(20))
      })
      yield* ScriptedPeer.connect(stranger, at(world.host)).pipe(
        Effect.provide(MemoryNetwork.host(caller)),
        Effect.provideService(MemoryNetwork.MemoryNetwork, world.network),
        Effect.ignore,
        Effect.forkScoped
      )
      yield* world.advance("10 seconds")
      const before = connected(download)

      replies.a = { peers: undefined }
      yield* world.advance("3 minutes")

      const isOpen = () => peers.map(({ counters }) => counters.openConnections)
      assert.deepStrictEqual(asked.slice(0, 3), ["a started", "a", "b started"])
      assert.sameMembers(before, [first, both, mine, caller])
      assert.sameMembers(
        left(download),
        [first, both, caller].map((host) => `${host} ${Sources.otherTracker}`)
      )
      assert.deepStrictEqual([isOpen(), stranger.counters.openConnections], [[0, 1, 1, 1], 0])
      // Nor are they dialled again.
      yield* world.advance("30 minutes")
      assert.strictEqual(peers[0]!.counters.connections, 1)
    }))

  test("leaves the peers of each tracker in turn, and none of the one that keeps answering", (world) =>
    Effect.gen(function* () {
      const replies: Replies = { a: { peers: [first] }, b: { peers: [second] } }
      const { asked, source } = yield* trackers(replies)
      const peers = yield* Effect.forEach([first, second], (host) => serveAt(world, host, closed))
      const download = yield* world.download(closed, { sources: [source] })
      const isOpen = () => peers.map(({ counters }) => counters.openConnections)
      yield* world.advance("10 seconds")

      replies.a = { peers: undefined }
      yield* world.advance("10 minutes")
      const [ofFirst, meanwhile] = [left(download), isOpen()]
      replies.a = { peers: [first] }
      replies.b = { peers: undefined }
      yield* world.advance("10 minutes")

      assert.isAbove(asked.filter((name) => name === "b").length, 2)
      assert.deepStrictEqual([ofFirst, meanwhile], [[`${first} ${Sources.otherTracker}`], [0, 1]])
      assert.deepStrictEqual(left(download).slice(1), [`${second} ${Sources.otherTracker}`])
      assert.deepStrictEqual(isOpen(), [1, 0])
    }))

  test("keeps a peer that the user names after the tracker, whether it is connected or not", (world) =>
    Effect.gen(function* () {
      const later = "198.51.100.6"
      const replies: Replies = { a: { peers: [first, mine, later] }, b: { peers: [second] } }
      const { source } = yield* trackers(replies)
      const peers = yield* Effect.forEach([first, second, mine], (host) => serveAt(world, host, closed))
      const download = yield* world.download(closed, { sources: [source] })
      yield* world.advance("10 seconds")
      yield* download.torrent.addPeers([at(mine), at(later)])

      replies.a = { peers: undefined }
      yield* world.advance("3 minutes")

      assert.deepStrictEqual(left(download), [`${first} ${Sources.otherTracker}`])
      assert.deepStrictEqual(
        peers.map(({ counters }) => counters.openConnections),
        [0, 1, 1]
      )
      yield* serveAt(world, later, closed)
      yield* world.advance("10 minutes")
      assert.include(connected(download), later)
    }))

  test("keeps its peers when its tracker is asked by another scheme", (world) =>
    Effect.gen(function* () {
      const replies: Replies = { a: { peers: [first] }, b: { peers: [second] } }
      const { asked, source } = yield* trackers(replies)
      const peers = yield* Effect.forEach([first, second], (host) => serveAt(world, host, closedTwice))
      const download = yield* world.download(closedTwice, { sources: [source] })
      yield* world.advance("10 seconds")

      replies.a = { peers: undefined }
      yield* world.advance("3 minutes")

      assert.includeMembers(asked, ["a started", "b started"])
      assert.deepStrictEqual(left(download), [])
      assert.deepStrictEqual(
        peers.map(({ counters }) => counters.openConnections),
        [1, 1]
      )
    }))

  test("keeps its peers while its tracker answers, or nobody does", (world) =>
    Effect.gen(function* () {
      const replies: Replies = { a: { peers: [first] }, b: { peers: undefined } }
      const { source } = yield* trackers(replies)
      const peer = yield* serveAt(world, first, closed)
      const download = yield* world.download(closed, { sources: [source] })
      yield* world.advance("5 minutes")

      replies.a = { peers: undefined }
      yield* world.advance("5 minutes")
      replies.a = { peers: [] }
      yield* world.advance("20 minutes")

      assert.deepStrictEqual([left(download), peer.counters.connections], [[], 1])
    }))

  test("takes no addresses from anybody but its trackers and the user", (world) =>
    Effect.gen(function* () {
      const { source } = yield* trackers({ a: { peers: [first] }, b: { peers: [] } })
      const dht = finds([at(second), at(both)], { source: "dht", from: "203.0.113.9" })
      const lsd = finds([at("10.0.3.1")], { source: "lsd" }, { isLocal: true })
      const list = finds([at(mine)], { source: "my list" }, { isGiven: true })
      const download = yield* world.download(closed, { sources: [source, dht, lsd, list] })
      yield* world.advance("1 minute")

      assert.sameMembers([...new Set(dialled(download))], [first, mine])
      assert.sameDeepMembers(refusals(download), [
        ["dht", 2, Sources.notOfTracker],
        ["lsd", 1, Sources.notOfTracker]
      ])
    }))

  test("forgets what was found while nobody knew that it is private, but for what the user gave", (world) =>
    Effect.gen(function* () {
      const { infoBytes: info } = closed.metainfo
      const fetch = Effect.fnUntraced(function* (known: KnownTorrent, info: Uint8Array) {
        const { infoHash } = known.metainfo
        const named = [first, "peer.example"]
        yield* MetadataPeer.serve({ host: second, infoHash, info, manner: "honest" }).pipe(
          Effect.provide(MemoryNetwork.host(second)),
          Effect.provideService(MemoryNetwork.MemoryNetwork, world.network)
        )
        const parsed = yield* Effect.fromResult(Magnet.parse(`magnet:?xt=urn:btih:${"0".repeat(40)}`))
        const link = { ...parsed, infoHash, trackers: [url("a")], peers: [at(mine)] }
        const sources = [
          finds(
            [...named, second].map((host) => at(host)),
            { source: url("a"), from: "127.0.0.1" }
          ),
          finds([at("10.0.3.1")], { source: "lsd" }, { isLocal: true })
        ]
        const { metainfo, peers } = yield* world.during(world.engine.metadata(link, { sources }))
        return [metainfo.isPrivate, peers.map(({ host }) => host).sort()] as const
      }, Effect.scoped)

      assert.deepStrictEqual(yield* fetch(closed, info), [true, [mine]])
      // What is named from this machine may lead anywhere.
      const all = ["10.0.3.1", first, second, mine, "peer.example"]
      assert.deepStrictEqual(yield* fetch(large, large.metainfo.infoBytes), [false, all])
    }))

  test("does not exchange peers", (world) =>
    Effect.gen(function* () {
      const peer = yield* serveAt(world, second, closed)
      yield* nameAt(world, first, closed, [at(second)])

      yield* world.download(closed, { peers: [at(first)] })
      yield* world.advance("2 minutes")

      assert.strictEqual(peer.counters.connections, 0)
    }))
})

describe("a block list (fault 94)", () => {
  const text = [
    "# a list",
    "Bad, people - x:198.51.100.0-198.51.100.127",
    "010.000.003.000 - 010.000.003.255 , 000 , x",
    "2600::/16"
  ]
  const { ranges } = IpRanges.parseList(text.join("\n"))
  const blocked = ["198.51.100.1", "10.0.3.1", "2600::7"]

  test(
    "refuses its addresses whoever names them, and connections from them",
    (world) =>
      Effect.gen(function* () {
        const peers = yield* Effect.forEach(blocked, (host) => serveAt(world, host))
        const good = yield* serveAt(world, "198.51.100.200")
        const addresses = blocked.map((host) => at(host))
        yield* nameAt(world, "127.0.0.9", large, addresses)

        const download = yield* world.download(large, {
          peers: [...addresses, at("127.0.0.9")],
          sources: [finds([...addresses, good.address, at("peer.example")], { from: "127.0.0.1" })]
        })
        yield* world.advance("1 second")
        const stranger = ScriptedPeer.make({ ...good.options, peerId: new TextEncoder().encode("caller".padEnd(20)) })
        yield* ScriptedPeer.connect(stranger, at(world.host)).pipe(
          Effect.provide(MemoryNetwork.host(blocked[0]!)),
          Effect.provideService(MemoryNetwork.MemoryNetwork, world.network),
          Effect.ignore
        )
        yield* world.advance("2 minutes")

        assert.sameMembers(connected(download), ["198.51.100.200", "127.0.0.9"])
        assert.deepStrictEqual(
          [...peers, stranger].map(({ counters }) => [counters.connections, counters.requests]),
          [...peers.map(() => [0, 0]), [1, 0]]
        )
        // A name may lead anywhere.
        assert.sameDeepMembers(refusals(download), [
          ["given", 3, Addresses.notAdmitted],
          ["found", 4, Addresses.notAdmitted],
          ["peer exchange", 3, Addresses.notAdmitted]
        ])
      }),
    PeerPolicy.subnets({ deny: ranges })
  )
})
