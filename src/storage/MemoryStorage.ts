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
import * as Stream from "effect/Stream"
import * as Bytes from "../base/Bytes.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import { PieceHasher } from "../piece/PieceHasher.ts"
import * as AsideFolder from "./AsideFolder.ts"
import * as MemoryFiles from "./MemoryFiles.ts"
import {
  DigestMismatch,
  DiskFull,
  FileChanged,
  type FileClaim,
  FileExists,
  type FileFacts,
  type FlushedFile,
  NotStored,
  type OpenOptions,
  Storage,
  StorageError,
  type StorageReason,
  StorageRefused,
  type StoredDigest,
  type TorrentStorage,
  WriterConflict
} from "./Storage.ts"

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
export interface MemoryTorrent {
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
    readonly torrent: (layout: FileLayout.FileLayout) => MemoryTorrent
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
    /** Writes into the file at a path, as an editor does. */
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

/** A file that may be written. */
interface Claim {
  path: string
  file: MemoryFiles.MemoryFile
  /** One past the last byte that was there when it was claimed, or was written since. */
  end: number
  /** Why it may not be written until it is claimed again. */
  changed: FileChanged | undefined
}

/** How often each piece was written, by torrent: one is known by its files. */
type Writes = Map<number, number>

const pathOf = (components: ReadonlyArray<string>): string => components.join("/")

const asidePath = (path: string): string => `${pathOf(AsideFolder.components)}/${path}`

// A path has no NUL in it.
const keyOf = (layout: FileLayout.FileLayout): string =>
  [layout.geometry.pieceLength, ...layout.files.map((file) => `${pathOf(file.path)}\0${file.length}`)].join("\0")

const realSpans = (layout: FileLayout.FileLayout, begin: number, length: number): ReadonlyArray<FileLayout.FileSpan> =>
  FileLayout.spans(layout, begin, length).filter(({ file }) => !layout.files[file]!.padding)

const pieceSpans = (layout: FileLayout.FileLayout, piece: PieceIndex): ReadonlyArray<FileLayout.FileSpan> =>
  realSpans(layout, PieceGeometry.pieceOffset(layout.geometry, piece), PieceGeometry.pieceSize(layout.geometry, piece))

/** Makes an empty medium and its inside. */
export const make = Effect.fnUntraced(function* (options: MemoryStorageOptions = {}) {
  const hasher = yield* PieceHasher
  const disk = MemoryFiles.make({ remembersFlushed: options.remembersFlushed ?? false })
  const writers = new Map<string, object>()
  const written = new Map<string, Writes>()
  const flushFailures = new Map<string, StorageReason>()
  let lookFailure: StorageReason | undefined
  let capacity = options.capacity ?? Number.POSITIVE_INFINITY
  let opened = 0

  const writesOf = (layout: FileLayout.FileLayout): Writes => {
    const key = keyOf(layout)
    const known = written.get(key)
    if (known !== undefined) return known
    const writes: Writes = new Map()
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
            return openTorrent(shared, layout, writesOf(layout))
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
    pieceSpans(layout, PieceGeometry.pieceIndexUnsafe(layout.geometry, piece)).map((span) => {
      const path = pathOf(layout.files[span.file]!.path)
      const file = disk.files.get(path) ?? disk.files.get(asidePath(path))
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

const inspect = (disk: MemoryFiles.MemoryFiles, layout: FileLayout.FileLayout, writes: Writes): MemoryTorrent => {
  const real = layout.files.filter(({ padding }) => !padding)
  const fileAt = (path: string) => {
    const file = disk.files.get(path)
    return file?.isRegular === true ? file : undefined
  }
  const paths = real.map(({ path }) => pathOf(path)).filter((path) => fileAt(path) !== undefined)
  return {
    paths,
    file: (path) => {
      const file = paths.includes(path) ? fileAt(path) : undefined
      return file && MemoryFiles.read(file, 0, file.length)
    },
    writes: (piece) => writes.get(piece) ?? 0,
    isWhole: real.every(({ length, path }) => {
      const file = fileAt(pathOf(path))
      return length === 0 || (file !== undefined && MemoryFiles.allocated(file) >= length)
    })
  }
}

/** One opening of a torrent; `close` gives back what it reserved. */
const openTorrent = (
  shared: {
    readonly disk: MemoryFiles.MemoryFiles
    readonly hasher: PieceHasher["Service"]
    readonly verifies: boolean | undefined
    readonly writers: Map<string, object>
    readonly flushFailure: (path: string) => StorageReason | undefined
    readonly lookFailure: () => StorageReason | undefined
    readonly hasRoom: (bytes: number) => boolean
  },
  layout: FileLayout.FileLayout,
  writes: Writes
): { readonly torrent: TorrentStorage; readonly close: () => void } => {
  const { disk, hasher, writers } = shared
  const me = {}
  const places = layout.files.map(({ path }) => pathOf(path))
  const skipped = new Set<number>()
  const claims = new Map<number, Claim>()

  /** Where a file lies, or would be made. */
  const locate = (index: number): string => {
    const claim = claims.get(index)
    if (claim !== undefined && claim.changed === undefined) return claim.path
    const place = places[index]!
    return skipped.has(index) && !MemoryFiles.exists(disk, place) ? asidePath(place) : place
  }

  const fileOf = (index: number): MemoryFiles.MemoryFile | undefined => {
    const file = disk.files.get(locate(index))
    return file?.isRegular === true ? file : undefined
  }

  const factsOf = (index: number, path = locate(index)): FileFacts | undefined => {
    if (!MemoryFiles.exists(disk, path)) return undefined
    const file = disk.files.get(path)
    const isRegular = file?.isRegular === true
    return {
      file: index,
      kind: isRegular ? "file" : "other",
      length: isRegular ? file.length : 0,
      mtimeNs: file?.mtimeNs ?? 0n,
      identity: file?.identity ?? "memory:folder",
      isHole: isRegular && MemoryFiles.allocated(file) === 0,
      isAside: path !== places[index],
      otherNames: isRegular ? file.names - 1 : 0
    }
  }

  const isReserved = (index: number): boolean => writers.get(places[index]!) === me

  /** Why a caller is wrong who did not reserve these files first. */
  const unreserved = (files: Iterable<number>): Effect.Effect<never> | undefined => {
    for (const index of files) {
      if (!isReserved(index)) return Effect.die(new Error(`${places[index]} is not reserved`))
    }
    return undefined
  }

  const failed = (operation: StorageError["operation"], reasons: ReadonlyArray<StorageReason>) => {
    const [first, ...others] = reasons
    return first === undefined ? Effect.void : Effect.fail(StorageError.of(operation, [first, ...others]))
  }

  /** What keeps a claim from what it claims. */
  const objection = (claim: FileClaim, path: string): StorageReason | undefined => {
    const file = disk.files.get(path)
    if (claim.as === "new") return MemoryFiles.exists(disk, path) ? new FileExists({ path }) : refusal(path)
    if (claim.as === "overwritten") return refusal(path)
    const { facts } = claim
    if (!MemoryFiles.exists(disk, path)) return new FileChanged({ path, why: "was deleted" })
    if (file === undefined || file.identity !== facts.identity) return new FileChanged({ path, why: "was replaced" })
    if (file.length < facts.length) return new FileChanged({ path, why: "was cut off" })
    if (file.length !== facts.length || file.mtimeNs !== facts.mtimeNs) {
      return new FileChanged({ path, why: "was changed" })
    }
    return refusal(path)
  }

  const refusal = (path: string): StorageReason | undefined => {
    const why = MemoryFiles.obstacle(disk, path)
    return why === undefined ? undefined : new StorageRefused({ path, why })
  }

  const claimOne = (claim: FileClaim): StorageReason | undefined => {
    const before = claims.get(claim.file)
    // Whoever writes meanwhile is told, also where the claim fails.
    if (before !== undefined) before.changed ??= new FileChanged({ path: before.path, why: "was changed" })
    const path = locate(claim.file)
    const { length } = layout.files[claim.file]!
    const reason = objection(claim, path)
    if (reason !== undefined) return reason
    let file = disk.files.get(path)
    if (file !== undefined && file.names > 1) {
      if (!shared.hasRoom(MemoryFiles.allocated(file))) return new DiskFull({ path })
      file = MemoryFiles.breakOff(disk, path)
    }
    file ??= MemoryFiles.create(disk, path)
    if (claim.as === "overwritten" && file.length > length) MemoryFiles.setLength(disk, file, length)
    claims.set(claim.file, { path, file, end: Math.min(file.length, length), changed: undefined })
    return undefined
  }

  /** Notices that a claimed file is not what it was; only claiming it again ends that. */
  const changeOf = (claim: Claim): FileChanged | undefined => {
    if (claim.changed !== undefined) return claim.changed
    const { path } = claim
    const file = disk.files.get(path)
    const why =
      file === undefined
        ? "was deleted"
        : file !== claim.file
          ? "was replaced"
          : file.length < claim.end
            ? "was cut off"
            : undefined
    if (why !== undefined) claim.changed = new FileChanged({ path, why })
    return claim.changed
  }

  const write = (piece: PieceIndex, bytes: Uint8Array): Effect.Effect<void, StorageError> =>
    Effect.suspend(() => {
      const size = PieceGeometry.pieceSize(layout.geometry, piece)
      if (bytes.length !== size) return Effect.die(new RangeError(`piece ${piece} has ${size} bytes: ${bytes.length}`))
      const parts = pieceSpans(layout, piece).map((span) => ({ span, claim: claims.get(span.file) }))
      const unclaimed = parts.find(({ claim }) => claim === undefined)
      if (unclaimed !== undefined) return Effect.die(new Error(`${places[unclaimed.span.file]} is not claimed`))
      const changes = parts.flatMap(({ claim }) => changeOf(claim!) ?? [])
      if (changes.length > 0) return failed("write", changes)
      const grown = parts.map(({ claim, span }) => MemoryFiles.growth(claim!.file, span.fileOffset, span.length))
      if (!shared.hasRoom(grown.reduce((sum, bytes) => sum + bytes, 0))) {
        const first = parts[grown.findIndex((bytes) => bytes > 0)]!
        return failed("write", [new DiskFull({ path: first.claim!.path })])
      }
      for (const { claim, span } of parts) {
        MemoryFiles.write(disk, claim!.file, span.fileOffset, bytes.subarray(span.begin, span.begin + span.length))
        claim!.end = Math.max(claim!.end, span.fileOffset + span.length)
      }
      writes.set(piece, (writes.get(piece) ?? 0) + 1)
      return Effect.void
    })

  /** A copy of a range of the torrent; the path of the first file that does not hold its part where one does not. */
  const read = (begin: number, length: number): Uint8Array | string => {
    const bytes = new Uint8Array(length)
    for (const span of realSpans(layout, begin, length)) {
      const file = fileOf(span.file)
      const part = file && MemoryFiles.read(file, span.fileOffset, span.length)
      if (part === undefined) return places[span.file]!
      bytes.set(part, span.begin)
    }
    return bytes
  }

  const flushOne = (index: number): FlushedFile => {
    const path = locate(index)
    const failure = shared.flushFailure(path)
    const file = fileOf(index)
    if (failure !== undefined) {
      if (file !== undefined) MemoryFiles.flush(disk, file, false)
      return { file: index, reason: failure }
    }
    const claim = claims.get(index)
    const change = claim && changeOf(claim)
    if (change !== undefined) return { file: index, reason: change }
    if (file === undefined) return { file: index, reason: new NotStored({ path }) }
    MemoryFiles.flush(disk, file)
    return { file: index, facts: factsOf(index)! }
  }

  /** Moves what was set aside of a file to its place. */
  const bringBack = (index: number): StorageReason | undefined => {
    const place = places[index]!
    const aside = asidePath(place)
    if (disk.files.get(aside)?.isRegular !== true) return undefined
    const claim = claims.get(index)
    if (MemoryFiles.exists(disk, place)) {
      MemoryFiles.unlink(disk, aside)
      if (claim?.path === aside) claim.changed ??= new FileChanged({ path: place, why: "was replaced" })
      return undefined
    }
    const reason = refusal(place)
    if (reason !== undefined) return reason
    MemoryFiles.move(disk, aside, place)
    if (claim?.path === aside) claim.path = place
    return undefined
  }

  const release = (files: Iterable<number>): void => {
    for (const index of files) {
      if (!isReserved(index)) continue
      writers.delete(places[index]!)
      claims.delete(index)
    }
  }

  const torrent: TorrentStorage = {
    verifies: shared.verifies,
    look: (files) =>
      Effect.suspend(() => {
        const failure = shared.lookFailure()
        return failure === undefined
          ? Effect.succeed(files.map((index) => factsOf(index)))
          : Effect.fail(StorageError.of("look", [failure]))
      }),
    reserve: (files) =>
      Effect.suspend(() => {
        const conflicts = files.flatMap((index) => {
          const holder = writers.get(places[index]!)
          return holder === undefined || holder === me
            ? []
            : [new WriterConflict({ path: places[index]!, holder: "another torrent of this process" })]
        })
        if (conflicts.length > 0) return failed("reserve", conflicts)
        for (const index of files) writers.set(places[index]!, me)
        return Effect.void
      }),
    release: (files) => Effect.sync(() => release(files)),
    claim: (asked) =>
      Effect.suspend(() => {
        const wrong = unreserved(asked.map(({ file }) => file))
        if (wrong !== undefined) return wrong
        const reasons = asked.flatMap((claim) => claimOne(claim) ?? [])
        return Effect.andThen(
          failed("claim", reasons),
          Effect.sync(() => asked.map(({ file }) => factsOf(file)!))
        )
      }),
    prepare: (wanted) =>
      Effect.suspend(() => {
        const isWanted = new Set(wanted)
        for (const index of layout.files.keys()) {
          if (isWanted.has(index)) skipped.delete(index)
          else if (!layout.files[index]!.padding) skipped.add(index)
        }
        return failed(
          "prepare",
          wanted.flatMap((index) => bringBack(index) ?? [])
        )
      }),
    writePiece: Effect.fnUntraced(function* (piece, bytes, sha1) {
      if (shared.verifies === true && sha1 !== undefined && !Bytes.equals(yield* hasher.sha1(bytes), sha1)) {
        const [span] = pieceSpans(layout, piece)
        return yield* StorageError.of("write", [new DigestMismatch({ path: span ? places[span.file]! : "padding" })])
      }
      return yield* write(piece, bytes)
    }),
    readBlock: (piece, begin, length) =>
      Effect.suspend(() => {
        const size = PieceGeometry.pieceSize(layout.geometry, piece)
        if (begin < 0 || length < 1 || begin + length > size) {
          return Effect.die(new RangeError(`piece ${piece} has ${size} bytes, not ${length} from ${begin}`))
        }
        const offset = PieceGeometry.pieceOffset(layout.geometry, piece) + begin
        const bytes = read(offset, length)
        if (typeof bytes === "string") return Effect.fail(StorageError.of("read", [new NotStored({ path: bytes })]))
        const files = realSpans(layout, offset, length).flatMap(({ file }) => factsOf(file) ?? [])
        return Effect.succeed({ bytes, files })
      }),
    digests: (asked) =>
      Stream.mapEffect(Stream.fromIterable(asked), (piece): Effect.Effect<StoredDigest> => {
        const { geometry } = layout
        const bytes = read(PieceGeometry.pieceOffset(geometry, piece), PieceGeometry.pieceSize(geometry, piece))
        if (typeof bytes === "string") return Effect.succeed({ piece, sha1: undefined })
        return Effect.map(hasher.sha1(bytes), (sha1) => ({ piece, sha1 }))
      }),
    flush: (files) => Effect.sync(() => files.map(flushOne)),
    rename: (index, to) =>
      Effect.suspend(() => {
        const wrong = unreserved([index])
        if (wrong !== undefined) return wrong
        const place = pathOf(to)
        if (place === places[index]) return Effect.void
        if (places.includes(place)) return failed("rename", [new FileExists({ path: place })])
        const holder = writers.get(place)
        if (holder !== undefined && holder !== me) {
          return failed("rename", [new WriterConflict({ path: place, holder: "another torrent of this process" })])
        }
        const from = locate(index)
        const isAside = from !== places[index]
        const target = isAside ? asidePath(place) : place
        if (MemoryFiles.exists(disk, place) || MemoryFiles.exists(disk, target)) {
          return failed("rename", [new FileExists({ path: place })])
        }
        const reason = refusal(target) ?? (MemoryFiles.exists(disk, from) ? refusal(from) : undefined)
        if (reason !== undefined) return failed("rename", [reason])
        if (disk.files.has(from)) MemoryFiles.move(disk, from, target)
        writers.delete(places[index]!)
        writers.set(place, me)
        places[index] = place
        const claim = claims.get(index)
        if (claim !== undefined) claim.path = target
        return Effect.void
      }),
    remove: (files) =>
      Effect.suspend(() => {
        const wrong = unreserved(files)
        if (wrong !== undefined) return wrong
        for (const index of files) {
          for (const path of [places[index]!, asidePath(places[index]!)]) {
            if (disk.files.get(path)?.isRegular === true) MemoryFiles.unlink(disk, path)
          }
          const claim = claims.get(index)
          if (claim !== undefined) changeOf(claim)
        }
        return Effect.void
      })
  }

  return { torrent, close: () => release(layout.files.keys()) }
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
