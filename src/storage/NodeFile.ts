/**
 * The calls of `node:fs` that storage makes, as effects. Each waits for a thread of libuv's pool and cannot be taken
 * back, so whoever passes memory keeps it until the effect has ended: callers run these uninterruptibly.
 */

import * as NFS from "node:fs"
import * as Effect from "effect/Effect"
import type { SystemError } from "./FileSystemError.ts"
import * as NodeFolders from "./NodeFolders.ts"

/** The calls storage makes; a test puts its own in their place to count them or to let them fail. */
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
  readonly fstat: (fd: number, done: (error: SystemError | null, stats: NFS.Stats) => void) => void
  readonly lstat: (path: string, done: (error: SystemError | null, stats: NFS.Stats) => void) => void
  /** As `lstat`, with numbers wide enough to tell all files apart. */
  readonly lstatExact: (path: string, done: (error: SystemError | null, stats: NFS.BigIntStats) => void) => void
  readonly readdir: (path: string, done: (error: SystemError | null, names: Array<string>) => void) => void
  readonly ftruncate: (fd: number, length: number, done: (error: SystemError | null) => void) => void
  readonly fdatasync: (fd: number, done: (error: SystemError | null) => void) => void
  readonly fsync: (fd: number, done: (error: SystemError | null) => void) => void
  readonly mkdir: (path: string, done: (error: SystemError | null) => void) => void
  readonly mkdirs: (path: string, done: (error: SystemError | null) => void) => void
  readonly rename: (from: string, to: string, done: (error: SystemError | null) => void) => void
  readonly unlink: (path: string, done: (error: SystemError | null) => void) => void
  readonly rmdir: (path: string, done: (error: SystemError | null) => void) => void
  readonly realpath: (path: string, done: (error: SystemError | null, path: string) => void) => void
}

/** The real calls. */
export const nodeFileSystem: NodeFileSystem = {
  open: NFS.open,
  close: NFS.close,
  write: NFS.write,
  read: NFS.read,
  fstat: NFS.fstat,
  lstat: NFS.lstat,
  lstatExact: (path, done) => NFS.lstat(path, { bigint: true }, done),
  readdir: NFS.readdir,
  ftruncate: NFS.ftruncate,
  fdatasync: NFS.fdatasync,
  fsync: NFS.fsync,
  mkdir: NFS.mkdir,
  mkdirs: (path, done) => void NodeFolders.make(path).then(() => done(null), done),
  rename: NFS.rename,
  unlink: NFS.unlink,
  rmdir: NFS.rmdir,
  realpath: NFS.realpath.native
}

/** Waits for one call. */
export const call = <A = void>(
  start: (done: (error: SystemError | null, value?: A) => void) => void
): Effect.Effect<A, SystemError> =>
  Effect.callback<A, SystemError>((resume) =>
    start((error, value) =>
      resume(error === null || error === undefined ? Effect.succeed(value as A) : Effect.fail(error))
    )
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

/** Writes a part: one call, and more only where the system takes less than it was given. */
export const write = (fs: NodeFileSystem, fd: number, part: FilePart): Effect.Effect<void, SystemError> =>
  Effect.callback<void, SystemError>((resume) => {
    const { begin, bytes, length, position } = part
    const from = (done: number) =>
      fs.write(fd, bytes, begin + done, length - done, position + done, (error, written) => {
        if (error) resume(Effect.fail(error))
        else if (done + written === length) resume(Effect.void)
        else if (written === 0) resume(Effect.fail(noProgress))
        else from(done + written)
      })
    from(0)
  })

/** Reads a part and tells how many bytes were there: fewer than asked for where the file ends. */
export const read = (fs: NodeFileSystem, fd: number, part: FilePart): Effect.Effect<number, SystemError> =>
  Effect.callback<number, SystemError>((resume) => {
    const { begin, bytes, length, position } = part
    const from = (done: number) =>
      fs.read(fd, bytes, begin + done, length - done, position + done, (error, read) => {
        if (error) resume(Effect.fail(error))
        else if (read === 0 || done + read === length) resume(Effect.succeed(done + read))
        else from(done + read)
      })
    from(0)
  })

// What is answered where a folder, or a file that is open for reading, cannot be synced; it is where it can be.
const cannotSync: ReadonlySet<string | undefined> = new Set(["EINVAL", "EPERM", "EBADF", "ENOTSUP", "EOPNOTSUPP"])

/** Brings a folder's entries to the disk, where the file system knows of such a thing. */
export const syncFolder = (fs: NodeFileSystem, fd: number): Effect.Effect<void, SystemError> =>
  Effect.catchIf(
    call((done) => fs.fsync(fd, done)),
    (error) => cannotSync.has(error.code),
    () => Effect.void
  )

/** Brings to the disk what was written to a file that is open for reading, where the system lets readers do so. */
export const syncFound = (fs: NodeFileSystem, fd: number): Effect.Effect<void, SystemError> =>
  Effect.catchIf(
    call((done) => fs.fdatasync(fd, done)),
    (error) => cannotSync.has(error.code),
    () => Effect.void
  )
