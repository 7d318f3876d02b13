/**
 * The facts (`FileFacts`) of many files in some 40 bytes each, because a torrent may have hundreds of thousands. What
 * comes out is what was put in.
 */
import * as FileIdentities from "./FileIdentities.ts"
import type { FileFacts } from "./Storage.ts"

/** Facts by the index of the file. Made by `make`, changed only here. */
export interface FactsTable {
  /** Bits of a file that has facts; 0 if it has none. */
  readonly marks: Uint8Array
  readonly lengths: Float64Array
  readonly times: BigInt64Array
  readonly identities: FileIdentities.FileIdentities
  readonly otherNames: Uint32Array
  /** Times that do not fit in 64 bits: some file systems have years beyond 2262. */
  readonly oddTimes: Map<number, bigint>
}

const isThere = 1
const isOther = 2
const hole = 4
const isAside = 8
const hasOddTime = 16

/** Makes room for the facts of so many files. */
export const make = (fileCount: number): FactsTable => ({
  marks: new Uint8Array(fileCount),
  lengths: new Float64Array(fileCount),
  times: new BigInt64Array(fileCount),
  identities: FileIdentities.make(fileCount),
  otherNames: new Uint32Array(fileCount),
  oddTimes: new Map()
})

/** Sets the facts of a file. */
export const set = (self: FactsTable, facts: FileFacts): void => {
  const { file, mtimeNs } = facts
  remove(self, file)
  let marks = isThere
  if (facts.kind === "other") marks |= isOther
  if (facts.isHole) marks |= hole
  if (facts.isAside) marks |= isAside
  self.times[file] = mtimeNs
  if (self.times[file] !== mtimeNs) {
    marks |= hasOddTime
    self.oddTimes.set(file, mtimeNs)
  }
  self.marks[file] = marks
  self.lengths[file] = facts.length
  self.otherNames[file] = facts.otherNames
  FileIdentities.set(self.identities, file, facts.identity)
}

/** Forgets the facts of a file. */
export const remove = (self: FactsTable, file: number): void => {
  if (((self.marks[file] ?? 0) & hasOddTime) !== 0) self.oddTimes.delete(file)
  self.marks[file] = 0
  FileIdentities.remove(self.identities, file)
}

/** Whether a file has facts. */
export const has = ({ marks }: FactsTable, file: number): boolean => marks[file] !== 0 && marks[file] !== undefined

/** `FileFacts.length` of a file that has facts. */
export const lengthOf = ({ lengths }: FactsTable, file: number): number => lengths[file]!

/** `FileFacts.identity` of a file; `undefined` if it has no facts. */
export const identityOf = ({ identities }: FactsTable, file: number): string | undefined =>
  FileIdentities.get(identities, file)

/** `FileFacts.isHole` of a file that has facts. */
export const isHole = ({ marks }: FactsTable, file: number): boolean => (marks[file]! & hole) !== 0

/** The facts of a file; `undefined` if it has none. */
export const get = (self: FactsTable, file: number): FileFacts | undefined => {
  if (!has(self, file)) return undefined
  const marks = self.marks[file]!
  return {
    file,
    kind: (marks & isOther) === 0 ? "file" : "other",
    length: self.lengths[file]!,
    mtimeNs: (marks & hasOddTime) === 0 ? self.times[file]! : self.oddTimes.get(file)!,
    identity: FileIdentities.get(self.identities, file)!,
    isHole: (marks & hole) !== 0,
    isAside: (marks & isAside) !== 0,
    otherNames: self.otherNames[file]!
  }
}
