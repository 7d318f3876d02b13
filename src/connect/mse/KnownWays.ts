/**
 * Which way to begin a connection works at which address: plain or encrypted. Pure, and bounded: the addresses that
 * were dialled longest ago are forgotten first. What is only said of addresses, by whomever, is kept apart, so that it
 * cannot displace what our own dials have shown.
 */
import * as PeerAddress from "../../base/PeerAddress.ts"
import type { Way } from "../Encryption.ts"

/** How many addresses are remembered, over all torrents: so many that were dialled, and so many that were not. */
export const maxAddresses = 4_096

/** What our dials of an address have shown. */
interface Tried {
  /** The way in which the latest handshake arrived; `undefined` if none did, or if that way has failed since. */
  readonly worked: Way | undefined
  /** The way that failed last, if none has worked since. */
  readonly failed: Way | undefined
  /** Whether both ways have failed, one after the other. */
  readonly haveBothFailed: boolean
}

/** What is known. Addresses are written as by `PeerAddress.format`. */
export interface KnownWays {
  /** The address that was dialled longest ago is the first. */
  readonly tried: Map<string, Tried>
  /** Addresses of peers that are said to prefer encryption. The one of which it was said longest ago is the first. */
  readonly preferring: Set<string>
}

/** Makes it without addresses. */
export const make = (): KnownWays => ({ tried: new Map(), preferring: new Set() })

const other = (way: Way): Way => (way === "plain" ? "encrypted" : "plain")

/**
 * The ways to try, one after the other. Plain comes first unless more is known: it is cheaper, and most peers accept
 * it. An address at which one way has worked is tried in that way only, and one at which both have failed in one way at
 * a time: it is more likely that the peer has no room than that it has changed.
 */
export const waysTo = (self: KnownWays, address: PeerAddress.PeerAddress): ReadonlyArray<Way> => {
  const key = PeerAddress.format(address)
  const { failed, haveBothFailed, worked } = self.tried.get(key) ?? {}
  if (worked !== undefined) return [worked]
  if (failed !== undefined) return haveBothFailed ? [other(failed)] : [other(failed), failed]
  return self.preferring.has(key) ? ["encrypted", "plain"] : ["plain", "encrypted"]
}

/** Notes whether a handshake arrived. */
export const note = (self: KnownWays, address: PeerAddress.PeerAddress, way: Way, hasWorked: boolean): void => {
  const key = PeerAddress.format(address)
  const { failed, haveBothFailed = false } = self.tried.get(key) ?? {}
  self.tried.delete(key)
  self.tried.set(
    key,
    hasWorked
      ? { worked: way, failed: undefined, haveBothFailed: false }
      : { worked: undefined, failed: way, haveBothFailed: haveBothFailed || failed === other(way) }
  )
  self.preferring.delete(key)
  forgetOldest(self.tried)
}

/** Notes that a peer is said to prefer encryption. That counts until it is dialled. */
export const prefer = (self: KnownWays, address: PeerAddress.PeerAddress): void => {
  const key = PeerAddress.format(address)
  if (self.tried.has(key)) return
  self.preferring.delete(key)
  self.preferring.add(key)
  forgetOldest(self.preferring)
}

const forgetOldest = (addresses: Map<string, unknown> | Set<string>): void => {
  if (addresses.size > maxAddresses) for (const oldest of addresses.keys()) return void addresses.delete(oldest)
}
