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

/** A file by its name. */
export interface NamedFile {
  /** The path as the user would name it. */
  readonly nameOf: () => string
  /** What is at the name; `undefined` if nothing is. */
  readonly look: Effect.Effect<NFS.BigIntStats | undefined, StorageReason>
  /** Opens the file for reading; fails if it is no regular file. */
  readonly openForReading: Effect.Effect<{ readonly fd: number; readonly file: KnownFile }, FileHandles.OpenFailure>
  /** Opens the file for writing. With `write` its folders are made first. */
  readonly openForWriting: (access: "read" | "write") => Effect.Effect<OpenedFile, FileHandles.OpenFailure>
  /** Opens the file at a true path for writing. */
  readonly openAt: (path: string) => Effect.Effect<number, FileHandles.OpenFailure>
  /**
   * Makes the file, and its folders; fails with `onExisting` if something has the name. A folder that was known to
   * exist and has gone is made again, once.
   */
  readonly create: (onExisting: StorageReason) => Effect.Effect<OpenedFile, FileHandles.OpenFailure>
  /** What is open; fails if that is no regular file. */
  readonly stat: (fd: number, access: "read" | "write") => Effect.Effect<NFS.BigIntStats, StorageReason>
  readonly knownAs: (path: string, stats: NFS.BigIntStats, follows: boolean) => Effect.Effect<KnownFile>
  /** Closes what was opened if `check` fails. `fd` is read then. */
  readonly closeUnless: <A>(
    fd: () => number,
    check: Effect.Effect<A, StorageReason>
  ) => Effect.Effect<A, FileHandles.OpenFailure>
}

// Neither waits for the other end of a FIFO nor follows a link. Windows has neither flag; `undefined` counts as 0
// there.
const nonBlocking = NFS.constants.O_NONBLOCK ?? 0
const noFollow = NFS.constants.O_NOFOLLOW ?? 0
const mustLookForLinks = noFollow === 0

/** Makes a file by its name; touches nothing. */
export const make = (options: {
  readonly fs: NodeFile.NodeFileSystem
  readonly folder: DownloadFolder.DownloadFolder
  /** Components below the folder, at least one, as users know the file now. */
  readonly path: () => ReadonlyArray<string>
  /** The components at which it is on this disk, or is to be made. See `FileNames.resolve`. */
  readonly place: (access: "read" | "create") => Effect.Effect<FilePlace, FileHandles.OpenFailure>
  /** Whether reading follows a symbolic link to whatever it leads to; writing never does. */
  readonly followLinks: boolean
  /** Whether a file is on a disk of this machine. */
  readonly isLocal: (stats: NFS.BigIntStats, path: string) => Effect.Effect<boolean>
}): NamedFile => {
  const { folder, followLinks, fs } = options
  const nameOf = () => folder.nameOf(options.path())

  const stat: NamedFile["stat"] = (fd, access) =>
    Effect.flatMap(
      Effect.mapError(
        NodeFile.call<NFS.BigIntStats>((done) => fs.fstatExact(fd, done)),
        (error) => FileSystemError.reasonOf(error, nameOf(), access)
      ),
      (stats): Effect.Effect<NFS.BigIntStats, StorageReason> => {
        if (stats.isFile()) return Effect.succeed(stats)
        const why = stats.isDirectory() ? "a folder is in the way of a file" : "it is not a regular file"
        return Effect.fail(new StorageRefused({ path: nameOf(), why }))
      }
    )

  /** The true path of the file on this disk, and whether it was made just now to find out its name. */
  const locate = (access: "read" | "write") =>
    Effect.gen(function* () {
      const place = yield* options.place(access === "read" ? "read" : "create")
      const parent = yield* folder.resolve(place.path.slice(0, -1), access)
      return { path: Path.join(parent, place.path[place.path.length - 1]!), isMade: place.isMade }
    })

  const look: NamedFile["look"] = Effect.suspend(() => locate("read")).pipe(
    Effect.flatMap(({ path }) =>
      Effect.mapError(NodeFile.lookAt(fs, path, followLinks), (error) =>
        DownloadFolder.openFailure(error, nameOf(), "read")
      )
    ),
    Effect.catchIf(
      ({ missing }) => missing,
      () => Effect.undefined
    ),
    Effect.mapError(({ reason }) => reason)
  )

  const open = (path: string, access: "read" | "write", flags: number) =>
    Effect.gen(function* () {
      const follows = followLinks && access === "read"
      if (mustLookForLinks && !follows) {
        const there = yield* Effect.orElseSucceed(NodeFile.lookAt(fs, path), () => undefined)
        if (there?.isSymbolicLink() === true) {
          return yield* Effect.fail(DownloadFolder.openFailure({ code: "ELOOP", message: "a link" }, nameOf(), access))
        }
      }
      return yield* Effect.mapError(
        NodeFile.call<number>((done) => fs.open(path, flags | (follows ? nonBlocking : nonBlocking | noFollow), done)),
        (error) => DownloadFolder.openFailure(error, nameOf(), access)
      )
    })

  const openAt: NamedFile["openAt"] = (path) => open(path, "write", NFS.constants.O_RDWR)

  const closeUnless: NamedFile["closeUnless"] = (fd, check) =>
    Effect.catch(check, (reason) =>
      Effect.andThen(
        Effect.ignore(NodeFile.call((done) => fs.close(fd(), done))),
        Effect.fail(FileHandles.refusal(reason))
      )
    )

  const knownAs: NamedFile["knownAs"] = (path, stats, follows) =>
    Effect.map(options.isLocal(stats, path), (isLocal) => ({
      path,
      identity: NodeFile.identityOf(stats),
      isLocal,
      follows
    }))

  const createOnce = (onExisting: StorageReason) =>
    Effect.gen(function* () {
      const { isMade, path } = yield* locate("write")
      if (isMade) return { fd: yield* openAt(path), path }
      const flags = NFS.constants.O_RDWR | NFS.constants.O_CREAT | NFS.constants.O_EXCL | nonBlocking | noFollow
      const fd = yield* Effect.mapError(
        NodeFile.call<number>((done) => fs.open(path, flags, done)),
        (error) =>
          error.code === "EEXIST"
            ? FileHandles.refusal(onExisting)
            : DownloadFolder.openFailure(error, nameOf(), "write")
      )
      folder.markChanged(Path.dirname(path))
      return { fd, path }
    })

  return {
    nameOf,
    look,
    openForReading: Effect.gen(function* () {
      const { path } = yield* locate("read")
      const fd = yield* open(path, "read", NFS.constants.O_RDONLY)
      const stats = yield* closeUnless(() => fd, stat(fd, "read"))
      return { fd, file: yield* knownAs(path, stats, followLinks) }
    }),
    openForWriting: (access) =>
      Effect.gen(function* () {
        const { path } = yield* locate(access)
        return { fd: yield* openAt(path), path }
      }),
    openAt,
    create: (onExisting) =>
      Effect.catchIf(
        createOnce(onExisting),
        ({ missing }) => missing,
        () =>
          Effect.suspend(() => {
            folder.forget()
            return createOnce(onExisting)
          })
      ),
    stat,
    knownAs,
    closeUnless
  }
}
