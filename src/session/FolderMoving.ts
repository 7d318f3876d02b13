/**
 * Moves the files of a torrent to another download folder. The torrent must not be in the engine.
 *
 * It has four steps: what is to be done is saved, the files are put in the new folder, resume data is told what they look
 * like there, and they leave the old folder while the new one is saved. The storage can begin again after a kill at any
 * moment, and until the last step nothing is gone from the old folder.
 */
import * as Effect from "effect/Effect"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import type { FileRecord, ResumeError } from "../resume/ResumeStore.ts"
import { type Move, type MovedFile, StorageError, StorageRefused } from "../storage/Storage.ts"
import type { SavedFiles } from "./SavedTorrent.ts"
import type { Entry } from "./SessionEntry.ts"
import * as SessionRecord from "./SessionRecord.ts"
import type { SessionStoreError } from "./SessionStore.ts"

/** Where the files go. `isBegun`: an earlier move there may have been cut short. */
export interface Moving {
  readonly to: string | undefined
  readonly isBegun: boolean
}

const isAs = (record: FileRecord, { before }: MovedFile): boolean =>
  before !== undefined &&
  record.identity === before.identity &&
  record.length === before.length &&
  record.mtimeNs === before.mtimeNs

/**
 * Makes resume data say what the files look like in the new folder, if it knew them in the old one. A file that it knew
 * otherwise is verified.
 */
const tellResume = (
  { resume }: SessionRecord.SessionRecord,
  { infoHash, layout }: Metainfo,
  moved: ReadonlyArray<MovedFile>
): Effect.Effect<void, ResumeError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const { fileCount, geometry } = layout
      const { load, save } = yield* resume.open({ infoHash, pieceCount: geometry.pieceCount, fileCount })
      const data = yield* load
      if (data === undefined) return
      const files = new Map(data.files)
      for (const one of moved) {
        const record = data.files.get(one.file)
        if (record !== undefined && isAs(record, one)) files.set(one.file, { ...record, ...one.after })
      }
      // What is saved is trusted until the machine starts again, so it may only have what is trusted now.
      const stored = data.isSameBoot ? data.stored : data.flushed
      yield* save({ stored, flushed: data.flushed, files })
    })
  )

/** Whether nothing of a torrent is stored, as far as is known. */
const hasNothing = ({ saved: { hintedBytes, progress } }: Entry): boolean =>
  hintedBytes === undefined && (progress === undefined || progress.missingBytes === progress.wantedBytes)

/** A move of no file. */
const nothing: Move = { files: [], leave: Effect.succeed([]) }

/** The choice with no move under way. */
export const cleared = ({ moving: _, ...files }: SavedFiles): SavedFiles => files

/**
 * Moves the files and saves that. `metainfo` has the paths that they have, and `files` what is saved of them. Fails with
 * `StorageError`: then all is in the old folder as it was, unless the move `isBegun`. An interruption is as a kill.
 */
export const run = Effect.fnUntraced(function* (
  self: SessionRecord.SessionRecord,
  entry: Entry,
  metainfo: Metainfo,
  files: SavedFiles,
  { isBegun, to }: Moving
): Effect.fn.Return<SavedFiles, StorageError | SessionStoreError> {
  const { infoHash } = entry
  const { folder: from } = entry.saved.options
  const { move } = self.storage
  if (move === undefined) {
    const why = "this storage cannot move a torrent to another folder"
    return yield* StorageError.of("move", [new StorageRefused({ path: to ?? metainfo.name, why })])
  }
  const done = cleared(files)
  const moving = Effect.gen(function* () {
    const { files: moved, leave } = yield* Effect.catchIf(
      move({ infoHash, layout: metainfo.layout, from, to, isBegun }),
      ({ reason }) => reason._tag === "StorageUnavailable" && hasNothing(entry),
      () => Effect.succeed(nothing)
    )
    return yield* Effect.uninterruptible(
      Effect.gen(function* () {
        yield* Effect.catch(tellResume(self, metainfo, moved), (error) =>
          Effect.logWarning("resume data does not know files that were moved, which are verified", error)
        )
        const left = yield* leave
        if (left.length > 0) {
          yield* Effect.logWarning("files that were moved could not be removed from the old folder", ...left)
        }
        yield* self.saving.withPermit(
          SessionRecord.updateHeld(self, entry, (saved) => ({ ...saved, options: { ...saved.options, folder: to } }), [
            { _tag: "SetFiles", infoHash, files: done }
          ])
        )
        self.folders.set(infoHash, to)
      })
    )
  })
  const started = Effect.sync(() => {
    entry.isMoving = true
    entry.hasChanged = true
  })
  const ended = Effect.sync(() => {
    entry.isMoving = false
    entry.hasChanged = true
  })
  yield* Effect.acquireUseRelease(
    started,
    () => Effect.scoped(moving),
    () => ended
  )
  return done
})
