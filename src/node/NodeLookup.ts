/**
 * Resolves names as the system does: hosts file and DNS, in the system's order. A value, so that a program or a test
 * can replace it.
 */
import * as Dns from "node:dns/promises"
import * as Effect from "effect/Effect"
import * as Descriptors from "../base/Descriptors.ts"
import * as PeerAddress from "../base/PeerAddress.ts"
import * as Offline from "../network/provider/node/Offline.ts"
import * as SocketErrno from "../network/SocketErrno.ts"
import { ConnectionError } from "../network/Transport.ts"

/** An address that a name resolves to. */
export interface Found {
  readonly address: string
  /** 4 or 6. */
  readonly family: number
}

/**
 * Returns the addresses of a name, best first. `family` 0 means both; `hints` are those of `dns.lookup`. Rejects with
 * Node's error if the name cannot be resolved.
 */
export type NodeLookup = (
  host: string,
  options?: { readonly family?: number | undefined; readonly hints?: number | undefined }
) => Promise<ReadonlyArray<Found>>

/** The system's resolver. With `PIECEWISE_OFFLINE`, it only answers for hosts that are this machine. */
export const system: NodeLookup = async (host, options) => {
  const refusal = Offline.refusal(host)
  if (refusal !== undefined) throw refusal
  return Dns.lookup(host, { family: options?.family ?? 0, hints: options?.hints ?? 0, all: true })
}

/** Resolves the host of an address, and keeps the port. Fails with `ConnectionError` if it cannot be resolved. */
export const addressesBy =
  (lookup: NodeLookup) =>
  (address: PeerAddress.PeerAddress): Effect.Effect<ReadonlyArray<PeerAddress.PeerAddress>, ConnectionError> =>
    Effect.tryPromise({
      try: () => lookup(address.host),
      catch: (cause) => {
        const code = SocketErrno.codeOf(cause)
        return new ConnectionError({ address, why: SocketErrno.why(code), ...SocketErrno.shortage(code) })
      }
    }).pipe(
      Descriptors.retry,
      Effect.map((found) => found.flatMap((entry) => PeerAddress.make(entry.address, address.port) ?? []))
    )
