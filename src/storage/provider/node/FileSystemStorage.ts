/**
 * Torrents as files below a download folder: the embedded default.
 *
 * The part of a piece in one file is written at its place, in calls of at most 128 KiB (`NodeFile.ts`). Files grow
 * as pieces are stored: nothing is preallocated, and a later piece that is stored first leaves a hole before it. Only a
 * claim makes a file or opens one for writing, so seeding never changes a file.
 *
 * Files may disappear, shrink or be replaced while a torrent is open, and POSIX lets writes into a deleted file succeed
 * into nothing. So a claimed file is looked at by its path (one `lstat`) at every flush, and before a write if 8 MiB
 * were written since the last look. If it has changed, its writes fail until it is claimed again, because pieces that
 * count as stored are gone. A read looks at the path afterwards, and is repeated if another file has the name by then.
 *
 * An error that a network disk reports only when a file is closed is reported by the next flush of that file. One
 * torrent is in `FileSystemTorrent.ts`, links and folders in `DownloadFolder.ts`, names in `FileNames.ts`, the places
 * of skipped files in `FilePlaces.ts`, one file in `TorrentFile.ts` while it is used and in `RestingFiles.ts`
 * otherwise, copies of files with other names in `OwnCopy.ts`, the bound on open files in `FileHandles.ts`, locks of
 * writers in `locks/NodeWriterLocks.ts`, error numbers in `FileSystemError.ts`.
 */
import * as Path from "node:path"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Descriptors from "../../../base/Descriptors.ts"
import * as Environment from "../../../base/Environment.ts"
import type { InfoHash } from "../../../base/InfoHash.ts"
import { PieceHasher } from "../../../hash/PieceHasher.ts"
import { PieceThread } from "../../../hash/provider/node/PieceThread.ts"
import type { FileLayout } from "../../../metainfo/FileLayout.ts"
import { Storage } from "../../Storage.ts"
import * as DescriptorLimit from "./DescriptorLimit.ts"
import * as FileHandles from "./FileHandles.ts"
import * as FileSystemTorrent from "./FileSystemTorrent.ts"
import * as FolderMove from "./FolderMove.ts"
import * as NodeWriterLocks from "./locks/NodeWriterLocks.ts"
import * as NodeFile from "./NodeFile.ts"

export type { SystemError } from "./FileSystemError.ts"
export type { FilePart, NodeFileSystem } from "./NodeFile.ts"

/** Where torrents are kept, and how much of the process they may take. */
export interface FileSystemStorageOptions {
  /** The download folder. Made with the first file; may be a symbolic link. */
  readonly directory: string
  /**
   * The download folder of a torrent, if it is another one. Asked each time that a torrent is opened. Default: none has
   * another one.
   */
  readonly directoryOf?: ((infoHash: InfoHash) => string | undefined) | undefined
  /**
   * Files open at a time, over all torrents; at least 1. Default: an eighth of what the process may open, from 32 to
   * 512; 128 if that is not known. With too few, files are reopened again and again for pieces that alternate between
   * them. If the process has no descriptors left, idle files are closed, and fewer are kept open for a while.
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
 * The most files that stay open by default: as many as are usually written between two flushes. To open a file, look at
 * it and close it costs some 60 us, which is paid again for each write and flush of a file that is not open. For 2,000
 * files of 512 MiB in all, files are opened 10,600 times with 32, 9,800 times with 128, 7,300 times with 256 and 5,500
 * times with 512.
 */
export const defaultMaxOpenFiles = 512

/**
 * `defaultMaxOpenFiles`, or an eighth of the files that this process may open if that is less. Connections need the
 * rest: when the last descriptor is taken, libuv drops incoming ones, and says so to nobody.
 */
const maxOpenFilesOf = (limit: number | undefined): number =>
  Math.max(FileHandles.maxInUse, Math.min(defaultMaxOpenFiles, Math.floor((limit ?? 1_024) / 8)))

/** Makes the storage. Tests pass their own `calls`. */
export const make = Effect.fnUntraced(function* (
  options: FileSystemStorageOptions,
  calls: NodeFile.NodeFileSystem = NodeFile.nodeFileSystem
) {
  const hasher = yield* PieceHasher
  const thread = yield* PieceThread
  const fs = thread === undefined ? calls : NodeFile.withThread(calls, thread)
  const handles = FileHandles.make({
    capacity: options.maxOpenFiles ?? maxOpenFilesOf(DescriptorLimit.ofProcess()),
    close: (fd) => NodeFile.call((done) => fs.close(fd, done)),
    closeNow: (fd) => NodeFile.closeNow(fs, fd)
  })
  yield* Descriptors.register("spare", handles.closeIdle)

  const openIn = (directory: string, layout: FileLayout) =>
    Effect.map(
      Effect.acquireRelease(
        Effect.map(Scope.make(), (reservations) => {
          const locks = NodeWriterLocks.make({ directory })
          return FileSystemTorrent.open({ ...options, directory, fs, handles, hasher, layout, locks, reservations })
        }),
        ({ close }) => close
      ),
      ({ torrent }) => torrent
    )
  const directoryIn = (folder: string | undefined) =>
    folder === undefined ? options.directory : Path.resolve(options.directory, folder)
  return Storage.of({
    open: ({ infoHash, layout }) => openIn(options.directoryOf?.(infoHash) ?? options.directory, layout),
    move: (asked) => {
      const { from, layout, to } = asked
      const open = (directory: string) => openIn(directory, layout)
      return FolderMove.make({ fs, handles, open }, asked, directoryIn(from), directoryIn(to))
    }
  })
})

/**
 * Keeps torrents below `directory`.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { mkdtemp, rm, writeFile } from "node:fs/promises"
 * import { tmpdir } from "node:os"
 * import { join } from "node:path"
 * import { Effect, Layer } from "effect"
 * import { CreateTorrent, Metainfo, PieceGeometry, Storage } from "piecewise"
 * import { FileSystemStorage, NodePieceHasher } from "piecewise/node"
 *
 * const directory = await mkdtemp(join(tmpdir(), "piecewise-"))
 * await writeFile(join(directory, "hello"), "hello")
 * const files = [{ path: [], length: 5 }]
 * const bytes = CreateTorrent.encode({ name: "hello", files, pieceLength: 16_384, digests: new Uint8Array(20) })
 * const program = Effect.gen(function* () {
 *   const metainfo = yield* Metainfo.fromBytes(bytes)
 *   const torrent = yield* Storage.Storage.use((storage) => storage.open(metainfo))
 *   const piece = PieceGeometry.pieceIndexUnsafe(metainfo.layout.geometry, 0)
 *   const stored = yield* torrent.readBlock(piece, 1, 4)
 *   assert.equal(new TextDecoder().decode(stored.bytes), "ello")
 * })
 * const layer = Layer.provideMerge(FileSystemStorage.layer({ directory }), NodePieceHasher.layer)
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(layer)))
 * await rm(directory, { recursive: true })
 * ```
 */
export const layer = (options: FileSystemStorageOptions): Layer.Layer<Storage, never, PieceHasher> =>
  Layer.effect(Storage, make(options))

/**
 * Reads `PIECEWISE_DIRECTORY`, which must be set, `PIECEWISE_MAX_OPEN_FILES` and `PIECEWISE_FOLLOW_LINKS`
 * (docs/configuration.md).
 */
export const fromEnvironment = (): Config.Config<FileSystemStorageOptions> =>
  Config.all({
    directory: Environment.directory(),
    maxOpenFiles: Environment.optional(Environment.integer("PIECEWISE_MAX_OPEN_FILES", 1, 1_000_000)),
    followLinks: Environment.optional(Environment.flag("PIECEWISE_FOLLOW_LINKS"))
  })

/** Keeps torrents as `config` says when the layer is built. Fails with `ConfigError` if a value is bad or missing. */
export const layerConfig = (
  config: Config.Wrap<FileSystemStorageOptions> = fromEnvironment()
): Layer.Layer<Storage, Config.ConfigError, PieceHasher> =>
  Layer.unwrap(Effect.map(Config.unwrap<FileSystemStorageOptions>(config), layer))
