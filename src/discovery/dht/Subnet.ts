/**
 * The network around a host, whose addresses one owner may have many of: a /24 of IPv4, or a /48 of IPv6, which is the
 * most that sites are given (RFC 6177). Hosts that are not public share few addresses, and count each for itself.
 */
import * as IpAddress from "../../base/IpAddress.ts"
import * as Reach from "../../base/Reach.ts"

/** A text that is equal for hosts of one network. */
export const of = (host: string): string => {
  if (!isLimited(host)) return host
  const bytes = IpAddress.parse(host)
  if (bytes === undefined) return host
  return `${IpAddress.format(bytes.fill(0, bytes.length === 4 ? 3 : 6))}`
}

/** Whether the nodes of a host and of its network are limited: those of public ones are. */
export const isLimited = (host: string): boolean => Reach.of(host) === "public"
