/**
 * Who sent a block: a small number for each address, which outlives the connections to it.
 *
 * It names an address and not a peer id, which can be changed at will, so that blame survives a reconnection. Whoever keeps
 * the addresses gives out the numbers (`swarm/PeerBook.ts`); a number is never used again.
 */
import type * as Brand from "effect/Brand"

/** The number of a supplier's address, 0 or more. */
export type SupplierId = number & Brand.Brand<"piecewise/SupplierId">
