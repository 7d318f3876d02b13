/**
 * Completes pieces: compares each complete piece with its digest and hands it to the storage in one write, several
 * pieces at a time. Nothing unverified is stored.
 *
 *     a storage that stores what it gets:   complete -> digest -> write until stored
 *     a storage that verifies:              complete -> write, whose outcome is the verdict
 *
 * A storage that verifies compares the piece before it stores any of it, so hashing the piece here as well would only
 * cost time: a second a GiB on Node, and more in a page. Only a piece that it rejects is hashed here too, because its
 * bytes may have been damaged on their way to the storage.
 *
 * A failed write is not a failed digest: the verified piece stays in its buffer and is written again on a schedule,
 * until it is stored or the torrent stops. Meanwhile no new piece is started; the torrent goes on by itself once the
 * storage works. Only after the storage has confirmed the write does the piece count as stored, is its memory returned
 * and the fact reported.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Bytes from "../base/Bytes.ts"
import * as Gate from "../base/Gate.ts"
import * as Histogram from "../base/Histogram.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { Tally } from "../base/Tally.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import type { StorageError, TorrentStorage } from "../storage/Storage.ts"
import * as PieceBuffer from "../supply/PieceBuffer.ts"
import * as Assembly from "./Assembly.ts"
import * as Blame from "./Blame.ts"
import * as BufferPool from "./BufferPool.ts"
import * as Distrust from "./Distrust.ts"
import * as Facts from "./Facts.ts"
import * as PieceLine from "./PieceLine.ts"
import * as PieceTable from "./PieceTable.ts"

/**
 * Concurrent writes of a torrent: enough to keep a disk busy, few enough to leave threads to other torrents. More while
 * pieces are small, up to 4 MiB in 16 writes, because the files of pieces that are written at once are claimed together.
 */
export const writesInFlight = (pieceLength: number): number =>
  Math.max(4, Math.min(16, Math.floor((4 << 20) / pieceLength)))

/** First wait before a failed write is repeated (milliseconds). It doubles up to `maxRetryDelay`. */
export const firstRetryDelay = 500

/** The longest wait, and so the longest time until a torrent goes on after space was freed (milliseconds). */
export const maxRetryDelay = 8_000

/** Where complete pieces are written to. */
export interface PieceStore extends Pick<TorrentStorage, "verifies" | "writePiece"> {
  /**
   * Notes that the piece is stored. Called in the same step in which the table changes, so that what is remembered of
   * files never differs from it.
   */
  readonly noteStored?: ((piece: PieceIndex) => void) | undefined
}

const none: ReadonlyMap<number, Uint8Array> = new Map()
const right = Effect.succeed(true)

/** What completing pieces needs. */
export interface Options {
  readonly storage: PieceStore
  /** SHA-1 of each piece, from the metainfo. */
  readonly digestOf: (piece: PieceIndex) => Uint8Array
  /** Where pieces are counted, and how long they took; default: nowhere. */
  readonly tally?: Tally | undefined
  /** Whether each digest and each write has a span of its own; default false: two spans a piece. */
  readonly tracesPieces?: boolean | undefined
}

/**
 * Verifies and stores complete pieces until the scope closes. Facts wait in the assembly, so somebody has to read
 * them.
 */
export const run = Effect.fnUntraced(function* (self: Assembly.Assembly, options: Options) {
  const { digestOf, storage, tally } = options
  const hasher = yield* PieceHasher
  const clock = yield* Clock.Clock
  const atOnce = writesInFlight(self.geometry.pieceLength)
  /** Pieces whose last write failed. */
  const failing = new Set<PieceIndex>()
  /** Why the last of them failed, while the storage takes no writes. */
  let reason: StorageError["reason"]["_tag"] | undefined

  const report = (fact: Facts.Fact) => Facts.offer(self.facts, fact)

  const noteSince = (times: Histogram.Histogram, begun: number): void =>
    Histogram.add(times, Monotonic.secondsUnsafe(clock) - begun)

  /** Gives what is done with a piece a span, if that is wanted. */
  const traced = <A>(name: string, act: (buffer: PieceBuffer.PieceBuffer) => Effect.Effect<A>) =>
    options.tracesPieces !== true
      ? act
      : (buffer: PieceBuffer.PieceBuffer) =>
          Effect.withSpan(
            Effect.suspend(() => act(buffer)),
            name,
            { attributes: { "piecewise.piece": buffer.piece }, captureStackTrace: false }
          )

  const digestsOf = Effect.fnUntraced(function* (buffer: PieceBuffer.PieceBuffer, blocks: Iterable<number>) {
    const digests = new Map<number, Uint8Array>()
    for (const block of blocks) digests.set(block, yield* hasher.sha1(PieceBuffer.blockBytes(buffer, block)))
    return digests
  })

  /**
   * Handles a piece that has the right bytes. Returns what is left to report; `undefined` if nothing is, as a rule: this
   * runs once a piece.
   */
  const passNow = (buffer: PieceBuffer.PieceBuffer, digests = none): Effect.Effect<void> | undefined => {
    const { piece } = buffer
    const contributors = PieceBuffer.contributorsOf(buffer)
    PieceTable.verify(self.table, piece)
    const guilty = Distrust.pass(Assembly.distrustOf(self), self.suppliers, piece, contributors, digests)
    const facts: ReadonlyArray<Facts.Fact> = [
      { _tag: "Passed", piece, contributors },
      ...guilty.map((supplier): Facts.Fact => ({ _tag: "Guilty", piece, supplier }))
    ]
    const first = facts.findIndex((fact) => !Facts.offerNow(self.facts, fact))
    return first < 0 ? undefined : Effect.forEach(facts.slice(first), report, { discard: true })
  }

  /** The same, for a piece of which digests of suspected blocks may be needed first. */
  const pass = (buffer: PieceBuffer.PieceBuffer): Effect.Effect<void> | undefined => {
    const suspected = Blame.suspectedBlocks(Assembly.distrustOf(self).blame, buffer.piece)
    if (suspected.size === 0) return passNow(buffer)
    return Effect.flatMap(digestsOf(buffer, suspected), (digests) => passNow(buffer, digests) ?? Effect.void)
  }

  /** Handles a piece that has wrong bytes: it is dropped, and whoever sent them is identified. */
  const reject = Effect.fnUntraced(function* (buffer: PieceBuffer.PieceBuffer) {
    const { piece } = buffer
    const contributors = PieceBuffer.contributorsOf(buffer)
    const [sole] = contributors.size === 1 ? contributors : []
    const copy = sole === undefined ? { sha1s: yield* digestsOf(buffer, buffer.contributors.keys()) } : { sole }
    if (tally !== undefined) tally.rejectedPieces++
    Distrust.fail(Assembly.distrustOf(self), self.suppliers, buffer, copy, yield* Monotonic.now)
    Assembly.waste(self, buffer.bytes.length)
    const isReplaceable = Distrust.hasOtherSource(self.suppliers, piece, contributors)
    yield* BufferPool.close(self.pool, piece)
    yield* report({ _tag: "Rejected", piece, contributors })
    if (sole !== undefined) yield* report({ _tag: isReplaceable ? "Guilty" : "Damaged", piece, supplier: sole })
  })

  /** Compares a complete piece with its digest. Returns whether it is right; a wrong one loses its buffer. */
  const verify = traced("piecewise.piece.verify", (buffer): Effect.Effect<boolean> => {
    const begun = tally === undefined ? 0 : Monotonic.secondsUnsafe(clock)
    return Effect.flatMap(hasher.sha1(buffer.bytes), (digest) => {
      if (tally !== undefined) noteSince(tally.verifySeconds, begun)
      if (!Bytes.equals(digest, digestOf(buffer.piece))) return Effect.as(reject(buffer), false)
      const left = pass(buffer)
      return left === undefined ? right : Effect.andThen(left, right)
    })
  })

  /**
   * Notes that a failing piece was answered, which shows that the storage works again. The others wait for their own
   * turn.
   */
  const recover = (piece: PieceIndex): boolean => {
    const isRecovery = failing.delete(piece) && self.isPaused
    if (isRecovery) Assembly.setPaused(self, false)
    return isRecovery
  }

  /** Notes at once that a piece is stored. What it returns gives the memory back, and reports the fact. */
  const noteStored = ({ piece }: PieceBuffer.PieceBuffer): Effect.Effect<void> => {
    if (tally !== undefined) tally.storedPieces++
    Assembly.noteStored(self, piece)
    storage.noteStored?.(piece)
    const fact: Facts.Fact = { _tag: "Stored", piece }
    return Effect.flatMap(BufferPool.close(self.pool, piece), () =>
      Facts.offerNow(self.facts, fact) ? Effect.void : report(fact)
    )
  }

  /** Handles a piece that the storage has stored. Called once a piece, so it adds few effects to those of others. */
  const stored = (buffer: PieceBuffer.PieceBuffer): Effect.Effect<void> => {
    const { piece } = buffer
    // A storage that verifies has done so by storing it.
    const left = PieceTable.stateOf(self.table, piece) === "complete" ? pass(buffer) : undefined
    if (left === undefined && !failing.has(piece)) return noteStored(buffer)
    return Effect.gen(function* () {
      if (left !== undefined) yield* left
      const isRecovery = recover(piece)
      if (isRecovery) yield* report({ _tag: "Recovered" })
      yield* noteStored(buffer)
      if (isRecovery) Assembly.wakeIdle(self)
    })
  }

  /** Handles a piece that the storage rightly rejected. The storage works, whatever it failed with before. */
  const rejected = Effect.fnUntraced(function* (piece: PieceIndex) {
    if (!recover(piece)) return
    yield* report({ _tag: "Recovered" })
    Assembly.wakeIdle(self)
  })

  /** Handles a failed write that is to be repeated. */
  const failed = Effect.fnUntraced(function* (piece: PieceIndex, error: StorageError) {
    failing.add(piece)
    if (tally !== undefined) tally.failedWrites++
    // Another reason is news: one may pass by itself, and the next may not.
    if (self.isPaused && error.reason._tag === reason) return
    reason = error.reason._tag
    Assembly.setPaused(self, true)
    // Whoever waits for buffers to be returned need not wait for this one.
    Gate.open(self.pool.returned)
    yield* report({ _tag: "Failed", piece, error })
  })

  /** Writes once. Returns why it failed. A confirmed write is noted even after an interruption. */
  const attempt = traced("piecewise.piece.write", (buffer): Effect.Effect<StorageError | undefined> => {
    const begun = tally === undefined ? 0 : Monotonic.secondsUnsafe(clock)
    return Effect.uninterruptible(
      Effect.matchEffect(storage.writePiece(buffer.piece, buffer.bytes, digestOf(buffer.piece)), {
        onSuccess: () => {
          if (tally !== undefined) noteSince(tally.writeSeconds, begun)
          return Effect.as(stored(buffer), undefined)
        },
        onFailure: Effect.succeed
      })
    )
  })

  /**
   * Whether the storage found wrong bytes, and it is not known yet whether they were wrong before they were sent to it.
   */
  const isMismatch = ({ piece }: PieceBuffer.PieceBuffer, { reason }: StorageError): boolean =>
    reason._tag === "DigestMismatch" && PieceTable.stateOf(self.table, piece) === "complete"

  /** Writes a piece, whose last write failed, until it is stored, or turns out to be wrong. */
  const repeat = Effect.fnUntraced(function* (buffer: PieceBuffer.PieceBuffer, first: StorageError) {
    let error: StorageError | undefined = first
    for (let delay = firstRetryDelay; ; delay = Math.min(maxRetryDelay, delay * 2)) {
      if (isMismatch(buffer, error) && !(yield* verify(buffer))) return yield* rejected(buffer.piece)
      yield* failed(buffer.piece, error)
      yield* Effect.sleep(delay)
      error = yield* attempt(buffer)
      if (error === undefined) return
    }
  })

  /** Writes a piece until it is stored, or turns out to be wrong. */
  const write = (buffer: PieceBuffer.PieceBuffer): Effect.Effect<void> =>
    Effect.flatMap(attempt(buffer), (error) => (error === undefined ? Effect.void : repeat(buffer, error)))

  if (storage.verifies === true) return yield* PieceLine.serve(self.completed, write, atOnce)
  // Verifying never waits for a write.
  const verified = PieceLine.make()
  yield* PieceLine.serve(verified, write, atOnce)
  const judge = (buffer: PieceBuffer.PieceBuffer) =>
    Effect.map(verify(buffer), (isRight) => {
      if (isRight) PieceLine.add(verified, buffer)
    })
  yield* PieceLine.serve(self.completed, judge, hasher.atOnce ?? 1)
})
