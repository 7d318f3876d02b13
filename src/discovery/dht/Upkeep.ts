/**
 * Keeps a node going: joins the DHT, refreshes the routing table, checks silent nodes, forgets old peers, and changes the
 * id when our address does. Little is done at a time, so a node at rest sends a query every few seconds.
 */
import * as IpAddress from "../../base/IpAddress.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import * as Random from "../../base/Prng.ts"
import * as ExternalAddress from "./ExternalAddress.ts"
import * as NodeIds from "./NodeId.ts"
import type { NodeState } from "./NodeState.ts"
import * as NodeStates from "./NodeState.ts"
import * as PeerStore from "./PeerStore.ts"
import * as RoutingTable from "./RoutingTable.ts"
import * as Searches from "./Searches.ts"

/** How often there is upkeep, in milliseconds. A full table of 120 nodes is checked within a quarter of an hour. */
export const periodMillis = 6_000

/** How long to wait after a try to join that found few nodes: twice as long each time, up to `maxBootstrapWait`. */
export const minBootstrapWait = 5_000
export const maxBootstrapWait = 600_000

/** How often peers that were announced too long ago are forgotten. */
const expirePeriod = 60_000

/** How long an id is kept at least, so that nobody can make us move all the time. */
export const idLifetime = 600_000

/** Does what is due. */
export const run = (self: NodeState, now: number): void => {
  const { schedule } = self
  if (now < schedule.next) return
  schedule.next = now + periodMillis
  if (now >= schedule.expire) {
    schedule.expire = now + expirePeriod
    PeerStore.expire(self.peers, now)
  }
  move(self, now)
  meet(self, now)
  const isBusy = [...self.tasks.values()].some(({ isUpkeep }) => isUpkeep)
  if (isBusy) return
  if (RoutingTable.size(self.table) < Searches.fewNodes) join(self, now)
  else {
    schedule.bootstrapWait = 0
    self.suggested.length = 0
    const target = RoutingTable.nextToRefresh(self.table, self.random, now)
    if (target !== undefined) Searches.begin(self, { target, wantsPeers: false }, now, true)
  }
  const silent = RoutingTable.nextToCheck(self.table, now)
  if (silent !== undefined) check(self, silent.address, now)
}

/** How many of those that asked us are asked in turn at once. */
const maxMet = 4

const meet = (self: NodeState, now: number): void => {
  for (const node of self.strangers.splice(0, maxMet)) {
    const isKnown = RoutingTable.find(self.table, node.address) !== undefined
    if (!isKnown && RoutingTable.wouldTake(self.table, node)) check(self, node.address, now)
  }
}

/** Looks for our own id, which fills the table with what is on the way and around us. */
const join = (self: NodeState, now: number): void => {
  const { schedule } = self
  const { routers, saved, suggested, table } = self
  const knowsAny = RoutingTable.size(table) + saved.length + routers.length + suggested.length > 0
  if (now < schedule.bootstrap || !knowsAny) return
  schedule.bootstrapWait = Math.min(maxBootstrapWait, Math.max(minBootstrapWait, schedule.bootstrapWait * 2))
  schedule.bootstrap = now + schedule.bootstrapWait
  Searches.begin(self, { target: self.table.id, wantsPeers: false }, now, true)
}

/** A node was added to the table. While few are known it may know others, so the wait for the next try begins anew. */
export const added = (self: NodeState, now: number): void => {
  const { schedule } = self
  if (RoutingTable.size(self.table) >= Searches.fewNodes) return
  schedule.bootstrapWait = 0
  schedule.bootstrap = Math.min(schedule.bootstrap, now + minBootstrapWait)
}

/** Joins at once: there is something new to ask. */
export const joinSoon = (self: NodeState, now: number): void => {
  self.schedule.bootstrap = now
  self.schedule.next = now
}

/** Asks a node whether it is there. */
export const check = (self: NodeState, address: PeerAddress, now: number): boolean =>
  NodeStates.ask(self, address, { _tag: "ping" }, { _tag: "Check" }, now)

/** Takes an id that suits our address (BEP 42), once nodes agree on it. */
const move = (self: NodeState, now: number): void => {
  if (self.isIdFixed || now - self.schedule.idChanged < idLifetime) return
  const host = ExternalAddress.agreed(self.external)
  if (host === undefined || NodeIds.suits(self.table.id, host)) return
  const ip = IpAddress.parse(host)
  if (ip === undefined || (ip.length === 16) !== (self.family === "ipv6")) return
  self.schedule.idChanged = now
  const id = NodeIds.ofAddress(ip, Random.integer(self.random, 256), self.random)
  self.table = RoutingTable.withOwnId(self.table, id, now)
  // The nodes around the new place.
  Searches.begin(self, { target: id, wantsPeers: false }, now, true)
}
