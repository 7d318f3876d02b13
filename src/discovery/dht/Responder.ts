/**
 * Answers the queries of others (BEP 5, 32, 33, 42, 43).
 *
 * The sender of a query may be forged. So nothing is stored without a token, an answer fits in one datagram, what is
 * sent to a host that asks is limited (`TrafficLimits.ts`), and only queries are answered, so that two nodes never
 * answer each other's answers.
 */

import * as Bytes from "../../base/Bytes.ts"
import type * as CompactPeers from "../../base/CompactPeers.ts"
import * as Naming from "../../base/Naming.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import * as Reach from "../../base/Reach.ts"
import * as ExternalAddress from "./ExternalAddress.ts"
import * as Krpc from "./Krpc.ts"
import * as NodeInfo from "./NodeInfo.ts"
import type { NodeState } from "./NodeState.ts"
import * as NodeStates from "./NodeState.ts"
import * as PeerStore from "./PeerStore.ts"
import * as Reachability from "./Reachability.ts"
import * as RoutingTable from "./RoutingTable.ts"
import * as Tokens from "./Tokens.ts"
import * as TrafficLimits from "./TrafficLimits.ts"

/** How long after a node that asked us was asked in turn the next one may be, in milliseconds. */
export const considerMillis = 250

/** Most nodes that wait to be asked in turn. A further one has to ask again later. */
export const maxStrangers = 16

/** Bytes that a peer takes in a list of values, with its length: `6:` or `18:`. */
const valueLength: { readonly [family in CompactPeers.Family]: number } = { ipv4: 8, ipv6: 21 }

/** Bytes of the key and the brackets of the list of values, `6:valuesle`. */
const listLength = 10

/** A node at `from` has asked something. */
export const query = (self: NodeState, query: Krpc.Query, from: PeerAddress, now: number): void => {
  // Ourselves, by another address.
  if (Bytes.equals(query.id, self.table.id)) return
  self.counts.queriesReceived++
  // A read-only node answers nobody (BEP 43).
  if (self.isReadOnly) return
  if (!self.ownHosts.has(from.host)) {
    Reachability.askedBy(self.reachability, from.host, ExternalAddress.agreed(self.external), now)
  }
  answer(self, query, from, now)
  if (!query.isReadOnly) consider(self, { id: query.id, address: from }, now)
}

const answer = (self: NodeState, query: Krpc.Query, from: PeerAddress, now: number): void => {
  if (!TrafficLimits.mayAnswer(self.traffic, from, Krpc.maxSentBytes, now)) {
    self.counts.limited++
    return
  }
  const payload = payloadOf(self, query, from, now)
  TrafficLimits.answered(self.traffic, from, payload.length, now)
  self.counts.answersSent++
  NodeStates.send(self, payload, from, now)
}

const payloadOf = (self: NodeState, query: Krpc.Query, from: PeerAddress, now: number): Uint8Array => {
  const { question, transaction } = query
  const base = { transaction, id: self.table.id, seen: from }
  if (question === undefined) return Krpc.encodeFailure(transaction, Krpc.errors.unknownMethod)
  switch (question._tag) {
    case "ping":
      return Krpc.encodeResponse(base)
    case "find_node":
      return Krpc.encodeResponse({ ...base, ...nodesFor(self, question, from) })
    case "get_peers":
      return peersFor(self, base, question, from, now)
    case "announce_peer": {
      if (!Tokens.isValid(self.tokens, question.token, from.host, question.target, now)) {
        return Krpc.encodeFailure(transaction, Krpc.errors.protocol)
      }
      const peer = question.impliedPort ? from : { host: from.host, port: question.port }
      return PeerStore.add(self.peers, question.target, peer, question.isSeed, now)
        ? Krpc.encodeResponse(base)
        : Krpc.encodeFailure(transaction, Krpc.errors.server)
    }
  }
}

/** The nodes closest to a target, of the families that are wanted: by default that of the query (BEP 32). */
const nodesFor = (
  self: NodeState,
  { target, want }: { readonly target: Uint8Array; readonly want: ReadonlyArray<CompactPeers.Family> },
  from: PeerAddress
): Pick<Krpc.Answer, "nodes" | "nodes6"> => {
  const reach = Reach.of(from.host)
  const families = want.length === 0 ? [self.family] : want
  const listOf = (family: CompactPeers.Family): Uint8Array | undefined => {
    const node = family === self.family ? self : self.sibling
    if (!families.includes(family) || node === undefined) return undefined
    const closest = RoutingTable.closest(node.table, target)
    return NodeInfo.encode(
      closest.filter(({ address }) => Naming.mayName(reach, address)),
      family
    )
  }
  return { nodes: listOf("ipv4"), nodes6: listOf("ipv6") }
}

const peersFor = (
  self: NodeState,
  base: Pick<Krpc.Answer, "transaction" | "id" | "seen">,
  question: Extract<Krpc.Question, { readonly _tag: "get_peers" }>,
  from: PeerAddress,
  now: number
): Uint8Array => {
  const answer: Krpc.Answer = {
    ...base,
    ...nodesFor(self, question, from),
    token: Tokens.issue(self.tokens, from.host, question.target, now),
    filters: question.scrape ? PeerStore.filters(self.peers, question.target, now) : undefined
  }
  const payload = Krpc.encodeResponse(answer)
  const count = Math.floor((Krpc.maxSentBytes - payload.length - listLength) / valueLength[self.family])
  if (count <= 0) return payload
  const peers = PeerStore.sample(self.peers, question.target, {
    count,
    noSeeds: question.noSeeds,
    leastReach: Reach.of(from.host),
    random: self.random,
    now
  })
  return peers.length === 0 ? payload : Krpc.encodeResponse({ ...answer, peers })
}

/** A node that asks us may have a place in the table, if it answers us in turn. */
const consider = (self: NodeState, node: NodeInfo.NodeInfo, now: number): void => {
  if (RoutingTable.asked(self.table, node, now)) return
  if (!RoutingTable.wouldTake(self.table, node)) return
  if (now >= self.schedule.consider) {
    self.schedule.consider = now + considerMillis
    NodeStates.ask(self, node.address, { _tag: "ping" }, { _tag: "Check" }, now)
  } else if (self.strangers.length < maxStrangers) self.strangers.push(node)
}
