/**
 * Torrents as files below a download folder: the embedded default.
 *
 * The part of a piece in one file is one positional write, so a piece of 1 MiB in one file is one `pwrite`. Files grow
 * as pieces are stored: nothing is preallocated, and a later piece that is stored first leaves a hole before it. Only a
 * claim makes a file or opens one for writing, so seeding never changes a file.
 *
 * Files may disappear, shrink or be replaced while a torrent is open, and POSIX lets writes into a deleted file succeed
 * into nothing. So a claimed file is looked at by its path (one `lstat`) at every flush, and before a write if 8 MiB
 * were written since the last look. If it has changed, its writes fail until it is claimed again, because pieces that
 * count as stored are gone. A read looks at the path afterwards, and is repeated if another file has the name by then.
 *
 * An error that a network disk reports only when a file is closed is reported by the next flush of that file. Links and folders are in `DownloadFolder.ts`, names in `FileNames.ts`, the places of skipped files in
 * `FilePlaces.ts`, one file in `TorrentFile.ts`, copies of files with other names in `OwnCopy.ts`, the bound on open
 * files in `FileHandles.ts`, locks of writers in `locks/NodeWriterLocks.ts`, error numbers in `FileSystemError.ts`.
 */
import * as NFS from "node:fs"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as Descriptors from "../../../base/Descriptors.ts"
import type { PieceIndex } from "../../../base/PieceGeometry.ts"
import * as PieceGeometry from "../../../base/PieceGeometry.ts"
import { PieceHasher } from "../../../hash/PieceHasher.ts"
import * as FileLayout from "../../../metainfo/FileLayout.ts"
import {
  FileExists,
  type FlushedFile,
  NotStored,
  Storage,
  StorageError,
  type StorageReason,
  StorageUnavailable,
  type TorrentStorage,
  WriterConflict
} from "../../Storage.ts"
import * as DownloadFolder from "./DownloadFolder.ts"
import * as FileHandles from "./FileHandles.ts"
import * as FilePlaces from "./FilePlaces.ts"
import * as FileSystemError from "./FileSystemError.ts"
import * as NodeWriterLocks from "./locks/NodeWriterLocks.ts"
import * as NodeFile from "./NodeFile.ts"
import * as PieceDigests from "./PieceDigests.ts"
import * as Reservations from "./Reservations.ts"
import * as TorrentFile from "./TorrentFile.ts"

export type { NodeFileSystem } from "./NodeFile.ts"

/** Where torrents are kept, and how much of the process they may take. */
export interface FileSystemStorageOptions {
  /** The download folder. Made with the first file; may be a symbolic link. */
  readonly directory: string
  /**
   * Files open at a time, over all torrents; at least 1, default `defaultMaxOpenFiles`. With too few, files are
   * reopened again and again for pieces that alternate between them; with too many, sockets find no descriptors.
   */
  readonly maxOpenFiles?: number | undefined
  /**
   * Reads through symbolic links, wherever they lead, as in the folders of a model cache: for torrents that are only
   * seeded or verified. Nothing is written through a link. Default: a link that leads out, or that stands for a file,
   * is refused.
   */
  readonly followLinks?: boolean | undefined
}

/**
 * 32: libuv runs 4 disk operations at once by default, so more only saves reopening, which costs about 60 us. That
 * leaves half of the smallest customary limit, 64 descriptors, for sockets.
 */
export const defaultMaxOpenFiles = 32

// Parts of a piece and files of a flush in flight: as many as libuv has threads, so that they leave it other work.
const concurrency = 4

/** Makes the storage. Tests pass their own `fs`. */
export const make = Effect.fnUntraced(function* (
  options: FileSystemStorageOptions,
  fs: NodeFile.NodeFileSystem = NodeFile.nodeFileSystem
) {
  const hasher = yield* PieceHasher
  const handles = FileHandles.make({
    capacity: options.maxOpenFiles ?? defaultMaxOpenFiles,
    close: (fd) => NodeFile.call((done) => fs.close(fd, done))
  })
  yield* Descriptors.register("spare", handles.closeIdle)
  const locks = NodeWriterLocks.make({ directory: options.directory })

  return Storage.of({
    open: ({ layout }) =>
      Effect.map(
        Effect.acquireRelease(
          Effect.map(Scope.make(), (reservations) =>
            openTorrent({ ...options, fs, handles, hasher, layout, locks, reservations })
          ),
          ({ close }) => close
        ),
        ({ torrent }) => torrent
      )
  })
})

/** Keeps torrents below `directory`. */
export const layer = (options: FileSystemStorageOptions): Layer.Layer<Storage, never, PieceHasher> =>
  Layer.effect(Storage, make(options))

const openTorrent = (
  options: FileSystemStorageOptions & {
    readonly fs: NodeFile.NodeFileSystem
    readonly handles: FileHandles.FileHandles
    readonly hasher: PieceHasher["Service"]
    readonly layout: FileLayout.FileLayout
    readonly locks: NodeWriterLocks.WriterLocks
    /** Closed with the torrent, after its files. */
    readonly reservations: Scope.Closeable
  }
): { readonly torrent: TorrentStorage; readonly close: Effect.Effect<void> } => {
  const { followLinks, fs, handles, hasher, layout, locks } = options
  const { geometry } = layout
  const folder = DownloadFolder.make(fs, options.directory, { followLinks })
  let closed = false
  const places = FilePlaces.make({ fs, handles, folder, layout, followLinks, isClosed: () => closed })
  const reserved = Reservations.make(layout.files.length)
  const reserving = Semaphore.makeUnsafe(1)

  const onDisk = (spans: ReadonlyArray<FileLayout.FileSpan>) =>
    spans.filter((span) => !layout.files[span.file]!.padding)

  const part = (span: FileLayout.FileSpan, bytes: Uint8Array): NodeFile.FilePart => ({
    bytes,
    begin: span.begin,
    length: span.length,
    position: span.fileOffset
  })

  /** Does something with each item, continues after failures, and fails with all of them. */
  const each = <A, B>(
    operation: StorageError["operation"],
    items: ReadonlyArray<A>,
    effect: (item: A) => Effect.Effect<B, StorageReason>,
    atOnce = concurrency
  ): Effect.Effect<ReadonlyArray<B>, StorageError> => {
    if (closed) {
      const why = TorrentFile.afterClose
      return Effect.fail(StorageError.of(operation, [new StorageUnavailable({ path: options.directory, why })]))
    }
    if (items.length === 1) {
      return Effect.mapBoth(effect(items[0]!), {
        onSuccess: (done) => [done],
        onFailure: (reason) => StorageError.of(operation, [reason])
      })
    }
    return Effect.mapError(Effect.validate(items, effect, { concurrency: atOnce }), (reasons) =>
      StorageError.of(operation, reasons)
    )
  }

  const failing = (operation: StorageError["operation"]) => (reason: StorageReason) =>
    StorageError.of(operation, [reason])

  const look: TorrentStorage["look"] = (files) =>
    Effect.gen(function* () {
      const parents = new Map<string, string | undefined>()
      const found = yield* each("look", files, (index) => places.look(index, parents))
      // Every file is missing if the drive is away; that says nothing about the files.
      if (found.includes(undefined)) yield* Effect.mapError(folder.present, failing("look"))
      return found
    })

  const acquire = (paths: ReadonlyArray<ReadonlyArray<string>>) =>
    Effect.gen(function* () {
      // Before the locks make a download folder that has vanished.
      yield* Effect.mapError(folder.resolve([], "write"), ({ reason }) => reason)
      return yield* locks.acquire(paths, layout.files[0]!.path[0]!, reserved).pipe(
        Scope.provide(options.reservations),
        Effect.mapError((error): StorageReason => {
          if (!("holder" in error)) return FileSystemError.reasonOf(error, options.directory, "write")
          const { entry, holder, path } = error
          const help = `, on another machine. If that process has ended, delete ${entry}`
          return new WriterConflict({ path, holder: entry === undefined ? holder : holder + help })
        })
      )
    })

  const reserve: TorrentStorage["reserve"] = (files) =>
    Effect.suspend(() => {
      const asked = [...new Set(files)].filter((index) => !Reservations.has(reserved, index))
      if (asked.length === 0) return Effect.void
      return Effect.map(acquire(asked.flatMap(places.pathsOf)), (writer) =>
        Reservations.add(reserved, asked, writer, (file) => places.pathsOf(file).length)
      )
    }).pipe(Effect.mapError(failing("reserve")), reserving.withPermit)

  const release: TorrentStorage["release"] = (files) =>
    Effect.forEach(
      files,
      (file) => {
        const held = Reservations.take(reserved, file)
        if (held === undefined) return Effect.void
        places.unclaim(file)
        return held.writer.release(places.pathsOf(file).map((_, name) => held.first + name))
      },
      { discard: true }
    ).pipe(Effect.uninterruptible, reserving.withPermit)

  /** Dies if a caller did not reserve what it is about to change. */
  const whenReserved = <A, E>(files: ReadonlyArray<number>, effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      const free = files.find((index) => !Reservations.has(reserved, index))
      return free === undefined ? effect : Effect.die(new Error(`${places.nameOf(free)} is not reserved`))
    })

  const rename: TorrentStorage["rename"] = (file, path) =>
    Effect.gen(function* () {
      const name = path.join("/")
      if (places.pathOf(file).join("/") === name) return
      const isTaken = layout.files.some(
        ({ padding }, index) =>
          index !== file && !padding && places.pathsOf(index).some((other) => other.join("/") === name)
      )
      if (isTaken) return yield* Effect.fail(new FileExists({ path: folder.nameOf(path) }))
      const writer = yield* acquire([path])
      const names = places.pathsOf(file).length
      yield* Effect.onError(places.rename(file, path), () => writer.release([0]))
      const before = Reservations.take(reserved, file)!
      Reservations.add(reserved, [file], writer, () => 1)
      yield* before.writer.release(Array.from({ length: names }, (_, index) => before.first + index))
    }).pipe(Effect.mapError(failing("rename")), reserving.withPermit)

  const prepare = (listed: ReadonlyArray<number>) =>
    Effect.gen(function* () {
      const isListed = new Set(listed)
      const real = [...layout.files.keys()].filter((index) => !layout.files[index]!.padding)
      const wanted = real.filter((index) => isListed.has(index))
      for (const index of real) if (!isListed.has(index)) places.setAside(index)
      const hasAside = yield* places.hasAside
      const elsewhere = wanted.filter((index) => hasAside || places.isSkipped(index))
      yield* each("prepare", elsewhere, places.bringBack)
    })

  const writePiece = (piece: PieceIndex, bytes: Uint8Array) =>
    Effect.suspend(() => {
      const size = PieceGeometry.pieceSize(geometry, piece)
      if (bytes.length !== size)
        return Effect.die(new RangeError(`piece ${piece} has ${size} bytes, not ${bytes.length}`))
      const spans = onDisk(FileLayout.pieceSpans(layout, piece))
      const unclaimed = spans.find(({ file }) => !places.isClaimed(file))
      if (unclaimed !== undefined && !closed) {
        return Effect.die(new Error(`${places.nameOf(unclaimed.file)} is not claimed`))
      }
      return Effect.asVoid(each("write", spans, (span) => places.write(span.file, part(span, bytes))))
    })

  const readBlock: TorrentStorage["readBlock"] = (piece, begin, length, into) =>
    Effect.suspend(() => {
      const size = PieceGeometry.pieceSize(geometry, piece)
      if (begin < 0 || length < 1 || begin + length > size) {
        return Effect.die(new RangeError(`piece ${piece} has ${size} bytes, not ${length} from ${begin}`))
      }
      const spans = FileLayout.spans(layout, PieceGeometry.pieceOffset(geometry, piece) + begin, length)
      const bytes = into === undefined ? new Uint8Array(length) : into.subarray(0, length)
      for (const span of spans) {
        if (layout.files[span.file]!.padding) bytes.fill(0, span.begin, span.begin + span.length)
      }
      const readSpan = (span: FileLayout.FileSpan) =>
        Effect.flatMap(places.readAndLook(span.file, part(span, bytes)), ({ facts, read }) =>
          read === span.length ? Effect.succeed(facts) : Effect.fail(new NotStored({ path: places.nameOf(span.file) }))
        )
      return Effect.map(each("read", onDisk(spans), readSpan), (files) => ({
        bytes,
        files: files.filter((facts) => facts !== undefined)
      }))
    })

  const readRange = (begin: number, into: Uint8Array) =>
    Effect.suspend(() => {
      const spans = FileLayout.spans(layout, begin, into.length)
      const missing: Array<PieceDigests.MissingRange> = []
      for (const span of spans) {
        if (layout.files[span.file]!.padding) into.fill(0, span.begin, span.begin + span.length)
      }
      const readSpan = (span: FileLayout.FileSpan) => {
        const { length, offset } = layout.files[span.file]!
        return places.read(span.file, part(span, into)).pipe(
          Effect.catchIf(
            (reason) => reason._tag === "NotStored",
            () => Effect.succeed(0)
          ),
          Effect.tap((read) =>
            Effect.sync(() => {
              // The file ends here, so the rest of it is missing as well.
              if (read < span.length) missing.push({ begin: offset + span.fileOffset + read, end: offset + length })
            })
          )
        )
      }
      return Effect.as(each("digest", onDisk(spans), readSpan), missing)
    })

  const flushFile = (
    index: number
  ): Effect.Effect<{ readonly flushed: FlushedFile; readonly path?: string | undefined }> =>
    Effect.match(places.sync(index), {
      onSuccess: ({ facts, path }) => ({ flushed: { file: index, facts }, path }),
      onFailure: (reason) => ({ flushed: { file: index, reason } })
    })

  const flush: TorrentStorage["flush"] = (files) =>
    Effect.gen(function* () {
      const outcomes = yield* each("flush", files, flushFile)
      const lost = yield* each("flush", folder.changed(), (path) =>
        Effect.match(syncFolder(path), { onSuccess: () => [], onFailure: (reason) => [{ path, reason }] })
      )
      const failures = lost.flat()
      return outcomes.map(({ flushed, path }): FlushedFile => {
        if ("reason" in flushed || path === undefined) return flushed
        const failure = failures.find((failure) => path.startsWith(failure.path))
        return failure === undefined ? flushed : { file: flushed.file, reason: failure.reason }
      })
    })

  const syncFolder = (path: string) => {
    const slot = FileHandles.makeSlot({
      open: Effect.mapError(
        NodeFile.call<number>((done) => fs.open(path, NFS.constants.O_RDONLY, done)),
        (error) => DownloadFolder.openFailure(error, path, "read")
      ),
      closeFailed: () => {}
    })
    const sync = handles.use(
      () =>
        closed ? Result.fail(new StorageUnavailable({ path, why: TorrentFile.afterClose })) : Result.succeed(slot),
      (fd) => Effect.mapError(NodeFile.syncFolder(fs, fd), (error) => FileSystemError.reasonOf(error, path, "write"))
    )
    return Effect.suspend(() => {
      folder.unmarkChanged(path)
      return sync.pipe(
        Effect.ensuring(handles.retire(slot)),
        // A folder that was deleted keeps nothing, and Windows cannot open a folder.
        Effect.catchIf(
          (reason) => reason._tag === "NotStored" || reason._tag === "StorageRefused",
          () => Effect.void
        ),
        Effect.onError(() => Effect.sync(() => folder.markChanged(path)))
      )
    })
  }

  return {
    torrent: {
      digestBytes: PieceDigests.memoryOf(geometry),
      look,
      reserve,
      release,
      claim: (claims) =>
        whenReserved(
          claims.map(({ file }) => file),
          Effect.suspend(() => each("claim", claims, places.claim))
        ),
      prepare,
      writePiece,
      readBlock,
      digests: (pieces) =>
        // By name again: a recheck reports what is there now, not what an open descriptor still holds.
        Stream.unwrap(
          Effect.as(
            Effect.forEach([...places.used()], (file) => file.reopen, { concurrency, discard: true }),
            PieceDigests.make({ geometry, hasher, read: readRange, pieces })
          )
        ),
      flush,
      rename: (file, path) => whenReserved([file], rename(file, path)),
      remove: (files) =>
        whenReserved(
          files,
          // One at a time, because they share folders, which are removed with the last of them.
          Effect.suspend(() => Effect.asVoid(each("remove", files, places.remove, 1)))
        )
    },
    close: Effect.suspend(() => {
      closed = true
      return Effect.andThen(
        Effect.forEach([...places.used()], (file) => file.close, { concurrency, discard: true }),
        Scope.close(options.reservations, Exit.void)
      )
    })
  }
}
