/**
 * Decides whose the files at a torrent's paths are: the torrent's own, somebody else's, or undecided until more pieces
 * were fetched. A file of somebody else's is never cut, overwritten or deleted unless the user allows it.
 *
 * A file is the torrent's own if resume data knows it, if no byte of it was ever written, or if its content proves it:
 * it is not too long, at least one of its pieces that is not all zeros matches its digest, and every piece that does
 * not match is zeros or missing. If a piece that lies in this file alone has all its bytes and does not match, the file
 * is somebody else's. A piece that reaches into a missing file cannot be digested, so it decides nothing yet. It
 * decides once it was fetched: equal bytes make the file the torrent's own, other bytes do not.
 *
 * If another client says that it has stored pieces of the file (a hint), the file is undecided until one of these pieces
 * that is not all zeros matches its digest. That proves the file: what does not match is what the other client has not
 * finished, or what was damaged since.
 */
import * as Effect from "effect/Effect"
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import type { FileRecord, ResumeData } from "../resume/ResumeStore.ts"
import type { FileFacts, StorageError, TorrentStorage } from "../storage/Storage.ts"
import { ContentExists, type ExistingFile } from "./ContentExists.ts"
import * as Hint from "./Hint.ts"
import * as Recheck from "./Recheck.ts"

/** Whose a file is. */
export type Standing = "own" | "undecided" | "foreign"

/**
 * The end of a file's identity if its time of birth is unknown. Such an identity may have belonged to another file
 * before.
 */
const unknownBirth = ":0"

/** How many bytes of a file are compared with zeros at a time. */
const readLength = 262_144

/** What the decision is made from. */
export interface Options {
  readonly layout: FileLayout.FileLayout
  readonly storage: Pick<TorrentStorage, "readBlock">
  readonly resume: ResumeData | undefined
  readonly facts: ReadonlyArray<FileFacts | undefined>
  readonly found: Recheck.Found
  /** Pieces that another client says it has stored, whether or not they were verified since. */
  readonly hint?: Bitfield.Bitfield | undefined
}

/**
 * Returns the standing of each file that exists, by its index. Reads a file only if digests leave its standing open.
 */
export const run = Effect.fnUntraced(function* (options: Options) {
  const standings = new Map<number, Standing>()
  for (const facts of options.facts) {
    if (facts !== undefined) standings.set(facts.file, yield* standingOf(options, facts))
  }
  return standings
})

const standingOf = (options: Options, facts: FileFacts): Effect.Effect<Standing, StorageError> => {
  const known = standingByItself(options, facts)
  return known === undefined ? standingByContent(options, facts) : Effect.succeed(known)
}

/** Returns the standing if it follows without reading the content. */
const standingByItself = ({ found, hint, layout, resume }: Options, facts: FileFacts): Standing | undefined => {
  if (facts.kind === "other") return "foreign"
  // Only this engine puts files there.
  if (facts.isAside) return "own"
  if (facts.length > FileLayout.lengthOf(layout, facts.file)) return "foreign"
  const record = resume?.files.get(facts.file)
  if (isRemembered(record, facts)) return "own"
  const { hinted } = found
  if (facts.isHole || isWhole(layout, facts.file, found)) return "own"
  if (hint !== undefined && Hint.speaksFor(layout, hint, facts.file)) {
    const proves = (piece: PieceIndex) =>
      isRight(found, piece) && !Bitfield.has(found.zeros, piece) && FileLayout.liesIn(layout, piece, facts.file)
    if (piecesOf(layout, facts.file).some(proves)) return "own"
    if (hinted !== undefined && Hint.speaksFor(layout, hinted, facts.file)) return "undecided"
  }
  // The resume data is of a process that was killed while it wrote, on a file system that changes identities, or of a
  // version that remembered no files. A piece that is remembered as stored and matches proves the file: a half-written
  // one cannot match.
  if (resume !== undefined && (record?.isWriting === true || resume.files.size === 0)) {
    for (const piece of piecesOf(layout, facts.file))
      if (Bitfield.has(resume.stored, piece) && Bitfield.has(found.stored, piece)) return "own"
  }
  return undefined
}

/** Whether a file is the one that resume data remembers as the torrent's own, or is in the folder for skipped files. */
export const isRemembered = (record: FileRecord | undefined, facts: FileFacts): boolean => {
  if (facts.kind === "other") return false
  if (facts.isAside) return true
  if (record === undefined) return false
  const isTheSame = record.identity === facts.identity && !facts.identity.endsWith(unknownBirth)
  return isTheSame || Recheck.isUnchanged(record, facts)
}

function* piecesOf(layout: FileLayout.FileLayout, file: number): Generator<PieceIndex> {
  const { end, first } = FileLayout.filePieces(layout, file)
  for (let piece = first; piece < end; piece++) yield piece as PieceIndex
}

/** Whether a piece is stored, and not only hinted at. */
const isRight = ({ hinted, stored }: Recheck.Found, piece: PieceIndex): boolean =>
  Bitfield.has(stored, piece) && (hinted === undefined || !Bitfield.has(hinted, piece))

const isWhole = (layout: FileLayout.FileLayout, file: number, found: Recheck.Found): boolean =>
  piecesOf(layout, file).every((piece) => isRight(found, piece))

const standingByContent = Effect.fnUntraced(function* (options: Options, facts: FileFacts) {
  const { found, layout } = options
  let isProved = false
  let isOpen = false
  for (const piece of piecesOf(layout, facts.file)) {
    const isAlone = FileLayout.liesIn(layout, piece, facts.file)
    if (isRight(found, piece)) {
      if (isProved || Bitfield.has(found.zeros, piece)) continue
      isProved = isAlone || !(yield* isBlank(options, facts, piece))
      continue
    }
    if (Bitfield.has(found.zeros, piece)) continue
    if (isAlone && Bitfield.has(found.present, piece)) return "foreign" as const
    if (!(yield* isBlank(options, facts, piece))) isOpen = true
  }
  return isProved && !isOpen ? ("own" as const) : ("undecided" as const)
})

/**
 * Returns the part of a piece that lies in a file and within the file's length: its offset in the piece, and its bytes.
 */
export const overlap = (
  { geometry, offsets }: FileLayout.FileLayout,
  piece: PieceIndex,
  facts: Pick<FileFacts, "file" | "length">
): { readonly begin: number; readonly length: number } => {
  const offset = offsets[facts.file]!
  const pieceBegin = PieceGeometry.pieceOffset(geometry, piece)
  const begin = Math.max(offset, pieceBegin)
  const end = Math.min(offset + facts.length, pieceBegin + PieceGeometry.pieceSize(geometry, piece))
  return { begin: begin - pieceBegin, length: Math.max(0, end - begin) }
}

/** Whether the file's part of the piece is empty or all zeros. */
export const isBlank = Effect.fnUntraced(function* (
  { layout, storage }: Pick<Options, "layout" | "storage">,
  facts: FileFacts,
  piece: PieceIndex
) {
  const part = overlap(layout, piece, facts)
  const end = part.begin + part.length
  for (let begin = part.begin; begin < end; begin += readLength) {
    const { bytes } = yield* storage.readBlock(piece, begin, Math.min(readLength, end - begin))
    if (bytes.some((byte) => byte !== 0)) return false
  }
  return true
})

/**
 * Returns what keeps the torrent from starting: files of somebody else's that it would write to, and wanted ones that
 * are too long. `undefined` if nothing does.
 */
export const conflict = (
  { facts, found, layout }: Options,
  standings: ReadonlyMap<number, Standing>,
  wanted: { readonly files: ReadonlySet<number>; readonly pieces: Bitfield.Bitfield }
): ContentExists | undefined => {
  const files: Array<ExistingFile> = []
  for (const [index, standing] of standings) {
    if (standing !== "foreign") continue
    const one = existing(layout, facts[index]!, found.stored)
    const isWritten = piecesOf(layout, index).some(
      (piece) => Bitfield.has(wanted.pieces, piece) && !Bitfield.has(found.stored, piece)
    )
    const isInTheWay = one.excessBytes > 0 || (one.isOther && FileLayout.lengthOf(layout, index) === 0)
    if (isWritten || (wanted.files.has(index) && isInTheWay)) files.push(one)
  }
  return files.length === 0 ? undefined : new ContentExists({ files })
}

/** Describes a file of somebody else's for a report. */
export const existing = (layout: FileLayout.FileLayout, facts: FileFacts, stored: Bitfield.Bitfield): ExistingFile => {
  const { end, first } = FileLayout.filePieces(layout, facts.file)
  let verifiedPieces = 0
  for (let piece = first; piece < end; piece++) if (Bitfield.has(stored, piece)) verifiedPieces++
  return {
    path: FileLayout.pathOf(layout, facts.file).join("/"),
    totalPieces: end - first,
    verifiedPieces,
    excessBytes: Math.max(0, facts.length - FileLayout.lengthOf(layout, facts.file)),
    isOther: facts.kind === "other"
  }
}
