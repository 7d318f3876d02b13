/**
 * Who sent a block: a small number for each address, which outlives the connections to it.
 *
 * It stands for an address and not for a peer id, which a peer can change at will, so that blame survives a
 * reconnection. All suppliers of a torrent, peers or not, take their numbers from one row; a number is never used
 * again.
 */
import type * as Brand from "effect/Brand"

/** The number of a supplier's address, 0 or more. */
export type SupplierId = number & Brand.Brand<"piecewise/SupplierId">

/** The numbers of one torrent. */
export interface SupplierIds {
  next: number
}

/** Makes a row of numbers, none of which is used. */
export const makeIds = (): SupplierIds => ({ next: 0 })

/** Takes the next number. */
export const nextId = (self: SupplierIds): SupplierId => self.next++ as SupplierId
