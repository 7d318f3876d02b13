/**
 * Resume data in files, one for each torrent in a state directory: `<info hash in hex>.resume`.
 *
 * A snapshot is written to a temporary file beside it, flushed, renamed, and then the folder is flushed: whenever the
 * process or the machine dies, the name leads to the old file or the new one, each complete. A leftover temporary file
 * is never read; the next use of its torrent removes it. No file stays open between operations, so torrents cost no
 * descriptors. `ResumeFile.ts` defines the bytes; an edge chooses the directory.
 */

import * as FileSystem from "node:fs/promises"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Bitfield from "../../../base/Bitfield.ts"
import * as Bytes from "../../../base/Bytes.ts"
import * as Descriptors from "../../../base/Descriptors.ts"
import * as Environment from "../../../base/Environment.ts"
import * as Turn from "../../../base/Turn.ts"
import * as NodeBoundedFile from "../../../storage/provider/node/NodeBoundedFile.ts"
import * as NodeFolders from "../../../storage/provider/node/NodeFolders.ts"
import * as BootIdentity from "../../BootIdentity.ts"
import * as ResumeFile from "../../ResumeFile.ts"
import { type OpenOptions, type ResumeChange, ResumeError, ResumeStore, type TorrentResume } from "../../ResumeStore.ts"

export type { BootIdentity } from "../../BootIdentity.ts"

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

/** The calls to the file system; tests have one that crashes. */
export interface Files {
  /** Makes a folder and its parents; returns the topmost one made (`NodeFolders.make`). */
  readonly makeFolders: (path: string) => Promise<string | undefined>
  /** The device where a folder is or would be made (`NodeFolders.deviceOf`). */
  readonly deviceOf: (path: string) => Promise<number>
  /** Reads a regular file of at most `maxBytes` whole (`NodeBoundedFile.read`). */
  readonly readFile: (path: string, maxBytes: number) => Promise<Uint8Array>
  readonly open: (path: string, flags: "r" | "r+" | "wx") => Promise<Handle>
  readonly rename: (from: string, to: string) => Promise<void>
  readonly unlink: (path: string) => Promise<void>
}

/**
 * Bytes of records after which they are merged into a new snapshot, unless that would be larger: 1 MiB, some 100,000
 * pieces, so that the file does not outgrow its content.
 */
export const maxRecordBytes = 1 << 20

/** Options of the store. */
export interface Options {
  /** The state directory. Made by the first save, with its parents. */
  readonly directory: string
  /** The current start of the machine, read whenever a torrent is opened. Default: the system's own. */
  readonly boot?: Effect.Effect<BootIdentity.BootIdentity> | undefined
  /** The file system. Default: Node's own. */
  readonly files?: Files | undefined
}

/** The current start of this machine: by name on Linux, elsewhere by time. */
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

/** A failed call, before it becomes a `ResumeError`. */
class CallFailed {
  readonly _tag = "CallFailed"
  readonly cause: unknown
  constructor(cause: unknown) {
    this.cause = cause
  }
  get isAbsence() {
    return codeOf(this.cause) === "ENOENT"
  }
  /** Whether the path has what this store never wrote: a FIFO, a device, a file far too long. */
  get isNotOurs() {
    return this.cause instanceof NodeBoundedFile.NotRegularFile || this.cause instanceof NodeBoundedFile.FileTooLong
  }
  get why() {
    return sentences[codeOf(this.cause)] ?? (this.cause instanceof Error ? this.cause.message : String(this.cause))
  }
}

const call = <A>(promise: () => Promise<A>): Effect.Effect<A, CallFailed> =>
  Descriptors.retry(Effect.tryPromise({ try: promise, catch: (cause) => new CallFailed(cause) }))

/**
 * Bytes that resume data of a torrent may have: a snapshot takes a quarter of a byte for each piece and at most 86 for
 * each file. Records of the same size, or of `maxRecordBytes`, follow before they are merged. One more batch may have
 * every piece and file in it.
 */
const maxLength = ({ fileCount, pieceCount }: OpenOptions): number =>
  2 * maxRecordBytes + 32 * pieceCount + 384 * fileCount

/** The resume data of one torrent that is open. */
interface Opened {
  readonly torrent: OpenOptions
  readonly path: string
  /** The current start of the machine. */
  readonly boot: BootIdentity.BootIdentity
  readonly turn: Turn.Turn
  /** Where the directory was or would have been made; `undefined` until the first call. */
  device: number | undefined
  /** The offset of the next record; `undefined` until the file was read or written, and after a failure. */
  tail: ResumeFile.Tail | undefined
  snapshotLength: number
  isClosed: boolean
}

const temporaryOf = ({ path }: Opened): string => `${path}.tmp`

/** The end alone: what it ends is kept nowhere. */
const tailOf = ({ check, end }: ResumeFile.Tail): ResumeFile.Tail => ({ check, end })

/** Runs one operation at a time, and to its end: no handle is left open, and no file half replaced. */
const exclusively = <A>(
  self: Opened,
  operation: ResumeError["operation"],
  effect: Effect.Effect<A, CallFailed>
): Effect.Effect<A, ResumeError> => {
  const { path } = self
  const work = Effect.suspend(() =>
    self.isClosed
      ? Effect.fail(new ResumeError({ operation, path, why: "the torrent's resume data has been closed" }))
      : Effect.mapError(effect, (failed) => new ResumeError({ operation, path, why: failed.why }))
  )
  return Turn.take(self.turn, Effect.uninterruptible(work))
}

/** Makes a store. */
export const make = (options: Options): ResumeStore["Service"] => {
  const files: Files = options.files ?? {
    ...FileSystem,
    readFile: NodeBoundedFile.read,
    makeFolders: NodeFolders.make,
    deviceOf: NodeFolders.deviceOf
  }
  const boot = options.boot ?? systemBoot

  /** Closing reports deferred write errors (NFS), so a failed close fails the use. */
  const withFile = <A>(path: string, flags: "r" | "r+" | "wx", use: (file: Handle) => Effect.Effect<A, CallFailed>) =>
    Effect.acquireUseRelease(
      call(() => files.open(path, flags)),
      use,
      (file) => call(() => file.close())
    )

  const writeAll = (file: Handle, bytes: Uint8Array, position: number) =>
    Effect.gen(function* () {
      for (let offset = 0; offset < bytes.length; ) {
        const { bytesWritten } = yield* call(() => file.write(bytes, offset, bytes.length - offset, position + offset))
        // Otherwise a disk that accepts nothing and reports no error would be asked without end.
        if (bytesWritten === 0) return yield* Effect.fail(new CallFailed(new Error("the disk took nothing")))
        offset += bytesWritten
      }
    })

  /** Makes the names in a folder survive a power cut. Windows cannot open a folder, and has a journal of names. */
  const syncFolder = (path: string) =>
    withFile(path, "r", (folder) => call(() => folder.sync())).pipe(
      Effect.catchIf(
        () => OperatingSystem.platform() === "win32",
        () => Effect.void
      )
    )

  /** Fails for a path that cannot be looked at, as making a folder there would. */
  const deviceOf = call(() => files.deviceOf(options.directory))

  /**
   * Makes the directory. The names of new folders are in their parents, which must be flushed as well. If its disk went
   * away since the torrent was opened, nothing is made in its place.
   */
  const makeDirectory = Effect.fnUntraced(function* (device: number) {
    if ((yield* deviceOf) !== device) return yield* Effect.fail(new CallFailed(new Error("its disk is away")))
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

  const read = (self: Opened) =>
    Effect.gen(function* () {
      const { path, torrent } = self
      const bytes = yield* call(() => files.readFile(path, maxLength(torrent))).pipe(
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
      self.tail = undefined
      if (bytes === undefined) return undefined
      const decoded = ResumeFile.decode(bytes, torrent)
      if (Result.isFailure(decoded)) {
        yield* Effect.logWarning(`${path} ${decoded.failure.message}; the torrent will be verified`)
        return undefined
      }
      if (decoded.success.isCurrent) {
        self.tail = tailOf(decoded.success)
        self.snapshotLength = decoded.success.snapshotLength
      }
      return decoded.success
    })

  /** A new file beside the old one, made here: an existing one with its name, perhaps a FIFO, is not opened. */
  const writeTemporary = (self: Opened, bytes: Uint8Array) =>
    Effect.gen(function* () {
      const temporary = temporaryOf(self)
      self.device ??= yield* deviceOf
      yield* makeDirectory(self.device)
      yield* removeFile(temporary)
      yield* withFile(temporary, "wx", (file) =>
        Effect.andThen(
          writeAll(file, bytes, 0),
          call(() => file.sync())
        )
      )
    })

  const replace = (self: Opened, snapshot: ResumeFile.Encoded) =>
    Effect.gen(function* () {
      const temporary = temporaryOf(self)
      self.tail = undefined
      yield* writeTemporary(self, snapshot.bytes).pipe(
        // Another process may remove the folder, which it left empty, between any two steps.
        Effect.retry({ times: 3, while: (failed) => failed.isAbsence }),
        Effect.andThen(call(() => files.rename(temporary, self.path))),
        Effect.tapError(() => Effect.ignore(removeFile(temporary)))
      )
      yield* syncFolder(options.directory)
      self.tail = tailOf(snapshot)
      self.snapshotLength = snapshot.bytes.length
    })

  const addRecords = (self: Opened, known: ResumeFile.Tail, change: ResumeChange, durably: boolean) =>
    Effect.gen(function* () {
      const added = ResumeFile.encodeRecords(known, change)
      // Opened for each append. The caller gathers changes, so this is rare, and open files would grow with torrents.
      yield* withFile(self.path, "r+", (file) =>
        Effect.andThen(writeAll(file, added.bytes, known.end), durably ? call(() => file.sync()) : Effect.void)
      )
      self.tail = tailOf(added)
    })

  /** A snapshot of what the file says, or of nothing if there is no file. */
  const refresh = (self: Opened) =>
    Effect.gen(function* () {
      const { infoHash, pieceCount } = self.torrent
      const known = yield* read(self)
      const { flushed, stored, files } = known ?? {
        stored: Bitfield.make(pieceCount),
        flushed: Bitfield.make(pieceCount),
        files: new Map()
      }
      const boot = known?.boot ?? self.boot
      const snapshot = ResumeFile.encodeSnapshot({ infoHash, stored, flushed, files, boot })
      yield* replace(self, snapshot)
      return tailOf(snapshot)
    })

  const add = (self: Opened, change: ResumeChange, durably: boolean) =>
    Effect.gen(function* () {
      if (self.tail === undefined) yield* read(self)
      const { snapshotLength, tail } = self
      const isLong = tail !== undefined && tail.end - snapshotLength > Math.max(maxRecordBytes, snapshotLength)
      const known = tail === undefined || isLong ? yield* refresh(self) : tail
      yield* addRecords(self, known, change, durably).pipe(
        Effect.catchIf(
          (failed) => failed.isAbsence,
          () => Effect.flatMap(refresh(self), (anew) => addRecords(self, anew, change, durably))
        )
      )
    })

  const load = Effect.fnUntraced(function* (self: Opened) {
    self.device ??= yield* deviceOf
    yield* Effect.ignore(removeFile(temporaryOf(self)))
    const decoded = yield* read(self)
    if (decoded === undefined) return undefined
    const { boot, files, flushed, stored } = decoded
    return { stored, flushed, files, isSameBoot: BootIdentity.isSame(boot, self.boot) }
  })

  const remove = Effect.fnUntraced(function* (self: Opened) {
    self.tail = undefined
    yield* removeFile(temporaryOf(self))
    if (yield* removeFile(self.path)) yield* syncFolder(options.directory)
  })

  const open = Effect.fnUntraced(function* (torrent: OpenOptions) {
    const { infoHash } = torrent
    const self: Opened = {
      torrent,
      path: Path.join(options.directory, `${Bytes.toHex(infoHash)}.resume`),
      boot: yield* boot,
      turn: Turn.make(),
      device: undefined,
      tail: undefined,
      snapshotLength: 0,
      isClosed: false
    }
    const resume: TorrentResume = {
      load: Effect.suspend(() => exclusively(self, "load", load(self))),
      save: (snapshot) =>
        Effect.suspend(() => {
          const encoded = ResumeFile.encodeSnapshot({ infoHash, ...snapshot, boot: self.boot })
          return exclusively(self, "save", replace(self, encoded))
        }),
      append: (change, { durably = false } = {}) =>
        Effect.suspend(() => {
          const { dropped, files, flushed, stored } = change
          const copy = {
            files: new Map(files),
            dropped: dropped?.slice(),
            stored: stored?.slice(),
            flushed: flushed?.slice()
          }
          const isEmpty = copy.files.size + [dropped, stored, flushed].flatMap((pieces) => pieces ?? []).length === 0
          return exclusively(self, "append", isEmpty ? Effect.void : add(self, copy, durably))
        }),
      remove: Effect.suspend(() => exclusively(self, "remove", remove(self)))
    }
    const close = Effect.sync(() => {
      self.isClosed = true
    })
    yield* Scope.addFinalizer(yield* Effect.scope, Turn.take(self.turn, close))
    return resume
  })

  return ResumeStore.of({ open })
}

/**
 * Keeps resume data in files of `directory`.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { mkdtemp, rm } from "node:fs/promises"
 * import { tmpdir } from "node:os"
 * import { join } from "node:path"
 * import { Effect } from "effect"
 * import { Bitfield, InfoHash, ResumeStore } from "piecewise"
 * import { FileResumeStore } from "piecewise/node"
 *
 * const directory = await mkdtemp(join(tmpdir(), "piecewise-"))
 * const infoHash = InfoHash.fromBytes(new Uint8Array(20))!
 * const run = <A, E>(use: (torrent: ResumeStore.TorrentResume) => Effect.Effect<A, E>) =>
 *   ResumeStore.ResumeStore.use((store) => store.open({ infoHash, pieceCount: 3, fileCount: 1 })).pipe(
 *     Effect.flatMap(use),
 *     Effect.scoped,
 *     Effect.provide(FileResumeStore.layer({ directory })),
 *     Effect.runPromise
 *   )
 * await run(({ save }) => save({ stored: Bitfield.full(3), flushed: Bitfield.make(3), files: new Map() }))
 * const data = await run(({ load }) => load)
 * assert.equal(data?.stored.count, 3)
 * await rm(directory, { recursive: true })
 * ```
 */
export const layer = (options: Options): Layer.Layer<ResumeStore> => Layer.sync(ResumeStore, () => make(options))

/** Reads `PIECEWISE_RESUME_DIRECTORY`; default `.piecewise` in `PIECEWISE_DIRECTORY`. One of them must be set. */
export const fromEnvironment = (): Config.Config<Pick<Options, "directory">> =>
  Config.all({ directory: Environment.resumeDirectory() })

/** Keeps resume data where `config` says when the layer is built. Fails with `ConfigError` if it does not. */
export const layerConfig = (config: Config.Wrap<Pick<Options, "directory">> = fromEnvironment()) =>
  Layer.unwrap(Effect.map(Config.unwrap<Pick<Options, "directory">>(config), layer))
