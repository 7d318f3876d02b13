/**
 * How others see us: our addresses as reported by trackers (BEP 24) and peers (`yourip`, BEP 10). Any of them may lie,
 * so each has one vote, and the majority is believed. Used only for the dial order (BEP 40), and not to dial ourselves:
 * lies can keep us from one address at a time.
 */
import * as IpAddress from "../base/IpAddress.ts"
import * as Reach from "../base/Reach.ts"

/** How many voters are remembered. Beyond that the oldest is forgotten, because our address may have changed since. */
export const maxVoters = 64

/** The votes on our address. */
export interface ExternalAddress {
  /** Our host, by the voter that reported it. */
  readonly votes: Map<string, string>
  ipv4Host: string | undefined
  ipv6Host: string | undefined
}

/** Makes a record without votes. */
export const make = (): ExternalAddress => ({ votes: new Map(), ipv4Host: undefined, ipv6Host: undefined })

/**
 * Notes that a voter reported our host, in canonical text. Returns `true` if another host is believed from now on.
 * Ignores hosts that are not reachable from the internet.
 */
export const vote = (self: ExternalAddress, voter: string, host: string): boolean => {
  if (Reach.of(host) !== "public" || IpAddress.parse(host) === undefined) return false
  if (self.votes.get(voter) === host) return false
  const { ipv4Host, ipv6Host } = self
  self.votes.delete(voter)
  self.votes.set(voter, host)
  if (self.votes.size > maxVoters) self.votes.delete(self.votes.keys().next().value!)
  self.ipv4Host = elected(self, false, ipv4Host)
  self.ipv6Host = elected(self, true, ipv6Host)
  return self.ipv4Host !== ipv4Host || self.ipv6Host !== ipv6Host
}

/**
 * The host of a family that most voters report. If several have as many votes, the believed one stays, so that the
 * answer does not flip.
 */
const elected = (self: ExternalAddress, isIpv6: boolean, believed: string | undefined): string | undefined => {
  const counts = new Map<string, number>()
  for (const host of self.votes.values()) {
    if (host.includes(":") === isIpv6) counts.set(host, (counts.get(host) ?? 0) + 1)
  }
  let best = believed !== undefined && counts.has(believed) ? believed : undefined
  for (const [host, count] of counts) if (best === undefined || count > counts.get(best)!) best = host
  return best
}
