/**
 * One attempt to connect to an address, with a time limit. Used by every swarm, whatever it exchanges.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { Connection, Dialer } from "../network/Transport.ts"
import { ConnectionError } from "../network/Transport.ts"

/** How long a connection may take to open. */
export const timeout = "10 seconds"

/** Connects until the scope closes. Fails with `timed out` if the connection takes too long to open. */
export const connect = (
  dialer: Dialer["Service"],
  address: PeerAddress
): Effect.Effect<Connection, ConnectionError, Scope.Scope> =>
  Effect.timeoutOrElse(dialer.connect(address), {
    duration: timeout,
    orElse: () => Effect.fail(new ConnectionError({ address, why: "timed out" }))
  })
