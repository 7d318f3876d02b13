/**
 * Hands verified pieces to the storage, one write a piece, several pieces in flight. A storage that verifies by itself gets
 * them unverified: it stores nothing of one that does not match its digest.
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
import * as PieceOrder from "./PieceOrder.ts"
import * as PieceTable from "./PieceTable.ts"
import type * as PieceVerifier from "./PieceVerifier.ts"

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
  readonly storage: Pick<TorrentStorage, "writePiece">
  readonly digestOf: (piece: PieceIndex) => Uint8Array
  /** Verified pieces; complete ones, where the storage verifies. */
  readonly toWrite: Queue.Dequeue<PieceBuffer.PieceBuffer>
  readonly verifier: Pick<PieceVerifier.PieceVerifier, "pass" | "check">
  readonly report: (fact: Fact) => void
}) {
  const { digestOf, download, report, storage, toWrite, verifier } = options
  const failing = new Set<PieceIndex>()

  const failed = (piece: PieceIndex, error: StorageError): void => {
    failing.add(piece)
    const isNews = !download.isPaused
    download.isPaused = true
    if (isNews) report({ _tag: "Failed", piece, error })
  }

  /** One answer for a piece that had failed shows that the storage works again; the others wait for their own turn. */
  const recover = (piece: PieceIndex): boolean => {
    const isRecovery = failing.delete(piece) && download.isPaused
    if (isRecovery) download.isPaused = false
    return isRecovery
  }

  const stored = Effect.fnUntraced(function* (buffer: PieceBuffer.PieceBuffer) {
    const { piece } = buffer
    // The storage has verified it by storing it.
    if (PieceTable.stateOf(download.table, piece) === "complete") yield* verifier.pass(buffer)
    PieceTable.store(download.table, piece)
    PieceOrder.clearDeadline(download.order, piece)
    const isRecovery = recover(piece)
    yield* BufferPool.close(download.pool, piece)
    // Before the piece, which may be the last one: nothing is told of a torrent behind its completion.
    if (isRecovery) report({ _tag: "Recovered" })
    report({ _tag: "Stored", piece })
    if (isRecovery) Download.feed(download)
  })

  /** Throws a piece away that the storage found to be wrong, as it is; tells whether it was. */
  const rejected = Effect.fnUntraced(function* (buffer: PieceBuffer.PieceBuffer) {
    if (yield* verifier.check(buffer)) return false
    if (recover(buffer.piece)) {
      report({ _tag: "Recovered" })
      Download.feed(download)
    }
    return true
  })

  /**
   * Whether the storage says that the bytes are wrong, and nobody has looked yet if they were so before they went
   * there.
   */
  const isMismatch = ({ piece }: PieceBuffer.PieceBuffer, { reason }: StorageError): boolean =>
    reason._tag === "DigestMismatch" && PieceTable.stateOf(download.table, piece) === "complete"

  const writer = Effect.gen(function* () {
    while (true) {
      const buffer = yield* Queue.take(toWrite)
      const { bytes, piece } = buffer
      for (let delay = firstRetryDelay; ; delay = Math.min(maxRetryDelay, delay * 2)) {
        // Told apart here and not by a typed failure: a stored piece must be marked even if we are interrupted.
        const result = yield* Effect.uninterruptible(
          Effect.result(storage.writePiece(piece, bytes, digestOf(piece))).pipe(
            Effect.tap((result) => (Result.isSuccess(result) ? stored(buffer) : Effect.void))
          )
        )
        if (Result.isSuccess(result)) break
        if (isMismatch(buffer, result.failure) && (yield* rejected(buffer))) break
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
