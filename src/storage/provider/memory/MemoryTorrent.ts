/**
 * One opening of a torrent whose files are in memory. `MemoryStorage.ts` keeps those, and says what this is for.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Bytes from "../../../base/Bytes.ts"
import type { PieceIndex } from "../../../base/PieceGeometry.ts"
import * as PieceGeometry from "../../../base/PieceGeometry.ts"
import type { PieceHasher } from "../../../hash/PieceHasher.ts"
import * as FileLayout from "../../../metainfo/FileLayout.ts"
import * as AsideFolder from "../../AsideFolder.ts"
import {
  DigestMismatch,
  DiskFull,
  FileChanged,
  type FileClaim,
  FileExists,
  type FileFacts,
  type FlushedFile,
  NotStored,
  StorageError,
  type StorageReason,
  StorageRefused,
  StorageUnavailable,
  type StoredDigest,
  type TorrentStorage,
  WriterConflict
} from "../../Storage.ts"
import * as MemoryFiles from "./MemoryFiles.ts"

/** How often each piece was written, by torrent. A torrent is known by its files. */
export type Writes = Map<number, number>

/** A file that may be written. */
interface Claim {
  path: string
  file: MemoryFiles.MemoryFile
  /** One past the last byte that was there when it was claimed, or that was written since. */
  end: number
  /** Why it may not be written until it is claimed again. */
  changed: FileChanged | undefined
}

/** Components, as the path of a file on the disk. */
export const pathOf = (components: ReadonlyArray<string>): string => components.join("/")

/** Where a file is set aside. */
export const asidePath = (path: string): string => `${pathOf(AsideFolder.components)}/${path}`

/** The parts of a piece that files hold. */
export const pieceSpans = (layout: FileLayout.FileLayout, piece: PieceIndex): ReadonlyArray<FileLayout.FileSpan> =>
  FileLayout.realSpans(
    layout,
    PieceGeometry.pieceOffset(layout.geometry, piece),
    PieceGeometry.pieceSize(layout.geometry, piece)
  )

/** Opens a torrent; `close` releases what it reserved. */
export const open = (
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
  let isClosed = false
  const places = Array.from(FileLayout.indices(layout), (file) => pathOf(FileLayout.pathOf(layout, file)))
  const skipped = new Set<number>()
  const claims = new Map<number, Claim>()

  /** Where a file is, or would be made. */
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

  /** The defect of a caller that did not reserve these files first. */
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

  /** What is wrong with a claim, if anything. */
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
    // Writes in flight must fail from now on, even if the claim fails.
    if (before !== undefined) before.changed ??= new FileChanged({ path: before.path, why: "was changed" })
    const path = locate(claim.file)
    const length = FileLayout.lengthOf(layout, claim.file)
    const reason = objection(claim, path)
    if (reason !== undefined) return reason
    let file = disk.files.get(path)
    const isAfresh = claim.as === "found" && claim.afresh === true
    if (file !== undefined && (file.names > 1 || isAfresh)) {
      const failure = shared.flushFailure(path)
      if (failure !== undefined) return failure
      if (!shared.hasRoom(MemoryFiles.allocated(file))) return new DiskFull({ path })
      file = MemoryFiles.breakOff(disk, path)
    }
    file ??= MemoryFiles.create(disk, path)
    if (claim.as === "overwritten" && file.length > length) MemoryFiles.setLength(disk, file, length)
    claims.set(claim.file, { path, file, end: Math.min(file.length, length), changed: undefined })
    return undefined
  }

  /** Notes that a claimed file has changed; only another claim ends that. */
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

  /** A copy of a range of the torrent, or the path of the first file that does not hold its part. */
  const read = (begin: number, length: number): Uint8Array | string => {
    const bytes = new Uint8Array(length)
    for (const span of FileLayout.realSpans(layout, begin, length)) {
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
        if (isClosed) {
          return failed("reserve", [new StorageUnavailable({ path: places[files[0]!]!, why: "the torrent is closed" })])
        }
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
        for (const index of FileLayout.indices(layout)) {
          if (isWanted.has(index)) skipped.delete(index)
          else if (!FileLayout.isPadding(layout, index)) skipped.add(index)
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
        const files = FileLayout.realSpans(layout, offset, length).flatMap(({ file }) => factsOf(file) ?? [])
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

  return {
    torrent,
    close: () => {
      isClosed = true
      release(FileLayout.indices(layout))
    }
  }
}
