/**
 * Torrents as files below a download folder: the embedded default.
 *
 * A part of a piece that lies in one file is one positional write, so a piece of 1 MiB in one file is one `pwrite`. Files
 * grow as pieces come: nothing is preallocated, and a later piece that is stored first leaves a hole before it. A file
 * that is already longer than the torrent's is cut when the first piece is written to it, as libtorrent does; a file that
 * is only read is left as it is, so that seeding never changes one, and so is an empty file that exists with content.
 *
 * Files that disappear or shrink while a torrent is open: POSIX lets writes into a deleted file succeed into nothing. So
 * a file is looked at (one `fstat`) when it is opened, before a write when 8 MiB were written since the last look, and at
 * every flush. What was deleted, cut off or lost by the disk refuses writes until the torrent is opened, and verified,
 * again, because pieces are believed stored that are not. Reads find by themselves what is there. A file that somebody
 * replaced by another one of at least the same length is not noticed: inode numbers do not last on all file systems.
 *
 * Links and folders are `DownloadFolder.ts`, names `FileNames.ts`, files `TorrentFile.ts`, where those lie that nobody wants
 * `FilePlaces.ts`, how many are open `FileHandles.ts`, error numbers `FileSystemError.ts`.
 */

import * as NFS from "node:fs"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import { PieceHasher } from "../piece/PieceHasher.ts"
import * as DownloadFolder from "./DownloadFolder.ts"
import * as FileHandles from "./FileHandles.ts"
import * as FilePlaces from "./FilePlaces.ts"
import * as FileSystemError from "./FileSystemError.ts"
import * as NodeFile from "./NodeFile.ts"
import * as PieceDigests from "./PieceDigests.ts"
import {
  NotStored,
  Storage,
  StorageError,
  type StorageReason,
  StorageUnavailable,
  type TorrentStorage
} from "./Storage.ts"
import * as TorrentFile from "./TorrentFile.ts"

/** Where torrents are kept, and how much of the process they may take. */
export interface FileSystemStorageOptions {
  /** The download folder. Made when the first file is; may be a symbolic link. */
  readonly directory: string
  /**
   * Files open at a time, over all torrents; at least 1, default `defaultMaxOpenFiles`. Too few, and files are opened
   * again and again for pieces that alternate between them; too many, and sockets find no descriptors.
   */
  readonly maxOpenFiles?: number | undefined
  /**
   * Reads through symbolic links, wherever they lead, as folders of a model cache have them: for what is only seeded or
   * verified. Nothing is written through a link. Default: a link that leads out, or is a file's, is refused.
   */
  readonly followLinks?: boolean | undefined
}

/**
 * 32: libuv runs 4 disk operations at once by default, so more only saves reopening, which costs about 60 us. Half of
 * the smallest customary limit, 64 descriptors, is left for sockets.
 */
export const defaultMaxOpenFiles = 32

// Parts of a piece and files of a flush in flight: as many as libuv has threads, so that a piece over 300 files neither
// waits for each in turn nor keeps every thread from others.
const concurrency = 4

/** Makes the storage. A test puts its own calls in the place of `fs`. */
export const make = Effect.fnUntraced(function* (
  options: FileSystemStorageOptions,
  fs: NodeFile.NodeFileSystem = NodeFile.nodeFileSystem
) {
  const hasher = yield* PieceHasher
  const handles = FileHandles.make({
    capacity: options.maxOpenFiles ?? defaultMaxOpenFiles,
    close: (fd) => NodeFile.call((done) => fs.close(fd, done))
  })
  const open = (layout: FileLayout.FileLayout) => openTorrent({ ...options, fs, handles, hasher, layout })

  return Storage.of({
    open: (layout) =>
      Effect.acquireRelease(
        Effect.sync(() => open(layout)),
        ({ close }) => close
      ).pipe(Effect.map(({ torrent }) => torrent))
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
  }
): { readonly torrent: TorrentStorage; readonly close: Effect.Effect<void> } => {
  const { followLinks, fs, handles, hasher, layout } = options
  const { geometry } = layout
  const folder = DownloadFolder.make(fs, options.directory, { followLinks })
  let closed = false
  const places = FilePlaces.make({ fs, handles, folder, layout, followLinks, isClosed: () => closed })

  const onDisk = (spans: ReadonlyArray<FileLayout.FileSpan>) =>
    spans.filter((span) => !layout.files[span.file]!.padding)

  const part = (span: FileLayout.FileSpan, bytes: Uint8Array): NodeFile.FilePart => ({
    bytes,
    begin: span.begin,
    length: span.length,
    position: span.fileOffset
  })

  /** Does something with each of several files, all of them whatever happens to one, and fails with everything. */
  const each = <A>(
    operation: StorageError["operation"],
    items: ReadonlyArray<A>,
    effect: (item: A) => Effect.Effect<void, StorageReason>
  ): Effect.Effect<void, StorageError> => {
    if (closed)
      return Effect.fail(
        StorageError.of(operation, [new StorageUnavailable({ path: options.directory, why: TorrentFile.afterClose })])
      )
    if (items.length === 1) return Effect.mapError(effect(items[0]!), (reason) => StorageError.of(operation, [reason]))
    return Effect.mapError(Effect.validate(items, effect, { concurrency, discard: true }), (reasons) =>
      StorageError.of(operation, reasons)
    )
  }

  const prepare = Effect.fnUntraced(function* (listed: ReadonlyArray<number>) {
    const isListed = new Set(listed)
    const real = [...layout.files.keys()].filter((index) => !layout.files[index]!.padding)
    const wanted = real.filter((index) => isListed.has(index))
    for (const index of real) if (!isListed.has(index)) places.setAside(index)
    const hasAside = yield* places.hasAside
    const elsewhere = wanted.filter((index) => hasAside || places.isSkipped(index))
    yield* each("prepare", elsewhere, places.bringBack)
    const empty = wanted.filter((index) => layout.files[index]!.length === 0)
    yield* each("prepare", empty, places.create)
  })

  const writePiece = (piece: PieceIndex, bytes: Uint8Array) =>
    Effect.suspend(() => {
      const size = PieceGeometry.pieceSize(geometry, piece)
      if (bytes.length !== size)
        return Effect.die(new RangeError(`piece ${piece} has ${size} bytes, not ${bytes.length}`))
      return each("write", onDisk(FileLayout.pieceSpans(layout, piece)), (span) =>
        places.write(span.file, part(span, bytes))
      )
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
        Effect.flatMap(places.read(span.file, part(span, bytes)), (read) =>
          read === span.length ? Effect.void : Effect.fail(new NotStored({ path: places.nameOf(span.file) }))
        )
      return Effect.as(each("read", onDisk(spans), readSpan), bytes)
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
              // The file ends here, so what comes after in it is missing as well.
              if (read < span.length) missing.push({ begin: offset + span.fileOffset + read, end: offset + length })
            })
          )
        )
      }
      return Effect.as(each("digest", onDisk(spans), readSpan), missing)
    })

  /** Files that an earlier opening may have written, which nobody has synced; none any more after the first flush. */
  let found: ReadonlyArray<number> = layout.files.flatMap(({ length, padding }, index) =>
    padding || length === 0 ? [] : [index]
  )

  const flush = Effect.suspend(() => {
    const unsynced = places.used().filter((file) => file.needsSync())
    const before = found.filter((index) => !places.needsSync(index))
    return each("flush", unsynced, (file) => file.sync).pipe(
      Effect.andThen(each("flush", before, places.syncFound)),
      Effect.andThen(
        Effect.suspend(() => {
          found = []
          return each("flush", folder.changed(), syncFolder)
        })
      )
    )
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
        // A folder that was deleted keeps nothing, and Windows opens none.
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
      prepare,
      writePiece,
      readBlock,
      digests: (pieces) =>
        // By name again: a recheck tells what is there now, not what an open descriptor still holds.
        Stream.unwrap(
          Effect.as(
            Effect.forEach(places.used(), (file) => file.reopen, { concurrency, discard: true }),
            PieceDigests.make({ geometry, hasher, read: readRange, pieces })
          )
        ),
      flush
    },
    close: Effect.suspend(() => {
      closed = true
      return Effect.forEach(places.used(), (file) => file.close, { concurrency, discard: true })
    })
  }
}
