/**
 * Resolves names as the system does: hosts file and DNS, in the system's order. A value, so that a program or a test
 * can replace it.
 */
import * as Dns from "node:dns/promises"

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

/** The system's resolver. */
export const system: NodeLookup = (host, options) =>
  Dns.lookup(host, { family: options?.family ?? 0, hints: options?.hints ?? 0, all: true })
