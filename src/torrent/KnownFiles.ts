/**
 * The files of a torrent that exist: whose they are, and what they looked like when the torrent last wrote or verified
 * them. Plain data, changed only by the torrent's fibers between two `yield*`.
 */
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import type { FileRecord } from "../resume/ResumeStore.ts"
import type { FileFacts } from "../storage/Storage.ts"
import type { Standing } from "./Adoption.ts"

/** A file that exists. */
export interface KnownFile {
  standing: Standing
  facts: FileFacts
  /** Claimed, and remembered as being written. Its size and time change with every write. */
  isWriting: boolean
  /**
   * A flush of it has failed, and it still lies on the same blocks. It is copied to fresh ones before it is written.
   */
  isStale: boolean
  /** While the file is undecided: the pieces whose bytes are compared with it before they are written. */
  toCompare: Set<PieceIndex>
}

/** Empty for ever. Shared by the files that have nothing to compare: a torrent may have hundreds of thousands. */
const nothing: Set<PieceIndex> = new Set()

/** The files that exist, by their index in `layout.files`. */
export interface KnownFiles {
  readonly layout: FileLayout.FileLayout
  readonly files: Map<number, KnownFile>
  /** How many pieces of each file are not stored. */
  readonly missing: Uint32Array
}

/** Makes a file that is not being written. */
export const makeFile = (standing: Standing, facts: FileFacts, record?: FileRecord): KnownFile => ({
  standing,
  facts,
  isWriting: false,
  isStale: record?.isStale === true && record.identity === facts.identity,
  toCompare: nothing
})

/** Makes it from the files that were found, the pieces that are stored, and what was remembered of the files. */
export const make = (
  layout: FileLayout.FileLayout,
  facts: ReadonlyArray<FileFacts | undefined>,
  standings: ReadonlyMap<number, Standing>,
  stored: Bitfield.Bitfield,
  records?: ReadonlyMap<number, FileRecord>
): KnownFiles => {
  const self: KnownFiles = { layout, files: new Map(), missing: new Uint32Array(layout.files.length) }
  for (const file of realFiles(layout)) self.missing[file] = missingIn(self, file, stored).length
  for (const [index, standing] of standings) {
    const file = makeFile(standing, facts[index]!, records?.get(index))
    if (standing === "undecided") meet(self, file.facts)
    else self.files.set(index, file)
    self.files.get(index)!.isStale = file.isStale
    for (const piece of piecesIn(self, index, stored)) prove(self, piece)
  }
  return self
}

/**
 * Adds a file that appeared or was replaced, and that nothing proves to be anybody's. All pieces that have bytes in it
 * are to be compared. An empty file counts as the torrent's own.
 */
export const meet = (self: KnownFiles, facts: FileFacts): void => {
  const end = self.layout.files[facts.file]!.offset + facts.length
  const hasBytes = (piece: number) => facts.length > 0 && piece * self.layout.geometry.pieceLength < end
  const toCompare = new Set(select(self, facts.file, hasBytes))
  const standing = facts.kind !== "file" ? "foreign" : facts.length > 0 ? "undecided" : "own"
  self.files.set(facts.file, { ...makeFile(standing, facts), toCompare: toCompare.size > 0 ? toCompare : nothing })
}

/** Notes that a piece need not be compared with the file any more. The last one proves the file to be the torrent's. */
export const noteEqual = (file: KnownFile, piece: PieceIndex): void => {
  if (!file.toCompare.delete(piece) || file.toCompare.size > 0) return
  file.toCompare = nothing
  file.standing = "own"
}

/** Notes that nothing need be compared with the file, whosever it is. */
export const compareNothing = (file: KnownFile): void => {
  file.toCompare = nothing
}

/** Notes that a piece is right in all its files, so that it need not be compared any more. */
export const prove = (self: KnownFiles, piece: PieceIndex): void => {
  for (const file of filesOf(self, piece)) {
    const entry = self.files.get(file)
    if (entry !== undefined) noteEqual(entry, piece)
  }
}

/** Notes that a piece became stored, or is not stored any more. */
export const noteStored = (self: KnownFiles, piece: PieceIndex, isStored: boolean): void => {
  for (const file of filesOf(self, piece)) self.missing[file]! += isStored ? -1 : 1
}

/**
 * What resume data remembers of a file. A file with suspect pieces is remembered as being written, so that a later run
 * does not trust it either.
 */
export const recordOf = (self: KnownFiles, file: number, suspects: Bitfield.Bitfield): FileRecord => {
  const { facts, isStale, isWriting } = self.files.get(file)!
  return {
    isWriting: isWriting || piecesIn(self, file, suspects).length > 0,
    isStale,
    length: facts.length,
    mtimeNs: facts.mtimeNs,
    identity: facts.identity
  }
}

/**
 * What resume data remembers of all files that are the torrent's own. An unclaimed hole is not remembered: somebody may
 * fill it between two runs, and then it is theirs.
 */
export const records = (self: KnownFiles, suspects: Bitfield.Bitfield): Map<number, FileRecord> => {
  const records = new Map<number, FileRecord>()
  for (const [index, { facts, isWriting, standing }] of self.files)
    if (standing === "own" && (isWriting || !facts.isHole)) records.set(index, recordOf(self, index, suspects))
  return records
}

/** The files that hold a byte of the piece, except padding. */
export const filesOf = ({ layout }: Pick<KnownFiles, "layout">, piece: PieceIndex): ReadonlyArray<number> =>
  FileLayout.pieceSpans(layout, piece).flatMap(({ file }) => (layout.files[file]!.padding ? [] : [file]))

/** All files except padding. */
export const realFiles = (layout: FileLayout.FileLayout): ReadonlyArray<number> =>
  [...layout.files.keys()].filter((file) => !layout.files[file]!.padding)

/** The path of a file in events and errors: components joined by `/`. */
export const pathOf = ({ layout }: Pick<KnownFiles, "layout">, file: number): string =>
  layout.files[file]!.path.join("/")

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
