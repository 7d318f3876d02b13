/**
 * Entries at paths below a download folder: found, moved over nothing, and removed with the folders that are empty
 * then.
 *
 * Nothing is overwritten by a move: the new name is linked first, which fails if something has it.
 */
import type * as NFS from "node:fs"
import * as Path from "node:path"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { FileExists, type StorageReason } from "../../Storage.ts"
import * as DownloadFolder from "./DownloadFolder.ts"
import type { FilePlace } from "./FileNames.ts"
import * as FileSystemError from "./FileSystemError.ts"
import type { NodeFileSystem } from "./NodeFile.ts"
import * as NodeFile from "./NodeFile.ts"

/**
 * True paths of folders by their components, `undefined` for those that do not exist; of one that is being looked for,
 * what waits for that. For looks that follow at once.
 */
export type KnownParents = Map<string, string | undefined | Deferred.Deferred<string | undefined, StorageReason>>

/** What exists at a path. */
export interface Entry {
  /** The true path, except that the last component may be a link. */
  readonly place: string
  readonly stats: NFS.BigIntStats
}

/** Entries below a download folder; paths are components below it, at least one. */
export interface FolderEntries {
  readonly fs: NodeFileSystem
  readonly folder: DownloadFolder.DownloadFolder
}

/** Makes the entries of `folder`; touches nothing. */
export const make = (fs: NodeFileSystem, folder: DownloadFolder.DownloadFolder): FolderEntries => ({ fs, folder })

const parentOf = (
  { folder }: FolderEntries,
  components: ReadonlyArray<string>,
  key: string,
  known: KnownParents | undefined
): Effect.Effect<string | undefined, StorageReason> => {
  const finding = DownloadFolder.resolve(folder, components, "read").pipe(
    Effect.catchIf(
      ({ missing }) => missing,
      () => Effect.undefined
    ),
    Effect.mapError(({ reason }) => reason)
  )
  if (known === undefined) return finding
  const parent = Deferred.makeUnsafe<string | undefined, StorageReason>()
  known.set(key, parent)
  return Effect.onExit(finding, (exit) => {
    if (Exit.isSuccess(exit)) known.set(key, exit.value)
    return Deferred.done(parent, exit)
  })
}

/** What is at `path`, or where a link there leads to if `follows`; `undefined` if nothing is. */
export const find = (
  self: FolderEntries,
  path: ReadonlyArray<string>,
  known?: KnownParents,
  follows = false
): Effect.Effect<Entry | undefined, StorageReason> =>
  Effect.suspend(() => {
    const components = path.slice(0, -1)
    const key = components.join("/")
    const lookIn = (parent: string | undefined): Effect.Effect<Entry | undefined, StorageReason> => {
      if (parent === undefined) return Effect.undefined
      const place = Path.join(parent, path[path.length - 1]!)
      return Effect.mapBoth(NodeFile.lookAt(self.fs, place, follows), {
        onSuccess: (stats) => stats && { place, stats },
        onFailure: (error) => FileSystemError.reasonOf(error, DownloadFolder.nameOf(self.folder, path), "read")
      })
    }
    const found = known?.get(key)
    if (typeof found === "object") return Effect.flatMap(Deferred.await(found), lookIn)
    return found !== undefined || known?.has(key) === true
      ? lookIn(found)
      : Effect.flatMap(parentOf(self, components, key, known), lookIn)
  })

/**
 * Moves the file with this true path to a free path, or over an empty file that was made for it. Returns its new true
 * path.
 */
export const move = Effect.fnUntraced(function* (
  { folder, fs }: FolderEntries,
  from: string,
  { isMade, path }: FilePlace
) {
  const name = DownloadFolder.nameOf(folder, path)
  const parent = yield* Effect.mapError(
    DownloadFolder.resolve(folder, path.slice(0, -1), "write"),
    ({ reason }) => reason
  )
  const to = Path.join(parent, path[path.length - 1]!)
  const replace = NodeFile.call((done) => fs.rename(from, to, done))
  const linked = NodeFile.call((done) => fs.link(from, to, done)).pipe(
    Effect.andThen(NodeFile.call((done) => fs.unlink(from, done)))
  )
  yield* (isMade ? replace : linked).pipe(
    Effect.catchIf(
      ({ code }) => NodeFile.cannotLink.has(code),
      () => NodeFile.moveWithoutLinks(fs, from, to)
    ),
    Effect.mapError(
      (error): StorageReason =>
        error.code === "EEXIST" ? new FileExists({ path: name }) : FileSystemError.reasonOf(error, name, "write")
    )
  )
  DownloadFolder.markChanged(folder, parent)
  DownloadFolder.markChanged(folder, Path.dirname(from))
  return to
})

/** Deletes the file with this true path, which the user knows as `name`. */
export const unlink = ({ fs }: FolderEntries, place: string, name: string): Effect.Effect<void, StorageReason> =>
  Effect.mapError(
    NodeFile.call((done) => fs.unlink(place, done)),
    (error) => FileSystemError.reasonOf(error, name, "write")
  )

/**
 * Deletes empty folders, from the one with these components upwards, and keeps the first `keep`. A link is no folder.
 */
export const removeEmpty = Effect.fnUntraced(function* (
  { folder, fs }: FolderEntries,
  components: ReadonlyArray<string>,
  keep = 0
) {
  for (let depth = components.length; depth > keep; depth--) {
    const place = DownloadFolder.nameOf(folder, components.slice(0, depth))
    const removed = yield* Effect.result(NodeFile.call((done) => fs.rmdir(place, done)))
    if (removed._tag === "Failure") break
    DownloadFolder.forget(folder)
  }
})
