/**
 * Runs the lookups of a node (`Lookup.ts`), reports the peers that they find, and announces to the nodes that they end
 * at.
 */

import * as CompactPeers from "../../base/CompactPeers.ts"
import * as Naming from "../../base/Naming.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import * as PeerAddresses from "../../base/PeerAddress.ts"
import * as Random from "../../base/Prng.ts"
import * as Reach from "../../base/Reach.ts"
import * as BloomFilter from "./BloomFilter.ts"
import type * as Krpc from "./Krpc.ts"
import * as Lookup from "./Lookup.ts"
import type { NodeState, Search, Task } from "./NodeState.ts"
import * as NodeStates from "./NodeState.ts"
import * as RoutingTable from "./RoutingTable.ts"
import * as TrafficLimits from "./TrafficLimits.ts"

/** Most peers that one search reports. */
export const maxFound = 5_000

/** Most saved addresses that are asked in place of nodes that are not known. */
const maxSavedAsked = 32

/** Nodes of the table that a lookup begins with. */
const seedCount = 16

/** With fewer nodes than this in the table, saved nodes and routers are asked too. */
export const fewNodes = 8

/** Begins a search. What it finds is among the actions. */
export const begin = (self: NodeState, search: Search, now: number, isUpkeep = false): Task => {
  const nodes = RoutingTable.closest(self.table, search.target, seedCount)
  const task: Task = {
    id: self.nextTask++,
    search,
    lookup: Lookup.make({
      target: search.target,
      ownId: self.table.id,
      nodes,
      bootstrap: nodes.length < fewNodes ? bootstrapOf(self) : [],
      trustsAll: isUpkeep
    }),
    isUpkeep,
    found: new Set(),
    announceTo: undefined,
    announcing: 0,
    isHeldBack: false,
    result: {
      queries: 0,
      hops: 0,
      answered: 0,
      announced: 0,
      seeds: BloomFilter.make(),
      downloaders: BloomFilter.make(),
      scraped: 0
    }
  }
  self.tasks.set(task.id, task)
  advance(self, task, now)
  return task
}

/** Those that were suggested, as the most likely to live, and saved ones, before routers, so that these are spared. */
const bootstrapOf = (self: NodeState): ReadonlyArray<PeerAddress> => {
  const saved = [...self.saved]
  Random.shuffle(self.random, saved)
  return [...self.suggested.toReversed(), ...saved.slice(0, maxSavedAsked), ...self.routers]
}

/** Ends a search without a result. */
export const cancel = (self: NodeState, task: number): void => {
  self.tasks.delete(task)
}

/** Asks whom a search wants asked now, and ends it if it is over. */
export const advance = (self: NodeState, task: Task, now: number): void => {
  if (!self.tasks.has(task.id)) return
  task.isHeldBack = false
  if (task.announceTo === undefined) {
    if (!look(self, task, now)) return
    const closest = Lookup.closest(task.lookup, now)
    task.result.queries = task.lookup.queries
    task.result.hops = closest[0]?.hops ?? 0
    task.announceTo = task.search.announce === undefined ? [] : closest.filter(({ token }) => token !== undefined)
  }
  announce(self, task, now)
  if (task.announceTo.length > 0 || task.announcing > 0) return
  self.tasks.delete(task.id)
  if (!task.isUpkeep) self.actions.push({ _tag: "Ended", task: task.id, result: task.result })
}

/** Returns whether the lookup is over. */
const look = (self: NodeState, task: Task, now: number): boolean => {
  while (true) {
    if (Lookup.isDone(task.lookup, now)) return true
    const candidate = Lookup.next(task.lookup, now)
    if (candidate === undefined) return false
    if (!NodeStates.ask(self, candidate.address, question(self, task), { _tag: "Lookup", task, candidate }, now)) {
      task.isHeldBack = true
      return false
    }
    Lookup.sent(task.lookup, candidate, now)
  }
}

const question = ({ family, sibling }: NodeState, { search }: Task): Krpc.Question => {
  const { noSeeds = false, scrape = false, target, wantsPeers } = search
  // While the other node knows few, this one asks for it too (BEP 32).
  const helps = sibling !== undefined && needsHelp(sibling)
  const want = helps ? CompactPeers.families : family === "ipv6" ? [family] : []
  return wantsPeers ? { _tag: "get_peers", target, want, noSeeds, scrape } : { _tag: "find_node", target, want }
}

/** Queries without any answer after which a node seems to have no connection to its family of addresses. */
const triesToConnect = 32

const needsHelp = ({ counts, isOpen, table }: NodeState): boolean =>
  isOpen && RoutingTable.size(table) < fewNodes && (counts.answersReceived > 0 || counts.queriesSent < triesToConnect)

const announce = (self: NodeState, task: Task, now: number): void => {
  const { announceTo, search } = task
  while (announceTo !== undefined && announceTo.length > 0) {
    const { address, token } = announceTo[0]!
    const { impliedPort = false, isSeed = false, port } = search.announce!
    const question: Krpc.Question = {
      _tag: "announce_peer",
      target: search.target,
      port,
      impliedPort,
      isSeed,
      token: token!
    }
    if (!NodeStates.ask(self, address, question, { _tag: "Announce", task }, now)) {
      task.isHeldBack = true
      return
    }
    announceTo.shift()
    task.announcing++
  }
}

/** A node that a lookup asked has answered. */
export const answered = (
  self: NodeState,
  task: Task,
  candidate: Lookup.Candidate,
  response: Krpc.Response,
  now: number
): void => {
  const { address } = candidate
  task.result.answered++
  const reach = Reach.of(address.host)
  const nodes = response.nodes.filter((node) => Naming.mayName(reach, node.address) && !self.isOwnNode(node.address))
  const isOurs = ({ address }: { readonly address: PeerAddress }) =>
    address.host.includes(":") === (self.family === "ipv6")
  Lookup.answered(task.lookup, candidate, { id: response.id, token: response.token, nodes: nodes.filter(isOurs) })
  const others = nodes.filter((node) => !isOurs(node))
  if (others.length > 0) self.actions.push({ _tag: "Named", nodes: others.slice(0, Lookup.maxContributed) })
  if (response.filters !== undefined && task.search.scrape === true) {
    BloomFilter.addAll(task.result.seeds, response.filters.seeds)
    BloomFilter.addAll(task.result.downloaders, response.filters.downloaders)
    task.result.scraped++
  }
  report(self, task, address, response.peers)
  advance(self, task, now)
}

const report = (self: NodeState, task: Task, from: PeerAddress, peers: ReadonlyArray<PeerAddress>): void => {
  if (!task.search.wantsPeers || !self.tasks.has(task.id)) return
  const reach = Reach.of(from.host)
  const fresh: Array<PeerAddress> = []
  for (const peer of peers) {
    const key = PeerAddresses.format(peer)
    if (task.found.size >= maxFound || task.found.has(key) || !Naming.mayName(reach, peer)) continue
    task.found.add(key)
    fresh.push(peer)
  }
  if (fresh.length > 0) self.actions.push({ _tag: "Found", task: task.id, peers: fresh, from })
}

/** A node that a lookup asked has not answered, or not as it should. */
export const failed = (self: NodeState, task: Task, candidate: Lookup.Candidate, now: number): void => {
  Lookup.failed(task.lookup, candidate)
  advance(self, task, now)
}

/** A node has taken an announce, or has not. */
export const announced = (self: NodeState, task: Task, isTaken: boolean, now: number): void => {
  task.announcing--
  if (isTaken) task.result.announced++
  advance(self, task, now)
}

/** When a search needs attention, in milliseconds; `Infinity` if only answers and timeouts move it. */
export const nextAt = (self: NodeState, task: Task, now: number): number => {
  if (task.isHeldBack) return now + Math.max(20, TrafficLimits.waitToAsk(self.traffic, now))
  return task.announceTo === undefined ? Lookup.nextAt(task.lookup, now) : Number.POSITIVE_INFINITY
}
