/**
 * The wanted files of a torrent. Reserves them so that nobody else writes them, and knows which of them no piece will
 * be written to although they have to be made or cut.
 */
import * as Effect from "effect/Effect"
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import { FileExists, StorageError, type TorrentStorage } from "../storage/Storage.ts"
import type { FileChanges } from "./FileChanges.ts"
import * as KnownFiles from "./KnownFiles.ts"

/** The wanted files of one torrent. */
export interface WantedFiles {
  readonly known: KnownFiles.KnownFiles
  readonly stored: Bitfield.Bitfield
  readonly storage: Pick<TorrentStorage, "look" | "reserve">
  /** Whether files of others may be overwritten. */
  readonly overwrites: boolean
  /** Wanted files, except padding. */
  files: ReadonlyArray<number>
}

/** Makes it with no file wanted. */
export const make = (options: Omit<WantedFiles, "files">): WantedFiles => ({ ...options, files: [] })

/** Whether a file is longer than the torrent says. */
export const isTooLong = ({ known }: WantedFiles, file: number): boolean =>
  (known.files.get(file)?.facts.length ?? 0) > known.layout.files[file]!.length

/**
 * Wanted files that have to change although no piece may be written to them: empty ones that are missing, and those
 * that are too long if they may be overwritten.
 */
export const unwritten = (self: WantedFiles): ReadonlyArray<number> =>
  self.files.filter(
    (file) =>
      (self.known.layout.files[file]!.length === 0 && !self.known.files.has(file)) ||
      (self.overwrites && isTooLong(self, file))
  )

/** Sets the wanted files, and reserves every file that is still to be written for these pieces. */
export const want = Effect.fnUntraced(function* (
  self: WantedFiles,
  files: ReadonlyArray<number>,
  pieces: Bitfield.Bitfield
) {
  const { known, storage, stored } = self
  const isMissing = (piece: PieceIndex) => Bitfield.has(pieces, piece) && !Bitfield.has(stored, piece)
  self.files = files.filter((file) => !known.layout.files[file]!.padding)
  const toWrite = KnownFiles.realFiles(known.layout).filter((file) =>
    KnownFiles.missingIn(known, file, stored).some(isMissing)
  )
  const toReserve = [...new Set([...toWrite, ...unwritten(self)])]
  if (toReserve.length > 0) yield* storage.reserve(toReserve)
})

/**
 * Looks at files that moved to their places, or that somebody put there since the torrent started. Fails with
 * `FileExists` if one of them is somebody else's.
 */
export const meet = Effect.fnUntraced(function* (
  self: WantedFiles,
  files: ReadonlyArray<number>,
  changes: Pick<FileChanges, "doubt">
) {
  const { known, overwrites, storage } = self
  for (const facts of yield* storage.look(files.filter((file) => !known.layout.files[file]!.padding))) {
    const before = facts && known.files.get(facts.file)
    if (facts === undefined || before?.facts.identity === facts.identity) continue
    KnownFiles.meet(known, facts)
    changes.doubt([facts.file])
  }
  const foreign = files.find((file) => {
    const found = known.files.get(file)
    const isInTheWay = found !== undefined && (found.standing === "foreign" || isTooLong(self, file))
    return isInTheWay && !overwrites && !KnownFiles.isWhole(known, file)
  })
  if (foreign === undefined) return
  return yield* StorageError.of("prepare", [new FileExists({ path: KnownFiles.pathOf(known, foreign) })])
})
