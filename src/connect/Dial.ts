/**
 * Connects to the address of a peer, with a time limit. Swarms that exchange pieces and swarms that exchange metadata
 * both use it.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { PeerAddress, Reach } from "../base/PeerAddress.ts"
import type { Connection, Dialer } from "../network/Transport.ts"
import { ConnectionError, NamedFrom } from "../network/Transport.ts"

/** How long a connection may take to open. */
export const timeout = "10 seconds"

/**
 * Opens a connection, which is closed when the scope closes. Fails with a `ConnectionError` whose `why` is `timed out`
 * if the connection takes longer than `timeout` to open. `from` is the reach of whoever named the address. If its host is
 * a name, only addresses that they may name (`base/Naming.ts`) are dialled.
 */
export const connect = (
  dialer: Dialer["Service"],
  address: PeerAddress,
  from: Reach
): Effect.Effect<Connection, ConnectionError, Scope.Scope> =>
  Effect.timeoutOrElse(Effect.provideService(dialer.connect(address), NamedFrom, from), {
    duration: timeout,
    orElse: () => Effect.fail(new ConnectionError({ address, why: "timed out" }))
  })
