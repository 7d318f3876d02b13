/**
 * Keeps a torrent's resume data up to date: pieces are appended a moment after the storage confirmed them, and from time
 * to time what is stored is flushed and saved as safe from a power cut. A failure is told and never stops the download:
 * a later run verifies what it must.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { ResumeError, TorrentResume } from "../resume/ResumeStore.ts"
import type { StorageError, TorrentStorage } from "../storage/Storage.ts"

/**
 * How often what was stored since is flushed to the disk. After a power cut at most the pieces of this long, and all of a
 * torrent that was stopped earlier, are verified again; flushing more often would have the disk wait for it.
 */
export const flushEvery = "30 seconds"

/**
 * How long stored pieces are gathered before they are appended and told of together. Each on its own would cost as many
 * system calls as its write; a kill loses no more pieces than are in flight anyway.
 */
export const gatherFor = "20 millis"

/** What a keeper needs. */
export interface Options {
  readonly resume: TorrentResume
  readonly storage: Pick<TorrentStorage, "flush">
  /** The pieces that are stored; grows while the torrent runs. */
  readonly stored: Bitfield.Bitfield
  /** Those that survive a power cut already. */
  readonly flushed: Bitfield.Bitfield
  /** Hears of a failure, and of the next one only after something was written again. */
  readonly onFailure: (error: ResumeError | StorageError) => void
  /** Hears of each noted piece once a later run knows of it too, or cannot be told. */
  readonly onKept: (piece: PieceIndex) => void
}

/** Saves what is stored now, and keeps on until the scope closes. Gives the function that notes a stored piece. */
export const make = Effect.fnUntraced(function* (options: Options) {
  const { resume, storage, stored } = options
  let flushed = Bitfield.copy(options.flushed)
  for (const piece of Bitfield.indices(options.flushed)) {
    // Flushed once, but gone or wrong since: what is stored in its place is not flushed.
    if (!Bitfield.has(stored, piece)) Bitfield.remove(flushed, piece)
  }
  let pending: Array<PieceIndex> = []
  let isFailing = false
  const awake = yield* Latch.make(false)

  const told = <A>(effect: Effect.Effect<A, ResumeError | StorageError>) =>
    Effect.match(effect, {
      onSuccess: () => {
        isFailing = false
      },
      onFailure: (error) => {
        if (!isFailing) options.onFailure(error)
        isFailing = true
      }
    })

  const append = Effect.suspend(() => {
    const pieces = pending
    pending = []
    if (pieces.length === 0) return Effect.void
    return Effect.andThen(
      told(resume.append(pieces)),
      Effect.sync(() => pieces.forEach(options.onKept))
    )
  }).pipe(Effect.uninterruptible)

  const flush = Effect.suspend(() => {
    if (flushed.count === stored.count) return Effect.void
    const before = Bitfield.copy(stored)
    return storage.flush.pipe(
      Effect.tap(() => {
        flushed = before
        return resume.save({ stored, flushed })
      }),
      told
    )
  })

  yield* told(resume.save({ stored, flushed }))
  yield* Effect.addFinalizer(() => append)
  yield* awake.await.pipe(
    Effect.andThen(Effect.sleep(gatherFor)),
    Effect.tap(() => Effect.sync(() => Latch.closeUnsafe(awake))),
    Effect.andThen(append),
    Effect.forever,
    Effect.forkScoped
  )
  yield* Effect.sleep(flushEvery).pipe(Effect.andThen(flush), Effect.forever, Effect.forkScoped)

  return (piece: PieceIndex): void => {
    pending.push(piece)
    Latch.openUnsafe(awake)
  }
})
