/**
 * Finds out which pieces are stored when a torrent starts: from resume data, as far as the files are still what it says,
 * and by digesting what is on the medium for the rest. What has not changed is not read again.
 *
 * A file is compared by size and time with what was remembered of it. One that was being written when the process died
 * says nothing by its time: of its pieces those written since its last flush are digested at once, the others later
 * (`doubtful`). Pieces of any other file that exists are digested, as somebody may have put it there.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Bitfield from "../base/Bitfield.ts"
import * as Bytes from "../base/Bytes.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import * as Metainfo from "../metainfo/Metainfo.ts"
import type { FileRecord, ResumeData } from "../resume/ResumeStore.ts"
import type { FileFacts, TorrentStorage } from "../storage/Storage.ts"

/** How often progress is reported at most: of a torrent of two million pieces as often as of one with a hundred. */
const progressSteps = 100

/** What is to be checked, and who hears of it. */
export interface Options {
  readonly metainfo: Metainfo.Metainfo
  readonly storage: Pick<TorrentStorage, "digests">
  readonly resume: ResumeData | undefined
  /** What lies at the place of each file in `layout.files`; `undefined` where nothing does, and for padding. */
  readonly facts: ReadonlyArray<FileFacts | undefined>
  readonly onProgress: (checkedPieces: number, totalPieces: number) => void
}

/** What is stored. Every set has one bit a piece. */
export interface Found {
  readonly stored: Bitfield.Bitfield
  /** Those of `stored` that are to be digested before the torrent is complete. */
  readonly doubtful: Bitfield.Bitfield
  /** Those of `stored` that survive a power cut. */
  readonly flushed: Bitfield.Bitfield
  /** Pieces that were digested and whose bytes are all there, right or wrong. */
  readonly present: Bitfield.Bitfield
  /** Those of `present` that are nothing but zeros. */
  readonly zeros: Bitfield.Bitfield
}

/** Whether a file is what a record says: its size and time. A copy with its time kept is as good. */
export const isUnchanged = (record: FileRecord, facts: FileFacts): boolean =>
  facts.kind === "file" && record.length === facts.length && record.mtimeNs === facts.mtimeNs

/** The pieces that are stored. Fails only where the medium cannot be read at all. */
export const run = Effect.fnUntraced(function* (options: Options) {
  const { pieceCount } = options.metainfo.layout.geometry
  const { believed, claimed, doubtful, flushed } = trust(options)
  const present = Bitfield.make(pieceCount)
  const zeros = Bitfield.make(pieceCount)
  yield* digest(options, claimed, { stored: believed, present, zeros })
  const found: Found = { stored: believed, doubtful, flushed, present, zeros }
  return found
})

const isMissing = 1
const isChanged = 2
const isWriting = 4

/** What is believed, believed for now, and to be digested at once. */
const trust = ({ facts, metainfo, resume }: Options) => {
  const { geometry, files } = metainfo.layout
  const believed = Bitfield.make(geometry.pieceCount)
  const doubtful = Bitfield.make(geometry.pieceCount)
  const claimed = Bitfield.make(geometry.pieceCount)
  const flushed = Bitfield.make(geometry.pieceCount)
  const marks = new Uint8Array(geometry.pieceCount)
  for (const [index, { length, offset, padding }] of files.entries()) {
    if (padding || length === 0) continue
    const mark = markOf(facts[index], resume?.files.get(index))
    const { end, first } = FileLayout.filePieces(metainfo.layout, index)
    for (let piece = first; piece < end; piece++) marks[piece]! |= mark
    // Whatever was remembered, bytes behind its end are not there.
    const thereTo = offset + (facts[index]?.length ?? 0)
    const cut = thereTo < offset + length ? Math.max(first, Math.floor(thereTo / geometry.pieceLength)) : end
    for (let piece = cut; piece < end; piece++) marks[piece]! |= isMissing
  }
  for (let piece = 0; piece < marks.length; piece++) {
    const mark = marks[piece]!
    if ((mark & isMissing) !== 0) continue
    const wasStored = resume !== undefined && Bitfield.has(resume.stored, piece)
    const wasFlushed = wasStored && Bitfield.has(resume.flushed, piece)
    if ((mark & isChanged) !== 0) Bitfield.add(claimed, piece)
    else if (wasStored) {
      const isSafe = wasFlushed || (resume.isSameBoot && (mark & isWriting) === 0)
      if (!isSafe) Bitfield.add(claimed, piece)
      else {
        Bitfield.add(believed, piece)
        if ((mark & isWriting) !== 0) Bitfield.add(doubtful, piece)
        if (wasFlushed) Bitfield.add(flushed, piece)
      }
    }
  }
  return { believed, doubtful, claimed, flushed }
}

const markOf = (facts: FileFacts | undefined, record: FileRecord | undefined): number => {
  if (facts === undefined || facts.kind === "other") return isMissing
  if (record === undefined) return isChanged
  if (record.isWriting) return record.identity === facts.identity ? isWriting : isChanged
  return isUnchanged(record, facts) ? 0 : isChanged
}

/** Digests `claimed` pieces, reports the progress, and adds what it finds. */
const digest = Effect.fnUntraced(function* (
  { metainfo, onProgress, storage }: Options,
  claimed: Bitfield.Bitfield,
  into: Pick<Found, "stored" | "present" | "zeros">
) {
  if (claimed.count === 0) return
  const isZeros = yield* zeroTest(metainfo.layout.geometry)
  const every = Math.ceil(claimed.count / progressSteps)
  let checked = 0
  onProgress(0, claimed.count)
  yield* storage.digests(Bitfield.indices(claimed) as Iterable<PieceIndex>).pipe(
    Stream.runForEachArray(
      Effect.fnUntraced(function* (digests) {
        for (const { piece, sha1 } of digests) {
          if (sha1 !== undefined) {
            Bitfield.add(into.present, piece)
            if (Bytes.equals(sha1, Metainfo.pieceDigest(metainfo, piece))) Bitfield.add(into.stored, piece)
            if (yield* isZeros(piece, sha1)) Bitfield.add(into.zeros, piece)
          }
          checked++
          if (checked % every === 0 || checked === claimed.count) onProgress(checked, claimed.count)
        }
      })
    )
  )
})

/** Tells by its digest whether a piece is nothing but zeros; what zeros digest to is computed once a length. */
const zeroTest = Effect.fnUntraced(function* (geometry: PieceGeometry.PieceGeometry) {
  const hasher = yield* PieceHasher
  const known = new Map<number, Uint8Array>()
  return Effect.fnUntraced(function* (piece: PieceIndex, sha1: Uint8Array) {
    const size = PieceGeometry.pieceSize(geometry, piece)
    const zeros = known.get(size) ?? (yield* hasher.sha1(new Uint8Array(size)))
    known.set(size, zeros)
    return Bytes.equals(sha1, zeros)
  })
})
