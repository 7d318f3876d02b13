/**
 * The hosts that connect to us and do not begin with a handshake that we accept: they may require encryption, or not
 * have it if we require it. Such a peer calls again, because clients repeat what failed. A host that calls once, as a
 * port scan does, is not counted. Pure: `now` is an argument.
 */
import * as IpAddress from "../base/IpAddress.ts"

/** How many hosts are remembered. Beyond that the one that has been silent for longest is forgotten. */
export const maxCallers = 1_000

/** How long a host is remembered after its last call (milliseconds). */
export const memory = 3_600_000

/** A host is counted if it calls again so long after its first call (milliseconds). Clients wait about a minute. */
export const pause = 30_000

interface Caller {
  readonly firstAt: number
  readonly lastAt: number
}

/** The hosts that called. */
export interface Callers {
  /** By host (an IPv4 address or an IPv6 /64), the one that has been silent for longest first. */
  readonly hosts: Map<string, Caller>
  /** How many of them are counted. */
  counted: number
}

/** Makes it without hosts. */
export const make = (): Callers => ({ hosts: new Map(), counted: 0 })

const isCounted = ({ firstAt, lastAt }: Caller): boolean => lastAt - firstAt >= pause

const forget = (self: Callers, host: string): void => {
  const caller = self.hosts.get(host)
  if (caller !== undefined && isCounted(caller)) self.counted--
  self.hosts.delete(host)
}

const forgetOld = (self: Callers, now: number): void => {
  for (const [host, { lastAt }] of self.hosts) {
    if (now - lastAt < memory) return
    forget(self, host)
  }
}

/** Notes a call. */
export const note = (self: Callers, address: string, now: number): void => {
  forgetOld(self, now)
  const host = IpAddress.network(address)
  const caller: Caller = { firstAt: self.hosts.get(host)?.firstAt ?? now, lastAt: now }
  forget(self, host)
  self.hosts.set(host, caller)
  if (isCounted(caller)) self.counted++
  const [longestSilent] = self.hosts.keys()
  if (self.hosts.size > maxCallers) forget(self, longestSilent!)
}

/** How many hosts called repeatedly. */
export const count = (self: Callers, now: number): number => {
  forgetOld(self, now)
  return self.counted
}
