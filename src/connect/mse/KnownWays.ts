/**
 * Which way to begin a connection works at which address: plain or encrypted. Pure, and bounded: the addresses that
 * were dialled longest ago are forgotten first.
 */
import * as PeerAddress from "../../base/PeerAddress.ts"
import type { Way } from "../Encryption.ts"

/** How many addresses are remembered, over all torrents. */
export const maxAddresses = 4_096

interface Known {
  /** The way in which the latest handshake arrived; `undefined` if none did, or if that way has failed since. */
  readonly worked: Way | undefined
  /** The way that failed last, if none has worked since. */
  readonly failed: Way | undefined
  /** Whether both ways have failed, one after the other. */
  readonly haveBothFailed: boolean
  readonly prefersEncryption: boolean
}

const unknown: Known = { worked: undefined, failed: undefined, haveBothFailed: false, prefersEncryption: false }

/** What is known, by `PeerAddress.format`. The address that was noted longest ago is the first. */
export type KnownWays = Map<string, Known>

/** Makes it without addresses. */
export const make = (): KnownWays => new Map()

const other = (way: Way): Way => (way === "plain" ? "encrypted" : "plain")

/**
 * The ways to try, one after the other. Plain comes first unless more is known: it is cheaper, and most peers accept
 * it. An address at which one way has worked is tried in that way only, and one at which both have failed in one way at
 * a time: it is more likely that the peer has no room than that it has changed.
 */
export const waysTo = (self: KnownWays, address: PeerAddress.PeerAddress): ReadonlyArray<Way> => {
  const { failed, haveBothFailed, prefersEncryption, worked } = self.get(PeerAddress.format(address)) ?? unknown
  if (worked !== undefined) return [worked]
  if (failed !== undefined) return haveBothFailed ? [other(failed)] : [other(failed), failed]
  return prefersEncryption ? ["encrypted", "plain"] : ["plain", "encrypted"]
}

/** Notes whether a handshake arrived. */
export const note = (self: KnownWays, address: PeerAddress.PeerAddress, way: Way, hasWorked: boolean): void =>
  update(self, address, ({ failed, haveBothFailed, prefersEncryption }) =>
    hasWorked
      ? { ...unknown, prefersEncryption, worked: way }
      : {
          prefersEncryption,
          worked: undefined,
          failed: way,
          haveBothFailed: haveBothFailed || failed === other(way)
        }
  )

/** Notes that a peer is said to prefer encryption. */
export const prefer = (self: KnownWays, address: PeerAddress.PeerAddress): void =>
  update(self, address, (known) => ({ ...known, prefersEncryption: true }))

const update = (self: KnownWays, address: PeerAddress.PeerAddress, change: (known: Known) => Known): void => {
  const key = PeerAddress.format(address)
  const changed = change(self.get(key) ?? unknown)
  self.delete(key)
  self.set(key, changed)
  if (self.size > maxAddresses) for (const oldest of self.keys()) return void self.delete(oldest)
}
