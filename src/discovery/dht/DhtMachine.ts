/**
 * A node of the DHT (BEP 5) for one family of addresses, as a machine: datagrams and time go in, actions come out. It
 * does no I/O and holds no timer, so thousands run in one simulation. `DhtNode.ts` puts it over a socket.
 *
 * Every function returns the actions that follow; they must be performed in order. Time is in milliseconds and never
 * goes back.
 */

import * as Result from "effect/Result"
import * as Bytes from "../../base/Bytes.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import * as PeerAddresses from "../../base/PeerAddress.ts"
import * as Reach from "../../base/Reach.ts"
import type { FamilyStatus } from "./DhtStatus.ts"
import * as DhtStore from "./DhtStore.ts"
import * as ExternalAddress from "./ExternalAddress.ts"
import * as Krpc from "./Krpc.ts"
import * as Lookup from "./Lookup.ts"
import type { NodeInfo } from "./NodeInfo.ts"
import type { Action, NodeState, Options, Pending, Search } from "./NodeState.ts"
import * as NodeStates from "./NodeState.ts"
import * as Reachability from "./Reachability.ts"
import * as Responder from "./Responder.ts"
import * as RoutingTable from "./RoutingTable.ts"
import * as Searches from "./Searches.ts"
import * as TrafficLimits from "./TrafficLimits.ts"
import * as Transactions from "./Transactions.ts"
import * as Upkeep from "./Upkeep.ts"

/** A node. */
export type DhtMachine = NodeState

/** Makes a node that knows no other. */
export const make = (options: Options): DhtMachine => NodeStates.make(options)

/** Actions in order. */
export type Actions = ReadonlyArray<Action>

const takeActions = (self: DhtMachine): Actions => {
  const { actions } = self
  if (actions.length > 0) self.actions = []
  return actions
}

/** A datagram has come. `payload` is not kept. */
export const receive = (self: DhtMachine, payload: Uint8Array, from: PeerAddress, now: number): Actions => {
  self.counts.bytesReceived += payload.length
  if (self.isOwnNode(from)) return takeActions(self)
  if (!TrafficLimits.mayRead(self.traffic, from, now)) {
    self.counts.limited++
    return takeActions(self)
  }
  const decoded = Krpc.decode(payload)
  if (Result.isFailure(decoded) || from.port === 0) {
    self.counts.malformed++
    return takeActions(self)
  }
  self.schedule.heard = now
  const message = decoded.success
  if (message._tag === "Query") Responder.query(self, message, from, now)
  else settle(self, message, from, now)
  return takeActions(self)
}

/** An answer has come. */
const settle = (self: DhtMachine, message: Krpc.Response | Krpc.Failure, from: PeerAddress, now: number): void => {
  const pending = Transactions.end(self.transactions, message.transaction, from)
  if (pending === undefined) {
    self.counts.unasked++
    return
  }
  self.counts.answersReceived++
  if (message._tag === "Failure") return giveUp(self, pending, now)
  if (Bytes.equals(message.id, self.table.id)) return giveUp(self, pending, now)
  const outcome = RoutingTable.answered(self.table, { id: message.id, address: from }, now)
  if (outcome === "added") Upkeep.added(self, now)
  vote(self, message, from)
  const { purpose } = pending
  if (purpose._tag === "Lookup") Searches.answered(self, purpose.task, purpose.candidate, message, now)
  else if (purpose._tag === "Announce") Searches.announced(self, purpose.task, true, now)
}

/** Only hosts that are public know our public address. */
const vote = (self: DhtMachine, { seen }: Krpc.Response, from: PeerAddress): void => {
  if (seen === undefined || seen.host.includes(":") !== (self.family === "ipv6")) return
  if (Reach.of(from.host) !== "public" || Reach.of(seen.host) !== "public") return
  ExternalAddress.vote(self.external, from.host, seen.host)
}

/** What was asked is not answered as it should be. */
const giveUp = (self: DhtMachine, { purpose }: Pending, now: number): void => {
  if (purpose._tag === "Lookup") Searches.failed(self, purpose.task, purpose.candidate, now)
  else if (purpose._tag === "Announce") Searches.announced(self, purpose.task, false, now)
}

/** Does what is due at `now`. */
export const tick = (self: DhtMachine, now: number): Actions => {
  for (const pending of Transactions.expire(self.transactions, now)) {
    self.counts.queriesUnanswered++
    // While nothing comes from anybody, we are cut off, and the nodes are not to blame.
    if (self.schedule.heard > pending.sentAt) RoutingTable.failed(self.table, pending.address)
    giveUp(self, pending, now)
  }
  for (const task of [...self.tasks.values()]) Searches.advance(self, task, now)
  Upkeep.run(self, now)
  return takeActions(self)
}

/** When `tick` is to be called next. */
export const nextAt = (self: DhtMachine, now: number): number => {
  let next = Math.min(self.schedule.next, Transactions.nextAt(self.transactions))
  for (const task of self.tasks.values()) next = Math.min(next, Searches.nextAt(self, task, now))
  return next
}

/** Begins a search. Its `Found` and `Ended` have the task's number. */
export const search = (
  self: DhtMachine,
  search: Search,
  now: number
): { readonly task: number; readonly actions: Actions } => {
  const task = Searches.begin(self, search, now)
  return { task: task.id, actions: takeActions(self) }
}

/** Ends a search without a result. */
export const cancel = (self: DhtMachine, task: number): void => Searches.cancel(self, task)

/** Most suggested addresses that are remembered: the latest. */
export const maxSuggested = 20

/**
 * Asks a node at an address, and takes it into the table if it answers. A known one is not asked. If there is no socket,
 * or if few nodes are known and it does not answer, it is asked again later.
 */
export const suggest = (self: DhtMachine, address: PeerAddress, now: number): Actions => {
  if (RoutingTable.find(self.table, address) !== undefined || self.isOwnNode(address)) return takeActions(self)
  if (!self.isOpen || knowsFew(self)) {
    const known = self.suggested.findIndex((other) => PeerAddresses.equals(other, address))
    if (known >= 0 || self.suggested.length >= maxSuggested) self.suggested.splice(Math.max(known, 0), 1)
    self.suggested.push(address)
  }
  if (self.isOpen) Upkeep.check(self, address, now)
  return takeActions(self)
}

/** The node of the other family was told of these nodes; they are asked while this one knows few. */
export const named = (self: DhtMachine, nodes: ReadonlyArray<NodeInfo>, now: number): Actions => {
  for (const { address } of nodes) {
    if (!knowsFew(self) || now < self.schedule.consider) break
    if (RoutingTable.find(self.table, address) !== undefined) continue
    self.schedule.consider = now + Responder.considerMillis
    Upkeep.check(self, address, now)
  }
  return takeActions(self)
}

/** There is a socket (again). */
export const opened = (self: DhtMachine, now: number): Actions => {
  self.isOpen = true
  // While few are known, the search for our place asks the suggested ones.
  if (!knowsFew(self)) {
    for (const address of self.suggested.splice(0)) {
      if (RoutingTable.find(self.table, address) === undefined) Upkeep.check(self, address, now)
    }
  }
  Upkeep.joinSoon(self, now)
  return takeActions(self)
}

/** There is no socket any more. */
export const closed = (self: DhtMachine): void => {
  self.isOpen = false
}

/** Whether so few nodes are known that saved ones and routers are asked. */
export const knowsFew = (self: DhtMachine): boolean => RoutingTable.size(self.table) < Searches.fewNodes

/**
 * Sets the routers, which are asked while few nodes are known, also by searches in progress, and joins if there is a
 * socket.
 */
export const bootstrap = (self: DhtMachine, routers: ReadonlyArray<PeerAddress>, now: number): Actions => {
  self.routers = routers
  if (!self.isOpen) return takeActions(self)
  if (knowsFew(self)) {
    for (const { lookup } of self.tasks.values()) for (const router of routers) Lookup.suggest(lookup, router)
  }
  Upkeep.joinSoon(self, now)
  return tick(self, now)
}

/** What to remember for the next run: those that were there before too, while few are known. */
export const save = (
  self: DhtMachine,
  now: number
): { readonly id: string; readonly nodes: ReadonlyArray<PeerAddress> } => {
  const nodes = [...RoutingTable.nodes(self.table)].filter((node) => !RoutingTable.isBad(node))
  nodes.sort(
    (a, b) => Number(RoutingTable.isGood(b, now)) - Number(RoutingTable.isGood(a, now)) || b.answeredAt - a.answeredAt
  )
  const addresses = nodes.map(({ address }) => address)
  const others =
    addresses.length < Searches.fewNodes
      ? self.saved.filter((address) => RoutingTable.find(self.table, address) === undefined)
      : []
  return { id: Bytes.toHex(self.table.id), nodes: [...addresses, ...others].slice(0, DhtStore.maxSavedNodes) }
}

/** What is reported of the node, apart from its socket. */
export const status = (self: DhtMachine, now: number): Omit<FamilyStatus, "local"> => {
  const { buckets, good, nodes, waiting } = RoutingTable.count(self.table, now)
  const externalHost = ExternalAddress.agreed(self.external)
  const isReachable = self.isReadOnly ? undefined : Reachability.isReachable(self.reachability, now)
  return {
    id: Bytes.toHex(self.table.id),
    nodes,
    goodNodes: good,
    replacements: waiting,
    buckets,
    lookups: self.tasks.size,
    storedHashes: self.peers.hashes.size,
    storedPeers: self.peers.peers,
    ...(externalHost === undefined ? {} : { externalHost }),
    ...(isReachable === undefined ? {} : { isReachable }),
    traffic: { ...self.counts }
  }
}
