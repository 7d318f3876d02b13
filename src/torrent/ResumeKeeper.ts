/**
 * Keeps a torrent's resume data up to date: what changes is gathered for a moment and appended together. A failure is
 * reported and never stops the download: a later run verifies what it must.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Semaphore from "effect/Semaphore"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { FileRecord, ResumeError, Snapshot, TorrentResume } from "../resume/ResumeStore.ts"

/**
 * How long changes are gathered before they are appended and announced together. Each on its own would cost as many
 * system calls as its write; a kill loses no more pieces than are in flight anyway.
 */
export const gatherFor = "20 millis"

/** What a keeper needs. */
export interface Options {
  readonly resume: TorrentResume
  /** What is known now: saved at the start, and after every failure, as what was noted meanwhile is lost. */
  readonly snapshot: () => Snapshot
  /** Hears of a failure, and of the next one only after something was written again. */
  readonly onFailure: (error: ResumeError) => void
  /** Hears of each stored piece once a later run knows of it too, or cannot be told. */
  readonly onKept: (piece: PieceIndex) => void
}

/** Notes what changes. Synchronous where it can be: what is noted is appended a moment later, in a true order. */
export interface ResumeKeeper {
  /** A piece was stored. */
  readonly noteStored: (piece: PieceIndex) => void
  /** A piece that was dropped is as good as it was. */
  readonly noteRestored: (piece: PieceIndex) => void
  /** Pieces survive a power cut. */
  readonly noteFlushed: (pieces: ReadonlyArray<PieceIndex>) => void
  /** Pieces are not stored any more. */
  readonly noteDropped: (pieces: ReadonlyArray<PieceIndex>) => void
  /** A file that is the torrent's own looks different. */
  readonly noteFile: (file: number, record: FileRecord) => void
  /** Appends nothing any more: what the data lies on is away, and nothing is to be made in its place. */
  readonly abandon: () => void
  /** Appends at once what was noted; survives a power cut if `durably`. */
  readonly append: (durably: boolean) => Effect.Effect<void>
}

interface Pending {
  readonly files: Map<number, FileRecord>
  readonly dropped: Array<PieceIndex>
  readonly stored: Array<PieceIndex>
  readonly flushed: Array<PieceIndex>
  /** Those of `stored` that nobody was told of. */
  readonly news: Array<PieceIndex>
}

const nothing = (): Pending => ({ files: new Map(), dropped: [], stored: [], flushed: [], news: [] })

/** Saves what is known, and keeps it up to date until the scope closes. */
export const make = Effect.fnUntraced(function* (options: Options) {
  const { onFailure, onKept, resume, snapshot } = options
  let pending = nothing()
  /** Pieces that were dropped before anybody was told that they are stored. */
  const untold = new Set<PieceIndex>()
  let isFailing = false
  let isAbandoned = false
  const awake = yield* Latch.make(false)
  const turn = yield* Semaphore.make(1)

  const save = Effect.suspend(() => resume.save(snapshot()))

  const report = (effect: Effect.Effect<void, ResumeError>): Effect.Effect<void> =>
    Effect.match(effect, {
      onSuccess: () => {
        isFailing = false
      },
      onFailure: (error) => {
        if (!isFailing) onFailure(error)
        isFailing = true
      }
    })

  const append = (durably: boolean): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (isAbandoned) return Effect.void
      const change = pending
      pending = nothing()
      return Effect.andThen(
        report(isFailing ? save : resume.append(change, { durably })),
        Effect.sync(() => change.news.forEach(onKept))
      )
    }).pipe(Effect.uninterruptible, turn.withPermit)

  const note = (change: (pending: Pending) => void): void => {
    change(pending)
    Latch.openUnsafe(awake)
  }

  yield* report(save)
  yield* Effect.addFinalizer(() => append(false))
  yield* awake.await.pipe(
    Effect.andThen(Effect.sleep(gatherFor)),
    Effect.tap(() => Effect.sync(() => Latch.closeUnsafe(awake))),
    Effect.andThen(append(false)),
    Effect.forever,
    Effect.forkScoped
  )

  const self: ResumeKeeper = {
    noteStored: (piece) =>
      note(({ news, stored }) => {
        untold.delete(piece)
        stored.push(piece)
        news.push(piece)
      }),
    noteRestored: (piece) =>
      note(({ news, stored }) => {
        stored.push(piece)
        if (untold.delete(piece)) news.push(piece)
      }),
    noteFlushed: (pieces) =>
      note(({ flushed }) => {
        for (const piece of pieces) flushed.push(piece)
      }),
    noteDropped: (pieces) =>
      note((pending) => {
        const isDropped = new Set(pieces)
        for (const piece of pending.news) if (isDropped.has(piece)) untold.add(piece)
        for (const list of [pending.stored, pending.flushed, pending.news]) {
          const kept = list.filter((piece) => !isDropped.has(piece))
          list.length = 0
          for (const piece of kept) list.push(piece)
        }
        for (const piece of pieces) pending.dropped.push(piece)
      }),
    abandon: () => {
      isAbandoned = true
    },
    noteFile: (file, record) => note(({ files }) => files.set(file, record)),
    append
  }
  return self
})
