/**
 * A medium in memory: for tests, which can look inside it, and for downloads that nobody wants to keep.
 *
 * It remembers pieces, not files; what a file would hold is put together when somebody looks. A torrent that is opened
 * again with the same files finds what it stored. Stored pieces are never changed in place, so a digest that is being
 * computed does not see a write that comes meanwhile. Nothing here is faster or slower than its caller: tests of delays
 * and failures put `testing/FaultyStorage.ts` around it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Bytes from "../base/Bytes.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import { PieceHasher } from "../piece/PieceHasher.ts"
import {
  DigestMismatch,
  DiskFull,
  NotStored,
  Storage,
  StorageError,
  type StoredDigest,
  type TorrentStorage
} from "./Storage.ts"

/** How much a medium takes. */
export interface MemoryStorageOptions {
  /**
   * Bytes that all torrents together may store; padding counts nothing. Default: no limit, as torrents are as large as
   * they are. A write that would exceed it stores nothing and fails with `DiskFull`.
   */
  readonly capacity?: number | undefined
  /** Whether pieces are compared with their digest here, as the io-daemon does. Default: no. */
  readonly verifies?: boolean | undefined
}

/** What a medium holds of one torrent. */
export interface MemoryTorrent {
  /** Paths of the files that exist, components joined with `/`, in the order of the layout. */
  readonly paths: ReadonlyArray<string>
  /**
   * A copy of a file's bytes, up to the last one stored, with zeros in the holes; `undefined` where it does not exist.
   */
  readonly file: (path: string) => Uint8Array | undefined
  /** How often a piece was written with success. */
  readonly writes: (piece: number) => number
  /** Whether every piece is stored. */
  readonly isWhole: boolean
}

/** The inside of the medium behind a `Storage`, for tests. Synchronous, so it can be asked between any two steps. */
export class MemoryMedium extends Context.Service<
  MemoryMedium,
  {
    /** What is held of the torrent with these files; nothing, where it was never opened. */
    readonly torrent: (layout: FileLayout.FileLayout) => MemoryTorrent
    /** Bytes stored by all torrents. */
    readonly usedBytes: () => number
    /** Changes the capacity; what is stored stays, also when it is more. */
    readonly setCapacity: (bytes: number | undefined) => void
    /** Adds one to a stored byte, as a failing disk does; throws a `RangeError` where the piece is not stored. */
    readonly damage: (layout: FileLayout.FileLayout, piece: number, begin: number) => void
    /** Loses a stored piece, as somebody does who deletes or cuts off a file. */
    readonly forget: (layout: FileLayout.FileLayout, piece: number) => void
    /** How many torrents are open. */
    readonly openCount: () => number
  }
>()("piecewise/storage/MemoryMedium") {}

/** What is kept of one torrent, from one opening to the next. */
interface Kept {
  readonly layout: FileLayout.FileLayout
  readonly pieces: Map<number, Uint8Array>
  readonly writes: Map<number, number>
  /** Indices of files that exist. */
  readonly files: Set<number>
}

const nameOf = (file: FileLayout.LayoutFile): string => file.path.join("/")

// A torrent is known by its files, as on a disk; a path has no NUL in it.
const keyOf = (layout: FileLayout.FileLayout): string =>
  [layout.geometry.pieceLength, ...layout.files.map((file) => `${nameOf(file)}\0${file.length}`)].join("\0")

const storedLength = (layout: FileLayout.FileLayout, piece: PieceIndex): number => {
  let length = 0
  for (const span of FileLayout.pieceSpans(layout, piece)) if (!layout.files[span.file]!.padding) length += span.length
  return length
}

const inspect = (kept: Kept): MemoryTorrent => {
  const { layout, pieces } = kept
  const listed = [...kept.files].sort((a, b) => a - b)
  return {
    paths: listed.map((file) => nameOf(layout.files[file]!)),
    file: (path) => {
      const index = listed.find((file) => nameOf(layout.files[file]!) === path)
      if (index === undefined) return undefined
      const file = layout.files[index]!
      const bytes = new Uint8Array(file.length)
      let end = 0
      for (const [piece, stored] of pieces) {
        for (const span of FileLayout.pieceSpans(layout, piece as PieceIndex)) {
          if (span.file !== index) continue
          bytes.set(stored.subarray(span.begin, span.begin + span.length), span.fileOffset)
          end = Math.max(end, span.fileOffset + span.length)
        }
      }
      return bytes.slice(0, end)
    },
    writes: (piece) => kept.writes.get(piece) ?? 0,
    isWhole: pieces.size === layout.geometry.pieceCount
  }
}

/** Makes an empty medium and its inside. */
export const make = Effect.fnUntraced(function* (options: MemoryStorageOptions = {}) {
  const hasher = yield* PieceHasher
  const torrents = new Map<string, Kept>()
  let capacity = options.capacity ?? Number.POSITIVE_INFINITY
  let used = 0
  let opened = 0

  const keep = (layout: FileLayout.FileLayout): Kept => {
    const key = keyOf(layout)
    const known = torrents.get(key)
    if (known !== undefined) return known
    const kept: Kept = { layout, pieces: new Map(), writes: new Map(), files: new Set() }
    torrents.set(key, kept)
    return kept
  }

  const open = (layout: FileLayout.FileLayout): TorrentStorage => {
    const { pieces, writes, files } = keep(layout)

    const nameAt = (piece: PieceIndex, begin: number) =>
      nameOf(
        layout.files[FileLayout.spans(layout, PieceGeometry.pieceOffset(layout.geometry, piece) + begin, 1)[0]!.file]!
      )

    const digest = (piece: PieceIndex): Effect.Effect<StoredDigest> => {
      const stored = pieces.get(piece)
      if (stored === undefined) return Effect.succeed({ piece, sha1: undefined })
      return Effect.map(hasher.sha1(stored), (sha1) => ({ piece, sha1 }))
    }

    const write = (piece: PieceIndex, bytes: Uint8Array): Effect.Effect<void, StorageError> =>
      Effect.suspend(() => {
        const size = PieceGeometry.pieceSize(layout.geometry, piece)
        if (bytes.length !== size)
          return Effect.die(new RangeError(`piece ${piece} has ${size} bytes: ${bytes.length}`))
        const grown = pieces.has(piece) ? 0 : storedLength(layout, piece)
        if (used + grown > capacity)
          return Effect.fail(StorageError.of("write", [new DiskFull({ path: nameAt(piece, 0) })]))
        used += grown
        const copy = bytes.slice()
        for (const span of FileLayout.pieceSpans(layout, piece)) {
          if (layout.files[span.file]!.padding) copy.fill(0, span.begin, span.begin + span.length)
          else files.add(span.file)
        }
        pieces.set(piece, copy)
        writes.set(piece, (writes.get(piece) ?? 0) + 1)
        return Effect.void
      })

    return {
      prepare: (wanted) =>
        Effect.sync(() => {
          for (const index of wanted) {
            const file = layout.files[index]
            if (file?.length === 0 && !file.padding) files.add(index)
          }
        }),
      verifies: options.verifies,
      writePiece: Effect.fnUntraced(function* (piece, bytes, sha1) {
        if (options.verifies === true && sha1 !== undefined && !Bytes.equals(yield* hasher.sha1(bytes), sha1)) {
          return yield* StorageError.of("write", [new DigestMismatch({ path: nameAt(piece, 0) })])
        }
        return yield* write(piece, bytes)
      }),
      readBlock: (piece, begin, length) =>
        Effect.suspend(() => {
          const size = PieceGeometry.pieceSize(layout.geometry, piece)
          if (begin < 0 || length < 1 || begin + length > size) {
            return Effect.die(new RangeError(`piece ${piece} has ${size} bytes, not ${length} from ${begin}`))
          }
          const stored = pieces.get(piece)
          if (stored === undefined)
            return Effect.fail(StorageError.of("read", [new NotStored({ path: nameAt(piece, begin) })]))
          return Effect.succeed(stored.slice(begin, begin + length))
        }),
      digests: (asked) => Stream.mapEffect(Stream.fromIterable(asked), digest),
      flush: Effect.void
    }
  }

  const storage = Storage.of({
    open: (layout) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          opened++
          return open(layout)
        }),
        () => Effect.sync(() => void opened--)
      )
  })

  const storedUnsafe = (layout: FileLayout.FileLayout, piece: number) => {
    const stored = keep(layout).pieces.get(piece)
    if (stored === undefined) throw new RangeError(`piece ${piece} is not stored`)
    return stored
  }

  const medium = MemoryMedium.of({
    torrent: (layout) => inspect(keep(layout)),
    usedBytes: () => used,
    setCapacity: (bytes) => {
      capacity = bytes ?? Number.POSITIVE_INFINITY
    },
    damage: (layout, piece, begin) => {
      const copy = storedUnsafe(layout, piece).slice()
      if (begin < 0 || begin >= copy.length) throw new RangeError(`piece ${piece} has no byte ${begin}`)
      copy[begin]!++
      keep(layout).pieces.set(piece, copy)
    },
    forget: (layout, piece) => {
      storedUnsafe(layout, piece)
      used -= storedLength(layout, piece as PieceIndex)
      keep(layout).pieces.delete(piece)
    },
    openCount: () => opened
  })

  return { storage, medium }
})

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
