/**
 * The facts (`FileFacts`) of many files in some 40 bytes each, because a torrent may have hundreds of thousands. What
 * comes out is what was put in.
 */
import * as Column from "../base/Column.ts"
import * as FileIdentities from "./FileIdentities.ts"
import type { FileFacts } from "./Storage.ts"

/** Facts by the index of the file. Made by `make`, changed only here. */
export interface FactsTable {
  readonly fileCount: number
  /** Made for the first facts: most torrents of an engine have none, or few files. */
  columns: Columns | undefined
}

interface Columns {
  /** Bits of a file that has facts; 0 if it has none. */
  readonly marks: Column.Column
  readonly lengths: Column.Column
  readonly times: BigInt64Array
  readonly identities: FileIdentities.FileIdentities
  readonly otherNames: Column.Column
  /** Times that do not fit in 64 bits: some file systems have years beyond 2262. */
  oddTimes: Map<number, bigint> | undefined
}

const isThere = 1
const isOther = 2
const hole = 4
const isAside = 8
const hasOddTime = 16

/** Makes a table for so many files, none of which has facts. */
export const make = (fileCount: number): FactsTable => ({ fileCount, columns: undefined })

const makeColumns = (fileCount: number): Columns => ({
  marks: Column.bytes(fileCount),
  lengths: Column.lengths(fileCount),
  times: new BigInt64Array(fileCount),
  identities: FileIdentities.make(fileCount),
  otherNames: Column.counts(fileCount),
  oddTimes: undefined
})

/** Sets the facts of a file. */
export const set = (self: FactsTable, facts: FileFacts): void => {
  const { file, mtimeNs } = facts
  remove(self, file)
  self.columns ??= makeColumns(self.fileCount)
  const { columns } = self
  let marks = isThere
  if (facts.kind === "other") marks |= isOther
  if (facts.isHole) marks |= hole
  if (facts.isAside) marks |= isAside
  columns.times[file] = mtimeNs
  if (columns.times[file] !== mtimeNs) {
    marks |= hasOddTime
    columns.oddTimes ??= new Map()
    columns.oddTimes.set(file, mtimeNs)
  }
  columns.marks[file] = marks
  columns.lengths[file] = facts.length
  columns.otherNames[file] = facts.otherNames
  FileIdentities.set(columns.identities, file, facts.identity)
}

/** Forgets the facts of a file. */
export const remove = ({ columns }: FactsTable, file: number): void => {
  if (columns === undefined) return
  columns.oddTimes?.delete(file)
  columns.marks[file] = 0
  FileIdentities.remove(columns.identities, file)
}

/** Whether a file has facts. */
export const has = ({ columns }: FactsTable, file: number): boolean => (columns?.marks[file] ?? 0) !== 0

/** `FileFacts.length` of a file that has facts. */
export const lengthOf = ({ columns }: FactsTable, file: number): number => columns!.lengths[file]!

/** `FileFacts.identity` of a file; `undefined` if it has no facts. */
export const identityOf = ({ columns }: FactsTable, file: number): string | undefined =>
  columns && FileIdentities.get(columns.identities, file)

/** `FileFacts.isHole` of a file that has facts. */
export const isHole = ({ columns }: FactsTable, file: number): boolean => (columns!.marks[file]! & hole) !== 0

/** Notes that a file that has facts is no hole. */
export const noteFilled = ({ columns }: FactsTable, file: number): void => {
  columns!.marks[file] = columns!.marks[file]! & ~hole
}

/** The facts of a file; `undefined` if it has none. */
export const get = ({ columns }: FactsTable, file: number): FileFacts | undefined => {
  const marks = columns?.marks[file] ?? 0
  if (columns === undefined || marks === 0) return undefined
  return {
    file,
    kind: (marks & isOther) === 0 ? "file" : "other",
    length: columns.lengths[file]!,
    mtimeNs: (marks & hasOddTime) === 0 ? columns.times[file]! : columns.oddTimes!.get(file)!,
    identity: FileIdentities.get(columns.identities, file)!,
    isHole: (marks & hole) !== 0,
    isAside: (marks & isAside) !== 0,
    otherNames: columns.otherNames[file]!
  }
}
