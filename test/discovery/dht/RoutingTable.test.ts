import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bytes from "../../../src/base/Bytes.ts"
import * as IpAddress from "../../../src/base/IpAddress.ts"
import * as PeerAddress from "../../../src/base/PeerAddress.ts"
import * as Prng from "../../../src/base/Prng.ts"
import * as NodeId from "../../../src/discovery/dht/NodeId.ts"
import type { NodeInfo } from "../../../src/discovery/dht/NodeInfo.ts"
import * as RoutingTable from "../../../src/discovery/dht/RoutingTable.ts"
import * as Subnet from "../../../src/discovery/dht/Subnet.ts"

const prng = Prng.make(7)
const own = NodeId.random(prng)
const minute = 60_000

/** A node whose id shares so many bits with ours, at a host of its own network unless one is given. */
let count = 0
const node = (
  shared: number,
  host = `${20 + (++count % 200)}.${count >>> 8}.${count & 255}.1`,
  port = 6881
): NodeInfo => ({
  id: NodeId.randomSharing(own, shared, prng),
  address: { host, port }
})

/** The same with an id that suits its host. */
const suited = (): NodeInfo => {
  while (true) {
    const { address } = node(0)
    const id = NodeId.ofAddress(IpAddress.parse(address.host)!, Prng.integer(prng, 256), prng)
    if (NodeId.sharedBits(own, id) === 0) return { id, address }
  }
}

const keys = (nodes: ReadonlyArray<NodeInfo>) => nodes.map(({ address }) => PeerAddress.format(address))

const filled = () => {
  const table = RoutingTable.make(own, 0)
  const first = Array.from({ length: 8 }, () => node(0))
  for (const info of first) RoutingTable.answered(table, info, 0)
  // So that the first bucket is split off.
  RoutingTable.answered(table, node(1), 0)
  return { table, first }
}

describe("RoutingTable", () => {
  it("splits only the bucket that holds our own id", () => {
    const { table } = filled()
    assert.strictEqual(table.buckets.length, 2)

    assert.strictEqual(RoutingTable.answered(table, node(0), 0), "waits")
    for (let index = 0; index < 8; index++) RoutingTable.answered(table, node(2), 0)

    assert.deepStrictEqual(
      table.buckets.map(({ nodes }) => nodes.length),
      [8, 1, 8]
    )
  })

  it("keeps a node that answers, however many others come, and replaces one that is bad", () => {
    const { first, table } = filled()
    const later = Array.from({ length: 12 }, () => node(0))
    for (const info of later) assert.strictEqual(RoutingTable.answered(table, info, minute), "waits")
    assert.deepStrictEqual(keys(table.buckets[0]!.nodes), keys(first))

    RoutingTable.failed(table, first[2]!.address)
    assert.deepStrictEqual(keys(table.buckets[0]!.nodes), keys(first))
    RoutingTable.failed(table, first[2]!.address)

    // The one that has come last takes the place.
    assert.deepStrictEqual(keys(table.buckets[0]!.nodes), keys([...first.filter((_, at) => at !== 2), later.at(-1)!]))
    assert.strictEqual(table.buckets[0]!.waiting.length, RoutingTable.maxWaiting - 1)
  })

  it("fault 84: has one place for a host, and one in a bucket for a network", () => {
    const table = RoutingTable.make(own, 0)

    assert.strictEqual(RoutingTable.answered(table, node(0, "20.1.1.1", 1), 0), "added")
    assert.strictEqual(RoutingTable.answered(table, node(0, "20.1.1.1", 2), 0), "refused")
    assert.strictEqual(RoutingTable.answered(table, node(5, "20.1.1.1", 3), 0), "refused")
    assert.strictEqual(RoutingTable.answered(table, node(0, "20.1.1.2"), 0), "refused")
    assert.strictEqual(RoutingTable.answered(table, node(0, "20.1.2.1"), 0), "added")
    assert.strictEqual(RoutingTable.answered(table, node(0, "2001:470:1:1::1"), 0), "added")
    assert.strictEqual(RoutingTable.answered(table, node(0, "2001:470:1:1::2"), 0), "refused")
    assert.strictEqual(RoutingTable.answered(table, node(0, "2001:470:1:2::1"), 0), "refused")
    // A local network has few hosts.
    assert.strictEqual(RoutingTable.answered(table, node(0, "127.0.0.1", 1), 0), "added")
    assert.strictEqual(RoutingTable.answered(table, node(0, "127.0.0.1", 2), 0), "added")
  })

  it("fault 84: gives the place of an id that does not suit its address to one that does", () => {
    const { first, table } = filled()
    const better = suited()

    assert.strictEqual(RoutingTable.answered(table, better, 0), "added")

    assert.include(keys(table.buckets[0]!.nodes), keys([better])[0]!)
    assert.strictEqual(table.buckets[0]!.nodes.length, 8)
    assert.strictEqual(keys(table.buckets[0]!.nodes).filter((key) => keys(first).includes(key)).length, 7)
  })

  it("takes the new id of a node that has restarted, and no id that another living node has", () => {
    const table = RoutingTable.make(own, 0)
    const [one, two] = [node(0), node(0)]
    RoutingTable.answered(table, one, 0)
    RoutingTable.answered(table, two, 0)

    const restarted = { ...node(3), address: one.address }
    assert.strictEqual(RoutingTable.answered(table, restarted, 0), "added")
    assert.strictEqual(RoutingTable.answered(table, { id: two.id, address: node(0).address }, 0), "refused")
    assert.strictEqual(RoutingTable.answered(table, { id: own, address: node(0).address }, 0), "refused")

    assert.deepStrictEqual(RoutingTable.find(table, one.address)!.id, restarted.id)
    assert.strictEqual(RoutingTable.nodes(table).length, 2)
  })

  it("counts a node as good for a quarter of an hour after it answered or asked", () => {
    const table = RoutingTable.make(own, 0)
    const info = node(0)
    RoutingTable.answered(table, info, 0)
    const known = RoutingTable.find(table, info.address)!

    assert.isTrue(RoutingTable.isGood(known, 15 * minute - 1))
    assert.isFalse(RoutingTable.isGood(known, 15 * minute))
    assert.isTrue(RoutingTable.asked(table, info, 20 * minute))
    assert.isTrue(RoutingTable.isGood(known, 21 * minute))
    // The claim of another id is no proof of life.
    assert.isFalse(RoutingTable.asked(table, { ...info, id: NodeId.random(prng) }, 40 * minute))
    assert.isFalse(RoutingTable.isGood(known, 40 * minute))
  })

  it("names the silent node to check, once a minute, and the bucket to refresh", () => {
    const { first, table } = filled()
    assert.isUndefined(RoutingTable.nextToCheck(table, 14 * minute))
    assert.isUndefined(RoutingTable.nextToRefresh(table, prng, 14 * minute))
    for (const info of first.slice(1)) RoutingTable.asked(table, info, 14 * minute)

    const checked = [15, 15.1, 15.2].map((at) => RoutingTable.nextToCheck(table, at * minute)?.address)
    const target = RoutingTable.nextToRefresh(table, prng, 15 * minute)!

    assert.deepStrictEqual(checked[0], first[0]!.address)
    assert.notDeepEqual(checked[1], first[0]!.address)
    assert.isUndefined(checked[2])
    assert.strictEqual(NodeId.sharedBits(own, target), 0)
    assert.deepStrictEqual(RoutingTable.nextToRefresh(table, prng, 15 * minute), own)
    assert.isUndefined(RoutingTable.nextToRefresh(table, prng, 15 * minute))
  })

  it("keeps its nodes when its own id changes", () => {
    const table = RoutingTable.make(own, 0)
    for (let shared = 0; shared < 20; shared++) RoutingTable.answered(table, node(shared), 0)

    const moved = RoutingTable.withOwnId(table, NodeId.random(prng), 0)

    assert.isAtLeast(RoutingTable.nodes(moved).length, 8)
    check(moved)
  })
})

/** What always holds. */
const check = (table: RoutingTable.RoutingTable): void => {
  const all: Array<string> = []
  for (const [index, { nodes, waiting }] of table.buckets.entries()) {
    assert.isAtMost(nodes.length, RoutingTable.bucketSize)
    assert.isAtMost(waiting.length, RoutingTable.maxWaiting)
    const limited = nodes.filter(({ address }) => Subnet.isLimited(address.host))
    assert.strictEqual(new Set(limited.map(({ subnet }) => subnet)).size, limited.length, "one network a bucket")
    for (const { address, id } of [...nodes, ...waiting]) {
      const shared = NodeId.sharedBits(table.id, id)
      if (index === table.buckets.length - 1) assert.isAtLeast(shared, index)
      else assert.strictEqual(shared, index)
      all.push(PeerAddress.format(address))
    }
  }
  assert.strictEqual(new Set(all).size, all.length, "each address once")
  assert.deepStrictEqual(keys([...table.entries.values()]).sort(), all.sort(), "the index is complete")
}

/** The same by a model: all nodes that are there, in one list. */
const closestByModel = (table: RoutingTable.RoutingTable, target: Uint8Array, size: number) =>
  table.buckets
    .flatMap(({ nodes }) => nodes)
    .filter(({ failures }) => failures < RoutingTable.badFailures)
    .sort((a, b) => NodeId.compare(target, a.id, b.id))
    .slice(0, size)

describe("RoutingTable against a model", () => {
  const host = fc.oneof(
    fc
      .tuple(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 1, max: 3 }))
      .map(([net, last]) => `20.0.${net}.${last}`),
    fc.integer({ min: 1, max: 5 }).map((last) => `127.0.0.${last}`)
  )
  const info = fc
    .tuple(fc.integer({ min: 0, max: 12 }), fc.nat(20), host, fc.integer({ min: 1, max: 3 }))
    .map(([shared, seed, host, port]) => ({
      id: NodeId.randomSharing(own, shared, Prng.make(seed)),
      address: { host, port }
    }))
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ act: fc.constant("answered" as const), info }) },
    { weight: 2, arbitrary: fc.record({ act: fc.constant("failed" as const), info }) },
    { weight: 1, arbitrary: fc.record({ act: fc.constant("asked" as const), info }) }
  )

  it("holds its limits after every step, and finds the closest nodes as a search of all would", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), fc.nat(12), fc.nat(), (steps, shared, seed) => {
        const table = RoutingTable.make(own, 0)
        for (const [now, { act, info }] of steps.entries()) {
          const before = RoutingTable.find(table, info.address)
          if (act === "answered") {
            const outcome = RoutingTable.answered(table, info, now)
            const isHere = RoutingTable.find(table, info.address)?.id
            assert.strictEqual(isHere !== undefined && Bytes.equals(isHere, info.id), outcome !== "refused")
          } else if (act === "failed") RoutingTable.failed(table, info.address)
          else {
            const isKnown = before !== undefined && Bytes.equals(before.id, info.id)
            assert.strictEqual(RoutingTable.asked(table, info, now), isKnown)
          }
          check(table)
        }
        const target = NodeId.randomSharing(own, shared, Prng.make(seed))
        for (const size of [1, 8, 20]) {
          assert.deepStrictEqual(
            keys(RoutingTable.closest(table, target, size)),
            keys(closestByModel(table, target, size))
          )
        }
      }),
      { numRuns: 300 }
    )
  })
})
