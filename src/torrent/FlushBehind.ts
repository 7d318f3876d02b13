/**
 * Flushes what was written while the download goes on, so that little is left to flush at its end. Knows which pieces
 * survive a power cut.
 *
 * After a failed fsync Linux marks the lost pages as clean, so a second flush would succeed although bytes are lost.
 * Later writes to the same blocks may be lost as well: ext4 treats blocks whose write-back failed as never written, and
 * they read as zeros after the next mount. So after a failed flush the file is copied to fresh blocks, and every piece
 * since its last good flush is read, verified and written again before the next flush. Until that succeeds nothing else
 * is written, and the storage is failing.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Bitfield from "../base/Bitfield.ts"
import * as Bytes from "../base/Bytes.ts"
import * as Gate from "../base/Gate.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as Signal from "../base/Signal.ts"
import * as Turn from "../base/Turn.ts"
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
 * How many written bytes start a flush: 32 MiB. If it is smaller, the disk waits for its own confirmations; if it is
 * larger, the flush at the end of a download becomes noticeable.
 */
export const flushBytes = 32 << 20

/** The most bytes that may be unflushed: while one batch is flushed, another may be written. */
export const maxUnflushedBytes = 2 * flushBytes

/** The longest time that written bytes wait for a flush. */
export const flushEvery = "30 seconds"

/** First and longest wait before a failed flush is tried again, in milliseconds. It doubles in between. */
export const firstRetryDelay = 500
export const maxRetryDelay = 8_000

/** Flushes began to fail, or succeed again. */
export type Fact = { readonly _tag: "FlushFailed"; readonly error: StorageError } | { readonly _tag: "FlushRecovered" }

/** What flushing needs. */
export interface Options {
  readonly storage: Pick<TorrentStorage, "flush" | "readBlock" | "look">
  readonly geometry: PieceGeometry.PieceGeometry
  readonly known: KnownFiles.KnownFiles
  readonly stored: Bitfield.Bitfield
  /** The pieces of `stored` that survive a power cut. This module adds them. */
  readonly flushed: Bitfield.Bitfield
  /**
   * Stored pieces that a failed flush may have lost and that were not written again yet. They come before the next
   * flush.
   */
  readonly unsaved: Set<PieceIndex>
  readonly digestOf: (piece: PieceIndex) => Uint8Array
  readonly hasher: PieceHasher["Service"]
  /** Borrows memory for a piece that is read to be written again. Must not wait for pieces that wait for a flush. */
  readonly borrow: (bytes: number) => Effect.Effect<void, never, Scope.Scope>
  /** Copies a file to fresh blocks, which no failed flush has touched. */
  readonly renew: (file: number) => Effect.Effect<void, StorageError>
  /** Writes a piece again that was just verified. */
  readonly rewrite: (piece: PieceIndex, bytes: Uint8Array) => Effect.Effect<void, StorageError>
  /** Called first after a failed flush, with the pieces that it may have lost and the files that it failed for. */
  readonly onUnsafe: (pieces: ReadonlyArray<PieceIndex>, files: ReadonlyArray<number>) => Effect.Effect<void>
  /** Called for each piece that was written again. */
  readonly onSaved: (piece: PieceIndex) => void
  /** Called if files cannot even be looked at after a failed flush: the medium itself is away. */
  readonly onAway: () => void
  /** Called for pieces that a failed flush has lost. */
  readonly onLost: (pieces: ReadonlyArray<PieceIndex>) => void
  /** Handles files whose flush failed because somebody deleted, cut or replaced them. Returns those to flush again. */
  readonly onChanged: (files: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<number>>
  /**
   * Called for pieces that survive a power cut from now on, with the files that were flushed, and those of them that
   * were being written when the flush began (`KnownFiles.writingAmong`).
   */
  readonly onFlushed: (
    pieces: ReadonlyArray<PieceIndex>,
    files: ReadonlyArray<FileFacts>,
    writing: ReadonlySet<number> | undefined
  ) => Effect.Effect<void>
  readonly report: (fact: Fact) => void
}

/** Flushes the files of one torrent. */
export interface FlushBehind {
  /** Admits a write of so many bytes, if flushes do not fail and not too much is unflushed. Returns whether it did. */
  readonly admitNow: (bytes: number) => boolean
  /** Waits until a write of so many bytes is admitted. */
  readonly admit: (bytes: number) => Effect.Effect<void>
  /** Notes that an admitted write of so many bytes has ended. The bytes of a failed write no longer count. */
  readonly end: (bytes: number, isWritten: boolean) => void
  /** Notes that files were changed in another way than by a piece's write. */
  readonly noteDirty: (files: ReadonlyArray<number>) => void
  /** Notes that an admitted write begins. `noteWritten` has to follow when it ends, also if it fails. */
  readonly noteWriting: () => void
  readonly noteWritten: (files: ReadonlyArray<number>) => void
  /** Whether written bytes are not flushed yet. */
  readonly isDirty: () => boolean
  /** Flushes until everything is flushed. */
  readonly all: Effect.Effect<void>
  /** Flushes once before the torrent stops. Does nothing after failed flushes: the next run repairs what they left. */
  readonly last: Effect.Effect<void>
  /** Flushes in the background while the download goes on, until the scope closes. */
  readonly run: Effect.Effect<void, never, Scope.Scope>
}

/** Makes it. Files with stored pieces that are not flushed have to be flushed. */
export const make = (options: Options): FlushBehind => {
  const { digestOf, flushed, geometry, hasher, known, report, storage, stored, unsaved } = options
  /** A bit for each file, because a download may write hundreds of thousands between two flushes. */
  const dirty = Bitfield.make(known.layout.fileCount)
  /** Admitted bytes that no flush covers yet. */
  let unflushedBytes = 0
  /** Those of them whose write has not ended. */
  let writingBytes = 0
  /** Bytes that the current flush covers. */
  let flushingBytes = 0
  let isFailing = false
  let isFlushing = false
  /** Files of which a flush has failed since the last good one. */
  const unsafe = new Set<number>()
  /**
   * Files to be copied to fresh blocks before the next flush, because a flush has failed in this run or an earlier one.
   */
  const stale = new Set<number>()
  /** How many writes have begun and not ended, and how many wait for room. */
  let writes = 0
  let waiting = 0
  const noWrites = Gate.make(true)
  /** Set once something may be dirty. Until then `run` needs no timer. */
  const written = Signal.make()
  const flushRequested = Gate.make(false)
  /** Open while nothing is dirty, so that `run` does not wait for what somebody else has flushed. */
  const clean = Gate.make(true)
  const writable = Gate.make(true)
  const turn = Turn.make()

  const requestFlush = (): void => {
    Signal.set(written)
    Gate.open(flushRequested)
  }

  const unflushed = (): ReadonlyArray<PieceIndex> => {
    const pieces: Array<PieceIndex> = []
    for (let at = 0; at < stored.bytes.length; at++) {
      if ((stored.bytes[at]! & ~flushed.bytes[at]!) === 0) continue
      for (let piece = at * 8; piece < Math.min(at * 8 + 8, stored.length); piece++)
        if (Bitfield.has(stored, piece) && !Bitfield.has(flushed, piece)) pieces.push(piece as PieceIndex)
    }
    return pieces
  }

  /** Notes files to be flushed. Stale ones are copied to fresh blocks first. */
  const markDirty = (files: ReadonlyArray<number>): void => {
    for (const file of files) {
      Bitfield.add(dirty, file)
      if (KnownFiles.isStale(known, file)) stale.add(file)
    }
    if (dirty.count > 0) Gate.close(clean)
    Signal.set(written)
  }
  for (const piece of unflushed()) markDirty(KnownFiles.filesOf(known, piece))

  /**
   * Whether so many more bytes may be written. A piece larger than the limit may be written if nothing else is
   * unflushed.
   */
  const hasRoom = (bytes: number): boolean => {
    const unflushedNow = unflushedBytes + flushingBytes
    return !isFailing && (unflushedNow === 0 || unflushedNow + bytes <= maxUnflushedBytes)
  }

  const admitNow = (bytes: number): boolean => {
    if (!hasRoom(bytes)) return false
    unflushedBytes += bytes
    writingBytes += bytes
    if (unflushedBytes >= flushBytes) requestFlush()
    return true
  }

  const admit = (bytes: number): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (admitNow(bytes)) return Effect.void
      Gate.close(writable)
      requestFlush()
      waiting++
      return Effect.interruptible(Gate.pass(writable)).pipe(
        Effect.ensuring(Effect.sync(() => void waiting--)),
        Effect.andThen(admit(bytes))
      )
    }).pipe(Effect.uninterruptible)

  const reportAway = ({ reason }: StorageError) =>
    Effect.sync(() => {
      if (reason._tag === "StorageUnavailable") options.onAway()
    })

  /**
   * Reads a piece that a failed flush may have lost, and writes it again. Returns whether its bytes were still right.
   */
  const save = (piece: PieceIndex) =>
    Effect.gen(function* () {
      const size = PieceGeometry.pieceSize(geometry, piece)
      yield* options.borrow(size)
      const read = yield* Effect.result(storage.readBlock(piece, 0, size))
      const bytes = read._tag === "Success" ? read.success.bytes : undefined
      if (bytes === undefined && read._tag === "Failure" && read.failure.reason._tag !== "NotStored") {
        return yield* read.failure
      }
      // A piece is lost only if its files can be looked at; otherwise the medium is away.
      if (bytes === undefined) yield* Effect.tapError(storage.look(KnownFiles.filesOf(known, piece)), reportAway)
      if (bytes === undefined || !Bytes.equals(yield* hasher.sha1(bytes), digestOf(piece))) return false
      yield* options.rewrite(piece, bytes)
      return true
    }).pipe(Effect.scoped)

  /** Copies every stale file to fresh blocks. Returns whether all could be. */
  const renewAll = Effect.gen(function* () {
    for (const file of stale) {
      // Another file has taken its place meanwhile, or it was claimed again.
      const isRenewed = !KnownFiles.isStale(known, file)
      const renewed = isRenewed ? undefined : yield* Effect.result(Effect.tapError(options.renew(file), reportAway))
      if (renewed?._tag === "Failure") return false
      stale.delete(file)
    }
    return true
  })

  /** Rewrites every piece that may be lost, or drops it. Returns whether none is left. */
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

  /** Flushes all dirty files once. Returns the files that could not be flushed, with the reasons. */
  const flush = (isLast: boolean) =>
    Effect.gen(function* () {
      isFlushing = true
      const files = [...Bitfield.indices(dirty)]
      const isNamed = new Set(files)
      const writing = KnownFiles.writingAmong(known, files)
      const pieces = unflushed()
      Bitfield.clear(dirty)
      // This flush may begin before writes that are under way, so it does not cover their bytes.
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
        else if (outcome.reason._tag === "FileChanged" || outcome.reason._tag === "NotStored")
          changed.push(outcome.file)
        else failed.set(outcome.file, outcome.reason)
      }
      if (failed.size > 0) markDirty([...failed.keys()])
      for (const file of good.keys()) unsafe.delete(file)
      for (const file of [...failed.keys(), ...changed]) unsafe.add(file)
      const [first, ...others] = failed.values()
      if (first !== undefined && !isFailing)
        report({ _tag: "FlushFailed", error: StorageError.of("flush", [first, ...others]) })
      // Set before the latch opens: whoever waited for room during this flush must not write now.
      isFailing ||= failed.size > 0
      Gate.open(writable)
      const isSafe = (file: number) => good.has(file) || !(isNamed.has(file) || unsafe.has(file))
      const safe = pieces.filter(
        (piece) => Bitfield.has(stored, piece) && KnownFiles.filesOf(known, piece).every(isSafe)
      )
      for (const piece of safe) Bitfield.add(flushed, piece)
      yield* options.onFlushed(safe, [...good.values()], writing)
      if (changed.length > 0 && !isLast) markDirty(yield* options.onChanged(changed))
      isFlushing = false
      return failed
    })

  /**
   * Flushes once. Returns whether everything is flushed; if not, records what may be lost. Uninterruptible, because the
   * system reports a failure only once: if a stop skipped the record, a later run would trust lost pieces.
   */
  const attempt = (isLast: boolean) =>
    Effect.gen(function* () {
      const failed = yield* flush(isLast)
      if (failed.size === 0) {
        if (isFailing) report({ _tag: "FlushRecovered" })
        isFailing = false
        Gate.open(writable)
        if (dirty.count === 0) Gate.open(clean)
        return true
      }
      // Wait for them: the system may also have lost bytes of writes that were under way.
      yield* Gate.pass(noWrites)
      yield* Effect.yieldNow
      for (const piece of unflushed()) {
        if (KnownFiles.filesOf(known, piece).some((file) => failed.has(file))) unsaved.add(piece)
      }
      for (const file of failed.keys()) {
        stale.add(file)
        if (KnownFiles.has(known, file)) KnownFiles.setStale(known, file, true)
      }
      yield* options.onUnsafe([...unsaved], [...failed.keys()])
      return false
    }).pipe(Effect.uninterruptible)

  /** Repairs what earlier flushes may have lost, then flushes. Returns whether everything is flushed. */
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

  /** Flushes if anything is dirty. Costs nothing otherwise, also while another flush runs. */
  const flushDirty = Effect.suspend(() => {
    if (dirty.count > 0) return untilGood
    // The written bytes were all padding. A caller of `admit` that waits behind a running write is woken by its end.
    if (writes === 0 && unflushedBytes > writingBytes) {
      unflushedBytes = writingBytes
      Gate.open(writable)
    }
    return Effect.void
  }).pipe((work) => Turn.take(turn, work))

  const noteDirty = (files: ReadonlyArray<number>): void => {
    markDirty(files)
    if (waiting > 0 || unflushedBytes >= flushBytes) requestFlush()
  }

  const self: FlushBehind = {
    admitNow,
    admit,
    end: (bytes, isWritten) => {
      writingBytes -= bytes
      if (!isWritten) {
        unflushedBytes -= bytes
        Gate.open(writable)
      } else if (waiting > 0) requestFlush()
    },
    noteDirty,
    noteWriting: () => {
      writes++
      Gate.close(noWrites)
    },
    noteWritten: (files) => {
      if (--writes === 0) Gate.open(noWrites)
      // Also after a failed write, which may have written a part.
      noteDirty(files)
    },
    isDirty: () => dirty.count > 0 || isFlushing,
    all: Effect.whileLoop({ while: () => dirty.count > 0 || isFlushing, body: () => flushDirty, step: () => {} }),
    last: Effect.suspend(() => {
      const isIdle = isFailing || dirty.count === 0 || stale.size > 0
      return isIdle ? Effect.void : Effect.asVoid(attempt(true))
    }).pipe((work) => Turn.take(turn, work)),
    run: Signal.attend(
      written,
      Effect.suspend(() =>
        Effect.raceAllFirst([Gate.pass(flushRequested), Gate.pass(clean), Effect.sleep(flushEvery)]).pipe(
          Effect.tap(() => Effect.sync(() => Gate.close(flushRequested))),
          Effect.andThen(flushDirty)
        )
      )
    )
  }
  return self
}
