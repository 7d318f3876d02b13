/**
 * The files that an opening of a torrent may write, and by which lock each is held. Takes 8 bytes a file, because a
 * torrent may reserve hundreds of thousands at once.
 */
import * as Column from "../../../base/Column.ts"
import type * as NodeWriterLocks from "./locks/NodeWriterLocks.ts"

/** How a file is held. */
export interface Reservation {
  readonly writer: NodeWriterLocks.Writer
  /** The index of its first name among those that were acquired with it; its other names follow. */
  readonly first: number
}

/** The reserved files, by their index in `layout.files`. */
export interface Reservations {
  /** The number of each file's writer; 0 if the file is not reserved. */
  readonly numbers: Column.Column
  readonly firsts: Column.Column
  readonly writers: Map<number, { readonly writer: NodeWriterLocks.Writer; files: number }>
  lastNumber: number
}

/** Makes it with no file of `fileCount` reserved. */
export const make = (fileCount: number): Reservations => ({
  numbers: Column.counts(fileCount),
  firsts: Column.counts(fileCount),
  writers: new Map(),
  lastNumber: 0
})

/** Whether a file is reserved. */
export const has = ({ numbers }: Reservations, file: number): boolean => numbers[file] !== 0

/** Notes that files are held by a writer that acquired `nameCount` names of each, in their order. */
export const add = (
  self: Reservations,
  files: ReadonlyArray<number>,
  writer: NodeWriterLocks.Writer,
  nameCount: (file: number) => number
): void => {
  const number = ++self.lastNumber
  self.writers.set(number, { writer, files: files.length })
  let first = 0
  for (const file of files) {
    self.numbers[file] = number
    self.firsts[file] = first
    first += nameCount(file)
  }
}

/** Forgets that a file is reserved, and returns how it was; `undefined` if it was not. */
export const take = (self: Reservations, file: number): Reservation | undefined => {
  const number = self.numbers[file]!
  const held = self.writers.get(number)
  if (held === undefined) return undefined
  self.numbers[file] = 0
  if (--held.files === 0) self.writers.delete(number)
  return { writer: held.writer, first: self.firsts[file]! }
}
