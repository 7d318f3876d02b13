/**
 * One file of an open torrent, as `FileSystemStorage.ts` uses it: found, made, opened, written, read and synced.
 *
 * Remembers what it wrote, so that it notices a file that was deleted or cut off meanwhile; the reasons are told there.
 * Numbers and offsets are those of the file. Every effect here may be interrupted only while it waits for its turn.
 */

import * as NFS from "node:fs"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import * as DownloadFolder from "./DownloadFolder.ts"
import * as FileHandles from "./FileHandles.ts"
import * as FileSystemError from "./FileSystemError.ts"
import * as NodeFile from "./NodeFile.ts"
import { type StorageReason, StorageRefused, StorageUnavailable } from "./Storage.ts"

/**
 * Bytes written to an open file before it is looked at again: 8 MiB. A look costs a thread's hop, as a write does; so
 * often it is lost in the cost of the writes, and no more than this is written to a file that is gone.
 */
export const checkInterval = 1 << 23

/** One file of an open torrent. */
export interface TorrentFile {
  /** The path as the user would name it. */
  readonly name: string
  readonly write: (part: NodeFile.FilePart) => Effect.Effect<void, StorageReason>
  /** Reads a part and tells how many bytes there were; fails with `NotStored` where there is no file. */
  readonly read: (part: NodeFile.FilePart) => Effect.Effect<number, StorageReason>
  /** Makes the file where there is none, and its folders. Leaves what is there as it is. */
  readonly create: Effect.Effect<void, StorageReason>
  /** Whether something was written that no `sync` has covered, or was lost. */
  readonly needsSync: () => boolean
  /** Brings to the disk what was written. */
  readonly sync: Effect.Effect<void, StorageReason>
  /** Brings to the disk what somebody wrote before this file was made, if there is such a file. */
  readonly syncFound: Effect.Effect<void, StorageReason>
  /** Makes the next read find the file by its name again. */
  readonly reopen: Effect.Effect<void>
  /** Closes the file for ever, after `isClosed` turned true; completes when it is closed. */
  readonly close: Effect.Effect<void>
}

// Neither waits for the other end of a FIFO nor follows a link. Windows has neither flag; `undefined` counts as 0 there.
const nonBlocking = NFS.constants.O_NONBLOCK ?? 0
const noFollow = NFS.constants.O_NOFOLLOW ?? 0
const mustLookForLinks = noFollow === 0

const deleted = "it was deleted while the torrent was open; verify the torrent again"
const cutOff = "it was cut off while the torrent was open; verify the torrent again"
const notKept = "the disk lost what was written to it; verify the torrent again"

/** Why nothing can be done with a file any more, as the end of a sentence. */
export const afterClose = "the torrent was closed"

/** Whether there is nothing to sync: no file, or none that a torrent could have written. */
const isAbsent = (reason: StorageReason): boolean => reason._tag === "NotStored" || reason._tag === "StorageRefused"

/** Makes a file of the torrent; touches nothing. */
export const make = (options: {
  readonly fs: NodeFile.NodeFileSystem
  readonly handles: FileHandles.FileHandles
  readonly folder: DownloadFolder.DownloadFolder
  /** Components below the folder, at least one, as users know the file. */
  readonly path: ReadonlyArray<string>
  /** The components at which it lies on this disk, or is to be made; default `path`. See `FileNames.resolve`. */
  readonly place?:
    | ((access: "read" | "create") => Effect.Effect<ReadonlyArray<string>, FileHandles.OpenFailure>)
    | undefined
  /** Whether reading follows a symbolic link to whatever it leads to; writing never does. Default: it does not. */
  readonly followLinks?: boolean | undefined
  /** Bytes the torrent has in this file. */
  readonly length: number
  /** Whether the torrent was closed, after which no file is opened any more. */
  readonly isClosed: () => boolean
}): TorrentFile => {
  const { folder, fs, handles, length, place = () => Effect.succeed(options.path) } = options
  const name = folder.nameOf(options.path)

  // Whether it was opened for writing before, and so must exist.
  let made = false
  // One past the last byte that was written here, or was there when it was first opened for writing.
  let end = 0
  let unchecked = 0
  // Some file systems in user space always tell 0 links, which then means nothing.
  let countsLinks = false
  let unsynced = false
  let lost: StorageReason | undefined
  // The system writes one part of a file at a time; a second thread would only spin until the first is done.
  const turn = Semaphore.makeUnsafe(1)

  const failed = (access: "read" | "write") => (error: Parameters<typeof FileSystemError.reasonOf>[0]) =>
    FileSystemError.reasonOf(error, name, access)

  const lose = (why: string): StorageReason => {
    lost ??= new StorageRefused({ path: name, why })
    return lost
  }

  const statRegular = (fd: number, access: "read" | "write") =>
    Effect.flatMap(
      Effect.mapError(
        NodeFile.call<NFS.Stats>((done) => fs.fstat(fd, done)),
        failed(access)
      ),
      (stats): Effect.Effect<NFS.Stats, StorageReason> => {
        if (stats.isFile()) return Effect.succeed(stats)
        const why = stats.isDirectory() ? "a folder is in the way of a file" : "it is not a regular file"
        return Effect.fail(new StorageRefused({ path: name, why }))
      }
    )

  const look = Effect.fnUntraced(function* (fd: number) {
    // As it is before the call: a write that ends meanwhile may not show in what the call tells.
    const expected = end
    const stats = yield* statRegular(fd, "write")
    if (countsLinks && stats.nlink === 0) return yield* Effect.fail(lose(deleted))
    if (stats.size < expected) return yield* Effect.fail(lose(cutOff))
    unchecked = 0
  })

  const openAt = Effect.fnUntraced(function* (at: string, access: "read" | "write", flags: number) {
    const follows = access === "read" && options.followLinks === true
    if (mustLookForLinks && !follows) {
      const found = yield* Effect.result(NodeFile.call<NFS.Stats>((done) => fs.lstat(at, done)))
      if (Result.isSuccess(found) && found.success.isSymbolicLink()) {
        return yield* Effect.fail(DownloadFolder.openFailure({ code: "ELOOP", message: "a link" }, name, access))
      }
    }
    return yield* Effect.mapError(
      NodeFile.call<number>((done) => fs.open(at, flags | (follows ? nonBlocking : nonBlocking | noFollow), done)),
      (error) => DownloadFolder.openFailure(error, name, access)
    )
  })

  /** Closes what was just opened when `check` refuses it. */
  const opened = (fd: number, check: Effect.Effect<unknown, StorageReason>) =>
    Effect.matchEffect(check, {
      onSuccess: () => Effect.succeed(fd),
      onFailure: (reason) =>
        Effect.andThen(
          Effect.ignore(NodeFile.call((done) => fs.close(fd, done))),
          Effect.fail<FileHandles.OpenFailure>({ reason, exhausted: false, missing: false })
        )
    })

  const openForReading = Effect.fnUntraced(function* () {
    const path = yield* place("read")
    const parent = yield* folder.resolve(path.slice(0, -1), "read")
    const fd = yield* openAt(Path.join(parent, path.at(-1)!), "read", NFS.constants.O_RDONLY)
    return yield* opened(fd, statRegular(fd, "read"))
  })

  const createIn = Effect.fnUntraced(function* (flags: number) {
    const path = yield* place("create")
    const parent = yield* folder.resolve(path.slice(0, -1), "write")
    const fd = yield* openAt(Path.join(parent, path.at(-1)!), "write", flags | NFS.constants.O_CREAT)
    folder.markChanged(parent)
    return fd
  })

  // A folder that was known to exist and has gone is made again, once.
  const createOpen = (flags: number) =>
    Effect.catchIf(
      createIn(flags),
      (error) => error.missing,
      () =>
        Effect.suspend(() => {
          folder.forget()
          return createIn(flags)
        })
    )

  const settle = (fd: number) =>
    Effect.flatMap(statRegular(fd, "write"), (stats) => {
      const tooLong = stats.size > length
      made = true
      end = Math.min(stats.size, length)
      countsLinks = stats.nlink > 0
      return tooLong
        ? Effect.mapError(
            NodeFile.call((done) => fs.ftruncate(fd, length, done)),
            failed("write")
          )
        : Effect.void
    })

  const openForWriting = Effect.fnUntraced(function* () {
    if (!made) {
      const fd = yield* createOpen(NFS.constants.O_RDWR)
      return yield* opened(fd, settle(fd))
    }
    const again = Effect.gen(function* () {
      const path = yield* place("read")
      const parent = yield* folder.resolve(path.slice(0, -1), "read")
      return yield* openAt(Path.join(parent, path.at(-1)!), "write", NFS.constants.O_RDWR)
    })
    const fd = yield* Effect.mapError(again, (error) => (error.missing ? { ...error, reason: lose(deleted) } : error))
    return yield* opened(fd, look(fd))
  })

  const readingSlot = () => FileHandles.makeSlot({ open: Effect.suspend(openForReading), closeFailed: () => {} })
  let reading = readingSlot()
  const writing = FileHandles.makeSlot({
    open: Effect.suspend(openForWriting),
    // Network disks report deferred writes when a file is closed, and then never again.
    closeFailed: () => void lose(notKept)
  })

  const gone = () => Result.fail(new StorageUnavailable({ path: name, why: afterClose }))

  const pickForWriting = (): Result.Result<FileHandles.Slot, StorageReason> =>
    options.isClosed() ? gone() : lost === undefined ? Result.succeed(writing) : Result.fail(lost)

  const pickForReading = (): Result.Result<FileHandles.Slot, StorageReason> =>
    options.isClosed() ? gone() : Result.succeed(writing.fd !== undefined && lost === undefined ? writing : reading)

  const write = (part: NodeFile.FilePart) =>
    handles
      .use(pickForWriting, (fd) => {
        const writing = Effect.map(Effect.mapError(NodeFile.write(fs, fd, part), failed("write")), () => {
          // After the write, not before: a sync that runs meanwhile may not cover it.
          unsynced = true
          unchecked += part.length
          end = Math.max(end, part.position + part.length)
        })
        return unchecked >= checkInterval ? Effect.andThen(look(fd), writing) : writing
      })
      .pipe(turn.withPermit)

  const syncOpen = (fd: number) =>
    Effect.suspend(() => {
      unsynced = false
      return NodeFile.call((done) => fs.fdatasync(fd, done)).pipe(
        Effect.mapError((error) => {
          // The system forgets what it could not write: asked again, it would call the rest a success.
          lose(notKept)
          return FileSystemError.reasonOf(error, name, "write")
        }),
        Effect.andThen(look(fd))
      )
    })

  return {
    name,
    write,
    read: (part) => handles.use(pickForReading, (fd) => Effect.mapError(NodeFile.read(fs, fd, part), failed("read"))),
    create: Effect.suspend(() => {
      const slot = FileHandles.makeSlot({
        open: Effect.flatMap(createOpen(NFS.constants.O_RDONLY), (fd) => opened(fd, statRegular(fd, "write"))),
        closeFailed: () => {}
      })
      return Effect.ensuring(
        handles.use(
          () => (options.isClosed() ? gone() : Result.succeed(slot)),
          () => Effect.void
        ),
        handles.retire(slot)
      )
    }),
    needsSync: () => unsynced || lost !== undefined,
    sync: handles.use(pickForWriting, syncOpen),
    syncFound: handles
      .use(pickForReading, (fd) => Effect.mapError(NodeFile.syncFound(fs, fd), failed("read")))
      .pipe(Effect.catchIf(isAbsent, () => Effect.void)),
    reopen: Effect.suspend(() => {
      const before = reading
      reading = readingSlot()
      return handles.retire(before)
    }),
    close: Effect.suspend(() => Effect.andThen(handles.retire(reading), handles.retire(writing)))
  }
}
