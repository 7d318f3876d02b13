/**
 * The addresses at which this client itself listens, as far as they are known, so that it does not dial itself. Sources
 * name them, because they know us like every other peer.
 *
 * Known are the address that we listen on, the port that others are told at the addresses under which they see us, and
 * addresses at which we found ourselves by a handshake with our own peer id. Anybody can send that, so those are forgotten after an hour.
 * Pure: `now` is an argument.
 */
import * as PeerAddress from "../base/PeerAddress.ts"
import * as Reach from "../base/Reach.ts"
import type { Ourselves } from "./DialPriority.ts"

/** How long an address at which this client found itself is remembered (milliseconds). */
export const memory = 3_600_000

/** How many of them are remembered. Beyond that the oldest is forgotten. A machine has few addresses. */
export const maxFound = 64

/** Our own addresses, for all torrents of an engine. */
export interface OwnAddresses {
  /** The address that we listen on, if any. */
  readonly listening: PeerAddress.PeerAddress | undefined
  /** By `PeerAddress.format`: until when an address counts at which we found ourselves. The oldest is first. */
  readonly found: Map<string, number>
}

/** Makes them without any at which we were found. */
export const make = (listening?: PeerAddress.PeerAddress): OwnAddresses => ({ listening, found: new Map() })

/** Notes that we found ourselves at an address. */
export const note = ({ found }: OwnAddresses, address: PeerAddress.PeerAddress, now: number): void => {
  const text = PeerAddress.format(address)
  found.delete(text)
  found.set(text, now + memory)
  const [oldest] = found.keys()
  if (found.size > maxFound) found.delete(oldest!)
}

/** Whether a host is no single address, but all of a machine. */
const isWildcard = (host: string): boolean => host === "::" || host === "0.0.0.0"

/** Whether an address, in canonical form, is our own. `seen` is how others see us, with the port that they are told. */
export const has = (
  { found, listening }: OwnAddresses,
  address: PeerAddress.PeerAddress,
  seen: Ourselves,
  now: number
): boolean => {
  const { host, port } = address
  if (port === seen.port && (host === seen.ipv4Host || host === seen.ipv6Host)) return true
  // A router that maps our port of IPv4 to another may lead this one to a neighbour. IPv6 has no mapping.
  if (port === listening?.port && host === seen.ipv6Host) return true
  if (listening !== undefined && port === listening.port) {
    if (host === listening.host || (isWildcard(listening.host) && Reach.isThisMachine(host))) return true
  }
  const until = found.size === 0 ? undefined : found.get(PeerAddress.format(address))
  return until !== undefined && now < until
}
