/**
 * A medium in memory: for tests, which can inspect it, and for downloads that nobody wants to keep.
 *
 * It behaves as a download folder does, with the files of all torrents in one place: two torrents that name the same
 * path see the same bytes, and unwanted files are set aside below `AsideFolder`. A torrent that is opened again finds
 * what it stored. A read returns a copy, so that a digest in progress does not see a later write. It adds no delay and
 * no failure of its own: tests wrap it in `testing/FaultyStorage.ts` for those.
 *
 * `MemoryMedium` is the same folder from the other side: its methods do to the files what a user, a failing disk and a
 * power cut do.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as PieceGeometry from "../../../base/PieceGeometry.ts"
import { PieceHasher } from "../../../hash/PieceHasher.ts"
import * as FileLayout from "../../../metainfo/FileLayout.ts"
import { type OpenOptions, Storage, type StorageReason, type TorrentStorage } from "../../Storage.ts"
import * as MemoryFiles from "./MemoryFiles.ts"
import * as MemoryTorrent from "./MemoryTorrent.ts"

/** What a medium is like. */
export interface MemoryStorageOptions {
  /**
   * Bytes that all files together may hold, without padding and holes. Default: no limit. A write that would exceed it
   * stores nothing and fails with `DiskFull`.
   */
  readonly capacity?: number | undefined
  /** Whether pieces are compared with their digest here, as the io-daemon does. Default: no. */
  readonly verifies?: boolean | undefined
  /** Remembers what a power cut would leave, which costs a second copy of every byte. Default: no. */
  readonly remembersFlushed?: boolean | undefined
}

/** What a medium holds of one torrent. */
export interface HeldTorrent {
  /** Paths of its files that exist in their place, components joined with `/`, in the order of the layout. */
  readonly paths: ReadonlyArray<string>
  /** A copy of a file's bytes, with zeros in the holes; `undefined` if it does not exist in its place. */
  readonly file: (path: string) => Uint8Array | undefined
  /** How often the write of a piece succeeded. */
  readonly writes: (piece: number) => number
  /** Whether every byte of it is stored, in its place. */
  readonly isWhole: boolean
}

/**
 * The folder behind a `Storage`, for tests. Synchronous, so tests can inspect and change it between any two steps. A
 * path is relative to the download folder, with `/`. What changes a file throws a `RangeError` if there is none.
 */
export class MemoryMedium extends Context.Service<
  MemoryMedium,
  {
    /** What the medium holds of the torrent with these files; nothing if it was never opened. */
    readonly torrent: (layout: FileLayout.FileLayout) => HeldTorrent
    /** Bytes that all files hold. */
    readonly usedBytes: () => number
    /** Changes the capacity. What is stored stays, even if it is more. */
    readonly setCapacity: (bytes: number | undefined) => void
    /** How many torrents are open. */
    readonly openCount: () => number

    /** The sorted paths of everything on the medium, including what was set aside. */
    readonly paths: () => ReadonlyArray<string>
    /** A copy of the bytes at a path; `undefined` if there is no regular file. */
    readonly read: (path: string) => Uint8Array | undefined
    /** How many names the file at a path has; 0 if there is none. */
    readonly names: (path: string) => number

    /** Puts a new file at a path and replaces what was there; a number makes a hole of so many bytes. */
    readonly put: (path: string, content: Uint8Array | number) => void
    /** Puts something that is no regular file at a path and replaces what was there. */
    readonly block: (path: string) => void
    /** Adds a name to the file at `from`, and replaces what had that name. */
    readonly link: (from: string, to: string) => void
    /** Writes into the file at a path, as an editor does. */
    readonly modify: (path: string, offset: number, bytes: Uint8Array) => void
    /** Changes only the time at which a file was changed. */
    readonly touch: (path: string) => void
    /** Cuts a file, or extends it. */
    readonly cut: (path: string, length: number) => void
    /** Replaces a file by a new one with the same bytes. */
    readonly replace: (path: string) => void
    readonly move: (from: string, to: string) => void
    readonly remove: (path: string) => void

    /** Adds one to a stored byte, as a failing disk does: the file's facts do not show it. */
    readonly damage: (layout: FileLayout.FileLayout, piece: number, begin: number) => void
    /** Makes a stored piece a hole, as if a user cut its files and let them grow again. */
    readonly forget: (layout: FileLayout.FileLayout, piece: number) => void
    /** Fails every look with a reason; `undefined` stops that. */
    readonly failLooks: (reason: StorageReason | undefined) => void
    /**
     * Fails every flush of the file at a path, so that a power cut loses its unflushed bytes; `undefined` stops that.
     */
    readonly failFlushes: (path: string, reason: StorageReason | undefined) => void
    /** Loses what no successful flush covered. Throws unless the medium `remembersFlushed`. */
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

  /** The parts of a stored piece, by file; throws if it is not stored. */
  const stored = (layout: FileLayout.FileLayout, piece: number) =>
    MemoryTorrent.pieceSpans(layout, PieceGeometry.pieceIndexUnsafe(layout.geometry, piece)).map((span) => {
      const path = MemoryTorrent.pathOf(FileLayout.pathOf(layout, span.file))
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

/** Keeps torrents in memory, for as long as the layer exists. */
export const layer = (options?: MemoryStorageOptions): Layer.Layer<Storage, never, PieceHasher> =>
  Layer.effect(
    Storage,
    Effect.map(make(options), ({ storage }) => storage)
  )

/**
 * The same, with its inside.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect, Layer } from "effect"
 * import { MemoryStorage, PieceGeometry, Storage, WebCryptoPieceHasher } from "piecewise"
 * import { KnownTorrent } from "piecewise/testing"
 *
 * const program = Effect.gen(function* () {
 *   const { content, metainfo } = yield* KnownTorrent.make({ files: [{ path: [], length: 5 }], pieceLength: 16_384 })
 *   const piece = PieceGeometry.pieceIndexUnsafe(metainfo.layout.geometry, 0)
 *   const torrent = yield* Storage.Storage.use((storage) => storage.open(metainfo))
 *   yield* torrent.reserve([0])
 *   yield* torrent.claim([{ file: 0, as: "new" }])
 *   yield* torrent.writePiece(piece, content(piece))
 *
 *   const medium = yield* MemoryStorage.MemoryMedium
 *   assert.deepEqual(medium.read("known"), content(piece))
 * })
 * const layer = Layer.provideMerge(MemoryStorage.layerTest(), WebCryptoPieceHasher.layer)
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(layer)))
 * ```
 */
export const layerTest = (options?: MemoryStorageOptions): Layer.Layer<Storage | MemoryMedium, never, PieceHasher> =>
  Layer.effectContext(
    Effect.map(make(options), ({ storage, medium }) =>
      Context.make(Storage, storage).pipe(Context.add(MemoryMedium, medium))
    )
  )
