/**
 * What an assembly finds out: facts in the order in which they became true, in one bounded queue that one fiber of the torrent
 * reads. Whoever reads acts on them; the assembly itself calls nobody.
 *
 * When the queue is full, verifying and writing wait for the reader, and so, once all buffers are lent, does the download.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { StorageError } from "../storage/Storage.ts"
import type { SupplierId } from "../supply/SupplierId.ts"

/** Something that became true of a piece, or of the storage. */
export type Fact =
  | { readonly _tag: "Passed"; readonly piece: PieceIndex; readonly contributors: ReadonlySet<SupplierId> }
  | { readonly _tag: "Rejected"; readonly piece: PieceIndex; readonly contributors: ReadonlySet<SupplierId> }
  /** The supplier sent wrong bytes for the piece, proved and not suspected, and the piece can be had without it. */
  | { readonly _tag: "Guilty"; readonly piece: PieceIndex; readonly supplier: SupplierId }
  /**
   * The supplier sent wrong bytes for the piece, and nobody else who is connected has a better copy. It may be an honest one
   * with a rotten disk, so the piece is requested from it again later.
   */
  | { readonly _tag: "Damaged"; readonly piece: PieceIndex; readonly supplier: SupplierId }
  /** The storage confirmed the write of the piece. */
  | { readonly _tag: "Stored"; readonly piece: PieceIndex }
  /** The storage does not take writes; reported once until it does again. */
  | { readonly _tag: "Failed"; readonly piece: PieceIndex; readonly error: StorageError }
  /** The storage takes writes again. Comes before the piece that showed it, so that nothing follows the completion of a torrent. */
  | { readonly _tag: "Recovered" }

/** The queue of an assembly's facts. */
export type Facts = Queue.Queue<Fact>

/** Facts that may wait to be read: a few for each of the pieces that one turn of a busy event loop completes. */
export const capacity = 256

/** Makes an empty queue, until the scope closes. */
export const make = Effect.acquireRelease(Queue.bounded<Fact>(capacity), Queue.shutdown)

/** Reports a fact; waits while the queue is full. Does nothing once nobody reads any more. */
export const offer = (self: Facts, fact: Fact): Effect.Effect<void> => Effect.asVoid(Queue.offer(self, fact))

/**
 * Passes every fact to `act`, in order, until it is interrupted. It passes on what is left first, and `act` decides what of
 * that still counts. So interrupt whoever reports facts before whoever reads them.
 */
export const read = (self: Facts, act: (fact: Fact) => void): Effect.Effect<never> => {
  // Taken and acted on in one step: between two a fiber may be interrupted, and the fact would be lost.
  const drain = Effect.sync(() => {
    for (;;) {
      const next = Queue.takeUnsafe(self)
      if (next === undefined || Exit.isFailure(next)) return
      act(next.value)
    }
  })
  return Queue.peek(self).pipe(
    Effect.andThen(drain),
    Effect.forever,
    Effect.ensuring(drain),
    // Nobody may wait for a reader that is gone.
    Effect.ensuring(Queue.shutdown(self))
  )
}
