/**
 * Names resolved as the system does it: hosts file and DNS, in the system's order. A value, so that a program or a test can
 * resolve names its own way.
 */
import * as Dns from "node:dns/promises"

/** An address of a name. */
export interface Found {
  readonly address: string
  /** 4 or 6. */
  readonly family: number
}

/** The addresses of a name, best first. `family` 0 is both; `hints` are those of `dns.lookup`. */
export type NodeLookup = (
  host: string,
  options?: { readonly family?: number | undefined; readonly hints?: number | undefined }
) => Promise<ReadonlyArray<Found>>

/** The system's. */
export const system: NodeLookup = (host, options) =>
  Dns.lookup(host, { family: options?.family ?? 0, hints: options?.hints ?? 0, all: true })
