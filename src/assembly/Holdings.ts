/**
 * Which supplier has which pieces, as `PiecePicker.ts` (availability) and `PieceTable.ts` (what is interesting about a
 * supplier) count it. `Assembly.ts` calls it, and handles what follows from a change.
 *
 * A message of a few bytes must not cost a walk over the torrent, because a peer may repeat it without end. So a
 * supplier that reports every piece at once is counted apart, and one that reports them all again costs as much as it
 * lost in between, each of which took a message. A walk over all pieces happens at most twice for a supplier: when it
 * first loses a piece after it had them all, and when it first reports all after it had only some.
 */
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as Supplier from "../supply/Supplier.ts"
import * as PiecePicker from "./PiecePicker.ts"
import * as PieceTable from "./PieceTable.ts"

/** What counts the pieces of suppliers. */
interface Counts {
  readonly picker: PiecePicker.PiecePicker
  readonly table: PieceTable.PieceTable
}

const count = ({ picker }: Counts, supplier: Supplier.Supplier): void => {
  for (const piece of Bitfield.indices(supplier.has)) PiecePicker.gain(picker, piece as PieceIndex)
}

const uncount = ({ picker }: Counts, supplier: Supplier.Supplier): void => {
  for (const piece of Bitfield.indices(supplier.has)) PiecePicker.lose(picker, piece as PieceIndex)
}

/** Counts a supplier with the pieces that it has so far. */
export const enter = (self: Counts, supplier: Supplier.Supplier): void => {
  PieceTable.watch(self.table, supplier)
  if (!supplier.isSeed) count(self, supplier)
}

/** Counts a supplier no more. */
export const exit = (self: Counts, supplier: Supplier.Supplier): void => {
  PieceTable.unwatch(self.table, supplier)
  PiecePicker.forget(self.picker, supplier.has)
  if (!supplier.isSeed) uncount(self, supplier)
}

/** Counts one more piece of a supplier. Returns `false` if it had the piece. */
export const add = (self: Counts, supplier: Supplier.Supplier, piece: PieceIndex): boolean => {
  if (!Bitfield.add(supplier.has, piece)) return false
  supplier.lost?.delete(piece)
  PieceTable.noteGained(self.table, supplier, piece)
  PiecePicker.gain(self.picker, piece)
  PiecePicker.gained(self.picker, supplier.has, piece)
  if (PiecePicker.isCandidate(self.picker, piece)) {
    if (supplier.gained.size < Supplier.maxGained) supplier.gained.add(piece)
    else Supplier.searchAgain(supplier)
  }
  return true
}

/** Counts all pieces of a supplier that had none before. */
export const addAll = (self: Counts, supplier: Supplier.Supplier, has: Bitfield.Bitfield): void => {
  if (Bitfield.isFull(has)) return addEverything(self, supplier)
  Supplier.searchAgain(supplier)
  Bitfield.replace(supplier.has, has)
  PiecePicker.forget(self.picker, supplier.has)
  PieceTable.watch(self.table, supplier)
  count(self, supplier)
}

/** Counts a supplier that reports every piece at once, whatever it had before. */
export const addEverything = (self: Counts, supplier: Supplier.Supplier): void => {
  if (supplier.lost !== undefined) {
    for (const piece of [...supplier.lost]) add(self, supplier, piece)
    return
  }
  uncount(self, supplier)
  Supplier.searchAgain(supplier)
  supplier.isSeed = true
  supplier.lost = new Set()
  Bitfield.fill(supplier.has)
  PiecePicker.forget(self.picker, supplier.has)
  PieceTable.watch(self.table, supplier)
}

/** Takes a piece from a supplier. Returns `false` if it did not have the piece. */
export const remove = (self: Counts, supplier: Supplier.Supplier, piece: PieceIndex): boolean => {
  if (!Bitfield.has(supplier.has, piece)) return false
  if (supplier.isSeed) {
    supplier.isSeed = false
    count(self, supplier)
  }
  Bitfield.remove(supplier.has, piece)
  supplier.lost?.add(piece)
  supplier.gained.delete(piece)
  PieceTable.noteLacked(self.table, supplier, piece)
  PiecePicker.lose(self.picker, piece)
  return true
}
