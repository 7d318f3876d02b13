/**
 * Resume data in files, one for each torrent in a state directory: `<info hash in hex>.resume`.
 *
 * A snapshot is written to a temporary file beside it, flushed, renamed, and then the folder is flushed: whenever the
 * process or the machine dies, the name leads to the old file or the new one, each complete. A temporary file that was
 * left over is never read; the next use of its torrent removes it. No file stays open between operations, so torrents
 * cost no descriptors. What the bytes mean is `ResumeFile.ts`'s; where the directory lies is for an edge to decide.
 */

import * as FileSystem from "node:fs/promises"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import * as Bitfield from "../base/Bitfield.ts"
import * as Bytes from "../base/Bytes.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as NodeBoundedFile from "../storage/NodeBoundedFile.ts"
import * as NodeFolders from "../storage/NodeFolders.ts"
import * as BootIdentity from "./BootIdentity.ts"
import * as ResumeFile from "./ResumeFile.ts"
import { ResumeError, ResumeStore, type TorrentResume } from "./ResumeStore.ts"

/** An open file or folder. */
export interface Handle {
  readonly write: (
    bytes: Uint8Array,
    offset: number,
    length: number,
    position: number
  ) => Promise<{ readonly bytesWritten: number }>
  readonly sync: () => Promise<void>
  readonly close: () => Promise<void>
}

/** What is asked of the file system; tests have one that crashes. */
export interface Files {
  /** Makes a folder and those above it; gives the topmost one made (`NodeFolders.make`). */
  readonly makeFolders: (path: string) => Promise<string | undefined>
  /** Reads a regular file of at most `maxBytes` whole (`NodeBoundedFile.read`). */
  readonly readFile: (path: string, maxBytes: number) => Promise<Uint8Array>
  readonly open: (path: string, flags: "r" | "r+" | "w") => Promise<Handle>
  readonly rename: (from: string, to: string) => Promise<void>
  readonly unlink: (path: string) => Promise<void>
}

/** Options of the store. */
export interface Options {
  /** The state directory. Made by the first save, with the folders above it. */
  readonly directory: string
  /** Which start of the machine this is, asked whenever a torrent is opened. The system's own by default. */
  readonly boot?: Effect.Effect<BootIdentity.BootIdentity> | undefined
  /** The file system. Node's own by default. */
  readonly files?: Files | undefined
}

/** Which start of this machine it is: its name on Linux, elsewhere its time. */
export const systemBoot: Effect.Effect<BootIdentity.BootIdentity> = Effect.tryPromise(() =>
  FileSystem.readFile("/proc/sys/kernel/random/boot_id", "latin1")
).pipe(
  Effect.map(BootIdentity.fromName),
  Effect.orElseSucceed(() => BootIdentity.fromTime(Date.now() / 1000 - OperatingSystem.uptime()))
)

const sentences: Record<string, string> = {
  EACCES: "permission denied",
  EDQUOT: "the disk quota is used up",
  EIO: "the disk reports an error",
  EISDIR: "is a folder",
  EMFILE: "too many open files",
  ENFILE: "too many open files",
  ENOSPC: "the disk is full",
  ENOTDIR: "a part of the path is not a folder",
  EPERM: "permission denied",
  EROFS: "the disk is read-only"
}

const codeOf = (cause: unknown): string => {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  return typeof code === "string" ? code : ""
}

/** A failed call, before it is told as a `ResumeError`. */
class CallFailed {
  readonly _tag = "CallFailed"
  readonly cause: unknown
  constructor(cause: unknown) {
    this.cause = cause
  }
  get isAbsence() {
    return codeOf(this.cause) === "ENOENT"
  }
  /** Whether there is what this store never wrote: a FIFO, a device, a file far too long. */
  get isNotOurs() {
    return this.cause instanceof NodeBoundedFile.NotRegularFile || this.cause instanceof NodeBoundedFile.FileTooLong
  }
  get why() {
    return sentences[codeOf(this.cause)] ?? (this.cause instanceof Error ? this.cause.message : String(this.cause))
  }
}

const call = <A>(promise: () => Promise<A>): Effect.Effect<A, CallFailed> =>
  Effect.tryPromise({ try: promise, catch: (cause) => new CallFailed(cause) })

/**
 * Bytes that resume data of so many pieces may have: a snapshot takes a quarter of a byte for each, a record 8, and
 * between two snapshots come a few records a piece at most.
 */
const maxLength = (pieceCount: number): number => 65_536 + 32 * pieceCount

/** Makes a store. */
export const make = (options: Options): ResumeStore["Service"] => {
  const files: Files = options.files ?? { ...FileSystem, readFile: NodeBoundedFile.read, makeFolders: NodeFolders.make }
  const boot = options.boot ?? systemBoot

  /** Closing reports errors that a write deferred (NFS), so a failed close fails the use. */
  const withFile = <A>(path: string, flags: "r" | "r+" | "w", use: (file: Handle) => Effect.Effect<A, CallFailed>) =>
    Effect.acquireUseRelease(
      call(() => files.open(path, flags)),
      use,
      (file) => call(() => file.close())
    )

  const writeAll = Effect.fnUntraced(function* (file: Handle, bytes: Uint8Array, position: number) {
    for (let offset = 0; offset < bytes.length; ) {
      const { bytesWritten } = yield* call(() => file.write(bytes, offset, bytes.length - offset, position + offset))
      // A disk that takes nothing and says nothing would be asked for ever.
      if (bytesWritten === 0) return yield* Effect.fail(new CallFailed(new Error("the disk took nothing")))
      offset += bytesWritten
    }
  })

  /** Makes the names in a folder survive a power cut. Windows cannot open a folder, and keeps a journal of names. */
  const syncFolder = (path: string) =>
    withFile(path, "r", (folder) => call(() => folder.sync())).pipe(
      Effect.catchIf(
        () => OperatingSystem.platform() === "win32",
        () => Effect.void
      )
    )

  /** Makes the directory. The names of new folders stand in their parents, which must be flushed as well. */
  const makeDirectory = Effect.gen(function* () {
    const first = yield* call(() => files.makeFolders(options.directory))
    if (first === undefined) return
    const top = Path.dirname(Path.resolve(first))
    for (let folder = Path.resolve(options.directory); folder !== top; ) {
      folder = Path.dirname(folder)
      yield* syncFolder(folder)
    }
  })

  const removeFile = (path: string) =>
    call(() => files.unlink(path)).pipe(
      Effect.as(true),
      Effect.catchIf(
        (failed) => failed.isAbsence,
        () => Effect.succeed(false)
      )
    )

  const open = Effect.fnUntraced(function* (infoHash: InfoHash, pieceCount: number) {
    const path = Path.join(options.directory, `${Bytes.toHex(infoHash)}.resume`)
    const temporary = `${path}.tmp`
    const thisBoot = yield* boot
    const turn = yield* Semaphore.make(1)
    /** Where the next record goes; `undefined` until the file was read or written, and after a failure. */
    let tail: ResumeFile.Tail | undefined
    /** The file, open for records from the first one on: opening it for each would cost more than the record. */
    let records: Handle | undefined
    let closed = false

    const read = Effect.gen(function* () {
      const bytes = yield* call(() => files.readFile(path, maxLength(pieceCount))).pipe(
        Effect.catchIf(
          (failed) => failed.isAbsence,
          () => Effect.undefined
        ),
        Effect.catchIf(
          (failed) => failed.isNotOurs,
          (failed) =>
            Effect.as(
              Effect.logWarning(`${path} is no resume data, as ${failed.why}; the torrent will be verified`),
              undefined
            )
        )
      )
      tail = undefined
      if (bytes === undefined) return undefined
      const decoded = ResumeFile.decode(bytes, infoHash, pieceCount)
      if (Result.isFailure(decoded)) {
        yield* Effect.logWarning(`${path} ${decoded.failure.message}; the torrent will be verified`)
        return undefined
      }
      tail = decoded.success
      return decoded.success
    })

    const closeRecords = Effect.suspend(() => {
      const file = records
      records = undefined
      return file === undefined ? Effect.void : call(() => file.close())
    })

    const replace = Effect.fnUntraced(function* (snapshot: ResumeFile.Encoded) {
      tail = undefined
      yield* closeRecords
      yield* makeDirectory
      yield* withFile(temporary, "w", (file) =>
        Effect.andThen(
          writeAll(file, snapshot.bytes, 0),
          call(() => file.sync())
        )
      ).pipe(
        Effect.andThen(call(() => files.rename(temporary, path))),
        Effect.tapError(() => Effect.ignore(removeFile(temporary)))
      )
      yield* syncFolder(options.directory)
      tail = snapshot
    })

    const addRecords = Effect.fnUntraced(function* (known: ResumeFile.Tail, pieces: ReadonlyArray<number>) {
      const added = ResumeFile.encodeRecords(known, pieces)
      records ??= yield* call(() => files.open(path, "r+"))
      yield* Effect.tapError(writeAll(records, added.bytes, known.end), () => Effect.ignore(closeRecords))
      tail = added
    })

    /** A snapshot of nothing but these pieces, which is where a torrent without a file begins. */
    const begin = (pieces: ReadonlyArray<number>) => {
      const stored = Bitfield.make(pieceCount)
      for (const piece of pieces) Bitfield.add(stored, piece)
      return replace(
        ResumeFile.encodeSnapshot({ infoHash, stored, flushed: Bitfield.make(pieceCount), boot: thisBoot })
      )
    }

    /** Runs one operation at a time, and to its end: a handle is never left, and a file never half replaced. */
    const exclusively = <A>(operation: ResumeError["operation"], effect: Effect.Effect<A, CallFailed>) =>
      Effect.suspend(() =>
        closed
          ? Effect.fail(new ResumeError({ operation, path, why: "the torrent's resume data has been closed" }))
          : Effect.mapError(effect, (failed) => new ResumeError({ operation, path, why: failed.why }))
      ).pipe(Effect.uninterruptible, turn.withPermit)

    const resume: TorrentResume = {
      load: exclusively(
        "load",
        Effect.gen(function* () {
          yield* Effect.ignore(removeFile(temporary))
          const decoded = yield* read
          if (decoded === undefined) return undefined
          const { flushed, stored } = decoded
          const trusted = Bitfield.copy(BootIdentity.isSame(decoded.boot, thisBoot) ? stored : flushed)
          return { stored, flushed, trusted }
        })
      ),
      save: (pieces) =>
        Effect.suspend(() => {
          const snapshot = ResumeFile.encodeSnapshot({ infoHash, ...pieces, boot: thisBoot })
          return exclusively("save", replace(snapshot))
        }),
      append: (pieces) =>
        Effect.suspend(() => {
          const added = pieces.slice()
          return exclusively(
            "append",
            Effect.gen(function* () {
              if (added.length === 0) return
              if (tail === undefined) yield* read
              if (tail === undefined) return yield* begin(added)
              yield* addRecords(tail, added).pipe(
                Effect.catchIf(
                  (failed) => failed.isAbsence,
                  () => begin(added)
                )
              )
            })
          )
        }),
      remove: exclusively(
        "remove",
        Effect.gen(function* () {
          tail = undefined
          yield* closeRecords
          yield* removeFile(temporary)
          if (yield* removeFile(path)) yield* syncFolder(options.directory)
        })
      )
    }

    yield* Effect.addFinalizer(() =>
      turn.withPermit(
        Effect.suspend(() => {
          closed = true
          return Effect.ignore(closeRecords)
        })
      )
    )
    return resume
  })

  return ResumeStore.of({ open })
}

/** Keeps resume data in files of `directory`. */
export const layer = (options: Options): Layer.Layer<ResumeStore> => Layer.sync(ResumeStore, () => make(options))
