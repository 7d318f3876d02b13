/**
 * Our own IP address, as the nodes that answer us report it (BEP 42, `ip`). One vote a network, so that nobody decides
 * it alone.
 */
import * as Subnet from "./Subnet.ts"

/** Most votes that count: the latest. */
export const maxVotes = 24

/** Fewest votes for an address to be believed. */
export const leastVotes = 6

/** Share of the votes that an address needs. */
export const share = 2 / 3

/** Votes by the network of the voter, oldest first. */
export interface ExternalAddress {
  readonly votes: Map<string, string>
}

/** Makes it without votes. */
export const make = (): ExternalAddress => ({ votes: new Map() })

/** Counts the vote of the node at `voter` for `host`. A later vote of the same network replaces it. */
export const vote = (self: ExternalAddress, voter: string, host: string): void => {
  const key = Subnet.of(voter)
  self.votes.delete(key)
  if (self.votes.size >= maxVotes) self.votes.delete(self.votes.keys().next().value!)
  self.votes.set(key, host)
}

/** The address that the nodes agree on; `undefined` if they do not, or if they are too few. */
export const agreed = (self: ExternalAddress): string | undefined => {
  const counts = new Map<string, number>()
  for (const host of self.votes.values()) counts.set(host, (counts.get(host) ?? 0) + 1)
  for (const [host, count] of counts) {
    if (count >= leastVotes && count >= share * self.votes.size) return host
  }
  return undefined
}
