/**
 * The files that a torrent is made from: one file, or those in a folder and below it.
 *
 * A folder's files are in the order of their paths' bytes, component by component (the order BEP 52 requires), hidden
 * files included. A symbolic link to a file of the folder counts as that file. Links to folders, links that leave the
 * folder or lead nowhere, sockets, devices, and entries with the name of piecewise's own folder are left out. With
 * `followLinks` a link counts as its target, wherever that is.
 */
import * as ByteSize from "effect/ByteSize"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import * as Bytes from "../base/Bytes.ts"
import * as ReservedName from "./ReservedName.ts"

/** A file or folder could not be read. `why` is a sentence a user can read; it names the file. */
export class SourceError extends Data.TaggedError("SourceError")<{ readonly why: string }> {
  override get message() {
    return this.why
  }
}

/** A file on disk that becomes a file of the torrent. */
export interface Source {
  /** The path on disk. */
  readonly source: string
  /** Components below the torrent's folder; empty if the torrent is this one file. */
  readonly path: ReadonlyArray<string>
  readonly length: number
}

/** An entry that is not taken; `why` ends a sentence. With `followLinks` it would be, if `isFollowable`. */
export interface LeftOut {
  readonly path: string
  readonly why: string
  readonly isFollowable: boolean
}

/** Which files are taken. */
export interface Options {
  readonly followLinks: boolean
  /** Called for each entry that is left out; the work waits for it. */
  readonly onLeftOut: (entry: LeftOut) => Effect.Effect<void>
}

/** Entries of a folder that are looked at, links followed; a metainfo file has no room for half as many files. */
const maxEntries = 1_000_000

const fail = (why: string) => Effect.fail(new SourceError({ why }))

/** Ends a sentence about a failure of the platform. */
const reasons: { readonly [tag: string]: string } = {
  NotFound: "no such file or folder",
  PermissionDenied: "permission denied",
  Busy: "it is in use"
}

/** What an error of the platform at `path` means to the user. */
export const errorAt = (path: string) => (error: PlatformError.PlatformError) =>
  new SourceError({ why: `${path}: ${reasons[error.reason._tag] ?? error.reason.description ?? error.message}` })

/** A folder to be listed. */
interface Folder {
  readonly path: ReadonlyArray<string>
  /** True paths of this folder and of those it lies in, if links are followed: a link to one of them closes a cycle. */
  readonly within: ReadonlyArray<string>
}

/** Lists the file at `root`, or the files below it. */
export const list = Effect.fnUntraced(function* (root: string, { followLinks, onLeftOut }: Options) {
  const fileSystem = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const info = yield* fileSystem.stat(root).pipe(Effect.mapError(errorAt(root)))
  if (info.type === "File") return [{ source: root, path: [], length: ByteSize.toNumberUnsafe(info.size) }]
  if (info.type !== "Directory") return yield* fail(`${root} is neither a file nor a folder`)

  const realRoot = yield* fileSystem.realPath(root).pipe(Effect.mapError(errorAt(root)))
  const found: Array<{ readonly key: ReadonlyArray<Uint8Array>; readonly source: Source }> = []
  let entryCount = 0
  // A folder is found in its parent, or by a link that leads to none of the folders it lies in: so the walk ends.
  const folders: Array<Folder> = [{ path: [], within: followLinks ? [realRoot] : [] }]
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const folderPath = paths.join(root, ...folder.path)
    const entries = yield* fileSystem.readDirectoryEntries(folderPath).pipe(Effect.mapError(errorAt(folderPath)))
    entryCount += entries.length
    if (entryCount > maxEntries) return yield* fail(`${root}: the folder has more than ${maxEntries} files and folders`)
    for (const entry of entries) {
      const path = [...folder.path, entry.name]
      const source = paths.join(folderPath, entry.name)
      const leaveOut = (why: string, isFollowable = false) => onLeftOut({ path: source, why, isFollowable })
      if (ReservedName.is(entry.name)) {
        yield* leaveOut(ReservedName.why)
        continue
      }
      let type = entry.type === "Unknown" ? yield* typeOf(source) : entry.type
      if (type === "SymbolicLink") {
        const target = yield* followLink(source, { realRoot, followLinks })
        if (target._tag === "LeftOut") {
          yield* leaveOut(target.why, target.isFollowable)
          continue
        }
        type = target.type
      }
      if (type === "Directory") {
        const within = yield* enterFolder(source, folder.within)
        if (within === undefined) yield* leaveOut("a symbolic link that leads back to a folder it lies in")
        else folders.push({ path, within })
        continue
      }
      if (type !== "File") {
        yield* leaveOut("not a file")
        continue
      }
      const { size } = yield* fileSystem.stat(source).pipe(Effect.mapError(errorAt(source)))
      found.push({ key: path.map(Bytes.fromText), source: { source, path, length: ByteSize.toNumberUnsafe(size) } })
    }
  }
  return found.sort((a, b) => comparePaths(a.key, b.key)).map(({ source }) => source)
})

/** The type of an entry whose folder's listing left it open, links not followed. */
const typeOf = Effect.fnUntraced(function* (source: string) {
  const fileSystem = yield* FileSystem.FileSystem
  const isLink = yield* fileSystem.readLink(source).pipe(
    Effect.as(true),
    Effect.orElseSucceed(() => false)
  )
  if (isLink) return "SymbolicLink" as const
  return (yield* fileSystem.stat(source).pipe(Effect.mapError(errorAt(source)))).type
})

/** What a link counts as. */
type Target =
  | { readonly _tag: "Taken"; readonly type: FileSystem.File.Type }
  | { readonly _tag: "LeftOut"; readonly why: string; readonly isFollowable: boolean }

const leftOut = (why: string, isFollowable: boolean): Target => ({ _tag: "LeftOut", why, isFollowable })

const followLink = Effect.fnUntraced(function* (
  source: string,
  { followLinks, realRoot }: { readonly followLinks: boolean; readonly realRoot: string }
): Effect.fn.Return<Target, SourceError, FileSystem.FileSystem | Path.Path> {
  const fileSystem = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const target = yield* fileSystem.realPath(source).pipe(Effect.orElseSucceed(() => undefined))
  if (target === undefined) return leftOut("a symbolic link that leads nowhere", false)
  const { type } = yield* fileSystem.stat(target).pipe(Effect.mapError(errorAt(source)))
  const isUsable = type === "File" || type === "Directory"
  if (followLinks && isUsable) return { _tag: "Taken", type }
  const relative = paths.relative(realRoot, target)
  if (relative === ".." || relative.startsWith(`..${paths.sep}`) || paths.isAbsolute(relative)) {
    return leftOut("a symbolic link that leaves the folder", isUsable)
  }
  return type === "File" ? { _tag: "Taken", type } : leftOut("a symbolic link that does not lead to a file", isUsable)
})

/** The folders that an entry of the folder `source` lies in; `undefined` if `source` leads back to one of `within`. */
const enterFolder = Effect.fnUntraced(function* (source: string, within: ReadonlyArray<string>) {
  if (within.length === 0) return within
  const fileSystem = yield* FileSystem.FileSystem
  const real = yield* fileSystem.realPath(source).pipe(Effect.mapError(errorAt(source)))
  return within.includes(real) ? undefined : [...within, real]
})

const comparePaths = (a: ReadonlyArray<Uint8Array>, b: ReadonlyArray<Uint8Array>): number => {
  for (let depth = 0; depth < a.length && depth < b.length; depth++) {
    const order = compareBytes(a[depth]!, b[depth]!)
    if (order !== 0) return order
  }
  return a.length - b.length
}

const compareBytes = (a: Uint8Array, b: Uint8Array): number => {
  for (let index = 0; index < a.length && index < b.length; index++) {
    if (a[index] !== b[index]) return a[index]! - b[index]!
  }
  return a.length - b.length
}
