import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as InfoHash from "../../src/base/InfoHash.ts"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import { Dht } from "../../src/discovery/dht/Dht.ts"
import * as DhtProgram from "../../src/discovery/dht/DhtProgram.ts"
import * as DhtStore from "../../src/discovery/dht/DhtStore.ts"
import * as Magnet from "../../src/metainfo/Magnet.ts"
import * as UdpHub from "../../src/network/UdpHub.ts"
import type { KnownTorrent } from "../../src/testing/KnownTorrent.ts"
import * as MemoryUdpNetwork from "../../src/testing/MemoryUdpNetwork.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { make, seed, small } from "./torrents.ts"

const listen = { port: 6_881 }

/** The UDP port of every node. */
const port = 6_881

const hidden = await make({ isPrivate: true, pieceLength: 65_536, files: [{ path: [], length: 100_000 }] })

const everythingOf = ({ metainfo }: KnownTorrent) => ({
  stored: Bitfield.full(metainfo.layout.geometry.pieceCount),
  resume: undefined
})

const linkOf = ({ metainfo }: KnownTorrent) =>
  Result.getOrThrow(Magnet.parse(`magnet:?xt=urn:btih:${InfoHash.toHex(metainfo.infoHash)}`))

/** A network in which every host may have a node. All but the first ask that one first. */
const makeNodes = Effect.gen(function* () {
  const network = yield* Layer.build(MemoryUdpNetwork.layer({ seed, latency: "20 millis" }))
  const nodes: Array<Dht["Service"]> = []
  const nodeAt = (bootstrap: ReadonlyArray<PeerAddress>) => (host: string) =>
    Layer.build(
      DhtProgram.layer({ bootstrap, families: ["ipv4"] }).pipe(
        Layer.provide(UdpHub.layer({ port, host })),
        Layer.provide(DhtStore.layerMemory()),
        Layer.provide(MemoryUdpNetwork.host(host)),
        Layer.provide(Layer.succeedContext(network))
      )
    ).pipe(
      Effect.map((context) => {
        const node = Context.get(context, Dht)
        nodes.push(node)
        return node
      })
    )
  const router = { host: "10.9.0.0", port }
  yield* nodeAt([])(router.host)
  const join = nodeAt([router])
  /** Adds nodes that belong to no engine. */
  const crowd = (count: number) =>
    Effect.forEach(Array.from({ length: count }), (_, index) => join(`10.9.0.${index + 1}`), { discard: true })
  return { network, nodes, join, nodeAt, router, crowd }
})

type Nodes = Effect.Success<typeof makeNodes>

const test = (
  name: string,
  program: (world: Swarms.World, nodes: Nodes) => Effect.Effect<void, unknown, Scope.Scope>
) =>
  it.effect(name, () =>
    Swarms.use({ seed, engine: { listen } }, (world) => Effect.flatMap(makeNodes, (nodes) => program(world, nodes)))
  )

describe("a swarm that meets through the DHT", () => {
  test("a magnet link without trackers finds its only seed, and downloads", (world, { crowd, join }) =>
    Effect.gen(function* () {
      yield* crowd(30)
      yield* world.advance("1 minute")
      const seeder = yield* world.beside({ engine: { listen }, dht: join })
      yield* seeder.download(small, { seed: true, from: everythingOf(small) })
      yield* world.advance("30 seconds")
      const leecher = yield* world.beside({ engine: { listen }, dht: join })

      const torrent = yield* leecher.engine.add(linkOf(small))
      const began = world.simulation.nowUnsafe()
      const metainfo = yield* world.during(torrent.metainfo, "2 minutes")
      const took = world.simulation.nowUnsafe() - began
      yield* world.during(torrent.completed, "5 minutes")

      assert.deepStrictEqual(metainfo.infoBytes, small.metainfo.infoBytes)
      assert.isBelow(took, 10_000)
    }))

  test("two leechers of one torrent find each other, whoever comes first", (world, { crowd, join }) =>
    Effect.gen(function* () {
      yield* crowd(10)
      yield* world.advance("1 minute")
      const first = yield* world.beside({ engine: { listen }, dht: join })
      const second = yield* world.beside({ engine: { listen }, dht: join })
      const one = yield* first.download(small)
      yield* world.advance("1 minute")
      const two = yield* second.download(small)
      yield* world.advance("2 minutes")

      assert.strictEqual((yield* one.torrent.status).connectedPeers, 1)
      assert.strictEqual((yield* two.torrent.status).connectedPeers, 1)
    }))

  test("fault 38: a private torrent is neither looked up nor announced, and its peers exchange no ports", (world, nodes) =>
    Effect.gen(function* () {
      yield* nodes.crowd(10)
      yield* world.advance("1 minute")
      const seeder = yield* world.beside({ engine: { listen }, dht: nodes.join })
      const leecher = yield* world.beside({ engine: { listen }, dht: nodes.join })
      yield* seeder.download(hidden, { seed: true, from: everythingOf(hidden) })
      const apart = yield* leecher.download(hidden)
      yield* world.advance("30 minutes")
      const found = (yield* apart.torrent.status).knownPeers
      yield* Effect.forEach(nodes.nodes, (node) =>
        Effect.map(node.status, ({ ipv4 }) => assert.strictEqual(ipv4?.storedPeers, 0))
      )
      yield* apart.torrent.addPeers([{ host: seeder.host, port: listen.port }])
      yield* world.until(apart.isComplete, "1 minute")

      assert.strictEqual(found, 0)
      assert.isTrue(apart.isComplete())
    }))

  test("peers tell each other their nodes, so one of them needs no router", (world, { crowd, join, nodeAt }) =>
    Effect.gen(function* () {
      yield* crowd(10)
      yield* world.advance("1 minute")
      const seeder = yield* world.beside({ engine: { listen }, dht: join })
      yield* seeder.download(small, { seed: true, from: everythingOf(small) })
      yield* world.advance("30 seconds")
      let node: Dht["Service"] | undefined
      const stranger = yield* world.beside({
        engine: { listen },
        dht: (host) => Effect.tap(nodeAt([])(host), (made) => Effect.sync(() => (node = made)))
      })
      const before = yield* node!.status
      yield* stranger.download(small, { peers: [{ host: seeder.host, port: listen.port }], seed: true })
      yield* world.advance("2 minutes")

      const after = yield* node!.status
      assert.strictEqual(before.ipv4?.nodes ?? 0, 0)
      assert.isAtLeast(after.ipv4!.goodNodes, 8)
    }))

  test("an announce says whether we are a seed, and a seed is scraped as one", (world, { crowd, join, nodes }) =>
    Effect.gen(function* () {
      yield* crowd(10)
      yield* world.advance("1 minute")
      const seeder = yield* world.beside({ engine: { listen }, dht: join })
      const leecher = yield* world.beside({ engine: { listen }, dht: join })
      yield* seeder.download(small, { seed: true, from: everythingOf(small) })
      // It does not know the seed, which does not look for other seeds.
      yield* leecher.download(small, { isPaused: false, maxConnections: 1, limits: { downloadBytesPerSecond: 1 } })
      yield* world.advance("2 minutes")

      const { downloaders, seeds } = yield* world.during(nodes[1]!.scrape(small.metainfo.infoHash))
      assert.strictEqual(Math.round(seeds), 1)
      assert.strictEqual(Math.round(downloaders), 1)
    }))

  test("a torrent that is removed leaves no lookup, and an engine leaves no socket", (world, {
    crowd,
    join,
    network
  }) =>
    Effect.gen(function* () {
      yield* crowd(10)
      yield* world.advance("1 minute")
      const { host } = world
      const other = "10.8.0.1"
      yield* Effect.scoped(
        Effect.gen(function* () {
          let node: Dht["Service"] | undefined
          const engine = yield* world.beside({
            engine: { listen },
            dht: () => Effect.tap(join(other), (made) => Effect.sync(() => (node = made)))
          })
          // The node has lookups of its own while it joins.
          yield* world.advance("2 minutes")
          const before = (yield* node!.status).ipv4!.lookups
          const download = yield* engine.download(small)
          yield* world.advance("50 millis")
          const during = (yield* node!.status).ipv4!.lookups
          yield* download.halt
          const after = (yield* node!.status).ipv4!
          yield* world.advance("20 minutes")
          const late = (yield* node!.status).ipv4!

          assert.deepStrictEqual([before, during], [0, 1])
          assert.strictEqual(after.lookups, 0)
          assert.strictEqual(late.lookups, 0)
        })
      )
      yield* world.advance("2 minutes")
      const bind = Effect.scoped(
        Context.get(network, MemoryUdpNetwork.MemoryUdpNetwork).host(other).bind({ host, port })
      )

      assert.strictEqual((yield* bind).local.port, port)
    }))
})
