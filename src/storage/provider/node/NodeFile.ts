/**
 * The calls of `node:fs` that storage makes, as effects. Each waits for a thread of libuv's pool and cannot be
 * cancelled, so memory that was passed stays in use until the effect has ended: callers run these uninterruptibly.
 */

import * as NFS from "node:fs"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Descriptors from "../../../base/Descriptors.ts"
import type { PieceThread } from "../../../hash/provider/node/PieceThread.ts"
import type { SystemError } from "./FileSystemError.ts"
import * as NodeFolders from "./NodeFolders.ts"

/** The calls that storage makes; tests replace them to count them or to let them fail. */
export interface NodeFileSystem {
  readonly open: (path: string, flags: number, done: (error: SystemError | null, fd: number) => void) => void
  readonly close: (fd: number, done: (error: SystemError | null) => void) => void
  readonly write: (
    fd: number,
    bytes: Uint8Array,
    begin: number,
    length: number,
    position: number,
    done: (error: SystemError | null, written: number) => void
  ) => void
  readonly read: (
    fd: number,
    bytes: Uint8Array,
    begin: number,
    length: number,
    position: number,
    done: (error: SystemError | null, read: number) => void
  ) => void
  /**
   * Writes a part to a file on a device (`deviceOf`) in one trip to another thread, and passes on how many bytes it
   * wrote; returns `false` and does nothing if there is no such thread, or it has no time.
   */
  readonly writeAll?: (
    fd: number,
    part: FilePart,
    device: string,
    done: (error: SystemError | null, written: number) => void
  ) => boolean
  /** What is at a path, or open, in numbers wide enough to distinguish all files and times. */
  readonly fstatExact: (fd: number, done: (error: SystemError | null, stats: NFS.BigIntStats) => void) => void
  readonly lstatExact: (path: string, done: (error: SystemError | null, stats: NFS.BigIntStats) => void) => void
  /** As `lstatExact` or `statExact`, on this thread; `undefined` if nothing is there, or the call fails. */
  readonly lookNow: (path: string, follows: boolean) => NFS.BigIntStats | undefined
  /** As `fstatExact`, on this thread; `undefined` if the call fails. */
  readonly fstatNow: (fd: number) => NFS.BigIntStats | undefined
  /** Opens a folder for reading on this thread; `undefined` if the call fails. */
  readonly openFolderNow: (path: string) => number | undefined
  /** Closes on this thread; returns the error, if it fails. */
  readonly closeNow: (fd: number) => SystemError | undefined
  readonly statExact: (path: string, done: (error: SystemError | null, stats: NFS.BigIntStats) => void) => void
  readonly statfs: (path: string, done: (error: SystemError | null, stats: NFS.BigIntStatsFs) => void) => void
  readonly readdir: (path: string, done: (error: SystemError | null, names: Array<string>) => void) => void
  readonly ftruncate: (fd: number, length: number, done: (error: SystemError | null) => void) => void
  readonly fdatasync: (fd: number, done: (error: SystemError | null) => void) => void
  readonly fsync: (fd: number, done: (error: SystemError | null) => void) => void
  readonly mkdir: (path: string, done: (error: SystemError | null) => void) => void
  /** Returns the topmost folder that was made. */
  readonly mkdirs: (path: string, done: (error: SystemError | null, top?: string) => void) => void
  readonly rename: (from: string, to: string, done: (error: SystemError | null) => void) => void
  readonly link: (from: string, to: string, done: (error: SystemError | null) => void) => void
  /** Makes a new file that shares the blocks of another one; fails and makes none if the file system cannot. */
  readonly clone: (from: string, to: string, done: (error: SystemError | null) => void) => void
  readonly fchown: (fd: number, user: number, group: number, done: (error: SystemError | null) => void) => void
  readonly fchmod: (fd: number, mode: number, done: (error: SystemError | null) => void) => void
  readonly futimes: (fd: number, atime: number, mtime: number, done: (error: SystemError | null) => void) => void
  readonly unlink: (path: string, done: (error: SystemError | null) => void) => void
  readonly rmdir: (path: string, done: (error: SystemError | null) => void) => void
  readonly realpath: (path: string, done: (error: SystemError | null, path: string) => void) => void
}

// Opens a folder only, and waits for nothing: a FIFO may be in its place. Windows has none of these flags.
const { O_DIRECTORY = 0, O_NOFOLLOW = 0, O_NONBLOCK = 0, O_RDONLY } = NFS.constants
const folderFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK

/** The real calls. */
export const nodeFileSystem: NodeFileSystem = {
  open: NFS.open,
  close: NFS.close,
  write: NFS.write,
  read: NFS.read,
  fstatExact: (fd, done) => NFS.fstat(fd, { bigint: true }, done),
  lstatExact: (path, done) => NFS.lstat(path, { bigint: true }, done),
  lookNow: (path, follows) => {
    try {
      return (follows ? NFS.statSync : NFS.lstatSync)(path, { bigint: true, throwIfNoEntry: false })
    } catch {
      return undefined
    }
  },
  fstatNow: (fd) => {
    try {
      return NFS.fstatSync(fd, { bigint: true })
    } catch {
      return undefined
    }
  },
  openFolderNow: (path) => {
    try {
      return NFS.openSync(path, folderFlags)
    } catch {
      return undefined
    }
  },
  closeNow: (fd) => {
    try {
      return void NFS.closeSync(fd)
    } catch (error) {
      return error as SystemError
    }
  },
  statExact: (path, done) => NFS.stat(path, { bigint: true }, done),
  statfs: (path, done) => NFS.statfs(path, { bigint: true }, done),
  readdir: NFS.readdir,
  ftruncate: NFS.ftruncate,
  fdatasync: NFS.fdatasync,
  fsync: NFS.fsync,
  mkdir: NFS.mkdir,
  mkdirs: (path, done) => void NodeFolders.make(path).then((top) => done(null, top), done),
  rename: NFS.rename,
  link: NFS.link,
  clone: (from, to, done) =>
    NFS.copyFile(from, to, NFS.constants.COPYFILE_FICLONE_FORCE | NFS.constants.COPYFILE_EXCL, done),
  fchown: NFS.fchown,
  fchmod: NFS.fchmod,
  futimes: NFS.futimes,
  unlink: NFS.unlink,
  rmdir: NFS.rmdir,
  realpath: NFS.realpath.native
}

/** Begins a call, or several that follow one another, and passes on how they end. */
export type Start<A> = (done: (error: SystemError | null, value?: A) => void) => void

const once = <A>(start: Start<A>, failed: (error: SystemError) => Effect.Effect<A, SystemError>) =>
  Effect.callback<A, SystemError>((resume) =>
    start((error, value) => resume(error === null || error === undefined ? Effect.succeed(value as A) : failed(error)))
  )

/**
 * Waits for a call. If it needs a descriptor and there is none, others give one up (`Descriptors.ts`), and it runs
 * again; of several calls, only the first may need one. One effect, as long as it succeeds.
 */
export const call = <A = void>(start: Start<A>): Effect.Effect<A, SystemError> =>
  once(start, (error) =>
    Descriptors.isExhausted(error) ? Descriptors.again(once(start, Effect.fail), error) : Effect.fail(error)
  )

/** Part of a buffer and where it belongs in a file. */
export interface FilePart {
  readonly bytes: Uint8Array
  /** Offset in `bytes`. */
  readonly begin: number
  readonly length: number
  /** Offset in the file. */
  readonly position: number
}

const noProgress: SystemError = { code: "EIO", message: "nothing was written" }

/**
 * The most bytes that one call writes. Linux keeps what a longer one writes in blocks of memory of half a MiB and more,
 * and on a virtual machine it is slow to get them: 1 GiB took up to 2.5 s in the kernel with calls of 1 MiB. With
 * shorter ones than these, the trips to libuv's threads cost more than they save (docs/benchmarks.md).
 */
export const longestWrite = 131_072

/**
 * The most bytes that one of several calls in a row writes, which need no trips: with these, 1 GiB takes 0.3 s in the
 * kernel, whatever memory there is. Still shorter ones cost more (docs/benchmarks.md).
 */
export const longestInRow = 32_768

/** Calls that write long parts on the thread of whoever hashes pieces. */
export const withThread = (fs: NodeFileSystem, thread: PieceThread): NodeFileSystem => ({
  ...fs,
  writeAll: (fd, { begin, bytes, length, position }, device, done) =>
    length > longestInRow &&
    thread.write([fd, bytes.subarray(begin, begin + length), position, longestInRow], device, done)
})

/** Writes a part, in calls of at most `longestWrite` bytes; all of them in one trip if the device is known. */
export const writePart = (
  fs: NodeFileSystem,
  fd: number,
  part: FilePart,
  device: string | undefined,
  done: (error: SystemError | undefined) => void
): void => {
  const { begin, bytes, length, position } = part
  const from = (offset: number): void =>
    fs.write(
      fd,
      bytes,
      begin + offset,
      Math.min(length - offset, longestWrite),
      position + offset,
      (error, written) => {
        if (!error && written === 0) done(noProgress)
        else goOn(error, offset + written)
      }
    )
  const goOn = (error: SystemError | null, offset: number): void => {
    if (error) done(error)
    else if (offset === length) done(undefined)
    else from(offset)
  }
  if (device === undefined || fs.writeAll?.(fd, part, device, goOn) !== true) from(0)
}

/** The same, as an effect. */
export const write = (fs: NodeFileSystem, fd: number, part: FilePart): Effect.Effect<void, SystemError> =>
  Effect.callback<void, SystemError>((resume) =>
    writePart(fs, fd, part, undefined, (error) => resume(error === undefined ? Effect.void : Effect.fail(error)))
  )

const readPart = (
  fs: NodeFileSystem,
  fd: number,
  part: FilePart,
  done: (error: SystemError | null, read: number) => void
): void => {
  const { begin, bytes, length, position } = part
  const from = (offset: number): void =>
    fs.read(fd, bytes, begin + offset, length - offset, position + offset, (error, read) => {
      if (error) done(error, 0)
      else if (read === 0 || offset + read === length) done(null, offset + read)
      else from(offset + read)
    })
  from(0)
}

/** Reads a part and returns how many bytes were there: fewer than requested at the end of the file. */
export const read = (fs: NodeFileSystem, fd: number, part: FilePart): Effect.Effect<number, SystemError> =>
  call<number>((done) => readPart(fs, fd, part, done))

/** The result of a read. */
export interface ReadPart {
  /** Bytes that were there. */
  readonly read: number
  /** What was at the path after the read; `undefined` if nothing was. */
  readonly stats: NFS.BigIntStats | undefined
}

/**
 * Reads a part, and then looks at `path`. On another thread, the look adds 9 to 17 us to the read; on this one, 2 to 7
 * (CPU, Node 24), of about 470 us that uploading 256 KiB costs. So on a file system of this machine it runs on this
 * thread: what it needs is in memory, because the file is open. A network disk may be slow.
 */
export const readAndLook = (
  fs: NodeFileSystem,
  fd: number,
  part: FilePart,
  { follows, isLocal, path }: { readonly path: string; readonly isLocal: boolean; readonly follows: boolean }
): Effect.Effect<ReadPart, SystemError> =>
  call<ReadPart>((done) =>
    readPart(fs, fd, part, (error, read) => {
      if (error) return done(error)
      if (isLocal) return done(null, { read, stats: fs.lookNow(path, follows) })
      lookInto(fs, path, follows, (error, stats) => (error ? done(error) : done(null, { read, stats })))
    })
  )

/** Whether nothing is at a path; a folder on the way may be missing, or be a file. */
export const isMissing = (error: SystemError): boolean => error.code === "ENOENT" || error.code === "ENOTDIR"

const lookInto = (
  fs: NodeFileSystem,
  path: string,
  follows: boolean,
  done: (error: SystemError | null, stats?: NFS.BigIntStats | undefined) => void
): void => {
  const look = follows ? fs.statExact : fs.lstatExact
  look(path, (error, stats) => (error && !isMissing(error) ? done(error) : done(null, error ? undefined : stats)))
}

/** What is at a path, or where a link there leads to; `undefined` if nothing is. */
export const lookAt = (
  fs: NodeFileSystem,
  path: string,
  follows = false
): Effect.Effect<NFS.BigIntStats | undefined, SystemError> =>
  call<NFS.BigIntStats | undefined>((done) => lookInto(fs, path, follows, done))

/**
 * What is open. On a disk of this machine, that is in memory: on this thread it costs 3 us, on another one 14 (CPU,
 * Node 24).
 */
export const statOpen = (
  fs: NodeFileSystem,
  fd: number,
  isLocal: boolean
): Effect.Effect<NFS.BigIntStats, SystemError> =>
  Effect.suspend(() => {
    const stats = isLocal ? fs.fstatNow(fd) : undefined
    return stats === undefined ? call<NFS.BigIntStats>((done) => fs.fstatExact(fd, done)) : Effect.succeed(stats)
  })

/** `FileFacts.identity` of a file. The io-daemon uses the same form. */
export const identityOf = ({ birthtimeNs, dev, ino }: NFS.BigIntStats): string => `${dev}:${ino}:${birthtimeNs}`

/** The device that the file with this identity is on. */
export const deviceOf = (identity: string): string => identity.slice(0, identity.indexOf(":"))

// Answers of systems on which a folder, or a file that is open for reading, cannot be synced.
const cannotSync: ReadonlySet<string | undefined> = new Set(["EINVAL", "EPERM", "EBADF", "ENOTSUP", "EOPNOTSUPP"])

/**
 * Brings the entries of the folder at a path to the disk, if the file system can. On a disk of this machine the folder
 * is in memory, because it has new entries, so only the sync needs another thread.
 */
export const syncFolder = (fs: NodeFileSystem, path: string, isLocal: boolean): Effect.Effect<void, SystemError> =>
  call((done) => {
    const sync = (fd: number) =>
      fs.fsync(fd, (failed) => {
        const end = () => done(failed && !cannotSync.has(failed.code) ? failed : null)
        if (!isLocal) return fs.close(fd, end)
        fs.closeNow(fd)
        end()
      })
    const opened = isLocal ? fs.openFolderNow(path) : undefined
    if (opened !== undefined) sync(opened)
    else fs.open(path, folderFlags, (error, fd) => (error ? done(error) : sync(fd)))
  })

/**
 * Closes on this thread a file on a disk of this machine, which takes 1 us there, and 30 to 60 on another thread (CPU,
 * Node 24). Returns the outcome; `undefined` if it was not closed, because the file was deleted: its blocks are freed
 * when it is closed, which may take long.
 */
export const closeNow = (fs: NodeFileSystem, fd: number): Result.Result<void, SystemError> | undefined => {
  const stats = fs.fstatNow(fd)
  if (stats === undefined || stats.nlink === 0n) return undefined
  const error = fs.closeNow(fd)
  return error === undefined ? Result.void : Result.fail(error)
}

/** Brings to the disk what was written to a file that is open for reading, if the system lets readers do so. */
export const syncFound = (fs: NodeFileSystem, fd: number): Effect.Effect<void, SystemError> =>
  Effect.catchIf(
    call((done) => fs.fdatasync(fd, done)),
    (error) => cannotSync.has(error.code),
    () => Effect.void
  )

/** Errors of `link` on a file system that has no hard links, or lets this process make none. */
export const cannotLink: ReadonlySet<string | undefined> = new Set([
  "EPERM",
  "ENOTSUP",
  "EOPNOTSUPP",
  "ENOSYS",
  "EMLINK"
])

/**
 * Moves a file to a free path on a file system without hard links; fails with EEXIST if something is there. An empty file
 * keeps others from the path until the file has it, and goes again if that fails.
 */
export const moveWithoutLinks = (fs: NodeFileSystem, from: string, to: string): Effect.Effect<void, SystemError> => {
  const flags = NFS.constants.O_WRONLY | NFS.constants.O_CREAT | NFS.constants.O_EXCL
  return call<number>((done) => fs.open(to, flags, done)).pipe(
    Effect.flatMap((fd) => Effect.ignore(call((done) => fs.close(fd, done)))),
    Effect.andThen(
      Effect.onError(
        call((done) => fs.rename(from, to, done)),
        () => Effect.ignore(call((done) => fs.unlink(to, done)))
      )
    ),
    Effect.uninterruptible
  )
}
