/**
 * One attempt at an address, in time: what every swarm does, whatever it wants of the peer.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { Connection, Dialer } from "../network/Transport.ts"
import { ConnectionError } from "../network/Transport.ts"

/** How long a connection may take to open. */
export const timeout = "10 seconds"

/** Connects, until the scope closes; fails with `timed out` where that takes too long. */
export const connect = (
  dialer: Dialer["Service"],
  address: PeerAddress
): Effect.Effect<Connection, ConnectionError, Scope.Scope> =>
  Effect.timeoutOrElse(dialer.connect(address), {
    duration: timeout,
    orElse: () => Effect.fail(new ConnectionError({ address, why: "timed out" }))
  })
