/**
 * A copy for a file that has other names (hard links), whose bytes must not change with it, or whose blocks are not
 * trusted any more.
 *
 * The copy is made beside the file and shares the file's blocks if that is allowed and the file system can (a reflink).
 * It is flushed and moved over the name, so a crash leaves the file as it was, and at most a copy that nobody needs.
 * The name of a copy says of which file it is: whoever may write that file removes it (`makeCleaner`).
 *
 * The copy keeps the mode, the times (to about a microsecond) and, if permitted, the owner. It does not keep extended
 * attributes, which Node cannot read.
 */
import * as Crypto from "node:crypto"
import * as NFS from "node:fs"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { DiskFull, FileChanged, type StorageReason } from "../../Storage.ts"
import type { SystemError } from "./FileSystemError.ts"
import * as FileSystemError from "./FileSystemError.ts"
import type { NodeFileSystem } from "./NodeFile.ts"
import * as NodeFile from "./NodeFile.ts"

/** Bytes read at a time for a copy: 1 MiB, because a read costs the same for less. */
const chunkLength = 1 << 20

const prefix = ".piecewise-copy-"
const tagOf = (name: string): string => Crypto.hash("sha1", name).slice(0, 16)

/** A path for a copy of the file with a true path, or for one that is to be that file: beside it. */
export const nameFor = (path: string): string =>
  Path.join(Path.dirname(path), `${prefix}${tagOf(Path.basename(path))}-${Crypto.randomBytes(8).toString("hex")}`)

/** The names among `names` that are copies left by a crash, of any file. */
const among = (names: ReadonlyArray<string>): ReadonlyArray<string> => names.filter((name) => name.startsWith(prefix))

/**
 * Makes a function that removes the copies, left by a crash, of the file with a true path. It lists each folder once,
 * unless it `isNew`. A copy that cannot be removed stays. The function returns `undefined` if it knows that there is none.
 */
export const makeCleaner = (
  fs: NodeFileSystem,
  isNew: (folder: string) => boolean = () => false
): ((path: string) => Effect.Effect<void> | undefined) => {
  /** By folder. */
  let leftovers: Map<string, ReadonlyArray<string>> | undefined
  const list = (folder: string) => {
    const names = NodeFile.call<Array<string>>((done) => fs.readdir(folder, done))
    return Effect.map(
      Effect.orElseSucceed(names, () => []),
      (names) => {
        const copies = among(names)
        leftovers ??= new Map()
        leftovers.set(folder, copies)
        return copies
      }
    )
  }
  const remove = (path: string, copies: ReadonlyArray<string>): Effect.Effect<void> | undefined => {
    const start = `${prefix}${tagOf(Path.basename(path))}-`
    const own = copies.filter((name) => name.startsWith(start))
    if (own.length === 0) return undefined
    return Effect.forEach(
      own,
      (name) => Effect.ignore(NodeFile.call((done) => fs.unlink(Path.join(Path.dirname(path), name), done))),
      { discard: true }
    )
  }
  return (path) => {
    const folder = Path.dirname(path)
    if (isNew(folder)) {
      leftovers ??= new Map()
      leftovers.set(folder, [])
    }
    const copies = leftovers?.get(folder)
    if (copies !== undefined) return copies.length === 0 ? undefined : remove(path, copies)
    return Effect.flatMap(list(folder), (copies) => remove(path, copies) ?? Effect.void)
  }
}

// Answers of file systems that cannot share blocks.
const cannotClone: ReadonlySet<string | undefined> = new Set([
  "ENOTSUP",
  "EOPNOTSUPP",
  "ENOSYS",
  "ENOTTY",
  "EINVAL",
  "EXDEV",
  "EPERM",
  "ETXTBSY",
  "UNKNOWN"
])

/**
 * Replaces the file that is open as `fd`, with the true path `path`, by a copy. Returns the copy's descriptor, open for
 * reading and writing, and closes `fd`. At least the first `length` bytes are copied.
 */
export const replace = Effect.fnUntraced(function* (options: {
  readonly fs: NodeFileSystem
  readonly fd: number
  readonly path: string
  /** The path as the user would name it. */
  readonly name: string
  readonly stats: NFS.BigIntStats
  readonly length: number
  /** Whether `stats.blocks` is the room that a file takes. */
  readonly countsBlocks: boolean
  /** Whether the copy may share blocks with the file. */
  readonly mayShare: boolean
}) {
  const { fs, name, path, stats } = options
  const folder = Path.dirname(path)
  const copy = nameFor(path)
  const failed = (error: SystemError): StorageReason => FileSystemError.reasonOf(error, name, "write")
  const call = <A = void>(start: Parameters<typeof NodeFile.call<A>>[0]) =>
    Effect.mapError(NodeFile.call(start), failed)
  const open = (flags: number) => call<number>((done) => fs.open(copy, flags | (NFS.constants.O_NOFOLLOW ?? 0), done))

  const clone = Effect.result(NodeFile.call((done) => fs.clone(path, copy, done)))
  const cloned = options.mayShare ? yield* clone : undefined
  const isCloned = cloned !== undefined && Result.isSuccess(cloned)
  if (cloned !== undefined && Result.isFailure(cloned) && !cannotClone.has(cloned.failure.code)) {
    return yield* Effect.fail(failed(cloned.failure))
  }
  if (!isCloned) {
    const needed = room(stats, options)
    const { bavail, bsize } = yield* call<NFS.BigIntStatsFs>((done) => fs.statfs(folder, done))
    if (bavail * bsize < needed) return yield* Effect.fail(new DiskFull({ path: name }))
  }

  const from = isCloned ? undefined : options.fd
  const finish = (to: number) =>
    Effect.gen(function* () {
      yield* Effect.mapError(fill(fs, { from, to, stats, length: options.length }), failed)
      const now = yield* Effect.mapError(NodeFile.lookAt(fs, path), failed)
      const why =
        now === undefined
          ? "was deleted"
          : NodeFile.identityOf(now) !== NodeFile.identityOf(stats)
            ? "was replaced"
            : now.size !== stats.size || now.mtimeNs !== stats.mtimeNs
              ? "was changed"
              : undefined
      if (why !== undefined) return yield* Effect.fail<StorageReason>(new FileChanged({ path: name, why }))
      yield* call((done) => fs.rename(copy, path, done))
    })

  const unlink = Effect.ignore(NodeFile.call((done) => fs.unlink(copy, done)))
  const flags = NFS.constants.O_RDWR | (isCloned ? 0 : NFS.constants.O_CREAT | NFS.constants.O_EXCL)
  const to = yield* Effect.onError(open(flags), () => (isCloned ? unlink : Effect.void))
  const close = (fd: number) => Effect.ignore(NodeFile.call((done) => fs.close(fd, done)))
  yield* Effect.onError(finish(to), () => Effect.andThen(close(to), unlink))
  yield* close(options.fd)
  return to
})

/**
 * Makes `to` a flushed copy of the file with these `stats`, with its mode, times and, if permitted, owner. At least the
 * first `length` bytes are copied from `from`; none if that is `undefined`, because `to` shares them already.
 */
export const fill = (
  fs: NodeFileSystem,
  options: {
    readonly from: number | undefined
    readonly to: number
    readonly stats: NFS.BigIntStats
    readonly length: number
  }
): Effect.Effect<void, SystemError> =>
  Effect.gen(function* () {
    const { from, length, stats, to } = options
    // Before it holds bytes that the mode hides from others.
    yield* Effect.uninterruptible(keepOwner(fs, to, stats))
    if (from !== undefined) yield* copyBytes(fs, from, to, length)
    yield* Effect.uninterruptible(keepTimes(fs, to, stats))
    yield* Effect.uninterruptible(NodeFile.call((done) => fs.fsync(to, done)))
  })

/** Bytes that a plain copy takes: holes stay holes. */
const room = (
  { blocks, size }: NFS.BigIntStats,
  { countsBlocks, length }: { readonly countsBlocks: boolean; readonly length: number }
): bigint => {
  const copied = size < BigInt(length) ? size : BigInt(length)
  const taken = blocks * 512n
  return countsBlocks && taken < copied ? taken : copied
}

const copyBytes = Effect.fnUntraced(function* (fs: NodeFileSystem, from: number, to: number, length: number) {
  const buffer = new Uint8Array(Math.min(chunkLength, Math.max(length, 1)))
  let position = 0
  while (position < length) {
    const wanted = Math.min(buffer.length, length - position)
    // A call that is under way uses the buffer and the descriptors.
    const read = yield* Effect.uninterruptible(
      NodeFile.read(fs, from, { bytes: buffer, begin: 0, length: wanted, position })
    )
    if (read > 0 && buffer.subarray(0, read).some((byte) => byte !== 0)) {
      yield* Effect.uninterruptible(NodeFile.write(fs, to, { bytes: buffer, begin: 0, length: read, position }))
    }
    position += read
    if (read < wanted) break
  }
  // The file may end in a hole.
  yield* Effect.uninterruptible(NodeFile.call((done) => fs.ftruncate(to, position, done)))
})

/**
 * Sets a copy's owner and mode to those of its original. In this order, because a new owner clears bits of the mode.
 */
const keepOwner = Effect.fnUntraced(function* (fs: NodeFileSystem, to: number, stats: NFS.BigIntStats) {
  const owned = yield* Effect.result(NodeFile.call((done) => fs.fchown(to, Number(stats.uid), Number(stats.gid), done)))
  // A program that runs as its owner must not become one that runs as another user.
  const mode = Number(stats.mode) & (Result.isSuccess(owned) ? 0o7777 : 0o777)
  yield* Effect.ignore(NodeFile.call((done) => fs.fchmod(to, mode, done)))
})

const keepTimes = (fs: NodeFileSystem, to: number, stats: NFS.BigIntStats) => {
  const seconds = (nanos: bigint) => Number(nanos / 1_000n) / 1e6
  return Effect.ignore(NodeFile.call((done) => fs.futimes(to, seconds(stats.atimeNs), seconds(stats.mtimeNs), done)))
}
