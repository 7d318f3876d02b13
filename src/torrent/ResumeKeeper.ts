/**
 * Keeps a torrent's resume data up to date. Changes are gathered for a moment and appended together. A failure is
 * reported and does not stop the download: a later run verifies more instead.
 */
import * as Effect from "effect/Effect"
import * as Bytes from "../base/Bytes.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as Signal from "../base/Signal.ts"
import * as Turn from "../base/Turn.ts"
import type { FileRecord, ResumeData, ResumeError, Snapshot, TorrentResume } from "../resume/ResumeStore.ts"

/**
 * How long changes are gathered before they are appended and their pieces announced. Appending each change by itself
 * would cost as many system calls as writing its piece. A kill loses no more pieces than are in flight anyway.
 */
export const gatherFor = "20 millis"

/** What a keeper needs. */
export interface Options {
  readonly resume: TorrentResume
  /** What was loaded; absent if that failed. */
  readonly loaded?: { readonly data: ResumeData | undefined } | undefined
  /**
   * Returns the current state. It is saved at the start, unless it is what was loaded, and after every failure, which
   * loses the gathered changes.
   */
  readonly snapshot: () => Snapshot
  /** Called for a failure. Further failures are not reported until something was written again. */
  readonly onFailure: (error: ResumeError) => void
  /** Called for each stored piece once resume data contains it. Also called if resume data cannot be written. */
  readonly onKept: (piece: PieceIndex) => void
}

/**
 * Records changes, most of them synchronously. They are appended a moment later, in the order in which they happened.
 */
export interface ResumeKeeper {
  /** Notes that a piece was stored. */
  readonly noteStored: (piece: PieceIndex) => void
  /** Notes that a piece, dropped before, is right again. */
  readonly noteRestored: (piece: PieceIndex) => void
  /** Notes that pieces survive a power cut from now on. */
  readonly noteFlushed: (pieces: ReadonlyArray<PieceIndex>) => void
  /** Notes that pieces are not stored any more. */
  readonly noteDropped: (pieces: ReadonlyArray<PieceIndex>) => void
  /** Notes that a file that is the torrent's own looks different. */
  readonly noteFile: (file: number, record: FileRecord) => void
  /** Stops writing: the medium with the resume data is away, and nothing may be made in its place. */
  readonly abandon: () => void
  /** Appends the gathered changes at once. With `durably` they survive a power cut. */
  readonly append: (durably: boolean) => Effect.Effect<void>
}

/** Changes that wait to be appended. */
interface Pending {
  readonly files: Map<number, FileRecord>
  readonly dropped: Array<PieceIndex>
  readonly stored: Array<PieceIndex>
  readonly flushed: Array<PieceIndex>
  /** Pieces of `stored` for which `onKept` was not called yet. */
  readonly unannounced: Array<PieceIndex>
}

const nothing = (): Pending => ({ files: new Map(), dropped: [], stored: [], flushed: [], unannounced: [] })

/** Resume data of a read-only torrent: remembers nothing. */
export const noResume: TorrentResume = {
  load: Effect.undefined,
  save: () => Effect.void,
  append: () => Effect.void,
  remove: Effect.void
}

/**
 * Whether resume data says what it has to say: an engine may start thousands of torrents, few of which have changed.
 * After a restart of the machine it has to be said anew.
 */
const isLoaded = ({ loaded, snapshot }: Options): boolean => {
  if (loaded === undefined) return false
  const { files, flushed, stored } = snapshot()
  const { data } = loaded
  if (data === undefined) return stored.count === 0 && files.size === 0
  if (!data.isSameBoot || files.size !== data.files.size) return false
  if (!Bytes.equals(stored.bytes, data.stored.bytes) || !Bytes.equals(flushed.bytes, data.flushed.bytes)) return false
  for (const [file, record] of files) if (!isSame(record, data.files.get(file))) return false
  return true
}

const isSame = (one: FileRecord, other: FileRecord | undefined): boolean =>
  one.isWriting === other?.isWriting &&
  one.isStale === other.isStale &&
  one.length === other.length &&
  one.mtimeNs === other.mtimeNs &&
  one.identity === other.identity

/** Saves the current state, and keeps it up to date until the scope closes. */
export const make = Effect.fnUntraced(function* (options: Options) {
  const { onFailure, onKept, resume, snapshot } = options
  /** Present while changes wait. */
  let pending: Pending | undefined
  /** Pieces that were dropped before `onKept` was called for them. */
  let droppedUnannounced: Set<PieceIndex> | undefined
  let isFailing = false
  let isAbandoned = false
  const awake = Signal.make()
  const turn = Turn.make()

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

  const append = (durably: boolean): Effect.Effect<void> => {
    const work = Effect.suspend(() => {
      if (isAbandoned) return Effect.void
      const change = pending ?? nothing()
      pending = undefined
      return Effect.andThen(
        report(isFailing ? save : resume.append(change, { durably })),
        Effect.sync(() => change.unannounced.forEach(onKept))
      )
    })
    return Turn.take(turn, Effect.uninterruptible(work))
  }

  const note = (change: (pending: Pending) => void): void => {
    pending ??= nothing()
    change(pending)
    Signal.set(awake)
  }

  if (!isLoaded(options)) yield* report(save)
  yield* Effect.addFinalizer(() => append(false))
  yield* Signal.attend(
    awake,
    Effect.gen(function* () {
      yield* Effect.sleep(gatherFor)
      Signal.clear(awake)
      yield* append(false)
    })
  )

  const self: ResumeKeeper = {
    noteStored: (piece) =>
      note(({ unannounced, stored }) => {
        droppedUnannounced?.delete(piece)
        stored.push(piece)
        unannounced.push(piece)
      }),
    noteRestored: (piece) =>
      note(({ unannounced, stored }) => {
        stored.push(piece)
        if (droppedUnannounced?.delete(piece)) unannounced.push(piece)
      }),
    noteFlushed: (pieces) =>
      note(({ flushed }) => {
        for (const piece of pieces) flushed.push(piece)
      }),
    noteDropped: (pieces) =>
      note((pending) => {
        const isDropped = new Set(pieces)
        for (const piece of pending.unannounced) {
          if (!isDropped.has(piece)) continue
          droppedUnannounced ??= new Set()
          droppedUnannounced.add(piece)
        }
        for (const list of [pending.stored, pending.flushed, pending.unannounced]) {
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
