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
const joinsPerSecond = 20

/** Makes a swarm: each node knows four of those before it at first; one of ten has an id that does not suit it. */
const grow = Effect.fnUntraced(function* (seed: number) {
  const swarm = yield* DhtSwarms.make(seed)
  for (let count = 0; count < nodeCount; count++) {
    const routers = count === 0 ? [] : Array.from({ length: 4 }, () => DhtSwarms.anyone(swarm).address)
    yield* swarm.join({ routers, suits: count % 10 !== 9 })
    if (count % joinsPerSecond === 0) yield* TestClock.adjust("1 second")
  }
  yield* TestClock.adjust("1 minute")
  return swarm
})

/** Announces as many torrents as wanted, each from one node, which are returned with their hashes. */
const announce = Effect.fnUntraced(function* (swarm: DhtSwarm, hashes: ReadonlyArray<NodeId.NodeId>) {
  const announced: Array<{ readonly target: NodeId.NodeId; readonly peer: PeerAddress; readonly ended: Ended }> = []
  for (const target of hashes) {
    const member = DhtSwarms.anyone(swarm)
    const peer = { host: member.address.host, port: 7000 }
    member.search({ target, wantsPeers: true, announce: { port: 7000 } }, (ended) =>
      announced.push({ target, peer, ended })
    )
  }
  yield* TestClock.adjust("1 minute")
  return announced
})

/** Looks for each torrent from other nodes, and returns the figures. */
const look = Effect.fnUntraced(function* (
  swarm: DhtSwarm,
  announced: ReadonlyArray<{ readonly target: NodeId.NodeId; readonly peer: PeerAddress }>
) {
  const found: Array<{ readonly isFound: boolean; readonly ended: Ended }> = []
  for (const { peer, target } of announced) {
    DhtSwarms.anyone(swarm).search({ target, wantsPeers: true }, (ended) =>
      found.push({ isFound: DhtSwarms.hasFound(ended, peer), ended })
    )
  }
  yield* TestClock.adjust("1 minute")
  assert.strictEqual(found.length, announced.length, "every lookup ends")
  return {
    success: found.filter(({ isFound }) => isFound).length / found.length,
    hops: DhtSwarms.median(found.map(({ ended }) => ended.result.hops)),
    queries: DhtSwarms.median(found.map(({ ended }) => ended.result.queries)),
    mostQueries: Math.max(...found.map(({ ended }) => ended.result.queries))
  }
})

const hashesOf = (swarm: DhtSwarm, count: number) => Array.from({ length: count }, () => NodeId.random(swarm.random))

const network = MemoryUdpNetwork.layer({ seed: 1, latency: "50 millis", lossRate: 0.01 })

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
  let asked = 0
  for (const { address, id } of attackers) {
    const socket = yield* swarm.bind(address)
    const nodes = NodeInfo.encode(
      Array.from({ length: 8 }, () => attackers[Prng.integer(swarm.random, attackers.length)]!),
      "ipv4"
    )
    socket.receiveUnsafe((payload, from) => {
      const message = Result.getOrThrow(Krpc.decode(payload))
      if (message._tag !== "Query") return
      if (message.question?._tag === "get_peers") asked++
      // It names only its own, and forgets what is announced to it.
      const token = Uint8Array.of(1)
      socket.sendUnsafe(Krpc.encodeResponse({ transaction: message.transaction, id, seen: from, nodes, token }), from)
    })
    // It asks the nodes around the target, so that they take it into their tables.
    const around = [...swarm.members]
      .sort((a, b) => NodeId.compare(target, a.machine.table.id, b.machine.table.id))
      .slice(0, 200)
    for (const member of around) {
      const transaction = Uint8Array.of(1, 2)
      const question = { _tag: "find_node", target, want: [] } as const
      socket.sendUnsafe(Krpc.encodeQuery({ transaction, id, isReadOnly: false, question }), member.address)
    }
  }
  yield* TestClock.adjust("30 seconds")
  return { attackers, asked: () => asked }
})

/** How many attackers are in a table. */
const attackersIn = (member: Member, attackers: ReadonlyArray<NodeInfo.NodeInfo>): number => {
  const addresses = new Set(attackers.map(({ address }) => PeerAddresses.format(address)))
  return member.machine.table.buckets
    .flatMap(({ nodes }) => nodes)
    .filter(({ address }) => addresses.has(PeerAddresses.format(address))).length
}

describe("a DHT of 2,000 nodes", () => {
  it.effect(
    "finds what is announced, also after 30 % of the nodes have left, and around an attacker (fault 84)",
    () =>
      Effect.gen(function* () {
        const began = performance.now()
        const swarm = yield* grow(1)
        const grown = performance.now()

        const announced = yield* announce(swarm, hashesOf(swarm, 200))
        const calm = yield* look(swarm, announced)

        const hash = NodeId.random(swarm.random)
        const attacked = yield* attack(swarm, hash)
        const hidden = yield* announce(
          swarm,
          Array.from({ length: 30 }, () => hash)
        )
        const eclipse = yield* look(swarm, hidden)
        const most = Math.max(...swarm.members.map((member) => attackersIn(member, attacked.attackers)))

        for (let count = 0; count < nodeCount * 0.3; count++) yield* DhtSwarms.anyone(swarm).leave
        const left = yield* look(swarm, announced)
        const again = yield* announce(swarm, hashesOf(swarm, 100))
        const recovered = yield* look(swarm, again)
        const figures = {
          calm,
          announced: DhtSwarms.median(announced.map(({ ended }) => ended.result.announced)),
          eclipse,
          asked: attacked.asked(),
          most,
          left,
          recovered,
          living: DhtSwarms.livingShare(swarm),
          seconds: [grown - began, performance.now() - grown]
        }
        console.log(JSON.stringify(figures, undefined, 1))

        assert.isAtLeast(calm.success, 0.99)
        assert.isAtMost(calm.hops, 5)
        assert.isAtMost(calm.queries, 40)
        assert.isAtLeast(left.success, 0.95)
        assert.isAtLeast(recovered.success, 0.99)
        assert.isAtLeast(eclipse.success, 0.95)
        assert.isAbove(attacked.asked(), 0)
      }).pipe(Effect.scoped, Effect.provide(network)),
    120_000
  )
})
