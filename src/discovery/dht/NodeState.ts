/**
 * The state of a node of the DHT for one family of addresses, and what it wants done: datagrams to send, and what
 * lookups have found. The shell that owns it performs the actions. `DhtMachine.ts` has the events.
 */
import type * as CompactPeers from "../../base/CompactPeers.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import type { Prng } from "../../base/Prng.ts"
import type { DhtLimits } from "./DhtLimits.ts"
import * as ExternalAddress from "./ExternalAddress.ts"
import * as Krpc from "./Krpc.ts"
import type * as Lookup from "./Lookup.ts"
import type { NodeId } from "./NodeId.ts"
import type { NodeInfo } from "./NodeInfo.ts"
import * as PeerStore from "./PeerStore.ts"
import * as Reachability from "./Reachability.ts"
import * as RoutingTable from "./RoutingTable.ts"
import * as Tokens from "./Tokens.ts"
import * as TrafficLimits from "./TrafficLimits.ts"
import * as Transactions from "./Transactions.ts"

/** What a search is for. */
export interface Search {
  readonly target: NodeId
  /** Whether peers are wanted, or only nodes. */
  readonly wantsPeers: boolean
  readonly noSeeds?: boolean | undefined
  readonly scrape?: boolean | undefined
  /** What is announced to the closest nodes in the end. */
  readonly announce?:
    | { readonly port: number; readonly impliedPort?: boolean | undefined; readonly isSeed?: boolean | undefined }
    | undefined
}

/** What a search has come to. */
export interface SearchResult {
  /** Queries of the lookup, and how many nodes had to be asked one after the other to find the closest (`hops`). */
  readonly queries: number
  readonly hops: number
  /** Nodes that answered, and nodes that took the announce. */
  readonly answered: number
  readonly announced: number
  /** The filters of all nodes that sent some, and how many these were (BEP 33). */
  readonly seeds: Uint8Array
  readonly downloaders: Uint8Array
  readonly scraped: number
}

/** A search in progress. */
export interface Task {
  readonly id: number
  readonly search: Search
  readonly lookup: Lookup.Lookup
  /** Whether nobody waits for its end: it keeps the routing table. */
  readonly isUpkeep: boolean
  /** The peers that were reported. */
  readonly found: Set<string>
  /** The nodes to announce to, once the lookup has ended. */
  announceTo: Array<Lookup.Candidate> | undefined
  /** Announces that wait for their answer. */
  announcing: number
  /** Whether it would ask more, if the limit of traffic let it. */
  isHeldBack: boolean
  readonly result: { -readonly [key in keyof SearchResult]: SearchResult[key] }
}

/** Why something was asked. */
export type Purpose =
  | { readonly _tag: "Lookup"; readonly task: Task; readonly candidate: Lookup.Candidate }
  | { readonly _tag: "Announce"; readonly task: Task }
  /** To see whether a node is there. */
  | { readonly _tag: "Check" }

/** A query that waits for its answer. */
export type Pending = Transactions.Pending<Purpose>

/** What the owner of a node has to do. */
export type Action =
  | { readonly _tag: "Send"; readonly payload: Uint8Array; readonly to: PeerAddress }
  /** Peers, as the node at `from` names them. */
  | {
      readonly _tag: "Found"
      readonly task: number
      readonly peers: ReadonlyArray<PeerAddress>
      readonly from: PeerAddress
    }
  | { readonly _tag: "Ended"; readonly task: number; readonly result: SearchResult }
  /** Nodes of the other family. */
  | { readonly _tag: "Named"; readonly nodes: ReadonlyArray<NodeInfo> }

/** Counts since the start, as `FamilyStatus` of `DhtStatus.ts` explains them. */
export interface Traffic {
  queriesSent: number
  answersReceived: number
  queriesUnanswered: number
  queriesReceived: number
  answersSent: number
  limited: number
  malformed: number
  unasked: number
  bytesReceived: number
  bytesSent: number
}

/** When the next work of upkeep is due, in milliseconds. */
export interface Schedule {
  next: number
  bootstrap: number
  bootstrapWait: number
  expire: number
  /** Not before this time is a node that asked us asked in turn. */
  consider: number
  idChanged: number
  /** When a datagram came last. */
  heard: number
}

/** A node. It has one owner, which alone calls its functions. */
export interface NodeState {
  readonly family: CompactPeers.Family
  readonly isReadOnly: boolean
  readonly isIdFixed: boolean
  readonly limits: DhtLimits
  readonly random: Prng
  readonly traffic: TrafficLimits.TrafficLimits
  readonly transactions: Transactions.Transactions<Purpose>
  readonly tokens: Tokens.Tokens
  readonly peers: PeerStore.PeerStore
  readonly external: ExternalAddress.ExternalAddress
  readonly reachability: Reachability.Reachability
  readonly tasks: Map<number, Task>
  readonly counts: Traffic
  readonly schedule: Schedule
  /** Nodes that have asked us and are to be asked in turn; bounded. */
  readonly strangers: Array<NodeInfo>
  /** Addresses that are asked while few nodes are known: what somebody suggested (bounded), what was saved, routers. */
  readonly suggested: Array<PeerAddress>
  saved: ReadonlyArray<PeerAddress>
  routers: ReadonlyArray<PeerAddress>
  table: RoutingTable.RoutingTable
  /** Whether it has a socket. */
  isOpen: boolean
  /** The node of the other family, if there is one: it names its nodes to whoever wants them (BEP 32). */
  sibling: NodeState | undefined
  /** The hosts of our own nodes. What they ask does not show that others reach us. */
  ownHosts: ReadonlySet<string>
  /**
   * Whether an address is that of another one of our own nodes (BEP 45). They never use each other: that one of them
   * answers, or takes an announce, does not show that we are in the DHT.
   */
  isOwnNode: (address: PeerAddress) => boolean
  nextTask: number
  actions: Array<Action>
}

/** What a node is made of. */
export interface Options {
  readonly family: CompactPeers.Family
  readonly id: NodeId
  /** Whether it keeps its id even if that does not suit its address. */
  readonly isIdFixed?: boolean | undefined
  readonly isReadOnly?: boolean | undefined
  readonly limits: DhtLimits
  /** For choices that may be known to others. */
  readonly random: Prng
  /** Returns that many bytes that nobody can predict, for transaction ids and tokens. */
  readonly entropy: (length: number) => Uint8Array
  readonly now: number
}

/** Counts of a node that has neither sent nor received anything. */
export const noTraffic = (): Traffic => ({
  queriesSent: 0,
  answersReceived: 0,
  queriesUnanswered: 0,
  queriesReceived: 0,
  answersSent: 0,
  limited: 0,
  malformed: 0,
  unasked: 0,
  bytesReceived: 0,
  bytesSent: 0
})

/** Makes a node that knows no other. */
export const make = (options: Options): NodeState => {
  const { entropy, family, id, isIdFixed = false, isReadOnly = false, limits, now, random } = options
  return {
    family,
    isReadOnly,
    isIdFixed,
    limits,
    random,
    traffic: TrafficLimits.make(limits, now),
    transactions: Transactions.make(entropy),
    tokens: Tokens.make(entropy, now),
    peers: PeerStore.make(limits),
    external: ExternalAddress.make(),
    reachability: Reachability.make(now),
    tasks: new Map(),
    counts: noTraffic(),
    schedule: {
      next: now,
      bootstrap: now,
      bootstrapWait: 0,
      expire: now,
      consider: now,
      idChanged: Number.NEGATIVE_INFINITY,
      heard: now
    },
    strangers: [],
    suggested: [],
    saved: [],
    routers: [],
    table: RoutingTable.make(id, now),
    isOpen: false,
    sibling: undefined,
    ownHosts: new Set(),
    isOwnNode: () => false,
    nextTask: 1,
    actions: []
  }
}

/** Sends a datagram. */
export const send = (self: NodeState, payload: Uint8Array, to: PeerAddress, now: number): void => {
  self.counts.bytesSent += payload.length
  Reachability.sentTo(self.reachability, to.host, now)
  self.actions.push({ _tag: "Send", payload, to })
}

/** Asks the node at an address, if the limits let it. Returns whether it did. */
export const ask = (
  self: NodeState,
  address: PeerAddress,
  question: Krpc.Question,
  purpose: Purpose,
  now: number
): boolean => {
  if (Transactions.isFull(self.transactions) || !TrafficLimits.mayAsk(self.traffic, now)) return false
  const transaction = Transactions.begin(self.transactions, { address, purpose, sentAt: now })
  self.counts.queriesSent++
  const { id } = self.table
  send(self, Krpc.encodeQuery({ transaction, id, isReadOnly: self.isReadOnly, question }), address, now)
  return true
}
