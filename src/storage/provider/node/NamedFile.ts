/**
 * A file of a torrent, found by its name: looked at, opened, or made if nothing has that name. Remembers nothing.
 *
 * Every effect here is run uninterruptibly by its caller, because what it opens must be closed.
 */
import * as NFS from "node:fs"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import { type StorageReason, StorageRefused } from "../../Storage.ts"
import * as DownloadFolder from "./DownloadFolder.ts"
import * as FileHandles from "./FileHandles.ts"
import type { FilePlace } from "./FileNames.ts"
import * as FileSystemError from "./FileSystemError.ts"
import * as NodeFile from "./NodeFile.ts"

/** The place and the identity of an open file. */
export interface KnownFile {
  /** True, with no link left in it. Changes when the file is moved. */
  path: string
  /** As `NodeFile.identityOf`. */
  readonly identity: string
  readonly isLocal: boolean
  /** Whether `path` may be a link that leads to the file. */
  readonly follows: boolean
}

/** A file that was opened, and its true path. */
export interface OpenedFile {
  readonly fd: number
  readonly path: string
}

/** What the files of one torrent have in common. A file is known by its index in `layout.files`. */
export interface Medium {
  readonly fs: NodeFile.NodeFileSystem
  readonly folder: DownloadFolder.DownloadFolder
  /** Components below the folder, at least one, as users know the file now. */
  readonly pathOf: (index: number) => ReadonlyArray<string>
  /** The components at which it is on this disk, or is to be made. See `FileNames.resolve`. */
  readonly placeOf: (index: number, access: "read" | "create") => Effect.Effect<FilePlace, FileHandles.OpenFailure>
  /** Whether reading follows a symbolic link to whatever it leads to; writing never does. */
  readonly followLinks: boolean
  /** Whether a file is on a disk of this machine; see `LocalDevices.ts`. */
  readonly isLocal: (stats: NFS.BigIntStats, path: string) => Effect.Effect<boolean>
}

/** A file by its name. */
export interface NamedFile {
  readonly medium: Medium
  readonly index: number
}

// Neither waits for the other end of a FIFO nor follows a link. Windows has neither flag; `undefined` counts as 0
// there.
const nonBlocking = NFS.constants.O_NONBLOCK ?? 0
const noFollow = NFS.constants.O_NOFOLLOW ?? 0
const mustLookForLinks = noFollow === 0

/** The path as the user would name it. */
export const nameOf = ({ index, medium }: NamedFile): string =>
  DownloadFolder.nameOf(medium.folder, medium.pathOf(index))

/** What is open; fails if that is no regular file. */
export const stat = (
  self: NamedFile,
  fd: number,
  access: "read" | "write"
): Effect.Effect<NFS.BigIntStats, StorageReason> =>
  Effect.flatMap(
    // What is read may be behind a link to a network disk.
    Effect.mapError(
      NodeFile.statOpen(self.medium.fs, fd, access === "write" && DownloadFolder.isLocalThroughout(self.medium.folder)),
      (error) => FileSystemError.reasonOf(error, nameOf(self), access)
    ),
    (stats): Effect.Effect<NFS.BigIntStats, StorageReason> => {
      if (stats.isFile()) return Effect.succeed(stats)
      const why = stats.isDirectory() ? "a folder is in the way of a file" : "it is not a regular file"
      return Effect.fail(new StorageRefused({ path: nameOf(self), why }))
    }
  )

/** The true path of the file on this disk, and whether it was made just now to find out its name. */
const locate = Effect.fnUntraced(function* ({ index, medium }: NamedFile, access: "read" | "write") {
  const place = yield* medium.placeOf(index, access === "read" ? "read" : "create")
  const parent = yield* DownloadFolder.resolve(medium.folder, place.path.slice(0, -1), access)
  return { path: Path.join(parent, place.path[place.path.length - 1]!), isMade: place.isMade }
})

/** What is at the name; `undefined` if nothing is. */
export const look = (self: NamedFile): Effect.Effect<NFS.BigIntStats | undefined, StorageReason> =>
  locate(self, "read").pipe(
    Effect.flatMap(({ path }) =>
      Effect.mapError(NodeFile.lookAt(self.medium.fs, path, self.medium.followLinks), (error) =>
        DownloadFolder.openFailure(error, nameOf(self), "read")
      )
    ),
    Effect.catchIf(
      ({ missing }) => missing,
      () => Effect.undefined
    ),
    Effect.mapError(({ reason }) => reason)
  )

const open = Effect.fnUntraced(function* (self: NamedFile, path: string, access: "read" | "write", flags: number) {
  const { followLinks, fs } = self.medium
  const follows = followLinks && access === "read"
  if (mustLookForLinks && !follows) {
    const there = yield* Effect.orElseSucceed(NodeFile.lookAt(fs, path), () => undefined)
    if (there?.isSymbolicLink() === true) {
      return yield* Effect.fail(DownloadFolder.openFailure({ code: "ELOOP", message: "a link" }, nameOf(self), access))
    }
  }
  return yield* Effect.mapError(
    NodeFile.call<number>((done) => fs.open(path, flags | (follows ? nonBlocking : nonBlocking | noFollow), done)),
    (error) => DownloadFolder.openFailure(error, nameOf(self), access)
  )
})

/** Opens the file at a true path for writing. */
export const openAt = (self: NamedFile, path: string): Effect.Effect<number, FileHandles.OpenFailure> =>
  open(self, path, "write", NFS.constants.O_RDWR)

/** Closes what was opened if `check` fails. `fd` is read then. */
export const closeUnless = <A>(
  { medium }: NamedFile,
  fd: () => number,
  check: Effect.Effect<A, StorageReason>
): Effect.Effect<A, FileHandles.OpenFailure> =>
  Effect.catch(check, (reason) =>
    Effect.andThen(
      Effect.ignore(NodeFile.call((done) => medium.fs.close(fd(), done))),
      Effect.fail(FileHandles.refusal(reason))
    )
  )

/** How a file that is open is known from then on. */
export const knownAs = (
  { medium }: NamedFile,
  path: string,
  stats: NFS.BigIntStats,
  follows: boolean
): Effect.Effect<KnownFile> =>
  Effect.map(medium.isLocal(stats, path), (isLocal) => ({
    path,
    identity: NodeFile.identityOf(stats),
    isLocal,
    follows
  }))

/** It may be moved between the two steps, by a selection or a renaming, and is then found at its new place. */
const findAndOpen = (self: NamedFile) =>
  Effect.gen(function* () {
    const { path } = yield* locate(self, "read")
    return { fd: yield* open(self, path, "read", NFS.constants.O_RDONLY), path }
  }).pipe(Effect.retry({ times: 2, while: ({ missing }) => missing }))

/** Opens the file for reading; fails if it is no regular file. */
export const openForReading = Effect.fnUntraced(function* (self: NamedFile) {
  const { fd, path } = yield* findAndOpen(self)
  const stats = yield* closeUnless(self, () => fd, stat(self, fd, "read"))
  return { fd, file: yield* knownAs(self, path, stats, self.medium.followLinks) }
})

/** Opens the file for writing. With `write` its folders are made first. */
export const openForWriting = Effect.fnUntraced(function* (self: NamedFile, access: "read" | "write") {
  const { path } = yield* locate(self, access)
  const opened: OpenedFile = { fd: yield* openAt(self, path), path }
  return opened
})

const createOnce = Effect.fnUntraced(function* (self: NamedFile, onExisting: StorageReason) {
  const { folder, fs } = self.medium
  const { isMade, path } = yield* locate(self, "write")
  if (isMade) return { fd: yield* openAt(self, path), path }
  const flags = NFS.constants.O_RDWR | NFS.constants.O_CREAT | NFS.constants.O_EXCL | nonBlocking | noFollow
  const fd = yield* Effect.mapError(
    NodeFile.call<number>((done) => fs.open(path, flags, done)),
    (error) =>
      error.code === "EEXIST"
        ? FileHandles.refusal(onExisting)
        : DownloadFolder.openFailure(error, nameOf(self), "write")
  )
  DownloadFolder.markChanged(folder, Path.dirname(path))
  return { fd, path }
})

/**
 * Makes the file, and its folders; fails with `onExisting` if something has the name. A folder that was known to exist
 * and has gone is made again, once.
 */
export const create = (
  self: NamedFile,
  onExisting: StorageReason
): Effect.Effect<OpenedFile, FileHandles.OpenFailure> =>
  Effect.catchIf(
    createOnce(self, onExisting),
    ({ missing }) => missing,
    () =>
      Effect.suspend(() => {
        DownloadFolder.forget(self.medium.folder)
        return createOnce(self, onExisting)
      })
  )
