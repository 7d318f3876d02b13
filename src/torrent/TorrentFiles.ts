/**
 * The files of a running torrent: claimed before they are written, flushed behind the download, and watched for changes
 * by others. Puts those parts together for the writer, the uploads and the torrent.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as BorrowedBytes from "../assembly/BorrowedBytes.ts"
import type * as BufferBudget from "../assembly/BufferBudget.ts"
import type { PieceStore } from "../assembly/Completion.ts"
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as Signal from "../base/Signal.ts"
import type * as Turn from "../base/Turn.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import type * as FileLayout from "../metainfo/FileLayout.ts"
import type { FileRecord, ResumeData, ResumeError, Snapshot, TorrentResume } from "../resume/ResumeStore.ts"
import type { FileFacts, StorageError, TorrentStorage } from "../storage/Storage.ts"
import * as Adoption from "./Adoption.ts"
import * as BlockReader from "./BlockReader.ts"
import { ContentExists } from "./ContentExists.ts"
import * as FileChanges from "./FileChanges.ts"
import * as FileClaims from "./FileClaims.ts"
import * as FileFinish from "./FileFinish.ts"
import * as FileRemoval from "./FileRemoval.ts"
import * as FlushBehind from "./FlushBehind.ts"
import * as HintedFiles from "./HintedFiles.ts"
import * as KnownFiles from "./KnownFiles.ts"
import * as LostPieces from "./LostPieces.ts"
import * as PieceWriter from "./PieceWriter.ts"
import type * as Recheck from "./Recheck.ts"
import * as ResumeKeeper from "./ResumeKeeper.ts"
import * as Settling from "./Settling.ts"
import * as WantedFiles from "./WantedFiles.ts"

/** What is reported of the files. */
export type Fact =
  | Exclude<FileChanges.Fact, { readonly _tag: "AllGone" }>
  | FlushBehind.Fact
  /** Every file with stored bytes is gone. `last` is what was known of them. */
  | { readonly _tag: "AllGone"; readonly last: ResumeData }
  /** A file turned out to be somebody else's. The torrent has to end. */
  | { readonly _tag: "Foreign"; readonly error: ContentExists }

/** What keeping a torrent's files needs. */
export interface Options {
  readonly layout: FileLayout.FileLayout
  readonly storage: TorrentStorage
  /** What repairs after a failed flush borrow from. */
  readonly budget: BufferBudget.Ledger
  readonly resume: TorrentResume
  readonly facts: ReadonlyArray<FileFacts | undefined>
  readonly standings: ReadonlyMap<number, Adoption.Standing>
  /** As in `ResumeKeeper.Options`. */
  readonly loaded?: ResumeKeeper.Options["loaded"]
  /** What resume data remembered of the files. */
  readonly records: ReadonlyMap<number, FileRecord> | undefined
  /** What the check has found. Its `doubtful` pieces are kept up to date from then on. */
  readonly found: Recheck.Found
  /** As in `KnownFiles.make`. */
  readonly hint?: Bitfield.Bitfield | undefined
  /** As in `FileChanges.Options`. */
  readonly background?: Turn.Turn | undefined
  /** The pieces that are stored now. `drop` removes pieces from it. */
  readonly stored: Bitfield.Bitfield
  readonly digestOf: (piece: PieceIndex) => Uint8Array
  /** What is wanted, as in `select`; `undefined` if nothing is to be written. */
  readonly wanted: { readonly files: ReadonlyArray<number>; readonly pieces: Bitfield.Bitfield } | undefined
  /** Whether files of others may be overwritten. */
  readonly overwrites: boolean
  /** Whether nothing is written, not even resume data. */
  readonly isReadOnly: boolean
  readonly drop: (pieces: ReadonlyArray<PieceIndex>) => void
  /** Called for each stored piece once resume data contains it. Also called if resume data cannot be written. */
  readonly onKept: (piece: PieceIndex) => void
  readonly onResumeFailure: (error: ResumeError) => void
  /** Called when other pieces are suspect than before. */
  readonly onSuspects?: (() => void) | undefined
  readonly report: (fact: Fact) => void
}

/** A torrent's files. */
export interface TorrentFiles {
  /** For the assembly: writes a piece, with everything that has to come before and after its write. */
  readonly writer: PieceStore
  /** For uploads: returns no byte of a file that changed until the piece was verified again. */
  readonly reader: Pick<TorrentStorage, "readBlock">
  /** Stored pieces that do not count until they are verified. */
  readonly suspects: Bitfield.Bitfield
  /** Those of them that are only hinted at; `undefined` if there never was one. */
  readonly hinted: Bitfield.Bitfield | undefined
  /** Missing pieces that decide whose a file is. They are to be fetched before all others. */
  readonly deciding: ReadonlyArray<PieceIndex>
  /** Moves the wanted files to their places, and reserves every file that is still to be written for these pieces. */
  readonly select: (files: ReadonlyArray<number>, pieces: Bitfield.Bitfield) => Effect.Effect<void, StorageError>
  /** Whether something is written and not flushed. */
  readonly isDirty: () => boolean
  /** Whether wanted files that no piece will be written to are missing or too long. */
  readonly lacksFiles: () => boolean
  /** As `FileFinish.run`. */
  readonly finish: Effect.Effect<void, StorageError>
  /**
   * Returns the pieces that a read-only torrent had lost and that are right again. Digests them only if their files
   * look different from the last time.
   */
  readonly regain: Effect.Effect<ReadonlyArray<PieceIndex>, StorageError>
  /** Flushes what is written, once. */
  readonly flush: Effect.Effect<void>
  /** Forgets the torrent after it deleted its own files if `data`; does neither if read-only. Returns what stays. */
  readonly remove: (data: boolean) => Effect.Effect<FileRemoval.Kept, StorageError | ResumeError>
  /** Flushes, verifies and looks at finished files in the background, until the scope closes. */
  readonly run: Effect.Effect<void, never, Scope.Scope>
}

/** Takes charge of the files until the scope closes. */
export const make = Effect.fnUntraced(function* ({
  facts,
  found,
  loaded,
  records,
  standings,
  wanted: atFirst,
  // Functions below keep the options for as long as the torrent runs, so what was found of each file is not among them.
  ...options
}: Options) {
  const { digestOf, layout, storage, stored } = options
  const { geometry } = layout
  const hasher = yield* PieceHasher
  const known = KnownFiles.make(layout, facts, standings, stored, records, { hint: options.hint, hinted: found.hinted })
  if (options.overwrites) KnownFiles.compareNothing(known)
  const flushed = Bitfield.copy(options.isReadOnly ? stored : found.flushed)
  const wanted = WantedFiles.make({ known, stored, storage, overwrites: options.overwrites })

  // Reserve before anything is written, even resume data, so that a second writer of the same paths changes nothing.
  if (atFirst !== undefined) yield* WantedFiles.want(wanted, atFirst.files, atFirst.pieces)

  const suspects = found.doubtful
  /** Stored pieces that a failed flush may have lost. */
  const unsaved = new Set<PieceIndex>()
  const snapshot = (): Snapshot => ({
    stored: Bitfield.copyWithout(KnownFiles.withoutHinted(known, stored), unsaved),
    flushed,
    files: KnownFiles.records(known, suspects)
  })
  const keeper = yield* ResumeKeeper.make({
    resume: options.isReadOnly ? ResumeKeeper.noResume : options.resume,
    loaded,
    snapshot,
    onFailure: options.onResumeFailure,
    onKept: options.onKept
  })

  const lost = LostPieces.make()

  /** How many looks after failed flushes have failed since the last good flush. */
  let failedLooks = 0
  let isAway = false

  const report = (fact: FileChanges.Fact | FlushBehind.Fact): void => {
    if (fact._tag === "FlushRecovered") failedLooks = 0
    if (fact._tag !== "AllGone") return options.report(fact)
    isAway = true
    keeper.abandon()
    const { files, flushed, stored } = snapshot()
    const last = { stored: Bitfield.copy(stored), flushed: Bitfield.copy(flushed), files, isSameBoot: false }
    options.report({ _tag: "AllGone", last })
  }

  const drop = (pieces: ReadonlyArray<PieceIndex>): void => {
    for (const piece of pieces) {
      if (options.isReadOnly) LostPieces.add(lost, piece)
      Bitfield.remove(flushed, piece)
      KnownFiles.noteStored(known, piece, false)
      KnownFiles.settleHint(known, piece)
    }
    keeper.noteDropped(pieces)
    options.drop(pieces)
  }

  const noteFile = (file: number): void => {
    if (KnownFiles.standingOf(known, file) === "own") keeper.noteFile(file, KnownFiles.recordOf(known, file, suspects))
  }

  const changes: FileChanges.FileChanges = FileChanges.make({
    storage,
    known,
    stored,
    suspects,
    digestOf,
    drop,
    background: options.background,
    onHintRight: (piece) => HintedFiles.settle({ known, storage, keeper, flushed, noteFile }, piece),
    onSuspects: options.onSuspects,
    onReplaced: (file) => {
      // Whoever put it there may not have flushed it.
      for (const piece of KnownFiles.piecesIn(known, file, stored)) Bitfield.remove(flushed, piece)
      flush().noteDirty([file])
    },
    onVerified: noteFile,
    report
  })

  const existing = (files: ReadonlyArray<number>): ContentExists =>
    new ContentExists({
      files: files.map((file) => Adoption.existing(layout, KnownFiles.factsOf(known, file)!, stored))
    })

  const settling = Settling.make({ storage, known, changes, onIdle: noteFile })

  let claiming: FileClaims.FileClaims | undefined
  const claims = (): FileClaims.FileClaims => {
    claiming ??= FileClaims.make({
      storage,
      known,
      changes,
      keeper,
      hasher,
      digestOf,
      overwrites: options.overwrites,
      existing: (file) => existing([file]),
      onForeign: (error) => options.report({ _tag: "Foreign", error })
    })
    return claiming
  }

  /**
   * Looks at files that the storage found changed since they were claimed. They are claimed again before the next
   * write.
   */
  const reconsider = (files: ReadonlyArray<number>) =>
    Effect.gen(function* () {
      for (const file of files) {
        if (KnownFiles.has(known, file)) KnownFiles.setWriting(known, file, false)
      }
      yield* FileChanges.look(changes, files)
      FileChanges.doubt(
        changes,
        files.filter((file) => KnownFiles.has(known, file) && !FileChanges.isGone(changes, file))
      )
    })

  const writing: PieceWriter.Options = {
    storage,
    known,
    keeper,
    settling,
    digestOf,
    claims,
    flush: () => flush(),
    reconsider
  }

  const makeFlush = () =>
    FlushBehind.make({
      storage,
      geometry,
      known,
      stored,
      flushed,
      unsaved,
      digestOf,
      hasher,
      borrow: (bytes) => BorrowedBytes.borrow(options.budget, bytes, { isUrgent: true }),
      renew: (file) =>
        Effect.map(claims().renew(file), () => {
          if (KnownFiles.isWhole(known, file)) settling.soon(file)
        }),
      rewrite: (piece, bytes) => Effect.uninterruptible(PieceWriter.write(writing, piece, bytes)),
      onUnsafe: (pieces, files) =>
        Effect.suspend(() => {
          // A later run must not trust these pieces until they are written again, whatever their files look like.
          keeper.noteDropped(pieces)
          files.forEach(noteFile)
          return keeper.append(true)
        }),
      onSaved: keeper.noteRestored,
      onAway: () => {
        if (++failedLooks >= FileChanges.maxFailedLooks) report({ _tag: "AllGone" })
      },
      onLost: (asked) => {
        const pieces = asked.filter((piece) => Bitfield.has(stored, piece))
        if (pieces.length === 0) return
        drop(pieces)
        const files = new Set(pieces.flatMap((piece) => KnownFiles.filesOf(known, piece)))
        report({ _tag: "PiecesLost", pieces, paths: Array.from(files, (file) => KnownFiles.pathOf(known, file)) })
      },
      onChanged: Effect.fnUntraced(
        function* (files) {
          yield* reconsider(files)
          const left = files.filter((file) => KnownFiles.has(known, file) && !FileChanges.isGone(changes, file))
          const isOwn = (file: number) => KnownFiles.standingOf(known, file) === "own"
          const own = left.filter(isOwn)
          yield* storage.release(left.filter((file) => !isOwn(file)))
          yield* claims().claim(own)
          own.forEach(settling.soon)
          return left
        },
        (effect, files) => Effect.orElseSucceed(effect, () => files)
      ),
      onFlushed: (pieces, files, writing) =>
        Effect.gen(function* () {
          keeper.noteFlushed(pieces.filter((piece) => !KnownFiles.isHinted(known, piece)))
          const idle = files.filter(({ file }) => KnownFiles.has(known, file) && !KnownFiles.isWriting(known, file))
          const names = idle.map(({ file }) => file)
          FileChanges.observe(changes, names, idle, writing)
          yield* keeper.append(true)
          const done = names.filter((file) => KnownFiles.isWhole(known, file))
          if (done.length > 0) yield* storage.release(done)
        }),
      report
    })

  /** Flushes what is written. A torrent that rests has nothing to flush. */
  let flushing: FlushBehind.FlushBehind | undefined
  const isWritten = Signal.make()
  const flush = (): FlushBehind.FlushBehind => {
    if (flushing !== undefined) return flushing
    flushing = makeFlush()
    Signal.set(isWritten)
    return flushing
  }
  if (stored.bytes.some((bits, at) => (bits & ~flushed.bytes[at]!) !== 0)) flush()

  // A torrent that stops leaves its files flushed, and with facts in resume data that a later run can trust.
  yield* Effect.addFinalizer(() =>
    Effect.gen(function* () {
      if (!isAway && flushing !== undefined) yield* flushing.last
      yield* settling.last
    }).pipe(Effect.ignore)
  )

  const self: TorrentFiles = {
    regain: LostPieces.regain(lost, { storage, known, changes, digestOf }),
    writer: PieceWriter.make(writing),
    reader: BlockReader.make({ storage, known, changes }),
    suspects,
    hinted: known.hinted,
    deciding: [...new Set([...known.toCompare.values()].flatMap((pieces) => [...pieces]))],
    select: (files, pieces) =>
      Effect.gen(function* () {
        yield* storage.prepare(files)
        yield* WantedFiles.meet(wanted, files, changes)
        yield* WantedFiles.want(wanted, files, pieces)
      }),
    isDirty: () => flushing?.isDirty() === true,
    lacksFiles: () => WantedFiles.unwritten(wanted).length > 0,
    finish: Effect.suspend(() =>
      FileFinish.run({
        wanted,
        known,
        changes,
        keeper,
        settling,
        claims,
        flush,
        flushAll: Effect.suspend(() => flushing?.all ?? Effect.void),
        onForeign: (files) => options.report({ _tag: "Foreign", error: existing(files) })
      })
    ),
    remove: Effect.fnUntraced(function* (data) {
      const kept = data && !options.isReadOnly ? yield* FileRemoval.ofKnown(storage, known, changes) : []
      isAway = data
      keeper.abandon()
      if (!options.isReadOnly) yield* options.resume.remove
      return kept
    }),
    flush: Effect.suspend(() => Effect.andThen(flushing?.last ?? Effect.void, keeper.append(true))),
    run: FileChanges.run(changes).pipe(
      Effect.andThen(
        Signal.once(
          isWritten,
          Effect.suspend(() => flush().run)
        )
      ),
      Effect.andThen(settling.run)
    )
  }
  return self
})
