/**
 * Deletes what is a torrent's own on the medium: the files that it made, or adopted on proof. Leaves alone what is
 * somebody else's, and what nothing proves to be anybody's.
 */
import * as Effect from "effect/Effect"
import * as FileLayout from "../metainfo/FileLayout.ts"
import type { ResumeData, TorrentResume } from "../resume/ResumeStore.ts"
import type { StorageError, TorrentStorage } from "../storage/Storage.ts"
import * as Adoption from "./Adoption.ts"
import * as FileChanges from "./FileChanges.ts"
import * as KnownFiles from "./KnownFiles.ts"

/** The files that were left alone, as paths of components joined by `/`. */
export type Kept = ReadonlyArray<string>

const remove = Effect.fnUntraced(function* (storage: TorrentStorage, files: ReadonlyArray<number>) {
  if (files.length === 0) return
  yield* storage.reserve(files)
  yield* storage.remove(files)
})

/** Deletes the own files of a run. Nothing may be written any more. */
export const ofKnown = Effect.fnUntraced(function* (
  storage: TorrentStorage,
  known: KnownFiles.KnownFiles,
  changes: FileChanges.FileChanges
): Effect.fn.Return<Kept, StorageError> {
  // A file that was replaced since the last look is somebody else's.
  yield* FileChanges.lookAtAll(changes)
  const existing = KnownFiles.existing(known).filter((file) => !FileChanges.isGone(changes, file))
  const own = existing.filter((file) => KnownFiles.isProved(known, file))
  yield* remove(storage, own)
  const isOwn = new Set(own)
  return existing.filter((file) => !isOwn.has(file)).map((file) => KnownFiles.pathOf(known, file))
})

/**
 * Deletes the files of a torrent that does not run, as far as resume data proves that they are its own. As for one that
 * runs, a file to which no byte was ever written counts as its own: nothing remembers one that a kill has left.
 */
export const ofRemembered = Effect.fnUntraced(function* (
  storage: TorrentStorage,
  layout: FileLayout.FileLayout,
  resume: ResumeData | undefined
): Effect.fn.Return<Kept, StorageError> {
  const seen = (yield* storage.look(FileLayout.realFiles(layout))).filter((facts) => facts !== undefined)
  const isUnwritten = ({ file, isHole, length }: (typeof seen)[number]) =>
    isHole && length <= FileLayout.lengthOf(layout, file)
  const isOwn = (facts: (typeof seen)[number]) =>
    Adoption.isRemembered(resume?.files.get(facts.file), facts) || isUnwritten(facts)
  yield* remove(
    storage,
    seen.filter(isOwn).map(({ file }) => file)
  )
  return seen.filter((facts) => !isOwn(facts)).map(({ file }) => KnownFiles.pathOf({ layout }, file))
})

/**
 * Deletes the files of a torrent that does not run, and then its resume data. `last` is what is remembered if there is
 * no resume data.
 */
export const withoutRun = Effect.fnUntraced(function* (
  storage: TorrentStorage,
  resume: TorrentResume,
  layout: FileLayout.FileLayout,
  last: ResumeData | undefined
) {
  const kept = yield* ofRemembered(storage, layout, (yield* resume.load) ?? last)
  yield* resume.remove
  return kept
})
