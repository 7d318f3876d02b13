/**
 * Limits of traffic: token buckets for a node as a whole, and for each host that sends to it. Time is in milliseconds.
 */
import * as IpAddress from "../../base/IpAddress.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import * as PeerAddresses from "../../base/PeerAddress.ts"
import type { DhtLimits } from "./DhtLimits.ts"
import * as Subnet from "./Subnet.ts"

/** A bucket that fills by `perSecond`, up to what `burstSeconds` fill. */
interface Bucket {
  level: number
  at: number
}

/** Seconds of traffic that may come at once. A lookup that begins sends many queries. */
export const burstSeconds = 2

/** Most hosts that are remembered. The one seen longest ago is forgotten: it has a full bucket then, or nearly. */
export const maxHosts = 4_096

/** The state of all limits. */
export interface TrafficLimits {
  readonly limits: DhtLimits
  readonly queries: Bucket
  readonly answers: Bucket
  /** By host, least recently seen first. */
  readonly hosts: Map<string, { readonly datagrams: Bucket; readonly answers: Bucket }>
}

/** Makes limits with nothing spent. */
export const make = (limits: DhtLimits, now: number): TrafficLimits => ({
  limits,
  queries: full(limits.queriesPerSecond, now),
  answers: full(limits.answerBytesPerSecond, now),
  hosts: new Map()
})

const full = (perSecond: number, at: number): Bucket => ({ level: perSecond * burstSeconds, at })

const fill = (self: Bucket, perSecond: number, now: number): void => {
  self.level = Math.min(perSecond * burstSeconds, self.level + (Math.max(0, now - self.at) * perSecond) / 1000)
  self.at = now
}

const take = (self: Bucket, perSecond: number, amount: number, now: number): boolean => {
  fill(self, perSecond, now)
  if (self.level < amount) return false
  self.level -= amount
  return true
}

/** In a local network, where hosts are few and trusted, each address counts for itself. */
const hostOf = (self: TrafficLimits, address: PeerAddress, now: number) => {
  const key = Subnet.isLimited(address.host) ? IpAddress.network(address.host) : PeerAddresses.format(address)
  let known = self.hosts.get(key)
  if (known === undefined) {
    known = {
      datagrams: full(self.limits.datagramsPerSecondPerHost, now),
      answers: full(self.limits.answerBytesPerSecondPerHost, now)
    }
    if (self.hosts.size >= maxHosts) self.hosts.delete(self.hosts.keys().next().value!)
  } else self.hosts.delete(key)
  self.hosts.set(key, known)
  return known
}

/** Whether a datagram from an address may be read. */
export const mayRead = (self: TrafficLimits, from: PeerAddress, now: number): boolean =>
  take(hostOf(self, from, now).datagrams, self.limits.datagramsPerSecondPerHost, 1, now)

/**
 * Whether the longest answer (`most` bytes) may be sent to an address. Asked before an answer is made, which costs far
 * more than to ask, so that nobody can make us work for answers that are not sent.
 */
export const mayAnswer = (self: TrafficLimits, to: PeerAddress, most: number, now: number): boolean => {
  const { answers } = hostOf(self, to, now)
  const { answerBytesPerSecond, answerBytesPerSecondPerHost } = self.limits
  return (
    hasRoom(answers, answerBytesPerSecondPerHost, most, now) && hasRoom(self.answers, answerBytesPerSecond, most, now)
  )
}

/** A limit whose burst is less than `most` needs all of its burst, as it would never let an answer through otherwise. */
const hasRoom = (self: Bucket, perSecond: number, most: number, now: number): boolean => {
  fill(self, perSecond, now)
  return self.level >= Math.min(most, perSecond * burstSeconds)
}

/** An answer of `bytes` is sent to an address. */
export const answered = (self: TrafficLimits, to: PeerAddress, bytes: number, now: number): void => {
  self.answers.level -= bytes
  hostOf(self, to, now).answers.level -= bytes
}

/** Whether a query may be sent, which is then counted. */
export const mayAsk = (self: TrafficLimits, now: number): boolean =>
  take(self.queries, self.limits.queriesPerSecond, 1, now)

/** Milliseconds until a query may be sent. */
export const waitToAsk = (self: TrafficLimits, now: number): number => {
  fill(self.queries, self.limits.queriesPerSecond, now)
  return self.queries.level >= 1 ? 0 : Math.ceil(((1 - self.queries.level) * 1000) / self.limits.queriesPerSecond)
}
