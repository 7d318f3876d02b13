/**
 * The nodes that a node knows (BEP 5, "Routing Table"): many near its own id, and few far away. Every node in it has
 * answered at least once, so a forged sender cannot enter.
 *
 * Against whoever wants to surround a node with his own: a host has one place in the table, a network (`Subnet.ts`) one
 * place in a bucket, and an id that suits its address (BEP 42) takes the place of one that does not. A node that
 * answers is never replaced otherwise, so to come early is worth more than to come often.
 *
 * Pure, with one owner. Time is in milliseconds.
 */

import * as Bytes from "../../base/Bytes.ts"
import * as IpAddress from "../../base/IpAddress.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import * as PeerAddresses from "../../base/PeerAddress.ts"
import type { Prng } from "../../base/Prng.ts"
import type { NodeId } from "./NodeId.ts"
import * as NodeIds from "./NodeId.ts"
import type { NodeInfo } from "./NodeInfo.ts"
import * as Subnet from "./Subnet.ts"

/** Nodes in a bucket, and nodes that know a peer (K of BEP 5). */
export const bucketSize = 8

/** Nodes that wait for a place in a bucket. A further one replaces the one that has waited longest. */
export const maxWaiting = 8

/** How long an answer or a query makes a node good, and how long a bucket may be left alone (BEP 5), milliseconds. */
export const freshMillis = 900_000

/** From this many queries without an answer on, in a row, a node is bad. */
export const badFailures = 2

/** After this many it is forgotten, even if no other wants its place. */
export const maxFailures = 5

/** A node of the table. */
export interface Node extends NodeInfo {
  readonly suits: boolean
  readonly subnet: string
  /** When it answered last, asked us last, and was asked by us last to see whether it is there. */
  answeredAt: number
  askedUsAt: number
  checkedAt: number
  /** Queries without an answer since it answered last. */
  failures: number
}

/** The nodes whose ids share a number of bits with ours: its index; at least that many in the last bucket. */
interface Bucket {
  readonly nodes: Array<Node>
  /** Those that wait, the latest last. */
  readonly waiting: Array<Node>
  /** When a node of it answered last, or was looked for. */
  changedAt: number
}

/** A routing table. */
export interface RoutingTable {
  readonly id: NodeId
  readonly buckets: Array<Bucket>
  /** Every node, those that wait included, by `keyOf`. */
  readonly entries: Map<string, Node>
}

/** Makes the empty table of the node with this id. */
export const make = (id: NodeId, now: number): RoutingTable => ({
  id,
  buckets: [{ nodes: [], waiting: [], changedAt: now }],
  entries: new Map()
})

/** Where a node has its one place: by its host, or by its address where hosts are not limited. */
const keyOf = (address: PeerAddress): string =>
  Subnet.isLimited(address.host) ? IpAddress.network(address.host) : PeerAddresses.format(address)

/** The index of the bucket for an id. */
const indexOf = (self: RoutingTable, id: Uint8Array): number =>
  Math.min(NodeIds.sharedBits(self.id, id), self.buckets.length - 1)

const bucketOf = (self: RoutingTable, id: Uint8Array): Bucket => self.buckets[indexOf(self, id)]!

/** Whether a node is good (BEP 5): alive lately. */
export const isGood = (node: Node, now: number): boolean =>
  node.failures === 0 && now - Math.max(node.answeredAt, node.askedUsAt) < freshMillis

/** Whether a node is bad: it is not named to others. */
export const isBad = (node: Node): boolean => node.failures >= badFailures

/** The node at an address; `undefined` if it is not here. */
export const find = (self: RoutingTable, address: PeerAddress): Node | undefined => {
  const node = self.entries.get(keyOf(address))
  return node !== undefined && PeerAddresses.equals(node.address, address) ? node : undefined
}

/** What became of a node that answered. */
export type Outcome = "kept" | "added" | "waits" | "refused"

/** A node has answered us. It must have been asked at this address. */
export const answered = (self: RoutingTable, info: NodeInfo, now: number): Outcome => {
  if (Bytes.equals(info.id, self.id)) return "refused"
  const known = self.entries.get(keyOf(info.address))
  if (known !== undefined) {
    const isSameAddress = PeerAddresses.equals(known.address, info.address)
    if (isSameAddress && Bytes.equals(known.id, info.id)) {
      known.answeredAt = now
      known.failures = 0
      bucketOf(self, known.id).changedAt = now
      return "kept"
    }
    // Another id at the same address: it has restarted. Another port of the same host waits until this one is bad.
    if (!isSameAddress && !isBad(known)) return "refused"
    remove(self, known)
  }
  const rival = withId(self, info.id)
  if (rival !== undefined) {
    if (!isBad(rival)) return "refused"
    remove(self, rival)
  }
  const { address, id } = info
  return insert(self, {
    id,
    address,
    suits: NodeIds.suits(id, address.host),
    subnet: Subnet.of(address.host),
    answeredAt: now,
    askedUsAt: Number.NEGATIVE_INFINITY,
    checkedAt: Number.NEGATIVE_INFINITY,
    failures: 0
  })
}

const withId = (self: RoutingTable, id: Uint8Array): Node | undefined => {
  const { nodes, waiting } = bucketOf(self, id)
  const isIt = (node: Node) => Bytes.equals(node.id, id)
  return nodes.find(isIt) ?? waiting.find(isIt)
}

const insert = (self: RoutingTable, node: Node): Outcome => {
  while (true) {
    const bucket = bucketOf(self, node.id)
    if (hasNeighbour(bucket.nodes, node)) return "refused"
    if (bucket.nodes.length < bucketSize) {
      place(self, bucket, node)
      return "added"
    }
    if (canSplit(self, bucket)) {
      split(self)
      continue
    }
    const victim = bucket.nodes.find(isBad) ?? (node.suits ? bucket.nodes.find(({ suits }) => !suits) : undefined)
    if (victim !== undefined) {
      remove(self, victim, false)
      place(self, bucket, node)
      return "added"
    }
    if (bucket.waiting.length >= maxWaiting) self.entries.delete(keyOf(bucket.waiting.shift()!.address))
    bucket.waiting.push(node)
    self.entries.set(keyOf(node.address), node)
    return "waits"
  }
}

const place = (self: RoutingTable, bucket: Bucket, node: Node): void => {
  bucket.nodes.push(node)
  bucket.changedAt = Math.max(bucket.changedAt, node.answeredAt)
  self.entries.set(keyOf(node.address), node)
}

const hasNeighbour = (nodes: ReadonlyArray<Node>, node: Node): boolean =>
  nodes.some(({ subnet }) => subnet === node.subnet) && Subnet.isLimited(node.address.host)

const canSplit = (self: RoutingTable, bucket: Bucket): boolean =>
  bucket === self.buckets.at(-1) && self.buckets.length < NodeIds.bits

/** Divides the last bucket: those that share one bit more with us get a bucket of their own. */
const split = (self: RoutingTable): void => {
  const last = self.buckets.length - 1
  const { changedAt, nodes, waiting } = self.buckets[last]!
  const isNear = (node: Node) => NodeIds.sharedBits(self.id, node.id) > last
  self.buckets[last] = {
    nodes: nodes.filter((node) => !isNear(node)),
    waiting: waiting.filter((node) => !isNear(node)),
    changedAt
  }
  self.buckets.push({ nodes: nodes.filter(isNear), waiting: waiting.filter(isNear), changedAt })
}

/** Removes a node, and lets the best of those that wait take its place. */
const remove = (self: RoutingTable, node: Node, replace = true): void => {
  const bucket = bucketOf(self, node.id)
  self.entries.delete(keyOf(node.address))
  const waits = bucket.waiting.indexOf(node)
  if (waits >= 0) {
    bucket.waiting.splice(waits, 1)
    return
  }
  bucket.nodes.splice(bucket.nodes.indexOf(node), 1)
  if (!replace) return
  const next = replacement(bucket)
  if (next === undefined) return
  bucket.waiting.splice(bucket.waiting.indexOf(next), 1)
  bucket.nodes.push(next)
}

/** The latest of those that wait, before it those whose id suits, without neighbours of the nodes of the bucket. */
const replacement = ({ nodes, waiting }: Bucket): Node | undefined => {
  const able = waiting.filter((node) => !isBad(node) && !hasNeighbour(nodes, node))
  return able.findLast(({ suits }) => suits) ?? able.at(-1)
}

/** A node has asked us something. Returns whether it is known. */
export const asked = (self: RoutingTable, { address, id }: NodeInfo, now: number): boolean => {
  const node = find(self, address)
  if (node === undefined || !Bytes.equals(node.id, id)) return false
  node.askedUsAt = now
  return true
}

/** Whether a node that is not known might get a place, so that asking it is of use. */
export const wouldTake = (self: RoutingTable, { address, id }: NodeInfo): boolean => {
  const known = self.entries.get(keyOf(address))
  if (known !== undefined) return isBad(known) || PeerAddresses.equals(known.address, address)
  const bucket = bucketOf(self, id)
  return (
    bucket.nodes.length < bucketSize ||
    bucket.waiting.length < maxWaiting ||
    canSplit(self, bucket) ||
    bucket.nodes.some((node) => isBad(node) || !node.suits)
  )
}

/** The node at an address has not answered. */
export const failed = (self: RoutingTable, address: PeerAddress): void => {
  const node = find(self, address)
  if (node === undefined) return
  node.failures++
  if (!isBad(node)) return
  const bucket = bucketOf(self, node.id)
  if (node.failures >= maxFailures || !bucket.nodes.includes(node) || replacement(bucket) !== undefined) {
    remove(self, node)
  }
}

/** The `count` nodes closest to a target, closest first, without bad ones. */
export const closest = (self: RoutingTable, target: Uint8Array, count = bucketSize): ReadonlyArray<Node> => {
  const found: Array<Node> = []
  const collect = (indexes: ReadonlyArray<number>): boolean => {
    const group = indexes.flatMap((index) => self.buckets[index]!.nodes.filter((node) => !isBad(node)))
    group.sort((a, b) => NodeIds.compare(target, a.id, b.id))
    found.push(...group)
    return found.length >= count
  }
  const own = indexOf(self, target)
  const last = self.buckets.length - 1
  // The nodes of its own bucket share more bits with the target than those of the buckets behind it, which share as
  // many as we do, and those more than the nodes of each bucket before it.
  if (collect([own])) return found.slice(0, count)
  if (own < last && collect(Array.from({ length: last - own }, (_, index) => own + 1 + index))) {
    return found.slice(0, count)
  }
  for (let index = own - 1; index >= 0; index--) if (collect([index])) break
  return found.slice(0, count)
}

/** The node that has been silent for longest and should be asked whether it is there; it is marked as asked. */
export const nextToCheck = (self: RoutingTable, now: number): Node | undefined => {
  let oldest: Node | undefined
  for (const { nodes } of self.buckets) {
    for (const node of nodes) {
      const rest = isBad(node) ? freshMillis / 3 : freshMillis / 15
      if (isGood(node, now) || now - node.checkedAt < rest) continue
      if (oldest === undefined || node.answeredAt < oldest.answeredAt) oldest = node
    }
  }
  if (oldest !== undefined) oldest.checkedAt = now
  return oldest
}

/** An id to look for, in a bucket in which nothing has changed for long, which counts as changed then. */
export const nextToRefresh = (self: RoutingTable, random: Prng, now: number): NodeId | undefined => {
  for (const [index, bucket] of self.buckets.entries()) {
    if (now - bucket.changedAt < freshMillis) continue
    bucket.changedAt = now
    // The last bucket holds what is around us: there, our own place is looked for.
    return index === self.buckets.length - 1 ? self.id : NodeIds.randomSharing(self.id, index, random)
  }
  return undefined
}

/** How many nodes have a place. */
export const size = (self: RoutingTable): number => {
  let count = 0
  for (const { nodes } of self.buckets) count += nodes.length
  return count
}

/** All nodes that have a place. */
export const nodes = (self: RoutingTable): ReadonlyArray<Node> => self.buckets.flatMap(({ nodes }) => nodes)

/** How many nodes there are of each kind. */
export const count = (self: RoutingTable, now: number) => {
  const all = nodes(self)
  return {
    nodes: all.filter((node) => !isBad(node)).length,
    good: all.filter((node) => isGood(node, now)).length,
    waiting: self.buckets.reduce((sum, { waiting }) => sum + waiting.length, 0),
    buckets: self.buckets.length
  }
}

/** The table of a node that gets another id, with the same nodes where there is room for them. */
export const withOwnId = (self: RoutingTable, id: NodeId, now: number): RoutingTable => {
  const table = make(id, now)
  for (const { nodes, waiting } of self.buckets) {
    for (const node of [...nodes, ...waiting]) if (!Bytes.equals(node.id, id)) insert(table, node)
  }
  return table
}
