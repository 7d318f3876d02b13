/**
 * One search for the nodes closest to a target (BEP 5): asks the closest nodes that it knows, learns closer ones from
 * their answers, and ends when the closest have answered.
 *
 * What nodes answer may be made up. So a lookup is bounded in queries, in candidates, in candidates of one host, and in
 * what one answer contributes: answers that go in a circle, or that name ever closer nodes, end it. Against whoever
 * wants to be all that it finds, the set of the closest nodes has one node of a network (`Subnet.ts`), and at most
 * `maxUnsuited` whose ids do not suit their addresses (BEP 42), beside `closestCount` whose ids do.
 *
 * Pure, with one owner. Time is in milliseconds.
 */

import * as Bytes from "../../base/Bytes.ts"
import * as IpAddress from "../../base/IpAddress.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import * as PeerAddresses from "../../base/PeerAddress.ts"
import type { NodeId } from "./NodeId.ts"
import * as NodeIds from "./NodeId.ts"
import type { NodeInfo } from "./NodeInfo.ts"
import * as Subnet from "./Subnet.ts"

/** How many of the closest nodes must have answered (K of BEP 5). */
export const closestCount = 8

/** Most nodes of the closest whose ids do not suit their addresses. */
export const maxUnsuited = 4

/** How far the closest nodes are sought, in candidates that are or may be alive. */
const maxSought = 32

/** Queries in flight at once; one without an answer for `stallMillis` does not count. */
export const concurrency = 4

/** After this time without an answer, the next node is asked too, in milliseconds. Most nodes answer within 300. */
export const stallMillis = 1_500

/** Most queries of one lookup. Usual are 15 to 40. */
export const maxQueries = 128

/** Most candidates that are remembered. */
export const maxCandidates = 256

/** Most candidates with one host: others may have named a wrong port of it. */
export const maxPerHost = 3

/** Most nodes that are taken from one answer (BEP 5). */
export const maxContributed = 8

/** A node that may be asked. */
export interface Candidate {
  /** As it was named, then as it says; `undefined` until it answers, if only its address is known. */
  id: NodeId | undefined
  readonly address: PeerAddress
  suits: boolean
  readonly subnet: string
  state: "new" | "asked" | "answered" | "failed"
  askedAt: number
  /** What it needs to be shown by those who announce. */
  token: Uint8Array | undefined
  /** How many nodes had to be asked, one after the other, to learn of it: 1 if it was known before. */
  readonly hops: number
}

/** The state of a lookup. */
export interface Lookup {
  readonly target: Uint8Array
  /** Our own id: nobody else has it. */
  readonly ownId: Uint8Array
  /** Whether ids that do not suit their addresses count as others do. */
  readonly trustsAll: boolean
  /** Those with an id, closest first. */
  readonly candidates: Array<Candidate>
  /** Addresses that are asked while there are no candidates. */
  readonly bootstrap: Array<Candidate>
  readonly inFlight: Set<Candidate>
  /** All addresses that were ever candidates. */
  readonly addresses: Set<string>
  readonly hosts: Map<string, number>
  queries: number
}

/** Begins a lookup with the nodes that we know, and with addresses of which we do not know the id. */
export const make = (options: {
  readonly target: Uint8Array
  readonly ownId: Uint8Array
  readonly nodes: ReadonlyArray<NodeInfo>
  readonly bootstrap: ReadonlyArray<PeerAddress>
  /**
   * Whether ids that do not suit their addresses count as others do, as when nodes get to know each other: before that
   * they cannot know their own addresses. Default `false`.
   */
  readonly trustsAll?: boolean | undefined
}): Lookup => {
  const self: Lookup = {
    target: options.target,
    ownId: options.ownId,
    trustsAll: options.trustsAll ?? false,
    candidates: [],
    bootstrap: [],
    inFlight: new Set(),
    addresses: new Set(),
    hosts: new Map(),
    queries: 0
  }
  for (const node of options.nodes) add(self, node, 1)
  for (const address of options.bootstrap) suggest(self, address)
  return self
}

/** Takes an address of which we do not know the id. It is asked while there are few candidates. */
export const suggest = (self: Lookup, address: PeerAddress): void => {
  if (claim(self, address)) self.bootstrap.push(candidateOf(address, undefined, 1))
}

const candidateOf = (address: PeerAddress, id: NodeId | undefined, hops: number): Candidate => ({
  id,
  address,
  suits: id === undefined || NodeIds.suits(id, address.host),
  subnet: Subnet.of(address.host),
  state: "new",
  askedAt: 0,
  token: undefined,
  hops
})

/** Whether an address may become a candidate, which it then counts as. */
const claim = (self: Lookup, address: PeerAddress): boolean => {
  const key = PeerAddresses.format(address)
  if (self.addresses.has(key) || self.addresses.size >= 4 * maxCandidates) return false
  if (Subnet.isLimited(address.host)) {
    const host = IpAddress.network(address.host)
    const count = self.hosts.get(host) ?? 0
    if (count >= maxPerHost) return false
    self.hosts.set(host, count + 1)
  }
  self.addresses.add(key)
  return true
}

const add = (self: Lookup, { address, id }: NodeInfo, hops: number): void => {
  if (Bytes.equals(id, self.ownId) || !claim(self, address)) return
  place(self, candidateOf(address, id, hops))
}

/** Puts a candidate in its place by distance. */
const place = (self: Lookup, candidate: Candidate): void => {
  const { candidates, target } = self
  let low = 0
  let high = candidates.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (NodeIds.compare(target, candidates[middle]!.id!, candidate.id!) <= 0) low = middle + 1
    else high = middle
  }
  candidates.splice(low, 0, candidate)
  if (candidates.length > maxCandidates) candidates.pop()
}

const isStalled = (candidate: Candidate, now: number): boolean =>
  candidate.state === "asked" && now - candidate.askedAt >= stallMillis

/** The closest nodes that are or may be alive, or only those that have answered. `isFull`: no farther node matters. */
const closestOf = (self: Lookup, now: number, onlyAnswered = false) => {
  const set: Array<Candidate> = []
  const subnets = new Set<string>()
  let suited = 0
  let seen = 0
  for (const candidate of self.candidates) {
    if (candidate.state === "failed" || isStalled(candidate, now)) continue
    if (onlyAnswered && candidate.state !== "answered") continue
    if (Subnet.isLimited(candidate.address.host)) {
      if (subnets.has(candidate.subnet)) continue
      subnets.add(candidate.subnet)
    }
    const counts = candidate.suits || self.trustsAll
    if (counts) suited++
    if (counts || set.length - suited < maxUnsuited) set.push(candidate)
    if (suited === closestCount || ++seen === maxSought) return { set, isFull: true }
  }
  return { set, isFull: false }
}

/** The node to ask now; `undefined` if there is none, or if enough queries are in flight. */
export const next = (self: Lookup, now: number): Candidate | undefined => {
  if (self.queries >= maxQueries || active(self, now) >= concurrency) return undefined
  return wanted(self, now)
}

const wanted = (self: Lookup, now: number): Candidate | undefined => {
  const { isFull, set } = closestOf(self, now)
  const candidate = set.find(({ state }) => state === "new")
  if (candidate !== undefined || isFull) return candidate
  return self.bootstrap.find(({ state }) => state === "new")
}

/** How many queries are in flight and may soon be answered. */
const active = (self: Lookup, now: number): number => {
  let count = 0
  for (const candidate of self.inFlight) if (!isStalled(candidate, now)) count++
  return count
}

/** A query was sent to a candidate. */
export const sent = (self: Lookup, candidate: Candidate, now: number): void => {
  candidate.state = "asked"
  candidate.askedAt = now
  self.inFlight.add(candidate)
  self.queries++
}

/**
 * A candidate has answered, and named nodes. If it has another id than it was known by, as after it has moved (BEP 42),
 * it counts by the one that it says itself.
 */
export const answered = (
  self: Lookup,
  candidate: Candidate,
  answer: {
    readonly id: NodeId
    readonly token: Uint8Array | undefined
    readonly nodes: ReadonlyArray<NodeInfo>
  }
): void => {
  self.inFlight.delete(candidate)
  candidate.state = "answered"
  candidate.token = answer.token
  if (candidate.id === undefined || !Bytes.equals(candidate.id, answer.id)) {
    const known = self.candidates.indexOf(candidate)
    if (known >= 0) self.candidates.splice(known, 1)
    candidate.id = answer.id
    candidate.suits = NodeIds.suits(answer.id, candidate.address.host)
    place(self, candidate)
  }
  for (const node of answer.nodes.slice(0, maxContributed)) add(self, node, candidate.hops + 1)
}

/** A candidate has not answered, has refused, or is not who it should be. */
export const failed = (self: Lookup, candidate: Candidate): void => {
  self.inFlight.delete(candidate)
  candidate.state = "failed"
}

/**
 * Whether the search is over: the closest nodes have answered, or there is nobody left to ask. While too few have
 * answered, late answers are waited for.
 */
export const isDone = (self: Lookup, now: number): boolean => {
  const { isFull, set } = closestOf(self, now)
  if (set.every(({ state }) => state === "answered") && isFull) return true
  if (active(self, now) > 0) return false
  if (self.queries < maxQueries && wanted(self, now) !== undefined) return false
  return self.inFlight.size === 0 || set.filter(({ state }) => state === "answered").length >= closestCount
}

/**
 * The closest nodes that have answered, closest first. If a lookup ends because it has sent `maxQueries`, there may be
 * closer ones that nobody has asked, which may be made up and do not count.
 */
export const closest = (self: Lookup, now: number): ReadonlyArray<Candidate> => closestOf(self, now, true).set

/** When the next query in flight stalls, so that another node may be asked; `Infinity` if none will. */
export const nextAt = (self: Lookup, now: number): number => {
  let next = Number.POSITIVE_INFINITY
  for (const candidate of self.inFlight) {
    if (!isStalled(candidate, now)) next = Math.min(next, candidate.askedAt + stallMillis)
  }
  return next
}
