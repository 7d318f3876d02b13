/**
 * The wanted files of a torrent. Reserves them so that nobody else writes them, and knows which of them no piece will
 * be written to although they have to be made or cut.
 */
import * as Effect from "effect/Effect"
import * as Bitfield from "../base/Bitfield.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import { FileExists, StorageError, type TorrentStorage } from "../storage/Storage.ts"
import * as FileChanges from "./FileChanges.ts"
import * as KnownFiles from "./KnownFiles.ts"

/** The wanted files of one torrent. */
export interface WantedFiles {
  readonly known: KnownFiles.KnownFiles
  readonly stored: Bitfield.Bitfield
  readonly storage: Pick<TorrentStorage, "look" | "reserve">
  /** Whether files of others may be overwritten. */
  readonly overwrites: boolean
  /** Wanted files, except padding. */
  readonly files: Bitfield.Bitfield
}

/** Makes it with no file wanted. */
export const make = (options: Omit<WantedFiles, "files">): WantedFiles => ({
  ...options,
  files: Bitfield.make(options.known.layout.fileCount)
})

/** Whether a file is longer than the torrent says. */
export const isTooLong = ({ known }: WantedFiles, file: number): boolean =>
  KnownFiles.lengthOf(known, file) > FileLayout.lengthOf(known.layout, file)

/**
 * Wanted files that have to change although no piece may be written to them: empty ones that are missing, and those
 * that are too long if they may be overwritten.
 */
export const unwritten = (self: WantedFiles): ReadonlyArray<number> =>
  Bitfield.indices(self.files)
    .filter(
      (file) =>
        (FileLayout.lengthOf(self.known.layout, file) === 0 && !KnownFiles.has(self.known, file)) ||
        (self.overwrites && isTooLong(self, file))
    )
    .toArray()

/** Sets the wanted files, and reserves every file that is still to be written for these pieces. */
export const want = Effect.fnUntraced(function* (
  self: WantedFiles,
  files: ReadonlyArray<number>,
  pieces: Bitfield.Bitfield
) {
  const { known, storage, stored } = self
  const isToWrite = (file: number): boolean => {
    const { end, first } = FileLayout.filePieces(known.layout, file)
    for (let piece = first; piece < end; piece++)
      if (Bitfield.has(pieces, piece) && !Bitfield.has(stored, piece)) return true
    return false
  }
  Bitfield.clear(self.files)
  for (const file of files) if (!FileLayout.isPadding(known.layout, file)) Bitfield.add(self.files, file)
  const toWrite = FileLayout.realFiles(known.layout).filter(isToWrite)
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
  changes: FileChanges.FileChanges
) {
  const { known, overwrites, storage } = self
  for (const facts of yield* storage.look(files.filter((file) => !FileLayout.isPadding(known.layout, file)))) {
    if (facts === undefined || KnownFiles.identityOf(known, facts.file) === facts.identity) continue
    KnownFiles.meet(known, facts)
    FileChanges.doubt(changes, [facts.file])
  }
  const foreign = files.find((file) => {
    const isInTheWay = KnownFiles.standingOf(known, file) === "foreign" || isTooLong(self, file)
    return isInTheWay && !overwrites && !KnownFiles.isWhole(known, file)
  })
  if (foreign === undefined) return
  return yield* StorageError.of("prepare", [new FileExists({ path: KnownFiles.pathOf(known, foreign) })])
})
