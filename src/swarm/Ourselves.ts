/**
 * What a swarm knows of our own addresses: how others see us, and where we listen.
 */
import type * as Clock from "effect/Clock"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type * as DialPriority from "../connect/DialPriority.ts"
import * as OwnAddresses from "../connect/OwnAddresses.ts"
import type { ExternalAddress } from "./ExternalAddress.ts"

/** What is known. */
export interface Ourselves {
  readonly external: ExternalAddress
  readonly own: OwnAddresses.OwnAddresses
  /** The port that peers are told; 0 if there is none. */
  readonly port: () => number
  readonly clock: Clock.Clock
}

/** How others see us. */
export const seen = ({ external, port }: Pick<Ourselves, "external" | "port">): DialPriority.Ourselves => ({
  ...external,
  port: port()
})

/** Whether an address, in canonical form, is our own. */
export const has = (self: Ourselves, address: PeerAddress): boolean =>
  OwnAddresses.has(self.own, address, seen(self), Monotonic.nowUnsafe(self.clock))
