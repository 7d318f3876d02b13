/**
 * How peers see us: our addresses as trackers (BEP 24) and peers (`yourip`, BEP 10) tell them. Each may lie, so each has one
 * vote, and what most of them say is believed. It serves the dial order (BEP 40) and nothing that matters more.
 */
import * as IpAddress from "../base/IpAddress.ts"
import * as Reach from "../base/Reach.ts"

/** Voters that are remembered; of more the oldest is forgotten, as our address may have changed since. */
export const maxVoters = 64

/** What was told. */
export interface ExternalAddress {
  /** Our host by who told it. */
  readonly votes: Map<string, string>
  ipv4Host: string | undefined
  ipv6Host: string | undefined
}

/** Nothing is known. */
export const make = (): ExternalAddress => ({ votes: new Map(), ipv4Host: undefined, ipv6Host: undefined })

/**
 * Somebody tells our host, in canonical text. `true` where something else is believed from now on. What strangers cannot
 * reach is no address of ours for them.
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
 * The host of a family that most voters name; of several the one that is believed, so that it does not change to and
 * fro.
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
