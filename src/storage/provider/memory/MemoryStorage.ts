/**
 * A medium in memory: for tests, which can look inside it, and for downloads that nobody wants to keep.
 *
 * It behaves as a download folder does, with the files of all torrents in one place: two torrents that name the same path
 * see the same bytes, and files that nobody wants are set aside below `AsideFolder`. A torrent that is opened again finds
 * what it stored. Bytes that are read are a copy, so a digest that is being computed does not see a write that comes
 * meanwhile. Nothing here is faster or slower than its caller: tests of delays and failures put
 * `testing/FaultyStorage.ts` around it.
 *
 * `MemoryMedium` is that folder from behind: whoever holds it may do to the files what a user, a failing disk and a power
 * cut do.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as PieceGeometry from "../../../base/PieceGeometry.ts"
import { PieceHasher } from "../../../hash/PieceHasher.ts"
import type * as FileLayout from "../../../metainfo/FileLayout.ts"
import { type OpenOptions, Storage, type StorageReason, type TorrentStorage } from "../../Storage.ts"
import * as MemoryFiles from "./MemoryFiles.ts"
import * as MemoryTorrent from "./MemoryTorrent.ts"

/** How much a medium takes. */
export interface MemoryStorageOptions {
  /**
   * Bytes that all files together may hold; padding and holes count nothing. Default: no limit, as torrents are as large
   * as they are. A write that would exceed it stores nothing and fails with `DiskFull`.
   */
  readonly capacity?: number | undefined
  /** Whether pieces are compared with their digest here, as the io-daemon does. Default: no. */
  readonly verifies?: boolean | undefined
  /** Remembers what a power cut would leave, at the price of a second copy of every byte. Default: no. */
  readonly remembersFlushed?: boolean | undefined
}

/** What a medium holds of one torrent. */
export interface HeldTorrent {
  /** Paths of its files that exist in their place, components joined with `/`, in the order of the layout. */
  readonly paths: ReadonlyArray<string>
  /** A copy of a file's bytes, with zeros in the holes; `undefined` where it does not exist in its place. */
  readonly file: (path: string) => Uint8Array | undefined
  /** How often a piece was written with success. */
  readonly writes: (piece: number) => number
  /** Whether every byte of it is stored, in its place. */
  readonly isWhole: boolean
}

/**
 * The folder behind a `Storage`, for tests. Synchronous, so it can be asked and changed between any two steps. A path is
 * one below the download folder, with `/`. What changes a file throws a `RangeError` where there is none.
 */
export class MemoryMedium extends Context.Service<
  MemoryMedium,
  {
    /** What is held of the torrent with these files; nothing, where it was never opened. */
    readonly torrent: (layout: FileLayout.FileLayout) => HeldTorrent
    /** Bytes that all files hold. */
    readonly usedBytes: () => number
    /** Changes the capacity; what is stored stays, also when it is more. */
    readonly setCapacity: (bytes: number | undefined) => void
    /** How many torrents are open. */
    readonly openCount: () => number

    /** The paths of everything there is, those set aside included, sorted. */
    readonly paths: () => ReadonlyArray<string>
    /** A copy of the bytes at a path; `undefined` where no regular file is. */
    readonly read: (path: string) => Uint8Array | undefined
    /** How many names the file at a path has; 0 where there is none. */
    readonly names: (path: string) => number

    /** Puts a new file at a path, in the place of what was there; a number makes a hole of so many bytes. */
    readonly put: (path: string, content: Uint8Array | number) => void
    /** Puts something at a path that is no regular file, in the place of what was there. */
    readonly block: (path: string) => void
    /** Gives the file at `from` another name, in the place of what was there. */
    readonly link: (from: string, to: string) => void
    /** MemoryTorrent.Writes into the file at a path, as an editor does. */
    readonly modify: (path: string, offset: number, bytes: Uint8Array) => void
    /** Changes nothing of a file but when it was changed. */
    readonly touch: (path: string) => void
    /** Cuts a file, or makes it longer. */
    readonly cut: (path: string, length: number) => void
    /** Puts a new file with the same bytes in the place of one. */
    readonly replace: (path: string) => void
    readonly move: (from: string, to: string) => void
    readonly remove: (path: string) => void

    /** Adds one to a stored byte, as a failing disk does: nothing else of the file shows it. */
    readonly damage: (layout: FileLayout.FileLayout, piece: number, begin: number) => void
    /** Makes a stored piece a hole, as somebody does who cuts its files and lets them grow again. */
    readonly forget: (layout: FileLayout.FileLayout, piece: number) => void
    /** Fails every look with a reason; `undefined` ends that. */
    readonly failLooks: (reason: StorageReason | undefined) => void
    /** Fails every flush of the file at a path, whose unflushed bytes a power cut then takes; `undefined` ends that. */
    readonly failFlushes: (path: string, reason: StorageReason | undefined) => void
    /** Loses what no good flush covered; only of a medium that `remembersFlushed`, else it throws. */
    readonly cutPower: () => void
  }
>()("piecewise/storage/MemoryMedium") {}

// A path has no NUL in it.
const keyOf = (layout: FileLayout.FileLayout): string =>
  [
    layout.geometry.pieceLength,
    ...layout.files.map((file) => `${MemoryTorrent.pathOf(file.path)}\0${file.length}`)
  ].join("\0")

/** Makes an empty medium and its inside. */
export const make = Effect.fnUntraced(function* (options: MemoryStorageOptions = {}) {
  const hasher = yield* PieceHasher
  const disk = MemoryFiles.make({ remembersFlushed: options.remembersFlushed ?? false })
  const writers = new Map<string, object>()
  const written = new Map<string, MemoryTorrent.Writes>()
  const flushFailures = new Map<string, StorageReason>()
  let lookFailure: StorageReason | undefined
  let capacity = options.capacity ?? Number.POSITIVE_INFINITY
  let opened = 0

  const writesOf = (layout: FileLayout.FileLayout): MemoryTorrent.Writes => {
    const key = keyOf(layout)
    const known = written.get(key)
    if (known !== undefined) return known
    const writes: MemoryTorrent.Writes = new Map()
    written.set(key, writes)
    return writes
  }

  const shared = {
    disk,
    hasher,
    verifies: options.verifies,
    writers,
    flushFailure: (path: string) => flushFailures.get(path),
    lookFailure: () => lookFailure,
    hasRoom: (bytes: number) => disk.usedBytes + bytes <= capacity
  }

  const storage = Storage.of({
    open: ({ layout }: OpenOptions): Effect.Effect<TorrentStorage, never, Scope.Scope> =>
      Effect.map(
        Effect.acquireRelease(
          Effect.sync(() => {
            opened++
            return MemoryTorrent.open(shared, layout, writesOf(layout))
          }),
          ({ close }) =>
            Effect.sync(() => {
              opened--
              close()
            })
        ),
        ({ torrent }) => torrent
      )
  })

  const fileAt = (path: string): MemoryFiles.MemoryFile => {
    const file = disk.files.get(path)
    if (file?.isRegular !== true) throw new RangeError(`no file at ${path}`)
    return file
  }

  const clear = (path: string): void => {
    if (disk.folders.has(path)) throw new RangeError(`a folder is at ${path}`)
    MemoryFiles.unlink(disk, path)
  }

  const put = (path: string, content: Uint8Array | number): void => {
    clear(path)
    const file = MemoryFiles.create(disk, path)
    if (typeof content === "number") MemoryFiles.setLength(disk, file, content)
    else if (content.length > 0) MemoryFiles.write(disk, file, 0, content)
    file.unflushed = []
    MemoryFiles.settle(disk, file, 0, file.length)
  }

  /** The parts of a stored piece, by file; throws where it is not stored. */
  const stored = (layout: FileLayout.FileLayout, piece: number) =>
    MemoryTorrent.pieceSpans(layout, PieceGeometry.pieceIndexUnsafe(layout.geometry, piece)).map((span) => {
      const path = MemoryTorrent.pathOf(layout.files[span.file]!.path)
      const file = disk.files.get(path) ?? disk.files.get(MemoryTorrent.asidePath(path))
      if (file === undefined || file.length < span.fileOffset + span.length) {
        throw new RangeError(`piece ${piece} is not stored`)
      }
      return { span, file }
    })

  const medium = MemoryMedium.of({
    torrent: (layout) => inspect(disk, layout, writesOf(layout)),
    usedBytes: () => disk.usedBytes,
    setCapacity: (bytes) => {
      capacity = bytes ?? Number.POSITIVE_INFINITY
    },
    openCount: () => opened,
    paths: () => [...disk.files.keys()].sort(),
    read: (path) => {
      const file = disk.files.get(path)
      return file?.isRegular === true ? MemoryFiles.read(file, 0, file.length) : undefined
    },
    names: (path) => disk.files.get(path)?.names ?? 0,
    put,
    block: (path) => {
      clear(path)
      MemoryFiles.create(disk, path, false)
    },
    link: (from, to) => {
      const file = fileAt(from)
      clear(to)
      MemoryFiles.link(disk, file, to)
    },
    modify: (path, offset, bytes) => {
      const file = fileAt(path)
      const later = file.unflushed
      MemoryFiles.write(disk, file, offset, bytes)
      file.unflushed = later.slice(0, -1)
      MemoryFiles.settle(disk, file, offset, offset + bytes.length)
    },
    touch: (path) => MemoryFiles.touch(disk, fileAt(path)),
    cut: (path, length) => MemoryFiles.setLength(disk, fileAt(path), length),
    replace: (path) => {
      const file = fileAt(path)
      put(path, MemoryFiles.read(file, 0, file.length)!)
    },
    move: (from, to) => {
      fileAt(from)
      clear(to)
      MemoryFiles.move(disk, from, to)
    },
    remove: (path) => {
      if (!disk.files.has(path)) throw new RangeError(`nothing at ${path}`)
      MemoryFiles.unlink(disk, path)
    },
    damage: (layout, piece, begin) => {
      const size = PieceGeometry.pieceSize(layout.geometry, PieceGeometry.pieceIndexUnsafe(layout.geometry, piece))
      const part = stored(layout, piece).find(({ span }) => begin >= span.begin && begin < span.begin + span.length)
      if (part === undefined) throw new RangeError(`piece ${piece} stores no byte ${begin} of ${size}`)
      const { file, span } = part
      const offset = span.fileOffset + begin - span.begin
      file.content[offset]!++
      if (file.durable !== undefined && offset < file.durable.length) file.durable.content[offset]!++
    },
    forget: (layout, piece) => {
      for (const { file, span } of stored(layout, piece)) {
        MemoryFiles.punch(disk, file, span.fileOffset, span.length)
      }
    },
    failLooks: (reason) => {
      lookFailure = reason
    },
    failFlushes: (path, reason) => {
      if (reason === undefined) flushFailures.delete(path)
      else flushFailures.set(path, reason)
    },
    cutPower: () => {
      if (!disk.remembersFlushed) throw new Error("the medium was not made to remember what is flushed")
      MemoryFiles.cutPower(disk)
    }
  })

  return { storage, medium }
})

const inspect = (
  disk: MemoryFiles.MemoryFiles,
  layout: FileLayout.FileLayout,
  writes: MemoryTorrent.Writes
): HeldTorrent => {
  const real = layout.files.filter(({ padding }) => !padding)
  const fileAt = (path: string) => {
    const file = disk.files.get(path)
    return file?.isRegular === true ? file : undefined
  }
  const paths = real.map(({ path }) => MemoryTorrent.pathOf(path)).filter((path) => fileAt(path) !== undefined)
  return {
    paths,
    file: (path) => {
      const file = paths.includes(path) ? fileAt(path) : undefined
      return file && MemoryFiles.read(file, 0, file.length)
    },
    writes: (piece) => writes.get(piece) ?? 0,
    isWhole: real.every(({ length, path }) => {
      const file = fileAt(MemoryTorrent.pathOf(path))
      return length === 0 || (file !== undefined && MemoryFiles.allocated(file) >= length)
    })
  }
}

/** Keeps torrents in memory, for as long as the layer is there. */
export const layer = (options?: MemoryStorageOptions): Layer.Layer<Storage, never, PieceHasher> =>
  Layer.effect(
    Storage,
    Effect.map(make(options), ({ storage }) => storage)
  )

/** The same, with its inside. */
export const layerTest = (options?: MemoryStorageOptions): Layer.Layer<Storage | MemoryMedium, never, PieceHasher> =>
  Layer.effectContext(
    Effect.map(make(options), ({ storage, medium }) =>
      Context.make(Storage, storage).pipe(Context.add(MemoryMedium, medium))
    )
  )
