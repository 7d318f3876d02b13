/**
 * One torrent in a download folder, as `FileSystemStorage.ts` opens it: what `TorrentStorage` promises, put together
 * from its files, its reservations and its folder.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bitfield from "../../../base/Bitfield.ts"
import type { PieceIndex } from "../../../base/PieceGeometry.ts"
import * as PieceGeometry from "../../../base/PieceGeometry.ts"
import * as Turn from "../../../base/Turn.ts"
import type { PieceHasher } from "../../../hash/PieceHasher.ts"
import * as FileLayout from "../../../metainfo/FileLayout.ts"
import {
  type FileClaim,
  FileExists,
  type FlushedFile,
  NotStored,
  StorageError,
  type StorageReason,
  StorageUnavailable,
  type StoredBytes,
  type TorrentStorage,
  WriterConflict
} from "../../Storage.ts"
import * as DownloadFolder from "./DownloadFolder.ts"
import type * as FileHandles from "./FileHandles.ts"
import * as FileMoves from "./FileMoves.ts"
import * as FilePaths from "./FilePaths.ts"
import * as FilePlaces from "./FilePlaces.ts"
import * as FileSystemError from "./FileSystemError.ts"
import type * as FolderEntries from "./FolderEntries.ts"
import type * as NodeWriterLocks from "./locks/NodeWriterLocks.ts"
import * as NodeFile from "./NodeFile.ts"
import * as PieceDigests from "./PieceDigests.ts"
import * as Reservations from "./Reservations.ts"
import * as TakenNames from "./TakenNames.ts"
import * as TorrentFile from "./TorrentFile.ts"

// Parts of a piece and files of a flush in flight: as many as libuv has threads, so that they leave it other work.
const concurrency = 4

/** One opening of a torrent. */
interface OpenTorrent {
  readonly directory: string
  readonly fs: NodeFile.NodeFileSystem
  readonly handles: FileHandles.FileHandles
  readonly hasher: PieceHasher["Service"]
  readonly layout: FileLayout.FileLayout
  readonly locks: NodeWriterLocks.WriterLocks
  /** Closed with the torrent, after its files. */
  readonly reservations: Scope.Closeable
  readonly folder: DownloadFolder.DownloadFolder
  readonly places: FilePlaces.FilePlaces
  readonly taken: TakenNames.TakenNames
  readonly reserved: Reservations.Reservations
  readonly reserving: Turn.Turn
  readonly isClosed: () => boolean
}

/** Opens a torrent; touches nothing. `close` closes its files, and gives up what it reserved. */
export const open = (
  options: { readonly followLinks?: boolean | undefined } & Pick<
    OpenTorrent,
    "directory" | "fs" | "handles" | "hasher" | "layout" | "locks" | "reservations"
  >
): { readonly torrent: TorrentStorage; readonly close: Effect.Effect<void> } => {
  const { directory, followLinks, fs, handles, hasher, layout, locks, reservations } = options
  const folder = DownloadFolder.make(fs, directory, { followLinks })
  let closed = false
  const isClosed = () => closed
  const places = FilePlaces.make({ fs, handles, folder, layout, followLinks, isClosed })
  const self: OpenTorrent = {
    directory,
    fs,
    handles,
    hasher,
    layout,
    locks,
    reservations,
    folder,
    places,
    taken: TakenNames.make({
      files: () => FileLayout.realFiles(layout),
      pathsOf: (file) => FilePaths.pathsOf(places, file)
    }),
    reserved: Reservations.make(layout.fileCount),
    reserving: Turn.make(),
    isClosed
  }
  return {
    torrent: {
      digestBytes: PieceDigests.memoryOf(layout.geometry, hasher),
      look: (files) => look(self, files),
      reserve: (files) => reserve(self, files),
      release: (files) => release(self, files),
      claim: (claims) => claim(self, claims),
      prepare: (files) => prepare(self, files),
      writePiece: (piece, bytes) => writePiece(self, piece, bytes),
      readBlock: (piece, begin, length, into) => readBlock(self, piece, begin, length, into),
      digests: (pieces) => digests(self, pieces),
      flush: (files) => flush(self, files),
      rename: (file, path) => whenReserved(self, [file], rename(self, file, path)),
      remove: (files) => remove(self, files)
    },
    close: Effect.suspend(() => {
      closed = true
      return Effect.andThen(
        Effect.forEach(FilePlaces.used(self.places), TorrentFile.close, { concurrency, discard: true }),
        Scope.close(reservations, Exit.void)
      )
    })
  }
}

const part = (span: FileLayout.FileSpan, bytes: Uint8Array): NodeFile.FilePart => ({
  bytes,
  begin: span.begin,
  length: span.length,
  position: span.fileOffset
})

const failClosed = ({ directory }: OpenTorrent, operation: StorageError["operation"]) =>
  Effect.fail(StorageError.of(operation, [new StorageUnavailable({ path: directory, why: TorrentFile.afterClose })]))

/** Does something with each item, continues after failures, and fails with all of them. */
const each = <A, B>(
  self: OpenTorrent,
  operation: StorageError["operation"],
  items: ReadonlyArray<A>,
  effect: (item: A) => Effect.Effect<B, StorageReason>,
  atOnce = concurrency
): Effect.Effect<ReadonlyArray<B>, StorageError> => {
  if (self.isClosed()) return failClosed(self, operation)
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

const look = Effect.fnUntraced(function* (self: OpenTorrent, files: ReadonlyArray<number>) {
  const parents: FolderEntries.KnownParents = new Map()
  const found = yield* each(self, "look", files, (index) => FilePlaces.look(self.places, index, parents))
  // Every file is missing if the drive is away; that says nothing about the files.
  if (found.includes(undefined)) yield* Effect.mapError(DownloadFolder.present(self.folder), failing("look"))
  return found
})

const acquire = Effect.fnUntraced(function* (
  { directory, folder, layout, locks, reservations, reserved }: OpenTorrent,
  paths: NodeWriterLocks.Paths
) {
  // Before the locks make a download folder that has vanished.
  yield* Effect.mapError(DownloadFolder.resolve(folder, [], "write"), ({ reason }) => reason)
  return yield* locks.acquire(paths, FileLayout.pathOf(layout, 0)[0]!, reserved).pipe(
    Scope.provide(reservations),
    Effect.mapError((error): StorageReason => {
      if (!("holder" in error)) return FileSystemError.reasonOf(error, directory, "write")
      const { entry, holder, path } = error
      const help = `, on another machine. If that process has ended, delete ${entry}`
      return new WriterConflict({ path, holder: entry === undefined ? holder : holder + help })
    })
  )
})

const reserve = (self: OpenTorrent, files: ReadonlyArray<number>): Effect.Effect<void, StorageError> =>
  Effect.suspend(() => {
    const { places, reserved } = self
    const asked = [...new Set(files)].filter((index) => !Reservations.has(reserved, index))
    if (asked.length === 0) return Effect.void
    return Effect.map(acquire(self, FilePaths.allPathsOf(places, asked)), (writer) =>
      Reservations.add(reserved, asked, writer, (file) => FilePaths.pathCount(places, file))
    )
  }).pipe(Effect.mapError(failing("reserve")), (effect) => Turn.take(self.reserving, effect))

const release = ({ places, reserved, reserving }: OpenTorrent, files: ReadonlyArray<number>): Effect.Effect<void> =>
  Effect.forEach(
    files,
    (file) => {
      const held = Reservations.take(reserved, file)
      if (held === undefined) return Effect.void
      const closing = FilePlaces.unclaim(places, file)
      const releasing = held.writer.release(namesFrom(held.first, FilePaths.pathCount(places, file)))
      return closing === undefined ? releasing : Effect.andThen(closing, releasing)
    },
    { discard: true }
  ).pipe(Effect.uninterruptible, (effect) => Turn.take(reserving, effect))

const namesFrom = (first: number, count: number): ReadonlyArray<number> =>
  Array.from({ length: count }, (_, name) => first + name)

/** Dies if a caller did not reserve what it is about to change. */
const whenReserved = <A, E>(
  { places, reserved }: OpenTorrent,
  files: ReadonlyArray<number>,
  effect: Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.suspend(() => {
    const free = files.find((index) => !Reservations.has(reserved, index))
    return free === undefined ? effect : Effect.die(new Error(`${FilePlaces.nameOf(places, free)} is not reserved`))
  })

const claim = (self: OpenTorrent, claims: ReadonlyArray<FileClaim>) =>
  whenReserved(
    self,
    claims.map(({ file }) => file),
    Effect.suspend(() => each(self, "claim", claims, (claim) => FilePlaces.claim(self.places, claim)))
  )

const rename = (self: OpenTorrent, file: number, path: ReadonlyArray<string>): Effect.Effect<void, StorageError> =>
  Effect.gen(function* () {
    const { folder, places, reserved } = self
    if (FilePaths.pathOf(places, file).join("/") === path.join("/")) return
    const taken = TakenNames.fileAt(self.taken, path)
    if (taken !== undefined && taken !== file)
      return yield* Effect.fail(new FileExists({ path: DownloadFolder.nameOf(folder, path) }))
    const writer = yield* acquire(self, [path])
    const names = FilePaths.pathsOf(places, file)
    yield* Effect.onError(FileMoves.rename(places, file, path), () => writer.release([0]))
    TakenNames.noteRenamed(self.taken, file, names, path)
    const before = Reservations.take(reserved, file)!
    Reservations.add(reserved, [file], writer, () => 1)
    yield* before.writer.release(namesFrom(before.first, names.length))
  }).pipe(Effect.mapError(failing("rename")), (effect) => Turn.take(self.reserving, effect))

const prepare = Effect.fnUntraced(function* (self: OpenTorrent, listed: ReadonlyArray<number>) {
  const { layout, places } = self
  const isListed = Bitfield.make(layout.fileCount)
  for (const index of listed) Bitfield.add(isListed, index)
  const real = FileLayout.realFiles(layout)
  const wanted = real.filter((index) => Bitfield.has(isListed, index))
  for (const index of real) if (!Bitfield.has(isListed, index)) FilePlaces.setAside(places, index)
  const hasAside = yield* FilePlaces.hasAside(places)
  const elsewhere = wanted.filter((index) => hasAside || FilePlaces.isSkipped(places, index))
  yield* each(self, "prepare", elsewhere, (index) => FileMoves.bringBack(places, index))
})

const writePiece = (self: OpenTorrent, piece: PieceIndex, bytes: Uint8Array): Effect.Effect<void, StorageError> =>
  Effect.suspend(() => {
    const { layout, places } = self
    const size = PieceGeometry.pieceSize(layout.geometry, piece)
    if (bytes.length !== size)
      return Effect.die(new RangeError(`piece ${piece} has ${size} bytes, not ${bytes.length}`))
    const spans = FileLayout.realSpans(layout, PieceGeometry.pieceOffset(layout.geometry, piece), size)
    if (self.isClosed()) return failClosed(self, "write")
    const unclaimed = spans.find(({ file }) => !FilePlaces.isClaimed(places, file))
    if (unclaimed !== undefined)
      return Effect.die(new Error(`${FilePlaces.nameOf(places, unclaimed.file)} is not claimed`))
    const write = (span: FileLayout.FileSpan) => FilePlaces.write(places, span.file, part(span, bytes))
    // Most pieces lie in one file.
    return spans.length === 1
      ? Effect.mapError(write(spans[0]!), failing("write"))
      : Effect.asVoid(each(self, "write", spans, write))
  })

/** Fills the parts of a range that padding holds with zeros, and returns the others. */
const spansToRead = ({ layout }: OpenTorrent, begin: number, into: Uint8Array): ReadonlyArray<FileLayout.FileSpan> =>
  FileLayout.spans(layout, begin, into.length).filter((span) => {
    if (!FileLayout.isPadding(layout, span.file)) return true
    into.fill(0, span.begin, span.begin + span.length)
    return false
  })

const readBlock = (
  self: OpenTorrent,
  piece: PieceIndex,
  begin: number,
  length: number,
  into: Uint8Array | undefined
): Effect.Effect<StoredBytes, StorageError> =>
  Effect.suspend(() => {
    const { layout, places } = self
    const size = PieceGeometry.pieceSize(layout.geometry, piece)
    if (begin < 0 || length < 1 || begin + length > size) {
      return Effect.die(new RangeError(`piece ${piece} has ${size} bytes, not ${length} from ${begin}`))
    }
    const bytes = into === undefined ? new Uint8Array(length) : into.subarray(0, length)
    const spans = spansToRead(self, PieceGeometry.pieceOffset(layout.geometry, piece) + begin, bytes)
    const readSpan = (span: FileLayout.FileSpan) =>
      Effect.flatMap(FilePlaces.readAndLook(places, span.file, part(span, bytes)), ({ facts, read }) =>
        read === span.length
          ? Effect.succeed(facts)
          : Effect.fail(new NotStored({ path: FilePlaces.nameOf(places, span.file) }))
      )
    return Effect.map(each(self, "read", spans, readSpan), (files) => ({
      bytes,
      files: files.filter((facts) => facts !== undefined)
    }))
  })

const readRange = (self: OpenTorrent, begin: number, into: Uint8Array) =>
  Effect.suspend(() => {
    const { layout, places } = self
    const missing: Array<PieceDigests.MissingRange> = []
    const readSpan = (span: FileLayout.FileSpan) =>
      FilePlaces.read(places, span.file, part(span, into)).pipe(
        Effect.catchIf(
          (reason) => reason._tag === "NotStored",
          () => Effect.succeed(0)
        ),
        Effect.tap((read) =>
          Effect.sync(() => {
            if (read === span.length) return
            // The file ends here, so the rest of it is missing as well.
            const offset = FileLayout.offsetOf(layout, span.file)
            const end = offset + FileLayout.lengthOf(layout, span.file)
            missing.push({ begin: offset + span.fileOffset + read, end })
          })
        )
      )
    return Effect.as(each(self, "digest", spansToRead(self, begin, into), readSpan), missing)
  })

const digests = (self: OpenTorrent, pieces: Iterable<PieceIndex>) =>
  // By name again: a recheck reports what is there now, not what an open descriptor still holds.
  Stream.unwrap(
    Effect.suspend(() =>
      Effect.as(
        Effect.forEach(FilePlaces.used(self.places), TorrentFile.reopen, { concurrency, discard: true }),
        PieceDigests.make({
          geometry: self.layout.geometry,
          hasher: self.hasher,
          read: (begin, into) => readRange(self, begin, into),
          pieces
        })
      )
    )
  )

const flushFile = (
  self: OpenTorrent,
  index: number
): Effect.Effect<{ readonly flushed: FlushedFile; readonly path?: string | undefined }> =>
  Effect.match(FilePlaces.sync(self.places, index), {
    onSuccess: ({ facts, path }) => ({ flushed: { file: index, facts }, path }),
    onFailure: (reason) => ({ flushed: { file: index, reason } })
  })

const flush = Effect.fnUntraced(function* (self: OpenTorrent, files: ReadonlyArray<number>) {
  const outcomes = yield* each(self, "flush", files, (index) => flushFile(self, index))
  const lost = yield* each(self, "flush", DownloadFolder.changed(self.folder), (path) =>
    Effect.match(syncFolder(self, path), { onSuccess: () => [], onFailure: (reason) => [{ path, reason }] })
  )
  const failures = lost.flat()
  return outcomes.map(({ flushed, path }): FlushedFile => {
    if ("reason" in flushed || path === undefined) return flushed
    const failure = failures.find((failure) => path.startsWith(failure.path))
    return failure === undefined ? flushed : { file: flushed.file, reason: failure.reason }
  })
})

const syncFolder = ({ folder, fs, handles, isClosed }: OpenTorrent, path: string) =>
  Effect.suspend(() => {
    DownloadFolder.unmarkChanged(folder, path)
    const synced = Effect.mapError(NodeFile.syncFolder(fs, path, DownloadFolder.isLocalThroughout(folder)), (error) =>
      FileSystemError.reasonOf(error, path, "read")
    )
    const closed = Effect.fail<StorageReason>(new StorageUnavailable({ path, why: TorrentFile.afterClose }))
    return handles.beside(Effect.suspend(() => (isClosed() ? closed : synced))).pipe(
      // A folder that was deleted keeps nothing, and Windows cannot open a folder.
      Effect.catchIf(
        (reason) => reason._tag === "NotStored" || reason._tag === "StorageRefused",
        () => Effect.void
      ),
      Effect.onError(() => Effect.sync(() => DownloadFolder.markChanged(folder, path)))
    )
  })

const remove = (self: OpenTorrent, files: ReadonlyArray<number>): Effect.Effect<void, StorageError> =>
  whenReserved(
    self,
    files,
    // One at a time, because they share folders, which are removed with the last of them.
    Effect.suspend(() => Effect.asVoid(each(self, "remove", files, (index) => FileMoves.remove(self.places, index), 1)))
  )
