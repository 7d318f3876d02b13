/**
 * Finds out which pieces are stored when a torrent starts. Resume data answers for files that have not changed since,
 * which are not read again. For the rest the pieces on the medium are digested.
 *
 * A file is compared by size and time with what was remembered of it. If it was being written when the process died,
 * its time proves nothing: pieces that were written since its last flush are digested at once, the others later
 * (`doubtful`). Pieces of any other existing file are digested, because somebody may have put the file there. If another
 * client says that it has stored pieces (a hint), these are digested later too, and the other pieces of their files count
 * as missing.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as BorrowedBytes from "../assembly/BorrowedBytes.ts"
import type * as BufferBudget from "../assembly/BufferBudget.ts"
import * as Bitfield from "../base/Bitfield.ts"
import * as Bytes from "../base/Bytes.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import * as Metainfo from "../metainfo/Metainfo.ts"
import type { FileRecord, ResumeData } from "../resume/ResumeStore.ts"
import type { FileFacts, TorrentStorage } from "../storage/Storage.ts"
import * as Hint from "./Hint.ts"

/** The most progress reports of one check, however many pieces it digests. */
const progressSteps = 100

/** What is checked, and who is informed. */
export interface Options {
  readonly metainfo: Metainfo.Metainfo
  readonly storage: Pick<TorrentStorage, "digests">
  /** What the memory for a piece of zeros is borrowed from, if it is bounded. */
  readonly budget?: BufferBudget.Ledger | undefined
  readonly resume: ResumeData | undefined
  /** What lies at the path of each file in `layout.files`; `undefined` for a missing file, and for padding. */
  readonly facts: ReadonlyArray<FileFacts | undefined>
  /** Pieces that another client says it has stored. */
  readonly hint?: Bitfield.Bitfield | undefined
  /** Whether every piece whose bytes exist is digested, whatever resume data and the hint say; default false. */
  readonly distrusts?: boolean | undefined
  readonly onProgress: (checkedPieces: number, totalPieces: number) => void
}

/** What is stored. Every set has one bit a piece. */
export interface Found {
  readonly stored: Bitfield.Bitfield
  /** Pieces of `stored` that have to be digested before the torrent is complete. */
  readonly doubtful: Bitfield.Bitfield
  /** Pieces of `doubtful` that only the hint speaks for; `undefined` if there are none. */
  readonly hinted?: Bitfield.Bitfield | undefined
  /** Pieces of `stored` that survive a power cut. */
  readonly flushed: Bitfield.Bitfield
  /** Digested pieces whose bytes all exist, right or wrong. */
  readonly present: Bitfield.Bitfield
  /** Pieces of `present` that are all zeros. */
  readonly zeros: Bitfield.Bitfield
}

/** Whether a file has the size and time of its record. A copy that kept its time counts as unchanged. */
export const isUnchanged = (record: FileRecord, facts: FileFacts): boolean =>
  facts.kind === "file" && record.length === facts.length && record.mtimeNs === facts.mtimeNs

/** Finds the stored pieces. Fails with `StorageError` only if the medium cannot be read at all. */
export const run = Effect.fnUntraced(function* (options: Options) {
  const { pieceCount } = options.metainfo.layout.geometry
  const { believed, claimed, doubtful, flushed, hinted } = trust(options)
  const present = Bitfield.make(pieceCount)
  const zeros = Bitfield.make(pieceCount)
  yield* digest(options, claimed, { stored: believed, present, zeros })
  const found: Found = {
    stored: believed,
    doubtful,
    hinted: hinted.count === 0 ? undefined : hinted,
    flushed,
    present,
    zeros
  }
  return found
})

const isMissing = 1
const isChanged = 2
const isWriting = 4
const isHinted = 8

/** Sorts the pieces: trusted, trusted until they are digested later, and to be digested at once. */
const trust = ({ distrusts, facts, hint: given, metainfo, resume }: Options) => {
  const { layout } = metainfo
  const { geometry } = layout
  const believed = Bitfield.make(geometry.pieceCount)
  const doubtful = Bitfield.make(geometry.pieceCount)
  const claimed = Bitfield.make(geometry.pieceCount)
  const flushed = Bitfield.make(geometry.pieceCount)
  const hinted = Bitfield.make(geometry.pieceCount)
  const hint = distrusts === true ? undefined : given
  const marks = new Uint8Array(geometry.pieceCount)
  for (const index of FileLayout.indices(layout)) {
    const offset = FileLayout.offsetOf(layout, index)
    const length = FileLayout.lengthOf(layout, index)
    if (FileLayout.isPadding(layout, index) || length === 0) continue
    const { end, first } = FileLayout.filePieces(layout, index)
    const known = markOf(facts[index], distrusts === true ? undefined : resume?.files.get(index))
    const mark = known === isChanged && hint !== undefined && Hint.speaksFor(layout, hint, index) ? isHinted : known
    for (let piece = first; piece < end; piece++) marks[piece]! |= mark
    // Whatever was remembered, there are no bytes beyond the end of the file.
    const thereTo = offset + (facts[index]?.length ?? 0)
    const cut = thereTo < offset + length ? Math.max(first, Math.floor(thereTo / geometry.pieceLength)) : end
    for (let piece = cut; piece < end; piece++) marks[piece]! |= isMissing
  }
  for (let piece = 0; piece < marks.length; piece++) {
    const mark = marks[piece]!
    if ((mark & isMissing) !== 0) continue
    const wasStored = resume !== undefined && Bitfield.has(resume.stored, piece)
    const wasFlushed = wasStored && Bitfield.has(resume.flushed, piece)
    const isSafe = wasFlushed || (wasStored && resume.isSameBoot && (mark & isWriting) === 0)
    if (isSafe && (mark & (isChanged | isHinted)) === 0) {
      Bitfield.add(believed, piece)
      if ((mark & isWriting) !== 0) Bitfield.add(doubtful, piece)
      if (wasFlushed) Bitfield.add(flushed, piece)
    } else if (hint !== undefined && Bitfield.has(hint, piece)) {
      for (const set of [believed, doubtful, hinted]) Bitfield.add(set, piece)
    } else if (wasStored || (mark & isChanged) !== 0) Bitfield.add(claimed, piece)
  }
  return { believed, doubtful, claimed, flushed, hinted }
}

const markOf = (facts: FileFacts | undefined, record: FileRecord | undefined): number => {
  if (facts === undefined || facts.kind === "other") return isMissing
  if (record === undefined) return isChanged
  if (record.isWriting) return record.identity === facts.identity ? isWriting : isChanged
  return isUnchanged(record, facts) ? 0 : isChanged
}

/** Digests the `claimed` pieces, reports the progress, and adds the results to `into`. */
const digest = Effect.fnUntraced(function* (
  { budget, metainfo, onProgress, storage }: Options,
  claimed: Bitfield.Bitfield,
  into: Pick<Found, "stored" | "present" | "zeros">
) {
  if (claimed.count === 0) return
  const isZeros = yield* zeroTest(metainfo.layout.geometry, budget)
  const every = Math.ceil(claimed.count / progressSteps)
  let checked = 0
  onProgress(0, claimed.count)
  yield* storage.digests(Bitfield.indices(claimed) as Iterable<PieceIndex>).pipe(
    Stream.runForEachArray((digests) =>
      Effect.sync(() => {
        for (const { piece, sha1 } of digests) {
          if (sha1 !== undefined) {
            Bitfield.add(into.present, piece)
            if (Bytes.equals(sha1, Metainfo.pieceDigest(metainfo, piece))) Bitfield.add(into.stored, piece)
            if (isZeros(piece, sha1)) Bitfield.add(into.zeros, piece)
          }
          checked++
          if (checked % every === 0 || checked === claimed.count) onProgress(checked, claimed.count)
        }
      })
    )
  )
})

/**
 * Makes a test for pieces of zeros by their digest. The digests of zeros are computed before anything is read, because
 * the memory for them is borrowed as well.
 */
const zeroTest = Effect.fnUntraced(function* (
  geometry: PieceGeometry.PieceGeometry,
  budget: BufferBudget.Ledger | undefined
) {
  const hasher = yield* PieceHasher
  const last = PieceGeometry.pieceSize(geometry, (geometry.pieceCount - 1) as PieceIndex)
  const known = new Map<number, Uint8Array>()
  yield* Effect.scoped(
    Effect.gen(function* () {
      const zeros = Math.min(geometry.pieceLength, geometry.totalLength)
      if (budget !== undefined) yield* BorrowedBytes.borrow(budget, zeros)
      const bytes = new Uint8Array(zeros)
      for (const size of new Set([zeros, last])) known.set(size, yield* hasher.sha1(bytes.subarray(0, size)))
    })
  )
  return (piece: PieceIndex, sha1: Uint8Array): boolean =>
    Bytes.equals(sha1, known.get(PieceGeometry.pieceSize(geometry, piece))!)
})
