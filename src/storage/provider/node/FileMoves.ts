/**
 * Moves the files of a torrent to other paths, or back from the folder in which they were set aside, and deletes them.
 * `FilePlaces.ts` knows where each file is. One move at a time, because some disks do not tell a free name from the name
 * of another file.
 */
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Bitfield from "../../../base/Bitfield.ts"
import * as Turn from "../../../base/Turn.ts"
import * as AsideFolder from "../../AsideFolder.ts"
import { FileExists, type StorageReason } from "../../Storage.ts"
import * as DownloadFolder from "./DownloadFolder.ts"
import * as FilePlaces from "./FilePlaces.ts"
import * as FolderEntries from "./FolderEntries.ts"
import * as HeldFile from "./HeldFile.ts"
import * as TorrentFile from "./TorrentFile.ts"

/**
 * Moves a file that was set aside, by an earlier run too, to its place. If a file exists there, that one is used, and
 * what was set aside is removed.
 */
export const bringBack = (self: FilePlaces.FilePlaces, index: number): Effect.Effect<void, StorageReason> =>
  oneAtATime(self, index, (file) => bringBackOnce(self, index, file))

const oneAtATime = (
  self: FilePlaces.FilePlaces,
  index: number,
  effect: (file: TorrentFile.TorrentFile) => Effect.Effect<void, StorageReason>
): Effect.Effect<void, StorageReason> =>
  Turn.take(self.moving, Effect.uninterruptible(FilePlaces.withFile(self, index, effect)))

const bringBackOnce = Effect.fnUntraced(function* (
  self: FilePlaces.FilePlaces,
  index: number,
  file: TorrentFile.TorrentFile
) {
  const { aside, entries, undecided } = self
  const found = yield* FolderEntries.find(entries, FilePlaces.asidePath(self, index))
  // A folder there holds what was set aside of another torrent.
  if (found?.stats.isFile() !== true) {
    Bitfield.remove(undecided, index)
    if (Bitfield.remove(aside, index)) yield* TorrentFile.reopen(file)
    return
  }
  const isThere = (yield* FilePlaces.findInPlace(self, index)) !== undefined
  const move = Effect.gen(function* () {
    const place = isThere
      ? undefined
      : yield* Effect.mapError(FilePlaces.nameOn(self, index, "create"), ({ reason }) => reason)
    const to = place && (yield* FolderEntries.move(entries, found.place, place))
    Bitfield.remove(undecided, index)
    Bitfield.remove(aside, index)
    if (isThere) {
      TorrentFile.change(file, HeldFile.replaced)
      yield* FolderEntries.unlink(entries, found.place, FilePlaces.nameOf(self, index))
    }
    return { from: found.place, to }
  })
  yield* TorrentFile.relocate(file, move)
  yield* FolderEntries.removeEmpty(entries, FilePlaces.asidePath(self, index).slice(0, -1), 1)
})

/** Moves a file to another path, where nothing may exist. */
export const rename = (
  self: FilePlaces.FilePlaces,
  index: number,
  path: ReadonlyArray<string>
): Effect.Effect<void, StorageReason> => oneAtATime(self, index, (file) => renameOnce(self, index, path, file))

const renameOnce = Effect.fnUntraced(function* (
  self: FilePlaces.FilePlaces,
  index: number,
  path: ReadonlyArray<string>,
  file: TorrentFile.TorrentFile
) {
  const { aside, entries, folder, renamed, undecided } = self
  if (Bitfield.has(undecided, index)) yield* FilePlaces.decide(self, index)
  const move = Effect.gen(function* () {
    const place = yield* Effect.mapError(FilePlaces.placeOf(self, index, "read"), ({ reason }) => reason)
    const found = yield* FolderEntries.find(entries, place.path)
    if ((yield* FolderEntries.find(entries, path)) !== undefined) {
      return yield* Effect.fail(new FileExists({ path: DownloadFolder.nameOf(folder, path) }))
    }
    const target = {
      path: Bitfield.has(aside, index) ? [...AsideFolder.components, ...path] : path,
      isMade: false
    }
    const to = found?.stats.isFile() === true ? yield* FolderEntries.move(entries, found.place, target) : undefined
    renamed.set(index, path)
    return { from: found?.place, to }
  })
  yield* TorrentFile.relocate(file, move)
})

const removeAt = Effect.fnUntraced(function* (self: FilePlaces.FilePlaces, path: ReadonlyArray<string>, keep: number) {
  const { entries, folder } = self
  const found = yield* FolderEntries.find(entries, path)
  if (found === undefined || !found.stats.isFile()) return
  yield* FolderEntries.unlink(entries, found.place, DownloadFolder.nameOf(folder, path))
  DownloadFolder.markChanged(folder, Path.dirname(found.place))
  yield* self.medium.clean(found.place) ?? Effect.void
  yield* FolderEntries.removeEmpty(entries, path.slice(0, -1), keep)
})

/** Deletes a file wherever it is, and then its empty folders. */
export const remove = (self: FilePlaces.FilePlaces, index: number): Effect.Effect<void, StorageReason> =>
  oneAtATime(self, index, (file) =>
    TorrentFile.relocate(
      file,
      Effect.gen(function* () {
        const place = yield* Effect.mapError(FilePlaces.nameOn(self, index, "read"), ({ reason }) => reason)
        yield* removeAt(self, place.path, 0)
        yield* removeAt(self, FilePlaces.asidePath(self, index), 1)
        TorrentFile.change(file, HeldFile.deleted)
        return { from: undefined, to: undefined }
      })
    )
  )
