/**
 * Moves the files of a torrent to another download folder. The torrent must not be in the engine.
 *
 * It is checked first, so that a move that must be refused leaves nothing behind if the process is killed. Then it has
 * four steps: what is to be done is saved, the files are put in the new folder, what they look like there is saved in
 * resume data, and they leave the old folder while the new one is saved. The storage can begin again after a kill at any
 * moment, and until the last step nothing is gone from the old folder.
 */
import * as Effect from "effect/Effect"
import * as Bitfield from "../base/Bitfield.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import type { FileRecord, ResumeError } from "../resume/ResumeStore.ts"
import { type MovedFile, StorageError, StorageRefused, StorageUnavailable } from "../storage/Storage.ts"
import * as Hint from "../torrent/Hint.ts"
import * as SavedResume from "./SavedResume.ts"
import type { SavedFiles } from "./SavedTorrent.ts"
import type { Entry } from "./SessionEntry.ts"
import * as SessionRecord from "./SessionRecord.ts"
import type { SessionStoreError } from "./SessionStore.ts"

/** Where the files go. `isBegun`: an earlier move there may have been cut short. */
export interface Moving {
  readonly to: string | undefined
  readonly isBegun: boolean
}

/** Whether a file is as it was remembered. One that was being written has another length and time since. */
const isAs = (record: FileRecord, { before }: MovedFile): boolean =>
  before !== undefined &&
  record.identity === before.identity &&
  (record.isWriting || (record.length === before.length && record.mtimeNs === before.mtimeNs))

/**
 * Makes resume data say what the files look like in the new folder, if it knew them in the old one. A file that it knew
 * otherwise is verified, and one that was in neither folder is forgotten.
 */
const tellResume = (
  self: SessionRecord.SessionRecord,
  metainfo: Metainfo,
  moved: ReadonlyArray<MovedFile>
): Effect.Effect<void, ResumeError> =>
  SavedResume.use(self, metainfo, ({ load, save }) =>
    Effect.gen(function* () {
      const data = yield* load
      if (data === undefined) return
      const files = new Map<number, FileRecord>()
      for (const one of moved) {
        const record = data.files.get(one.file)
        if (record === undefined) continue
        if (isAs(record, one)) files.set(one.file, { ...record, ...one.after })
        else if (!files.has(one.file)) files.set(one.file, record)
      }
      // What is saved is trusted until the machine starts again, so it may only have what is trusted now.
      yield* save({ stored: SavedResume.trusted(data), flushed: data.flushed, files })
    })
  )

/**
 * Whether the old folder is away, as on a drive that was unplugged: nothing of the torrent is in it, and files that
 * should exist are in neither folder.
 */
const isAway = Effect.fnUntraced(function* (
  self: SessionRecord.SessionRecord,
  metainfo: Metainfo,
  { hintedPieces }: SavedFiles,
  moved: ReadonlyArray<MovedFile>
) {
  if (moved.some(({ before }) => before !== undefined)) return false
  const { layout } = metainfo
  const remembered = yield* SavedResume.load(self, metainfo).pipe(
    // Files that are not known are not missed.
    Effect.orElseSucceed(() => undefined)
  )
  const hint = hintedPieces && Bitfield.fitted(hintedPieces, layout.geometry.pieceCount)
  const found = new Set(moved.map(({ file }) => file))
  return FileLayout.realFiles(layout).some((file) => {
    const isKnown = remembered?.files.has(file) === true || (hint !== undefined && Hint.speaksFor(layout, hint, file))
    return isKnown && !found.has(file)
  })
})

/** Fails with the `StorageError` that the move would fail with, before anything is saved or changed. */
export const check = (
  { storage }: SessionRecord.SessionRecord,
  { infoHash, saved }: Entry,
  { layout }: Metainfo,
  to: string | undefined
): Effect.Effect<void, StorageError> => {
  const { folder: from } = saved.options
  const trial = storage.move?.({ infoHash, layout, from, to, isBegun: false, isTrial: true }) ?? Effect.void
  return Effect.scoped(Effect.asVoid(trial))
}

/** The choice with no move under way. */
export const cleared = ({ moving: _, ...files }: SavedFiles): SavedFiles => files

/**
 * Moves the files and saves that. `metainfo` has the paths that they have, and `files` what is saved of them. If it fails
 * with `StorageError`, all is in the old folder as it was, unless the move `isBegun`. After a `SessionStoreError` or an
 * interruption, as after a kill, files may have left the old folder.
 */
export const run = Effect.fnUntraced(function* (
  self: SessionRecord.SessionRecord,
  entry: Entry,
  metainfo: Metainfo,
  files: SavedFiles,
  { isBegun, to }: Moving
): Effect.fn.Return<void, StorageError | SessionStoreError> {
  const { infoHash } = entry
  const { folder: from } = entry.saved.options
  const { move } = self.storage
  if (move === undefined) {
    const why = "this storage cannot move a torrent to another folder"
    return yield* StorageError.of("move", [new StorageRefused({ path: to ?? metainfo.name, why })])
  }
  const moving = Effect.gen(function* () {
    const { files: moved, isOneFolder, leave } = yield* move({ infoHash, layout: metainfo.layout, from, to, isBegun })
    if (!isOneFolder && (yield* isAway(self, metainfo, files, moved))) {
      const why = "none of the files is there"
      return yield* StorageError.of("move", [new StorageUnavailable({ path: from ?? metainfo.name, why })])
    }
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
          Effect.flatMap(self.store.content(infoHash), (now) =>
            SessionRecord.updateHeld(
              self,
              entry,
              (saved) => ({ ...saved, options: { ...saved.options, folder: to } }),
              [{ _tag: "SetFiles", infoHash, files: cleared(now?.files ?? files) }]
            )
          )
        )
        self.folders.set(infoHash, to)
      })
    )
  })
  const started = Effect.sync(() => {
    entry.moving.openUnsafe()
    entry.hasChanged = true
  })
  const ended = Effect.sync(() => {
    entry.moving.closeUnsafe()
    entry.hasChanged = true
  })
  yield* Effect.acquireUseRelease(
    started,
    () => Effect.scoped(moving),
    () => ended
  )
})
