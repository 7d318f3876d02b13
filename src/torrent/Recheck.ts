/**
 * Finds out which pieces are stored when a torrent starts: from resume data as far as that can be believed, and by
 * digesting what is on the medium for the rest. A piece counts as stored only if it matches its digest now or was
 * confirmed before and its bytes are still there.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Bitfield from "../base/Bitfield.ts"
import * as Bytes from "../base/Bytes.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as Prng from "../base/Prng.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import * as Metainfo from "../metainfo/Metainfo.ts"
import type { ResumeData } from "../resume/ResumeStore.ts"
import type { StorageError, TorrentStorage } from "../storage/Storage.ts"

/** Believed pieces that are digested all the same; one that fails puts all of them in doubt. */
export const sampleSize = 8

/** Files that are probed at once for bytes that should be there. */
const probesInFlight = 8

/** How often progress is told at most: of a torrent of two million pieces as often as of one with a hundred. */
const progressSteps = 100

/** What is to be checked, and how the world hears of it. */
export interface Options {
  readonly metainfo: Metainfo.Metainfo
  readonly storage: TorrentStorage
  readonly resume: ResumeData | undefined
  readonly random: Prng.Prng
  readonly onProgress: (checkedPieces: number, totalPieces: number) => void
}

/** The pieces that are stored. Fails only where the medium cannot be read at all. */
export const run = Effect.fnUntraced(function* (options: Options) {
  const { metainfo, resume, storage } = options
  const { pieceCount } = metainfo.layout.geometry
  if (resume === undefined) return yield* verify(options, Bitfield.full(pieceCount))
  const believed = Bitfield.copy(resume.trusted)
  yield* dropAbsent(metainfo.layout, storage, believed)
  const sample = takeSample(believed, options.random)
  const confirmed = yield* matching(options, sample, () => {})
  if (confirmed.count < sample.count) return yield* verify(options, resume.stored)
  const doubtful = Bitfield.make(pieceCount)
  for (const piece of Bitfield.indices(resume.stored)) if (!Bitfield.has(believed, piece)) Bitfield.add(doubtful, piece)
  const rest = yield* verify(options, doubtful)
  for (const piece of Bitfield.indices(rest)) Bitfield.add(believed, piece)
  return believed
})

/** Digests `claimed` pieces, telling the progress, and gives those that match. */
const verify = Effect.fnUntraced(function* (options: Options, claimed: Bitfield.Bitfield) {
  if (claimed.count === 0) return claimed
  options.onProgress(0, claimed.count)
  const every = Math.ceil(claimed.count / progressSteps)
  const stored = yield* matching(options, claimed, (checked) => {
    if (checked % every === 0 || checked === claimed.count) options.onProgress(checked, claimed.count)
  })
  return stored
})

const matching = (
  { metainfo, storage }: Options,
  claimed: Bitfield.Bitfield,
  onChecked: (checked: number) => void
): Effect.Effect<Bitfield.Bitfield, StorageError> =>
  Effect.suspend(() => {
    const stored = Bitfield.make(claimed.length)
    let checked = 0
    return storage.digests(Bitfield.indices(claimed) as Iterable<PieceIndex>).pipe(
      Stream.runForEachArray((digests) =>
        Effect.sync(() => {
          for (const { piece, sha1 } of digests) {
            if (sha1 !== undefined && Bytes.equals(sha1, Metainfo.pieceDigest(metainfo, piece))) {
              Bitfield.add(stored, piece)
            }
            onChecked(++checked)
          }
        })
      ),
      Effect.as(stored)
    )
  })

const takeSample = (believed: Bitfield.Bitfield, random: Prng.Prng): Bitfield.Bitfield => {
  const pieces = [...Bitfield.indices(believed)]
  Prng.shuffle(random, pieces)
  const sample = Bitfield.make(believed.length)
  for (const piece of pieces.slice(0, sampleSize)) Bitfield.add(sample, piece)
  return sample
}

/** Takes out of `believed` the pieces of files that were deleted or cut off since. */
const dropAbsent = Effect.fnUntraced(function* (
  layout: FileLayout.FileLayout,
  storage: TorrentStorage,
  believed: Bitfield.Bitfield
) {
  const probe = Effect.fnUntraced(function* (file: number) {
    const last = lastBelieved(layout, believed, file)
    if (last === undefined) return
    const { length, offset } = layout.files[file]!
    const end = Math.min(
      offset + length,
      PieceGeometry.pieceOffset(layout.geometry, last) + PieceGeometry.pieceSize(layout.geometry, last)
    )
    const begin = end - 1 - PieceGeometry.pieceOffset(layout.geometry, last)
    const isThere = yield* Effect.match(storage.readBlock(last, begin, 1), {
      onSuccess: () => true,
      onFailure: () => false
    })
    if (isThere) return
    const range = FileLayout.filePieces(layout, file)
    for (let piece = range.first; piece < range.end; piece++) Bitfield.remove(believed, piece)
  })
  yield* Effect.forEach(layout.files.keys(), probe, { concurrency: probesInFlight, discard: true })
})

const lastBelieved = (
  layout: FileLayout.FileLayout,
  believed: Bitfield.Bitfield,
  file: number
): PieceIndex | undefined => {
  if (layout.files[file]!.length === 0 || layout.files[file]!.padding) return undefined
  const range = FileLayout.filePieces(layout, file)
  for (let piece = range.end - 1; piece >= range.first; piece--) {
    if (Bitfield.has(believed, piece)) return piece as PieceIndex
  }
  return undefined
}
