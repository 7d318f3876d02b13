/**
 * Decides which files a verified piece of a hint proves to be the torrent's own: those in which it lies alone, unless it
 * is all zeros, and those of which every piece is stored and verified.
 */
import * as Effect from "effect/Effect"
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import type { TorrentStorage } from "../storage/Storage.ts"
import * as Adoption from "./Adoption.ts"
import * as KnownFiles from "./KnownFiles.ts"
import type { ResumeKeeper } from "./ResumeKeeper.ts"

/** What settling a piece needs. */
export interface Options {
  readonly storage: Pick<TorrentStorage, "readBlock">
  readonly known: KnownFiles.KnownFiles
  readonly keeper: Pick<ResumeKeeper, "noteFlushed" | "noteRestored">
  readonly flushed: Bitfield.Bitfield
  /** Remembers a file that is the torrent's own. */
  readonly noteFile: (file: number) => void
}

/** Remembers a hinted piece that was found to be right as stored, and the files that it proves. */
export const settle = Effect.fnUntraced(function* (options: Options, piece: PieceIndex) {
  const { flushed, keeper, known, noteFile } = options
  for (const file of KnownFiles.filesOf(known, piece)) {
    if (known.hintedFiles?.has(file) !== true) continue
    // A file that cannot be read is not proved.
    const isProved = yield* Effect.orElseSucceed(isProof(options, file, piece), () => false)
    if (isProved && KnownFiles.adopt(known, file)) noteFile(file)
  }
  keeper.noteRestored(piece)
  if (Bitfield.has(flushed, piece)) keeper.noteFlushed([piece])
})

const isProof = Effect.fnUntraced(function* ({ known, storage }: Options, file: number, piece: PieceIndex) {
  const { layout } = known
  const facts = KnownFiles.factsOf(known, file)
  const isAlone = facts !== undefined && FileLayout.liesIn(layout, piece, file)
  if (isAlone && !(yield* Adoption.isBlank({ layout, storage }, facts, piece))) return true
  if (!KnownFiles.isWhole(known, file)) return false
  const { end, first } = FileLayout.filePieces(layout, file)
  const next = known.hinted === undefined ? -1 : Bitfield.next(known.hinted, first)
  return next < 0 || next >= end
})
