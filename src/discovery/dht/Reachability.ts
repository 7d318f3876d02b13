/**
 * Whether others reach us: whether a node asks us to which we have sent nothing lately. A NAT or a firewall lets in only
 * answers, and queries of hosts to which something was sent. Time is in milliseconds.
 */

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

/** A host has asked us. */
export const askedBy = (self: Reachability, host: string, now: number): void => {
  if (now - (self.sent.get(host) ?? Number.NEGATIVE_INFINITY) >= memoryMillis) self.reachedAt = now
}

/** Whether we are reachable; `undefined` while it is too early to tell. */
export const isReachable = (self: Reachability, now: number): boolean | undefined => {
  if (now - self.reachedAt < memoryMillis) return true
  return now - self.startedAt < memoryMillis ? undefined : false
}
