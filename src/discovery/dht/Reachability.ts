/**
 * Whether others reach us: whether a node in the internet asks us to which we have sent nothing lately. A NAT or a
 * firewall lets in only answers, and queries of hosts to which something was sent. Hosts of the network around are on our
 * side of it, so what they ask proves nothing. Time is in milliseconds.
 */
import * as IpAddress from "../../base/IpAddress.ts"
import * as Reach from "../../base/Reach.ts"

/** How long a NAT may let in a host to which something was sent, and how long a proof holds. */
export const memoryMillis = 900_000

/** Most hosts that are remembered. */
export const maxHosts = 4_096

/** What was sent to whom, and what came. */
export interface Reachability {
  readonly startedAt: number
  /** When something was sent to a host last, oldest first. */
  readonly sent: Map<string, number>
  reachedAt: number
}

/** Makes it with nothing sent. */
export const make = (now: number): Reachability => ({
  startedAt: now,
  sent: new Map(),
  reachedAt: Number.NEGATIVE_INFINITY
})

/** Something was sent to a host. */
export const sentTo = (self: Reachability, host: string, now: number): void => {
  self.sent.delete(host)
  if (self.sent.size >= maxHosts) self.sent.delete(self.sent.keys().next().value!)
  self.sent.set(host, now)
}

/**
 * A host has asked us. `ours` is our own address as others see it, if it is known: all hosts behind a NAT have the same
 * one, and those of an IPv6 network its /64.
 */
export const askedBy = (self: Reachability, host: string, ours: string | undefined, now: number): void => {
  if (Reach.of(host) !== "public") return
  if (ours !== undefined && IpAddress.network(host) === IpAddress.network(ours)) return
  if (now - (self.sent.get(host) ?? Number.NEGATIVE_INFINITY) >= memoryMillis) self.reachedAt = now
}

/** Whether we are reachable; `undefined` while it is too early to tell. */
export const isReachable = (self: Reachability, now: number): boolean | undefined => {
  if (now - self.reachedAt < memoryMillis) return true
  return now - self.startedAt < memoryMillis ? undefined : false
}
