/**
 * Storage over a store of objects: S3 and its like, a table of a database, a key-value store. You write four operations
 * (`ObjectStore`), and this keeps the contract of `Storage`: a piece is one object, and a file is the pieces that it
 * lies in.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect, Layer } from "effect"
 * import { ObjectStorage, WebCryptoPieceHasher } from "piecewise"
 * import { StorageSuite } from "piecewise/testing"
 *
 * const objects = new Map<string, Uint8Array>()
 * const store: ObjectStorage.ObjectStore = {
 *   put: (key, bytes) => Effect.sync(() => void objects.set(key, bytes.slice())),
 *   get: (key, begin, length) =>
 *     Effect.sync(() => {
 *       const bytes = objects.get(key)?.slice(begin, begin + length)
 *       return bytes?.length === length ? { bytes } : undefined
 *     }),
 *   list: (prefix) => Effect.sync(() => [...objects.keys()].flatMap((key) => (key.startsWith(prefix) ? { key } : []))),
 *   remove: (keys) => Effect.sync(() => keys.forEach((key) => objects.delete(key)))
 * }
 * const storage = Layer.provide(ObjectStorage.layer(store), WebCryptoPieceHasher.layer)
 * for (const { run } of StorageSuite.cases) {
 *   objects.clear()
 *   await Effect.runPromise(Effect.provide(run, storage))
 * }
 * assert(StorageSuite.cases.length > 20)
 * ```
 *
 * Objects of a torrent have keys below its info hash, so torrents share no file, and a path only names a file in
 * messages. Bytes of unwanted files are in the pieces that they share. A change by another program is noticed if it
 * adds or deletes objects, or changes their versions. Only one process at a time may write a torrent to a store: this
 * process keeps its own torrents apart, and does not see those of others.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import type { PieceIndex } from "../../../base/PieceGeometry.ts"
import * as PieceGeometry from "../../../base/PieceGeometry.ts"
import * as Turn from "../../../base/Turn.ts"
import { PieceHasher } from "../../../hash/PieceHasher.ts"
import * as FileLayout from "../../../metainfo/FileLayout.ts"
import {
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
  StorageUnavailable,
  type TorrentStorage,
  WriterConflict
} from "../../Storage.ts"
import * as ObjectIndex from "./ObjectIndex.ts"

export type { Listed } from "./ObjectIndex.ts"

/**
 * Bytes under keys. Keys consist of lower-case letters, digits, `/` and `-`, and have at most 80 characters. Failures
 * are the reasons of `Storage.ts`: `StorageUnavailable` for what may pass, `StorageRefused` for what lasts, `DiskFull`.
 * Operations should have a timeout, because one that has begun is not always interrupted.
 */
export interface ObjectStore {
  /**
   * Stores an object in place of an earlier one, whole or not at all. Returns its version, or `undefined` if the store
   * has none. The bytes may be reused once this returns, and may lie in shared memory, which some clients must copy.
   */
  readonly put: (key: string, bytes: Uint8Array) => Effect.Effect<string | undefined, StorageReason>
  /**
   * `length` bytes from `begin` of an object, in fresh memory, and its version, if the store has versions: that of these
   * bytes, because it shows that somebody replaced the object. `undefined` if there is no such object, or it is shorter.
   */
  readonly get: (key: string, begin: number, length: number) => Effect.Effect<Found | undefined, StorageReason>
  /** All objects whose keys begin with a prefix. */
  readonly list: (prefix: string) => Effect.Effect<Iterable<ObjectIndex.Listed>, StorageReason>
  /** Deletes objects. A missing one is no error. */
  readonly remove: (keys: ReadonlyArray<string>) => Effect.Effect<void, StorageReason>
  /** Makes what was put survive a power cut. Default: it does when `put` returns. */
  readonly flush?: Effect.Effect<void, StorageReason> | undefined
}

/** What was read of an object. */
export interface Found {
  readonly bytes: Uint8Array
  readonly version?: string | undefined
}

/** Markers of files that are put at once. */
const putsAtOnce = 16

/** A storage over a store. */
export const make = Effect.fnUntraced(function* (store: ObjectStore) {
  const hasher = yield* PieceHasher
  /** The opening that writes each file, by info hash in hex and index. */
  const writers = new Map<string, object>()
  return Storage.of({
    open: (options) =>
      Effect.map(
        Effect.acquireRelease(open({ store, hasher, writers }, options), ({ close }) => Effect.sync(close)),
        ({ torrent }) => torrent
      )
  })
})

/** Provides a storage over a store. */
export const layer = (store: ObjectStore): Layer.Layer<Storage, never, PieceHasher> =>
  Layer.effect(Storage, make(store))

interface Shared {
  readonly store: ObjectStore
  readonly hasher: PieceHasher["Service"]
  readonly writers: Map<string, object>
}

/** What happened to a file that was something else before, as the end of a sentence. */
const whyChanged = (before: FileFacts | undefined, now: FileFacts | undefined): string | undefined => {
  if (before === undefined) return undefined
  if (now === undefined) return "was deleted"
  if (now.identity !== before.identity) return "was replaced"
  return now.length < before.length ? "was cut off" : undefined
}

const open = Effect.fnUntraced(function* ({ hasher, store, writers }: Shared, { infoHash, layout }: OpenOptions) {
  const { geometry } = layout
  const me = {}
  let isClosed = false
  let index = ObjectIndex.make(infoHash, layout)
  /** Our own changes since the listing under way began: it may or may not show them. */
  let since: Array<(index: ObjectIndex.ObjectIndex) => void> | undefined
  const turn = Turn.make()
  const paths = Array.from(FileLayout.indices(layout), (file) => FileLayout.pathOf(layout, file).join("/"))
  const taken = new Set(paths)
  /** Claimed files, and why each may not be written until it is claimed again. */
  const claims = new Map<number, FileChanged | undefined>()

  const failing = (operation: StorageError["operation"]) =>
    Effect.mapError((reason: StorageReason) => StorageError.of(operation, [reason]))

  const failed = (operation: StorageError["operation"], reasons: ReadonlyArray<StorageReason>) => {
    const [first, ...others] = reasons
    return first === undefined ? Effect.void : Effect.fail(StorageError.of(operation, [first, ...others]))
  }

  const note = (change: (index: ObjectIndex.ObjectIndex) => void): void => {
    change(index)
    since?.push(change)
  }

  /** Lets writes to a claimed file fail until it is claimed again. */
  const deny = (file: number, why: string): void => {
    if (claims.has(file)) claims.set(file, claims.get(file) ?? new FileChanged({ path: paths[file]!, why }))
  }

  /** Lists the objects again, and notices what others did to claimed files. */
  const refresh = Turn.take(
    turn,
    Effect.suspend(() => {
      const changes: typeof since = []
      since = changes
      return Effect.map(store.list(ObjectIndex.prefix(index)), (listed) => {
        const next = ObjectIndex.make(infoHash, layout)
        ObjectIndex.read(next, listed)
        for (const change of changes) change(next)
        for (const file of claims.keys()) {
          const why = whyChanged(ObjectIndex.factsOf(index, file), ObjectIndex.factsOf(next, file))
          if (why !== undefined) deny(file, why)
        }
        index = next
      }).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            since = undefined
          })
        )
      )
    })
  )
  yield* failing("open")(refresh)

  const writerKey = (file: number): string => `${index.hex}/${file}`
  const isReserved = (file: number): boolean => writers.get(writerKey(file)) === me

  /** The defect of a caller that did not reserve these files first. */
  const reserved = (files: Iterable<number>): Effect.Effect<void> => {
    for (const file of files) if (!isReserved(file)) return Effect.die(new Error(`${paths[file]} is not reserved`))
    return Effect.void
  }

  const release = (files: Iterable<number>): void => {
    for (const file of files) {
      if (!isReserved(file)) continue
      writers.delete(writerKey(file))
      claims.delete(file)
    }
  }

  /** What is wrong with a claim, if anything. */
  const objection = (claim: FileClaim): StorageReason | undefined => {
    const path = paths[claim.file]!
    const now = ObjectIndex.factsOf(index, claim.file)
    if (claim.as === "new") return now === undefined ? undefined : new FileExists({ path })
    if (claim.as === "overwritten") return undefined
    const { facts } = claim
    const isSame = now?.length === facts.length && now.mtimeNs === facts.mtimeNs
    const why = whyChanged(facts, now) ?? (isSame ? undefined : "was changed")
    return why === undefined ? undefined : new FileChanged({ path, why })
  }

  const mark = Effect.fnUntraced(function* (file: number) {
    const identity = ((yield* Random.nextIntBetween(1, 0x7fff_ffff)) >>> 0).toString(16)
    yield* store.put(ObjectIndex.fileKey(index, file, identity), new Uint8Array(0))
    note((index) => index.files.set(file, identity))
  })

  const claimAll = Effect.fnUntraced(function* (asked: ReadonlyArray<FileClaim>) {
    const reasons: Array<StorageReason> = []
    const accepted = asked.filter((claim) => {
      const reason = objection(claim)
      if (reason !== undefined) reasons.push(reason)
      return reason === undefined
    })
    const missing = accepted.filter(({ file }) => !index.files.has(file))
    yield* failing("claim")(
      Effect.forEach(missing, ({ file }) => mark(file), { concurrency: putsAtOnce, discard: true })
    )
    for (const { file } of accepted) claims.set(file, undefined)
    yield* failed("claim", reasons)
    return asked.map(({ file }) => ObjectIndex.factsOf(index, file)!)
  }, Effect.uninterruptible)

  const write = Effect.fnUntraced(function* (piece: PieceIndex, bytes: Uint8Array) {
    const size = PieceGeometry.pieceSize(geometry, piece)
    if (bytes.length !== size)
      return yield* Effect.die(new RangeError(`piece ${piece} has ${size} bytes: ${bytes.length}`))
    const files = ObjectIndex.filesOf(index, piece)
    const unclaimed = files.find((file) => !claims.has(file))
    if (unclaimed !== undefined) return yield* Effect.die(new Error(`${paths[unclaimed]} is not claimed`))
    yield* failed(
      "write",
      files.flatMap((file) => claims.get(file) ?? [])
    )
    const version = yield* failing("write")(store.put(ObjectIndex.pieceKey(index, piece), bytes))
    note((index) => ObjectIndex.setPiece(index, piece, version ?? ""))
  }, Effect.uninterruptible)

  /** The first file of a range that does not exist. */
  const missingIn = (offset: number, length: number): number | undefined =>
    FileLayout.realSpans(layout, offset, length).find(({ file }) => !index.files.has(file))?.file

  /** Reads a piece, and notes what others did to it. */
  const fetch = Effect.fnUntraced(function* (
    operation: "read" | "digest",
    piece: PieceIndex,
    begin: number,
    length: number
  ) {
    const before = index.pieces.get(piece)
    if (before === undefined) return undefined
    const found = yield* failing(operation)(store.get(ObjectIndex.pieceKey(index, piece), begin, length))
    // Unless it was put meanwhile, which the read may not have seen.
    if (index.pieces.get(piece) !== before) return found
    if (found === undefined) note((index) => ObjectIndex.removePiece(index, piece))
    else if (found.version !== undefined && found.version !== before) {
      const { version } = found
      note((index) => ObjectIndex.setPiece(index, piece, version))
    }
    return found
  })

  const read = Effect.fnUntraced(function* (piece: PieceIndex, begin: number, length: number) {
    const size = PieceGeometry.pieceSize(geometry, piece)
    if (begin < 0 || length < 1 || begin + length > size) {
      return yield* Effect.die(new RangeError(`piece ${piece} has ${size} bytes, not ${length} from ${begin}`))
    }
    const offset = PieceGeometry.pieceOffset(geometry, piece) + begin
    const spans = FileLayout.realSpans(layout, offset, length)
    const missing = missingIn(offset, length)
    const path = paths[missing ?? spans[0]?.file ?? 0]!
    if (missing !== undefined) return yield* StorageError.of("read", [new NotStored({ path })])
    const found = yield* fetch("read", piece, begin, length)
    if (found === undefined) return yield* StorageError.of("read", [new NotStored({ path })])
    return { bytes: found.bytes, files: spans.flatMap(({ file }) => ObjectIndex.factsOf(index, file) ?? []) }
  })

  const digest = Effect.fnUntraced(function* (piece: PieceIndex) {
    const size = PieceGeometry.pieceSize(geometry, piece)
    const isThere = missingIn(PieceGeometry.pieceOffset(geometry, piece), size) === undefined
    const found = isThere ? yield* fetch("digest", piece, 0, size) : undefined
    return { piece, sha1: found && (yield* hasher.sha1(found.bytes)) }
  })

  const flushOne = (file: number): FlushedFile => {
    const facts = ObjectIndex.factsOf(index, file)
    const reason = claims.get(file) ?? (facts === undefined ? new NotStored({ path: paths[file]! }) : undefined)
    return reason === undefined ? { file, facts: facts! } : { file, reason }
  }

  const removeAll = Effect.fnUntraced(function* (files: ReadonlyArray<number>) {
    const gone = files.filter((file) => index.files.has(file))
    const left = new Set(index.files.keys())
    for (const file of gone) left.delete(file)
    const touched = new Set<number>()
    for (const file of gone) {
      const { end, first } = FileLayout.filePieces(layout, file)
      for (let piece = first; piece < end; piece++) if (index.pieces.has(piece)) touched.add(piece)
    }
    // A piece stays as long as it has a byte of a file that stays.
    const pieces = new Set(
      [...touched].filter((piece) => !ObjectIndex.filesOf(index, piece).some((file) => left.has(file)))
    )
    // Pieces of nothing but padding go with the last file.
    if (left.size === 0) for (const piece of index.pieces.keys()) pieces.add(piece)
    yield* store.remove([
      ...gone.map((file) => ObjectIndex.fileKey(index, file, index.files.get(file)!)),
      ...[...pieces].map((piece) => ObjectIndex.pieceKey(index, piece))
    ])
    note((index) => {
      for (const file of gone) index.files.delete(file)
      for (const piece of pieces) ObjectIndex.removePiece(index, piece)
    })
    for (const file of gone) deny(file, "was deleted")
  }, Effect.uninterruptible)

  const torrent: TorrentStorage = {
    digestBytes: geometry.pieceLength,
    look: (files) => Effect.map(failing("look")(refresh), () => files.map((file) => ObjectIndex.factsOf(index, file))),
    reserve: (files) =>
      Effect.suspend(() => {
        const path = paths[files[0] ?? 0]!
        if (isClosed) return failed("reserve", [new StorageUnavailable({ path, why: "the torrent is closed" })])
        const conflicts = files.filter((file) => (writers.get(writerKey(file)) ?? me) !== me)
        const holder = "another torrent of this process"
        if (conflicts.length > 0) {
          return failed(
            "reserve",
            conflicts.map((file) => new WriterConflict({ path: paths[file]!, holder }))
          )
        }
        for (const file of files) writers.set(writerKey(file), me)
        return Effect.void
      }),
    release: (files) => Effect.sync(() => release(files)),
    claim: Effect.fnUntraced(function* (asked) {
      yield* reserved(asked.map(({ file }) => file))
      // Writes in flight must fail from now on, even if the claim fails.
      for (const { file } of asked) deny(file, "was changed")
      if (asked.some(({ as }) => as === "found")) yield* failing("claim")(refresh)
      return yield* claimAll(asked)
    }),
    prepare: () => Effect.void,
    writePiece: write,
    readBlock: read,
    digests: (pieces) => Stream.mapEffect(Stream.fromIterable(pieces), digest),
    flush: (files) =>
      Effect.map(failing("flush")(Effect.andThen(store.flush ?? Effect.void, refresh)), () => files.map(flushOne)),
    rename: (file, to) =>
      Effect.suspend(() => {
        const path = to.join("/")
        if (!isReserved(file)) return reserved([file])
        if (path === paths[file]) return Effect.void
        if (taken.has(path)) return failed("rename", [new FileExists({ path })])
        taken.delete(paths[file]!)
        taken.add(path)
        paths[file] = path
        return Effect.void
      }),
    remove: Effect.fnUntraced(function* (files) {
      yield* reserved(files)
      yield* failing("remove")(Effect.andThen(refresh, removeAll(files)))
    })
  }

  return {
    torrent,
    close: () => {
      isClosed = true
      release(FileLayout.indices(layout))
    }
  }
})
