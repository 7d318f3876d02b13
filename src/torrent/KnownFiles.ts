/**
 * The files of a torrent that exist: whose they are, and what they looked like when the torrent last wrote or verified
 * them. Plain data, changed only by the torrent's fibers between two `yield*`.
 */

import * as Bitfield from "../base/Bitfield.ts"
import * as Column from "../base/Column.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import type { FileRecord } from "../resume/ResumeStore.ts"
import * as FactsTable from "../storage/FactsTable.ts"
import type { FileFacts } from "../storage/Storage.ts"
import type { Standing } from "./Adoption.ts"
import * as Hint from "./Hint.ts"

/**
 * The files that exist, by their index in `layout.files`. Held in columns, because a torrent may have hundreds of
 * thousands. Made by `make`, changed only here.
 */
export interface KnownFiles {
  readonly layout: FileLayout.FileLayout
  /** What the files that exist looked like. */
  readonly facts: FactsTable.FactsTable
  /** The standing of each file that exists, and the bits `writing` and `stale`. */
  readonly marks: Column.Column
  /** Of each undecided file, the pieces whose bytes are compared with it before they are written. */
  readonly toCompare: Map<number, Set<PieceIndex>>
  /** How many pieces of each file are not stored. */
  readonly missing: Column.Column
  /** The hint for later runs, without what this one has settled. */
  readonly hint: Bitfield.Bitfield | undefined
  /** Stored pieces that another client has hinted at and nobody has verified. Nothing remembers them as stored. */
  readonly hinted: Bitfield.Bitfield | undefined
  /** Undecided files that one right piece proves to be the torrent's own, because another client has hinted at them. */
  readonly hintedFiles: Set<number> | undefined
}

const standings = ["own", "undecided", "foreign"] as const
const standingBits = 3
const writing = 4
const stale = 8

/**
 * Makes it from the files that were found, the pieces that are stored, what was remembered of the files, and which of the
 * stored pieces are only hinted at.
 */
export const make = (
  layout: FileLayout.FileLayout,
  facts: ReadonlyArray<FileFacts | undefined>,
  standings: ReadonlyMap<number, Standing>,
  stored: Bitfield.Bitfield,
  records?: ReadonlyMap<number, FileRecord>,
  { hint, hinted }: Partial<Pick<KnownFiles, "hint" | "hinted">> = {}
): KnownFiles => {
  const self: KnownFiles = {
    layout,
    facts: FactsTable.make(layout.fileCount),
    marks: Column.bytes(layout.fileCount),
    toCompare: new Map(),
    missing: Column.counts(layout.fileCount),
    hint,
    hinted: hinted && Bitfield.copy(hinted),
    hintedFiles: hinted && new Set()
  }
  for (let file = 0; file < layout.fileCount; file++) {
    if (FileLayout.isPadding(layout, file)) continue
    const { end, first } = FileLayout.filePieces(layout, file)
    let missing = 0
    for (let piece = first; piece < end; piece++) if (!Bitfield.has(stored, piece)) missing++
    self.missing[file] = missing
  }
  for (const [index, standing] of standings) {
    const found = facts[index]!
    if (standing === "undecided" && hinted !== undefined && Hint.speaksFor(layout, hinted, index)) {
      add(self, standing, found)
      self.hintedFiles?.add(index)
    } else if (standing === "undecided") meet(self, found)
    else add(self, standing, found)
    const record = records?.get(index)
    const isTheSame = record?.identity === found.identity
    setStale(self, index, record?.isStale === true && isTheSame)
    // An empty file that the torrent made stays its own.
    if (isTheSame && found.length === 0 && FileLayout.lengthOf(layout, index) === 0) noteFilled(self, index)
    if (self.toCompare.size > 0)
      for (const piece of piecesIn(self, index, stored)) if (!isHinted(self, piece)) prove(self, piece)
  }
  return self
}

/** Adds a file that is not being written, or replaces what is known of it. */
export const add = (self: KnownFiles, standing: Standing, facts: FileFacts): void => {
  self.toCompare.delete(facts.file)
  self.hintedFiles?.delete(facts.file)
  self.marks[facts.file] = standings.indexOf(standing)
  FactsTable.set(self.facts, facts)
}

/** Notes that a file does not exist any more. */
export const remove = (self: KnownFiles, file: number): void => {
  self.toCompare.delete(file)
  self.hintedFiles?.delete(file)
  self.marks[file] = 0
  FactsTable.remove(self.facts, file)
}

/** Whether a file exists. */
export const has = (self: KnownFiles, file: number): boolean => FactsTable.has(self.facts, file)

/** The files that exist. */
export const existing = (self: KnownFiles): Array<number> => {
  const files: Array<number> = []
  for (let file = 0; file < self.marks.length; file++) if (has(self, file)) files.push(file)
  return files
}

/** What a file looked like when the torrent last wrote or verified it; `undefined` if it does not exist. */
export const factsOf = (self: KnownFiles, file: number): FileFacts | undefined => FactsTable.get(self.facts, file)

/** The identity of a file; `undefined` if it does not exist. */
export const identityOf = (self: KnownFiles, file: number): string | undefined =>
  FactsTable.identityOf(self.facts, file)

/** The length of a file; 0 if it does not exist. */
export const lengthOf = (self: KnownFiles, file: number): number =>
  has(self, file) ? FactsTable.lengthOf(self.facts, file) : 0

/** Whose a file is; `undefined` if it does not exist. */
export const standingOf = (self: KnownFiles, file: number): Standing | undefined =>
  has(self, file) ? standings[self.marks[file]! & standingBits] : undefined

/** Whether a file is claimed, and remembered as being written. Its size and time change with every write. */
export const isWriting = ({ marks }: KnownFiles, file: number): boolean => (marks[file]! & writing) !== 0

/**
 * Whether a flush of a file has failed, and it still lies on the same blocks. It is copied to fresh ones before it is
 * written.
 */
export const isStale = ({ marks }: KnownFiles, file: number): boolean => (marks[file]! & stale) !== 0

const mark = ({ marks }: KnownFiles, file: number, bit: number, isSet: boolean): void => {
  marks[file] = isSet ? marks[file]! | bit : marks[file]! & ~bit
}

/** Sets `isWriting` of a file that exists. */
export const setWriting = (self: KnownFiles, file: number, isSet: boolean): void => mark(self, file, writing, isSet)

/** Sets `isStale` of a file that exists. */
export const setStale = (self: KnownFiles, file: number, isSet: boolean): void => mark(self, file, stale, isSet)

/** Sets whose a file that exists is. */
export const setStanding = (self: KnownFiles, file: number, standing: Standing): void => {
  self.marks[file] = (self.marks[file]! & ~standingBits) | standings.indexOf(standing)
}

/** Sets what a file that exists looks like now. */
export const setFacts = (self: KnownFiles, facts: FileFacts): void => FactsTable.set(self.facts, facts)

/** Notes that the torrent writes to a file that exists, so that it is no hole any more. */
export const noteFilled = (self: KnownFiles, file: number): void => FactsTable.noteFilled(self.facts, file)

/**
 * Whether a file that somebody changed in its place is no longer known to be the torrent's own: nothing had proved it
 * to be that, or no byte was written to it before.
 */
export const isDoubtful = (self: KnownFiles, { file, isHole }: FileFacts): boolean =>
  standingOf(self, file) === "undecided" ||
  (FactsTable.isHole(self.facts, file) && !isHole && FileLayout.lengthOf(self.layout, file) > 0)

/**
 * Adds a file that appeared or was replaced, and that nothing proves to be anybody's. All pieces that have bytes in it
 * are to be compared. An empty file counts as the torrent's own.
 */
export const meet = (self: KnownFiles, facts: FileFacts): void => {
  const end = FileLayout.offsetOf(self.layout, facts.file) + facts.length
  const hasBytes = (piece: number) => facts.length > 0 && piece * self.layout.geometry.pieceLength < end
  const toCompare = new Set(select(self, facts.file, hasBytes))
  add(self, facts.kind !== "file" ? "foreign" : facts.length > 0 ? "undecided" : "own", facts)
  if (toCompare.size > 0) self.toCompare.set(facts.file, toCompare)
}

/** Whether a file is undecided, and the piece is to be compared with it before it is written. */
export const isToCompare = ({ toCompare }: KnownFiles, file: number, piece: PieceIndex): boolean =>
  toCompare.get(file)?.has(piece) === true

/** Notes that a piece need not be compared with the file any more. The last one proves the file to be the torrent's. */
export const noteEqual = (self: KnownFiles, file: number, piece: PieceIndex): void => {
  const pieces = self.toCompare.get(file)
  if (pieces?.delete(piece) !== true || pieces.size > 0) return
  self.toCompare.delete(file)
  setStanding(self, file, "own")
}

/** Notes that nothing need be compared with any file, whosever it is. */
export const compareNothing = (self: KnownFiles): void => self.toCompare.clear()

/** Notes that a piece is right in all its files, so that it need not be compared any more. */
export const prove = (self: KnownFiles, piece: PieceIndex): void => {
  if (self.toCompare.size === 0) return
  for (const file of filesOf(self, piece)) noteEqual(self, file, piece)
}

/** Whether a stored piece is only hinted at. */
export const isHinted = ({ hinted }: KnownFiles, piece: PieceIndex): boolean =>
  hinted !== undefined && Bitfield.has(hinted, piece)

/** The stored pieces that are not only hinted at: `stored` itself if none is, otherwise a copy. */
export const withoutHinted = ({ hinted }: KnownFiles, stored: Bitfield.Bitfield): Bitfield.Bitfield =>
  hinted === undefined ? stored : Bitfield.copyWithout(stored, Bitfield.indices(hinted))

/** Notes that a piece that was hinted at is verified, or not stored. Returns whether it was hinted at until now. */
export const settleHint = ({ hint, hinted }: KnownFiles, piece: PieceIndex): boolean => {
  if (hint !== undefined) Bitfield.remove(hint, piece)
  return hinted !== undefined && Bitfield.remove(hinted, piece)
}

/** Notes that a right piece proves a hinted file to be the torrent's own. Returns `false` if it was replaced meanwhile. */
export const adopt = (self: KnownFiles, file: number): boolean => {
  if (self.hintedFiles?.delete(file) !== true) return false
  setStanding(self, file, "own")
  return true
}

/** Notes that a piece became stored, or is not stored any more. */
export const noteStored = (self: KnownFiles, piece: PieceIndex, isStored: boolean): void => {
  for (const file of filesOf(self, piece)) self.missing[file]! += isStored ? -1 : 1
}

/**
 * What resume data remembers of a file. A file with suspect pieces is remembered as being written, so that a later run
 * does not trust it either. Pieces that are only hinted at are not remembered, so they do not count.
 */
export const recordOf = (self: KnownFiles, file: number, suspects: Bitfield.Bitfield): FileRecord => {
  const { identity, length, mtimeNs } = factsOf(self, file)!
  return {
    isWriting: isWriting(self, file) || piecesIn(self, file, suspects).some((piece) => !isHinted(self, piece)),
    isStale: isStale(self, file),
    length,
    mtimeNs,
    identity
  }
}

/**
 * What resume data remembers of all files that are the torrent's own. An unclaimed hole is not remembered: somebody may
 * fill it between two runs, and then it is theirs.
 */
export const records = (self: KnownFiles, suspects: Bitfield.Bitfield): Map<number, FileRecord> => {
  const records = new Map<number, FileRecord>()
  for (const file of existing(self)) {
    if (standingOf(self, file) !== "own") continue
    if (isWriting(self, file) || !FactsTable.isHole(self.facts, file)) records.set(file, recordOf(self, file, suspects))
  }
  return records
}

/**
 * Whether a file is the torrent's own because the torrent made it or its content proves it. A hole in a file that is
 * not to be empty proves nothing.
 */
export const isProved = (self: KnownFiles, file: number): boolean =>
  standingOf(self, file) === "own" &&
  (isWriting(self, file) || !FactsTable.isHole(self.facts, file) || FileLayout.lengthOf(self.layout, file) === 0)

/**
 * Those of some files that are being written; `undefined` if none is. What a look at them that begins now sees may be
 * older than their last write when it ends.
 */
export const writingAmong = (self: KnownFiles, files: ReadonlyArray<number>): ReadonlySet<number> | undefined => {
  let found: Set<number> | undefined
  for (const file of files) if (isWriting(self, file)) found = (found ?? new Set()).add(file)
  return found
}

/** The files that hold a byte of the piece, except padding. */
export const filesOf = ({ layout }: Pick<KnownFiles, "layout">, piece: PieceIndex): ReadonlyArray<number> =>
  FileLayout.pieceSpans(layout, piece).flatMap(({ file }) => (FileLayout.isPadding(layout, file) ? [] : [file]))

/** The path of a file in events and errors: components joined by `/`. */
export const pathOf = ({ layout }: Pick<KnownFiles, "layout">, file: number): string =>
  FileLayout.pathOf(layout, file).join("/")

/** Whether every piece of the file is stored. Called once a piece, so it does not loop over pieces. */
export const isWhole = (self: KnownFiles, file: number): boolean => self.missing[file] === 0

const select = ({ layout }: Pick<KnownFiles, "layout">, file: number, isMeant: (piece: number) => boolean) => {
  const { end, first } = FileLayout.filePieces(layout, file)
  const found: Array<PieceIndex> = []
  for (let piece = first; piece < end; piece++) if (isMeant(piece)) found.push(piece as PieceIndex)
  return found
}

/** The pieces of the file that are in `pieces`. */
export const piecesIn = (
  self: Pick<KnownFiles, "layout">,
  file: number,
  pieces: Bitfield.Bitfield
): ReadonlyArray<PieceIndex> => select(self, file, (piece) => Bitfield.has(pieces, piece))

/** The pieces of the file that are not in `pieces`. */
export const missingIn = (
  self: Pick<KnownFiles, "layout">,
  file: number,
  pieces: Bitfield.Bitfield
): ReadonlyArray<PieceIndex> => select(self, file, (piece) => !Bitfield.has(pieces, piece))
