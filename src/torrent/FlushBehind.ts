/**
 * Brings what was written to the disk while the download goes on, so that little is left to flush at its end, and says
 * truly what a power cut would leave.
 *
 * After a failed flush the system may hold lost bytes for written (after a failed fsync Linux keeps the pages as clean), so a
 * second flush would call them safe; and what is written to the same blocks later may be lost as well (ext4 keeps those as
 * never written whose write-back failed, and reads zeros from them after the next mount). The file is therefore copied to
 * fresh blocks, and every piece since its last good flush is read, verified and written again before the next flush. Until
 * that succeeds nothing else is written, and the storage is failing.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Semaphore from "effect/Semaphore"
import * as Bitfield from "../base/Bitfield.ts"
import * as Bytes from "../base/Bytes.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import type { PieceHasher } from "../hash/PieceHasher.ts"
import {
  type FileFacts,
  type FlushedFile,
  StorageError,
  type StorageReason,
  type TorrentStorage
} from "../storage/Storage.ts"
import * as KnownFiles from "./KnownFiles.ts"

/**
 * Bytes written after which a flush begins: 32 MiB. Less would have the disk wait for its own confirmations; more would
 * show at the end of a download.
 */
export const flushBytes = 32 << 20

/** Bytes that are not flushed at any time, at most: while a flush runs as many again may be written. */
export const maxUnflushedBytes = 2 * flushBytes

/** How long what was written waits at most before it is flushed. */
export const flushEvery = "30 seconds"

/** First and longest wait before a failed flush is tried again (milliseconds); it doubles in between. */
export const firstRetryDelay = 500
export const maxRetryDelay = 8_000

/** What becomes of flushes. */
export type Fact = { readonly _tag: "FlushFailed"; readonly error: StorageError } | { readonly _tag: "FlushRecovered" }

/** What is needed to flush. */
export interface Options {
  readonly storage: Pick<TorrentStorage, "flush" | "readBlock" | "look">
  readonly geometry: PieceGeometry.PieceGeometry
  readonly known: KnownFiles.KnownFiles
  readonly stored: Bitfield.Bitfield
  /** Those of `stored` that survive a power cut; grows. */
  readonly flushed: Bitfield.Bitfield
  /** Stored pieces that a failed flush may have lost, and that were not written again yet. Nothing is flushed before they are. */
  readonly unsaved: Set<PieceIndex>
  readonly digestOf: (piece: PieceIndex) => Uint8Array
  readonly hasher: PieceHasher["Service"]
  /** Copies a file to fresh blocks, which no failed flush has touched. */
  readonly renew: (file: number) => Effect.Effect<void, StorageError>
  /** Writes a piece again that was verified just now. */
  readonly rewrite: (piece: PieceIndex, bytes: Uint8Array) => Effect.Effect<void, StorageError>
  /** Hears of pieces that a failed flush may have lost, and of the files whose flush failed, before anything else. */
  readonly onUnsafe: (pieces: ReadonlyArray<PieceIndex>, files: ReadonlyArray<number>) => Effect.Effect<void>
  /** Hears of each piece that was written again. */
  readonly onSaved: (piece: PieceIndex) => void
  /** Hears that files cannot even be looked at after a failed flush: the medium itself is away. */
  readonly onAway: () => void
  /** Hears of pieces that were lost by a failed flush. */
  readonly onLost: (pieces: ReadonlyArray<PieceIndex>) => void
  /** Looks after files that cannot be flushed as somebody deleted, cut off or replaced them; returns those to flush again. */
  readonly onChanged: (files: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<number>>
  /** Hears of pieces that survive a power cut now, and of the files that were flushed with them. */
  readonly onFlushed: (pieces: ReadonlyArray<PieceIndex>, files: ReadonlyArray<FileFacts>) => Effect.Effect<void>
  readonly report: (fact: Fact) => void
}

/** Flushes. */
export interface FlushBehind {
  /** Admits bytes to be written, and returns whether it did. Not while flushes fail, nor while too much is unflushed. */
  readonly admitNow: (bytes: number) => boolean
  /** Waits until so many bytes are admitted. */
  readonly admit: (bytes: number) => Effect.Effect<void>
  /** The write of so many admitted bytes has ended. Those of a failed write are not counted any more. */
  readonly end: (bytes: number, isWritten: boolean) => void
  /** These files were changed in some other way than by `write`. */
  readonly noteDirty: (files: ReadonlyArray<number>) => void
  /** A write of admitted bytes begins; `noteWritten` is told of its end, whatever that is. */
  readonly noteWriting: () => void
  readonly noteWritten: (files: ReadonlyArray<number>) => void
  /** Whether something that was written is not flushed. */
  readonly isDirty: () => boolean
  /** Flushes until nothing is left to flush. */
  readonly all: Effect.Effect<void>
  /** Flushes what is left once, before the torrent stops; not if flushes have failed, which the next run knows. */
  readonly last: Effect.Effect<void>
  /** Flushes behind the download, for ever. */
  readonly run: Effect.Effect<never>
}

/** Makes it. Files with stored pieces that are not flushed count as written. */
export const make = Effect.fnUntraced(function* (options: Options) {
  const { digestOf, flushed, geometry, hasher, known, report, storage, stored, unsaved } = options
  const dirty = new Set<number>()
  /** Bytes that were admitted, but for those that the last flush was about. */
  let unflushedBytes = 0
  /** Those of them whose write has not ended. */
  let writingBytes = 0
  /** Bytes that are being flushed. */
  let flushingBytes = 0
  let isFailing = false
  let isFlushing = false
  /** Files of which a flush has failed since the last good one. */
  const unsafe = new Set<number>()
  /** Files to be put on fresh blocks before the next flush, as one has failed in this run or an earlier one. */
  const stale = new Set<number>()
  /** Writes that have begun and not ended, and who waits for room. */
  let writes = 0
  let waiting = 0
  const noWrites = yield* Latch.make(true)
  const wanted = yield* Latch.make(false)
  const writable = yield* Latch.make(true)
  const turn = yield* Semaphore.make(1)

  const unflushed = (): ReadonlyArray<PieceIndex> => {
    const pieces: Array<PieceIndex> = []
    for (let at = 0; at < stored.bytes.length; at++) {
      if ((stored.bytes[at]! & ~flushed.bytes[at]!) === 0) continue
      for (let piece = at * 8; piece < Math.min(at * 8 + 8, stored.length); piece++)
        if (Bitfield.has(stored, piece) && !Bitfield.has(flushed, piece)) pieces.push(piece as PieceIndex)
    }
    return pieces
  }

  /** These files have something to flush; those that are stale are put on fresh blocks before. */
  const soil = (files: ReadonlyArray<number>): void => {
    for (const file of files) {
      dirty.add(file)
      if (known.files.get(file)?.isStale === true) stale.add(file)
    }
  }
  for (const piece of unflushed()) soil(KnownFiles.filesOf(known, piece))

  /** Whether more bytes may be written; a piece above the limit may if it is alone. */
  const hasRoom = (bytes: number): boolean => {
    const unflushedNow = unflushedBytes + flushingBytes
    return !isFailing && (unflushedNow === 0 || unflushedNow + bytes <= maxUnflushedBytes)
  }

  const admitNow = (bytes: number): boolean => {
    if (!hasRoom(bytes)) return false
    unflushedBytes += bytes
    writingBytes += bytes
    if (unflushedBytes >= flushBytes) Latch.openUnsafe(wanted)
    return true
  }

  const admit = (bytes: number): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (admitNow(bytes)) return Effect.void
      Latch.closeUnsafe(writable)
      Latch.openUnsafe(wanted)
      waiting++
      return writable.await.pipe(Effect.ensuring(Effect.sync(() => void waiting--)), Effect.andThen(admit(bytes)))
    })

  const reportAway = ({ reason }: StorageError) =>
    Effect.sync(() => {
      if (reason._tag === "StorageUnavailable") options.onAway()
    })

  /** Reads a piece that may be lost, and writes it again. Whether it could. */
  const save = Effect.fnUntraced(function* (piece: PieceIndex) {
    const size = PieceGeometry.pieceSize(geometry, piece)
    const read = yield* Effect.result(storage.readBlock(piece, 0, size))
    const bytes = read._tag === "Success" ? read.success.bytes : undefined
    if (bytes === undefined && read._tag === "Failure" && read.failure.reason._tag !== "NotStored") {
      return yield* Effect.fail(read.failure)
    }
    // What cannot be looked at is not lost.
    if (bytes === undefined) yield* Effect.tapError(storage.look(KnownFiles.filesOf(known, piece)), reportAway)
    if (bytes === undefined || !Bytes.equals(yield* hasher.sha1(bytes), digestOf(piece))) return false
    yield* options.rewrite(piece, bytes)
    return true
  })

  /** Whether every file whose flush has failed lies on fresh blocks. */
  const renewAll = Effect.gen(function* () {
    for (const file of stale) {
      // Another file has its place by now, or it was claimed anew.
      const isRenewed = known.files.get(file)?.isStale !== true
      const renewed = isRenewed ? undefined : yield* Effect.result(Effect.tapError(options.renew(file), reportAway))
      if (renewed?._tag === "Failure") return false
      stale.delete(file)
    }
    return true
  })

  /** Whether all that may be lost was written again, or dropped. */
  const saveAll = Effect.gen(function* () {
    if (!(yield* renewAll)) return false
    const lost: Array<PieceIndex> = []
    for (const piece of unsaved) {
      if (Bitfield.has(stored, piece)) {
        const saved = yield* Effect.result(save(piece))
        if (saved._tag === "Failure") break
        if (saved.success) options.onSaved(piece)
        else lost.push(piece)
      }
      unsaved.delete(piece)
    }
    if (lost.length > 0) options.onLost(lost)
    return unsaved.size === 0
  })

  /** One flush of all that was written; the reasons for which it failed. */
  const flush = Effect.fnUntraced(function* (isLast: boolean) {
    isFlushing = true
    const files = [...dirty]
    const isNamed = new Set(files)
    const pieces = unflushed()
    dirty.clear()
    // What is being written now this flush may come too early for.
    flushingBytes = unflushedBytes - writingBytes
    unflushedBytes = writingBytes
    const outcomes = yield* Effect.catch(storage.flush(files), (error) =>
      Effect.succeed(files.map((file): FlushedFile => ({ file, reason: error.reason })))
    )
    flushingBytes = 0
    const good = new Map<number, FileFacts>()
    const failed = new Map<number, StorageReason>()
    const changed: Array<number> = []
    for (const outcome of outcomes) {
      if ("facts" in outcome) good.set(outcome.file, outcome.facts)
      else if (outcome.reason._tag === "FileChanged" || outcome.reason._tag === "NotStored") changed.push(outcome.file)
      else failed.set(outcome.file, outcome.reason)
    }
    for (const file of failed.keys()) dirty.add(file)
    for (const file of good.keys()) unsafe.delete(file)
    for (const file of [...failed.keys(), ...changed]) unsafe.add(file)
    const [first, ...others] = failed.values()
    if (first !== undefined && !isFailing)
      report({ _tag: "FlushFailed", error: StorageError.of("flush", [first, ...others]) })
    // At once: whoever waits for room while this flush runs must not write now.
    isFailing ||= failed.size > 0
    Latch.openUnsafe(writable)
    const isSafe = (file: number) => good.has(file) || !(isNamed.has(file) || unsafe.has(file))
    const safe = pieces.filter((piece) => Bitfield.has(stored, piece) && KnownFiles.filesOf(known, piece).every(isSafe))
    for (const piece of safe) Bitfield.add(flushed, piece)
    yield* options.onFlushed(safe, [...good.values()])
    if (changed.length > 0 && !isLast) soil(yield* options.onChanged(changed))
    isFlushing = false
    return failed
  })

  /**
   * Whether everything that was written is flushed now; else it is remembered what may be lost. A stop waits for it: the
   * system reports a failure once, and a later run would believe what it has not heard of.
   */
  const attempt = Effect.fnUntraced(function* (isLast: boolean) {
    const failed = yield* flush(isLast)
    if (failed.size === 0) {
      if (isFailing) report({ _tag: "FlushRecovered" })
      isFailing = false
      Latch.openUnsafe(writable)
      return true
    }
    // The system may have lost bytes of a write that was under way as well.
    yield* noWrites.await
    yield* Effect.yieldNow
    for (const piece of unflushed()) {
      if (KnownFiles.filesOf(known, piece).some((file) => failed.has(file))) unsaved.add(piece)
    }
    for (const file of failed.keys()) {
      stale.add(file)
      const entry = known.files.get(file)
      if (entry !== undefined) entry.isStale = true
    }
    yield* options.onUnsafe([...unsaved], [...failed.keys()])
    return false
  }, Effect.uninterruptible)

  /** The same after what may be lost was written again. */
  const once = Effect.gen(function* () {
    if (!(yield* saveAll)) return false
    if (yield* attempt(false)) return true
    yield* saveAll
    return false
  })

  const untilGood = Effect.gen(function* () {
    for (let delay = firstRetryDelay; !(yield* once); delay = Math.min(maxRetryDelay, delay * 2)) {
      yield* Effect.sleep(delay)
    }
  })

  /** Nothing to flush costs nothing, also while another flush is under way. */
  const flushDirty = Effect.suspend(() => {
    if (dirty.size > 0) return untilGood
    // What was written and touched no file. Whoever waits for a write that goes on is woken by its end.
    if (writes === 0 && unflushedBytes > writingBytes) {
      unflushedBytes = writingBytes
      Latch.openUnsafe(writable)
    }
    return Effect.void
  }).pipe(turn.withPermit)

  const noteDirty = (files: ReadonlyArray<number>): void => {
    soil(files)
    if (waiting > 0 || unflushedBytes >= flushBytes) Latch.openUnsafe(wanted)
  }

  const self: FlushBehind = {
    admitNow,
    admit,
    end: (bytes, isWritten) => {
      writingBytes -= bytes
      if (!isWritten) {
        unflushedBytes -= bytes
        Latch.openUnsafe(writable)
      } else if (waiting > 0) Latch.openUnsafe(wanted)
    },
    noteDirty,
    noteWriting: () => {
      writes++
      Latch.closeUnsafe(noWrites)
    },
    noteWritten: (files) => {
      if (--writes === 0) Latch.openUnsafe(noWrites)
      // Also after a failure, which may have left a part of it.
      noteDirty(files)
    },
    isDirty: () => dirty.size > 0 || isFlushing,
    all: Effect.whileLoop({ while: () => dirty.size > 0 || isFlushing, body: () => flushDirty, step: () => {} }),
    last: Effect.suspend(() => {
      const isIdle = isFailing || dirty.size === 0 || stale.size > 0
      return isIdle ? Effect.void : Effect.asVoid(attempt(true))
    }).pipe(turn.withPermit),
    run: Effect.raceFirst(wanted.await, Effect.sleep(flushEvery)).pipe(
      Effect.tap(() => Effect.sync(() => Latch.closeUnsafe(wanted))),
      Effect.andThen(flushDirty),
      Effect.forever
    )
  }
  return self
})
