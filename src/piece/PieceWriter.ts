/**
 * Hands verified pieces to the storage, one write a piece, several pieces in flight.
 *
 * A failed write is not a failed digest: the verified piece stays in its buffer and is written again on a schedule, until
 * it is stored or the torrent stops. Meanwhile no new piece is started; the torrent goes on by itself when the storage
 * does. Only after the storage confirmed a write is the piece stored, its memory returned and the world told.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { StorageError, TorrentStorage } from "../storage/Storage.ts"
import * as BufferPool from "./BufferPool.ts"
import * as Download from "./Download.ts"
import type * as PieceBuffer from "./PieceBuffer.ts"
import * as PieceTable from "./PieceTable.ts"

/** Writes in flight for a torrent: enough to keep a disk busy, few enough to leave threads to others. */
export const writesInFlight = 4

/** First wait before a failed write is repeated (milliseconds); it doubles up to `maxRetryDelay`. */
export const firstRetryDelay = 500

/** The longest wait, and so the longest a torrent sleeps on after space was freed (milliseconds). */
export const maxRetryDelay = 8_000

/** What the writer has to tell. */
export type Fact =
  | { readonly _tag: "Stored"; readonly piece: PieceIndex }
  /** The storage does not take writes; told once until it does again. */
  | { readonly _tag: "Failed"; readonly piece: PieceIndex; readonly error: StorageError }
  | { readonly _tag: "Recovered" }

/** Writes pieces for ever. */
export const run = Effect.fnUntraced(function* (options: {
  readonly download: Download.Download
  readonly storage: TorrentStorage
  /** The digest that a piece was verified with. */
  readonly digestOf: (piece: PieceIndex) => Uint8Array
  readonly verified: Queue.Dequeue<PieceBuffer.PieceBuffer>
  readonly report: (fact: Fact) => void
}) {
  const { digestOf, download, report, storage, verified } = options
  const failing = new Set<PieceIndex>()

  const failed = (piece: PieceIndex, error: StorageError): void => {
    failing.add(piece)
    const isNews = !download.isPaused
    download.isPaused = true
    if (isNews) report({ _tag: "Failed", piece, error })
  }

  const stored = Effect.fnUntraced(function* (piece: PieceIndex) {
    PieceTable.store(download.table, piece)
    const hadFailed = failing.delete(piece)
    // One success shows that the storage works again; the others wait for their own turn.
    const isRecovery = hadFailed && download.isPaused
    if (isRecovery) download.isPaused = false
    yield* BufferPool.close(download.pool, piece)
    // Before the piece, which may be the last one: nothing is told of a torrent behind its completion.
    if (isRecovery) report({ _tag: "Recovered" })
    report({ _tag: "Stored", piece })
    if (isRecovery) Download.feed(download)
  })

  const writer = Effect.gen(function* () {
    while (true) {
      const { bytes, piece } = yield* Queue.take(verified)
      for (let delay = firstRetryDelay; ; delay = Math.min(maxRetryDelay, delay * 2)) {
        // Told apart here and not by a typed failure: a stored piece must be marked even if we are interrupted.
        const result = yield* Effect.uninterruptible(
          Effect.result(storage.writePiece(piece, bytes, digestOf(piece))).pipe(
            Effect.tap((result) => (Result.isSuccess(result) ? stored(piece) : Effect.void))
          )
        )
        if (Result.isSuccess(result)) break
        failed(piece, result.failure)
        yield* Effect.sleep(delay)
      }
    }
  })

  return yield* Effect.all(
    Array.from({ length: writesInFlight }, () => writer),
    { concurrency: "unbounded", discard: true }
  )
})
