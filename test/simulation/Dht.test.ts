import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as TestClock from "effect/testing/TestClock"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import * as PeerAddresses from "../../src/base/PeerAddress.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as Krpc from "../../src/discovery/dht/Krpc.ts"
import * as NodeId from "../../src/discovery/dht/NodeId.ts"
import * as NodeInfo from "../../src/discovery/dht/NodeInfo.ts"
import * as MemoryUdpNetwork from "../../src/testing/MemoryUdpNetwork.ts"
import type { DhtSwarm, Ended, Member } from "./dhtSwarm.ts"
import * as DhtSwarms from "./dhtSwarm.ts"

const nodeCount = 2_000

/** Nodes that join in each second. */
const joinsPerSecond = 40

/** Makes a swarm: each node knows four of those before it at first; one of ten has an id that does not suit it. */
const grow = Effect.fnUntraced(function* (seed: number) {
  const swarm = yield* DhtSwarms.make(seed)
  for (let count = 0; count < nodeCount; count++) {
    const routers = count === 0 ? [] : Array.from({ length: 4 }, () => DhtSwarms.anyone(swarm).address)
    yield* swarm.join({ routers, suits: count % 10 !== 9 })
    if (count % joinsPerSecond === 0) yield* TestClock.adjust("1 second")
  }
  yield* TestClock.adjust("30 seconds")
  return swarm
})

interface Announced {
  readonly target: NodeId.NodeId
  readonly peer: PeerAddress
  readonly nodes: number
}

/** Announces torrents, each from one node. */
const announce = Effect.fnUntraced(function* (swarm: DhtSwarm, hashes: ReadonlyArray<NodeId.NodeId>) {
  const announced: Array<Announced> = []
  for (const target of hashes) {
    const member = DhtSwarms.anyone(swarm)
    const peer = { host: member.address.host, port: 7000 }
    member.search({ target, wantsPeers: true, announce: { port: peer.port } }, ({ result }) =>
      announced.push({ target, peer, nodes: result.announced })
    )
  }
  yield* TestClock.adjust("30 seconds")
  assert.strictEqual(announced.length, hashes.length, "every announce ends")
  return announced
})

/** Looks for each torrent from another node, and returns the figures. */
const look = Effect.fnUntraced(function* (swarm: DhtSwarm, announced: ReadonlyArray<Announced>) {
  const found: Array<Ended & { readonly isFound: boolean; readonly seconds: number }> = []
  const { nowUnsafe } = swarm
  const begun = nowUnsafe()
  for (const { peer, target } of announced) {
    DhtSwarms.anyone(swarm).search({ target, wantsPeers: true }, (ended) =>
      found.push({ ...ended, isFound: DhtSwarms.hasFound(ended, peer), seconds: (nowUnsafe() - begun) / 1_000 })
    )
  }
  yield* TestClock.adjust("30 seconds")
  assert.strictEqual(found.length, announced.length, "every lookup ends")
  const of = (figure: (entry: (typeof found)[number]) => number) => {
    const values = found.map(figure)
    return { median: DhtSwarms.median(values), most: Math.max(...values) }
  }
  return {
    success: found.filter(({ isFound }) => isFound).length / found.length,
    hops: of(({ result }) => result.hops),
    queries: of(({ result }) => result.queries),
    seconds: of(({ seconds }) => seconds)
  }
})

const hashesOf = (swarm: DhtSwarm, count: number) => Array.from({ length: count }, () => NodeId.random(swarm.random))

/** Nodes of an attacker: few hosts with many ports each, and ids that are all closer to the target than any other. */
const attack = Effect.fnUntraced(function* (swarm: DhtSwarm, target: NodeId.NodeId) {
  const hosts = Array.from({ length: 4 }, () => swarm.newHost().replace(/\d+$/, "")).flatMap((network) =>
    Array.from({ length: 4 }, (_, index) => `${network}${index + 1}`)
  )
  const attackers = hosts.flatMap((host) =>
    Array.from({ length: 16 }, (_, index) => ({
      id: NodeId.randomSharing(target, 40, swarm.random),
      address: { host, port: 1_000 + index }
    }))
  )
  // The nodes around the target shall take them into their tables.
  const around = [...swarm.members]
    .sort((a, b) => NodeId.compare(target, a.machine.table.id, b.machine.table.id))
    .slice(0, 50)
  let asked = 0
  for (const { address, id } of attackers) {
    const socket = yield* swarm.bind(address)
    const others = Array.from({ length: 8 }, () => attackers[Prng.integer(swarm.random, attackers.length)]!)
    const nodes = NodeInfo.encode(others, "ipv4")
    const token = Uint8Array.of(1)
    socket.receiveUnsafe((payload, from) => {
      const message = Result.getOrThrow(Krpc.decode(payload))
      if (message._tag !== "Query") return
      if (message.question?._tag === "get_peers") asked++
      // It names only others of the attacker, and forgets what is announced to it.
      const { transaction } = message
      socket.sendUnsafe(Krpc.encodeResponse({ transaction, id, seen: from, nodes, token }), from)
    })
    for (const member of around) {
      const question = { _tag: "find_node", target, want: [] } as const
      const query = { transaction: Uint8Array.of(1, 2), id, isReadOnly: false, question }
      socket.sendUnsafe(Krpc.encodeQuery(query), member.address)
    }
  }
  yield* TestClock.adjust("20 seconds")
  return { attackers, asked: () => asked }
})

/** How many attackers are in a table. */
const attackersIn = (member: Member, attackers: ReadonlyArray<NodeInfo.NodeInfo>): number => {
  const addresses = new Set(attackers.map(({ address }) => PeerAddresses.format(address)))
  return member.machine.table.buckets
    .flatMap(({ nodes }) => nodes)
    .filter(({ address }) => addresses.has(PeerAddresses.format(address))).length
}

const network = MemoryUdpNetwork.layer({ seed: 1, latency: "50 millis", lossRate: 0.01 })

describe("a DHT of 2,000 nodes", () => {
  it.effect(
    "fault 84: finds what is announced, around an attacker, and when 30 % of the nodes have left at once",
    () =>
      Effect.gen(function* () {
        const swarm = yield* grow(1)
        const announced = yield* announce(swarm, hashesOf(swarm, 200))
        const calm = yield* look(swarm, announced)

        const target = NodeId.random(swarm.random)
        const attacked = yield* attack(swarm, target)
        const most = Math.max(...swarm.members.map((member) => attackersIn(member, attacked.attackers)))
        const hidden = yield* announce(
          swarm,
          Array.from({ length: 40 }, () => target)
        )
        const eclipse = yield* look(swarm, hidden)

        for (let count = 0; count < nodeCount * 0.3; count++) yield* DhtSwarms.anyone(swarm).leave
        const left = yield* look(swarm, announced)
        const recovered = yield* look(swarm, yield* announce(swarm, hashesOf(swarm, 100)))

        const report = { calm, eclipse: { ...eclipse, asked: attacked.asked(), mostInATable: most }, left, recovered }
        const figures = JSON.stringify(report)
        assert.strictEqual(calm.success, 1, figures)
        assert.isAtMost(calm.hops.most, 7, figures)
        assert.isAtMost(calm.queries.median, 25, figures)
        assert.isAtMost(calm.queries.most, 50, figures)
        assert.isAtMost(calm.seconds.median, 3, figures)
        for (const { nodes } of announced) assert.isAtLeast(nodes, 6, figures)
        // The attacker was asked, and hid nobody.
        assert.isAbove(attacked.asked(), 100, figures)
        assert.isAtMost(most, 4, figures)
        assert.strictEqual(eclipse.success, 1, figures)
        assert.isAtMost(eclipse.queries.most, 60, figures)
        assert.isAtLeast(left.success, 0.98, figures)
        assert.isAtMost(left.queries.most, 80, figures)
        assert.strictEqual(recovered.success, 1, figures)
      }).pipe(Effect.scoped, Effect.provide(network)),
    120_000
  )

  it.effect(
    "forgets who has left within an hour, and knows as many as before",
    () =>
      Effect.gen(function* () {
        const swarm = yield* DhtSwarms.make(2)
        for (let count = 0; count < 150; count++) {
          const routers = count === 0 ? [] : [DhtSwarms.anyone(swarm).address]
          yield* swarm.join({ routers, suits: true })
          yield* TestClock.adjust("100 millis")
        }
        yield* TestClock.adjust("1 minute")
        for (let count = 0; count < 45; count++) yield* DhtSwarms.anyone(swarm).leave
        const before = DhtSwarms.livingShare(swarm)

        yield* TestClock.adjust("1 hour")

        const living = DhtSwarms.livingShare(swarm)
        const nodes = DhtSwarms.nodesKnown(swarm)
        const figures = JSON.stringify({ before, living, nodes })
        assert.isBelow(before, 0.8, figures)
        assert.isAtLeast(living, 0.99, figures)
        assert.isAtLeast(nodes, 20, figures)
      }).pipe(Effect.scoped, Effect.provide(network)),
    120_000
  )
})
