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
 * An error that a network disk reports only when a file is closed is reported by the next flush of that file. One
 * torrent is in `FileSystemTorrent.ts`, links and folders in `DownloadFolder.ts`, names in `FileNames.ts`, the places
 * of skipped files in `FilePlaces.ts`, one file in `TorrentFile.ts` while it is used and in `RestingFiles.ts`
 * otherwise, copies of files with other names in `OwnCopy.ts`, the bound on open files in `FileHandles.ts`, locks of
 * writers in `locks/NodeWriterLocks.ts`, error numbers in `FileSystemError.ts`.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Descriptors from "../../../base/Descriptors.ts"
import { PieceHasher } from "../../../hash/PieceHasher.ts"
import { Storage } from "../../Storage.ts"
import * as FileHandles from "./FileHandles.ts"
import * as FileSystemTorrent from "./FileSystemTorrent.ts"
import * as NodeWriterLocks from "./locks/NodeWriterLocks.ts"
import * as NodeFile from "./NodeFile.ts"

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
            FileSystemTorrent.open({ ...options, fs, handles, hasher, layout, locks, reservations })
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
