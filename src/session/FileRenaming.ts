/**
 * Gives files of a torrent other paths than its metainfo says. The torrent must not be in the engine.
 *
 * A file is moved in three steps: what is to be done is saved, the file is moved, and what was done is saved. After a
 * kill in between, `finish` looks where the file is. A file that does not exist yet may be renamed too, so what is at the
 * new path then may be somebody else's.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as FileLayout from "../metainfo/FileLayout.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import * as SafePath from "../metainfo/SafePath.ts"
import type { FileFacts, Storage, StorageError, TorrentStorage } from "../storage/Storage.ts"
import * as Adoption from "../torrent/Adoption.ts"
import * as SavedResume from "./SavedResume.ts"
import type { RenamedFile, SavedFiles } from "./SavedTorrent.ts"
import type { SessionRecord } from "./SessionRecord.ts"

/** The most characters of a path in a message. */
const maxShown = 200

/** The metainfo with the paths that its files have. The info dictionary stays as it is. */
export const apply = (metainfo: Metainfo, { renamed }: SavedFiles): Metainfo => ({
  ...metainfo,
  layout: FileLayout.withPaths(metainfo.layout, new Map(renamed.map(({ file, path }) => [file, path])))
})

/** Whether a file has a path already. */
export const isThere = (layout: FileLayout.FileLayout, { file, path }: RenamedFile): boolean =>
  FileLayout.find(layout, path) === file

/** Why a file cannot have a path, as a sentence; `undefined` if it can. `layout` has the paths that there are. */
export const refusal = (layout: FileLayout.FileLayout, { file, path }: RenamedFile): string | undefined => {
  if (!FileLayout.realFiles(layout).includes(file)) return "There is no such file."
  const safe = SafePath.path(path, "windows")
  if (Result.isFailure(safe)) return safe.failure.why
  if (safe.success.join("/") !== path.join("/")) return `The name is not safe. ${safe.success.join("/")} would be.`
  const own = keyOf(path)
  for (const other of FileLayout.realFiles(layout)) {
    if (other === file) continue
    const taken = keyOf(FileLayout.pathOf(layout, other))
    if (taken === own) return "Another file of the torrent has this path."
    if (taken.startsWith(`${own}/`) || own.startsWith(`${taken}/`)) return "A file cannot also be a folder."
  }
  return undefined
}

/**
 * Why the files of a layout cannot have their paths beside each other, as a sentence; `undefined` if they can. Of
 * `renamed` files the names are checked too. They need not be names that every file system can hold, because files have
 * them already.
 */
export const fault = (layout: FileLayout.FileLayout, renamed: ReadonlyArray<RenamedFile>): string | undefined => {
  for (const { path } of renamed) {
    const safe = SafePath.path(path, "posix")
    if (Result.isFailure(safe)) return safe.failure.why
    if (safe.success.join("/") !== path.join("/")) return `The name ${shown(path)} is not safe.`
  }
  // In this order, what lies below a path comes right behind it. No name has the separator, which is before all others.
  const paths = FileLayout.realFiles(layout)
    .map((file) => FileLayout.pathOf(layout, file).map(SafePath.alike).join("\0"))
    .sort()
  const isBehind = (test: (path: string, before: string) => boolean) =>
    paths.some((path, index) => index > 0 && test(path, paths[index - 1]!))
  if (isBehind((path, before) => path === before)) return "Two files of the torrent have the same path."
  return isBehind((path, before) => path.startsWith(`${before}\0`)) ? "A file cannot also be a folder." : undefined
}

/** The beginning of a path that a stranger wrote. */
const shown = (path: ReadonlyArray<string>): string => path.join("/").slice(0, maxShown).toWellFormed()

/** The same text for paths that some file system may confuse. */
const keyOf = (path: ReadonlyArray<string>): string => path.map(SafePath.alike).join("/")

/** The choice with a file renamed. */
export const added = (files: SavedFiles, done: RenamedFile): SavedFiles => ({
  ...cleared(files),
  renamed: [...files.renamed.filter(({ file }) => file !== done.file), done]
})

/** The choice with no file being renamed. */
export const cleared = ({ renaming: _, ...files }: SavedFiles): SavedFiles => files

/** What is at the path that a file has. */
const lookAt = (storage: Storage["Service"], metainfo: Metainfo, file: number) =>
  Effect.scoped(Effect.flatMap(storage.open(metainfo), ({ look }) => look([file]))).pipe(
    Effect.map(([facts]): FileFacts | undefined => facts)
  )

/** Changes a file on the medium, with the torrent opened for that. */
const change = (
  storage: Storage["Service"],
  metainfo: Metainfo,
  file: number,
  use: (torrent: TorrentStorage) => Effect.Effect<void, StorageError>
): Effect.Effect<void, StorageError> =>
  Effect.scoped(
    Effect.flatMap(storage.open(metainfo), (torrent) => Effect.andThen(torrent.reserve([file]), use(torrent)))
  )

/** Moves a file on the medium. `metainfo` has the paths that there are. A file that does not exist is made there later. */
export const move = (
  storage: Storage["Service"],
  metainfo: Metainfo,
  { file, path }: RenamedFile
): Effect.Effect<void, StorageError> => change(storage, metainfo, file, (torrent) => torrent.rename(file, path))

/** Whether the file at the new path is the torrent's own, which an interrupted renaming has moved there. */
const wasMoved = (self: Pick<SessionRecord, "resume" | "storage">, metainfo: Metainfo, file: number) =>
  Effect.gen(function* () {
    const facts = yield* lookAt(self.storage, metainfo, file)
    // It did not exist yet, so it will be made at its new path.
    if (facts === undefined) return true
    const data = yield* Effect.orElseSucceed(SavedResume.load(self, metainfo), () => undefined)
    return Adoption.isRemembered(data?.files.get(file), facts)
  })

/**
 * Finishes a renaming that a kill has interrupted, and returns the choice after it: the file has its new path, unless
 * something else is there.
 */
export const finish = Effect.fnUntraced(function* (
  self: Pick<SessionRecord, "resume" | "storage">,
  metainfo: Metainfo,
  files: SavedFiles,
  renaming: RenamedFile
): Effect.fn.Return<SavedFiles, StorageError> {
  const { storage } = self
  const { file } = renaming
  const before = apply(metainfo, files)
  const done = added(files, renaming)
  const after = apply(metainfo, done)
  const found = yield* lookAt(storage, before, file)
  if (found === undefined) return (yield* wasMoved(self, after, file)) ? done : cleared(files)
  return yield* move(storage, before, renaming).pipe(
    Effect.as(done),
    Effect.catchIf(
      ({ reason }) => reason._tag === "FileExists",
      () => Effect.map(dropOldName(storage, before, after, found), (isDone) => (isDone ? done : cleared(files)))
    )
  )
})

/**
 * Removes the old name of a file that has both names, as a kill leaves it: a disk gives it the new one before it takes
 * the old one away. Returns whether that is so. Names that a disk may confuse are one, so they are left alone.
 */
const dropOldName = Effect.fnUntraced(function* (
  storage: Storage["Service"],
  before: Metainfo,
  after: Metainfo,
  { file, identity }: FileFacts
): Effect.fn.Return<boolean, StorageError> {
  const there = yield* lookAt(storage, after, file)
  const isOne = keyOf(FileLayout.pathOf(before.layout, file)) === keyOf(FileLayout.pathOf(after.layout, file))
  if (isOne || there === undefined || there.identity !== identity || there.otherNames === 0) return false
  yield* change(storage, before, file, (torrent) => torrent.remove([file]))
  return true
})
