/**
 * What a medium and the resume data hold of a torrent, taken from one engine of a swarm and restored in another: the
 * remains of a process that was killed, perhaps with its machine.
 */
import * as Effect from "effect/Effect"
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import type * as MemoryResumeStore from "../resume/provider/MemoryResumeStore.ts"
import type { FileRecord, Snapshot as ResumeSnapshot, ResumeStore } from "../resume/ResumeStore.ts"
import type * as MemoryStorage from "../storage/provider/memory/MemoryStorage.ts"
import type { Storage } from "../storage/Storage.ts"
import type { KnownTorrent } from "./KnownTorrent.ts"

/** What was on the medium and in the resume data at some moment. */
export interface Snapshot {
  /** Pieces that are stored with the right bytes. */
  readonly stored: Bitfield.Bitfield
  /**
   * What the resume data says; `undefined` if it says nothing. If a download continues from it, its files look as it
   * says, as on the disk of a process that was killed.
   */
  readonly resume: ResumeSnapshot | undefined
}

/** A medium and resume data in memory. */
export interface Memory {
  readonly storage: Storage["Service"]
  readonly medium: MemoryStorage.MemoryMedium["Service"]
  readonly store: ResumeStore["Service"]
  readonly resume: MemoryResumeStore.MemoryResumeStore["Service"]
}

/** What `memory` holds of a torrent now. */
export const take = ({ medium, resume }: Memory, { metainfo }: KnownTorrent): Snapshot => {
  const { infoHash, layout } = metainfo
  const stored = Bitfield.make(layout.geometry.pieceCount)
  const files = medium.torrent(layout)
  for (let piece = 0; piece < stored.length; piece++) if (files.writes(piece) > 0) Bitfield.add(stored, piece)
  const saved = resume.saved(infoHash)
  return { stored, resume: saved && { stored: saved.stored, flushed: saved.flushed, files: saved.files } }
}

/** Makes `memory` hold what a snapshot says. */
export const restore = Effect.fnUntraced(function* (
  { storage: media, store }: Memory,
  { content, metainfo }: KnownTorrent,
  from: Snapshot
) {
  const { infoHash, layout } = metainfo
  const storage = yield* media.open({ infoHash, layout })
  const spans = [...Bitfield.indices(from.stored)].flatMap((piece) =>
    FileLayout.pieceSpans(layout, piece as PieceIndex)
  )
  const written = new Set(spans.flatMap(({ file }) => (FileLayout.isPadding(layout, file) ? [] : [file])))
  const files = [...new Set([...written, ...(from.resume?.files.keys() ?? [])])]
  yield* storage.reserve(files)
  yield* storage.claim(files.map((file) => ({ file, as: "new" })))
  for (const piece of Bitfield.indices(from.stored) as Iterable<PieceIndex>) {
    yield* storage.writePiece(piece, content(piece))
  }
  if (from.resume === undefined) return
  const records = new Map<number, FileRecord>()
  for (const [file, { isStale, isWriting }] of from.resume.files) {
    const [facts] = yield* storage.look([file])
    if (facts !== undefined) records.set(file, { ...facts, isStale, isWriting })
  }
  const saved = yield* store.open({
    infoHash,
    pieceCount: layout.geometry.pieceCount,
    fileCount: layout.fileCount
  })
  yield* saved.save({ ...from.resume, files: records })
}, Effect.scoped)

/**
 * Does to `memory` what a power cut does after a snapshot: pieces that were not flushed then are wrong on the medium.
 */
export const cutPower = (
  { medium, resume }: Memory,
  { metainfo }: KnownTorrent,
  { resume: saved, stored }: Snapshot
): Effect.Effect<void> => {
  const isLost = (piece: number) => saved === undefined || !Bitfield.has(saved.flushed, piece)
  for (const piece of Bitfield.indices(stored)) if (isLost(piece)) medium.damage(metainfo.layout, piece, 7)
  return resume.cutPower
}
