/**
 * What becomes of complete pieces: each is compared with its digest and handed to the storage in one write, several pieces at a
 * time. Nothing unverified is stored.
 *
 *     a storage that stores what it gets:   complete -> digest -> write until stored
 *     a storage that verifies:              complete -> write, whose outcome is the verdict
 *
 * A storage that verifies compares the piece before it stores any of it, so hashing it here as well would only cost: a second
 * a GiB on Node, and more in a page. Only what it rejects is hashed here too, to tell a wrong piece from one that was damaged
 * on its way.
 *
 * A failed write is not a failed digest: the verified piece stays in its buffer and is written again on a schedule, until it is
 * stored or the torrent stops. Meanwhile no new piece is started; the torrent goes on by itself when the storage does. Only
 * after the storage has confirmed a write is the piece stored, its memory returned and the fact reported.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Bytes from "../base/Bytes.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import type { StorageError, TorrentStorage } from "../storage/Storage.ts"
import * as PieceBuffer from "../supply/PieceBuffer.ts"
import * as Assembly from "./Assembly.ts"
import * as Blame from "./Blame.ts"
import * as BufferPool from "./BufferPool.ts"
import * as Distrust from "./Distrust.ts"
import * as Facts from "./Facts.ts"
import * as PieceTable from "./PieceTable.ts"

/** Writes in flight for a torrent: enough to keep a disk busy, few enough to leave threads to others. */
export const writesInFlight = 4

/** First wait before a failed write is repeated (milliseconds); it doubles up to `maxRetryDelay`. */
export const firstRetryDelay = 500

/** The longest wait, and so the longest a torrent sleeps on after space was freed (milliseconds). */
export const maxRetryDelay = 8_000

/** Where complete pieces go. */
export interface PieceStore extends Pick<TorrentStorage, "verifies" | "writePiece"> {
  /**
   * The piece counts as stored from now on. Called in the step in which it does, so that what is remembered of files never
   * differs from the table.
   */
  readonly noteStored?: ((piece: PieceIndex) => void) | undefined
}

/** What pieces are completed with. */
export interface Options {
  readonly storage: PieceStore
  /** SHA-1 of each piece, from the metainfo. */
  readonly digestOf: (piece: PieceIndex) => Uint8Array
}

/** Verifies and stores complete pieces for ever. Facts wait in the assembly's queue, so somebody has to read them. */
export const run = Effect.fnUntraced(function* (self: Assembly.Assembly, options: Options) {
  const { digestOf, storage } = options
  const hasher = yield* PieceHasher
  /** Pieces whose last write failed. */
  const failing = new Set<PieceIndex>()

  const report = (fact: Facts.Fact) => Facts.offer(self.facts, fact)

  const digestsOf = Effect.fnUntraced(function* (buffer: PieceBuffer.PieceBuffer, blocks: Iterable<number>) {
    const digests = new Map<number, Uint8Array>()
    for (const block of blocks) digests.set(block, yield* hasher.sha1(PieceBuffer.blockBytes(buffer, block)))
    return digests
  })

  /** The piece has the right bytes. */
  const pass = Effect.fnUntraced(function* (buffer: PieceBuffer.PieceBuffer) {
    const { piece } = buffer
    const contributors = PieceBuffer.contributorsOf(buffer)
    const digests = yield* digestsOf(buffer, Blame.suspectedBlocks(self.distrust.blame, piece))
    PieceTable.verify(self.table, piece)
    const guilty = Distrust.pass(self.distrust, self.suppliers, piece, contributors, digests)
    yield* report({ _tag: "Passed", piece, contributors })
    for (const supplier of guilty) yield* report({ _tag: "Guilty", piece, supplier })
  })

  /** The piece has wrong bytes: it is thrown away, and whoever sent them is found out. */
  const reject = Effect.fnUntraced(function* (buffer: PieceBuffer.PieceBuffer) {
    const { piece } = buffer
    const contributors = PieceBuffer.contributorsOf(buffer)
    const [sole] = contributors.size === 1 ? contributors : []
    const copy = sole === undefined ? { sha1s: yield* digestsOf(buffer, buffer.contributors.keys()) } : { sole }
    Distrust.fail(self.distrust, self.suppliers, buffer, copy, yield* Monotonic.now)
    Assembly.waste(self, buffer.bytes.length)
    const isReplaceable = Distrust.hasOtherSource(self.suppliers, piece, contributors)
    yield* BufferPool.close(self.pool, piece)
    yield* report({ _tag: "Rejected", piece, contributors })
    if (sole !== undefined) yield* report({ _tag: isReplaceable ? "Guilty" : "Damaged", piece, supplier: sole })
  })

  /** Compares a complete piece with its digest. Returns whether it is right; a wrong one has no buffer any more. */
  const verify = Effect.fnUntraced(function* (buffer: PieceBuffer.PieceBuffer) {
    const digest = yield* hasher.sha1(buffer.bytes)
    const isRight = Bytes.equals(digest, digestOf(buffer.piece))
    yield* isRight ? pass(buffer) : reject(buffer)
    return isRight
  })

  /** One answer for a piece that had failed shows that the storage works again; the others wait for their own turn. */
  const recover = (piece: PieceIndex): boolean => {
    const isRecovery = failing.delete(piece) && self.isPaused
    if (isRecovery) Assembly.setPaused(self, false)
    return isRecovery
  }

  /** The storage has the piece. */
  const stored = Effect.fnUntraced(function* (buffer: PieceBuffer.PieceBuffer) {
    const { piece } = buffer
    // The storage has verified it by storing it.
    if (PieceTable.stateOf(self.table, piece) === "complete") yield* pass(buffer)
    const isRecovery = recover(piece)
    if (isRecovery) yield* report({ _tag: "Recovered" })
    Assembly.noteStored(self, piece)
    storage.noteStored?.(piece)
    yield* BufferPool.close(self.pool, piece)
    yield* report({ _tag: "Stored", piece })
    if (isRecovery) Assembly.wakeIdle(self)
  })

  /** The storage has rejected the piece, rightly: it works, whatever it failed with before. */
  const rejected = Effect.fnUntraced(function* (piece: PieceIndex) {
    if (!recover(piece)) return
    yield* report({ _tag: "Recovered" })
    Assembly.wakeIdle(self)
  })

  /** The storage did not take the piece, and is to be asked again. */
  const failed = Effect.fnUntraced(function* (piece: PieceIndex, error: StorageError) {
    failing.add(piece)
    if (self.isPaused) return
    Assembly.setPaused(self, true)
    yield* report({ _tag: "Failed", piece, error })
  })

  /** One write. Returns why it failed; what the storage has confirmed is noted even if we are interrupted. */
  const attempt = (buffer: PieceBuffer.PieceBuffer): Effect.Effect<StorageError | undefined> =>
    Effect.result(storage.writePiece(buffer.piece, buffer.bytes, digestOf(buffer.piece))).pipe(
      Effect.flatMap((result) =>
        Result.isSuccess(result) ? Effect.as(stored(buffer), undefined) : Effect.succeed(result.failure)
      ),
      Effect.uninterruptible
    )

  /** Whether the storage found wrong bytes, and nobody has looked yet if they were wrong before they went there. */
  const isMismatch = ({ piece }: PieceBuffer.PieceBuffer, { reason }: StorageError): boolean =>
    reason._tag === "DigestMismatch" && PieceTable.stateOf(self.table, piece) === "complete"

  /** Writes a piece until it is stored, or turns out to be wrong. */
  const write = Effect.fnUntraced(function* (buffer: PieceBuffer.PieceBuffer) {
    for (let delay = firstRetryDelay; ; delay = Math.min(maxRetryDelay, delay * 2)) {
      const error = yield* attempt(buffer)
      if (error === undefined) return
      if (isMismatch(buffer, error) && !(yield* verify(buffer))) return yield* rejected(buffer.piece)
      yield* failed(buffer.piece, error)
      yield* Effect.sleep(delay)
    }
  })

  const writeAll = (pieces: Queue.Dequeue<PieceBuffer.PieceBuffer>) =>
    Effect.forEach(
      Array.from({ length: writesInFlight }),
      () => Effect.forever(Effect.flatMap(Queue.take(pieces), write)),
      { concurrency: "unbounded", discard: true }
    )

  if (storage.verifies === true) return yield* writeAll(self.completed)
  // As deep as there are buffers, so that verifying never waits for a write.
  const verified = yield* Queue.bounded<PieceBuffer.PieceBuffer>(self.pool.capacity)
  const verifyAll = Effect.gen(function* () {
    while (true) {
      const buffer = yield* Queue.take(self.completed)
      if (yield* verify(buffer)) Queue.offerUnsafe(verified, buffer)
    }
  })
  return yield* Effect.all([verifyAll, writeAll(verified)], { concurrency: "unbounded", discard: true })
})
