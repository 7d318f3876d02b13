/**
 * What happened in an assembly: facts in their order, in one bounded queue that one fiber of the torrent reads and acts
 * on. The assembly itself calls nobody.
 *
 * When the queue is full, verifying and writing wait for the reader. Once all buffers are lent, so does the download.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { StorageError } from "../storage/Storage.ts"
import type { SupplierId } from "../supply/SupplierId.ts"

/** Something that happened to a piece, or to the storage. */
export type Fact =
  | { readonly _tag: "Passed"; readonly piece: PieceIndex; readonly contributors: ReadonlySet<SupplierId> }
  | { readonly _tag: "Rejected"; readonly piece: PieceIndex; readonly contributors: ReadonlySet<SupplierId> }
  /** It is proved that the supplier sent wrong bytes for the piece, and another supplier has the piece. */
  | { readonly _tag: "Guilty"; readonly piece: PieceIndex; readonly supplier: SupplierId }
  /**
   * The supplier sent wrong bytes for the piece, and no other connected supplier has a better copy. It may be honest
   * with a damaged disk, so the piece is requested from it again later.
   */
  | { readonly _tag: "Damaged"; readonly piece: PieceIndex; readonly supplier: SupplierId }
  /** The storage confirmed the write of the piece. */
  | { readonly _tag: "Stored"; readonly piece: PieceIndex }
  /** The storage does not take writes. Reported once until it does again. */
  | { readonly _tag: "Failed"; readonly piece: PieceIndex; readonly error: StorageError }
  /**
   * The storage takes writes again. Reported before the piece that showed it, so that nothing follows the completion of
   * a torrent.
   */
  | { readonly _tag: "Recovered" }

/** The queue of an assembly's facts. */
export type Facts = Queue.Queue<Fact>

/** How many facts may wait to be read: a few for each piece that one turn of a busy event loop completes. */
export const capacity = 256

/** Makes an empty queue, until the scope closes. */
export const make = Effect.acquireRelease(Queue.bounded<Fact>(capacity), Queue.shutdown)

/** Reports a fact if there is room for it, and returns whether it did. */
export const offerNow = (self: Facts, fact: Fact): boolean => Queue.offerUnsafe(self, fact)

/** Reports a fact; waits while the queue is full. Does nothing after the reader has ended. */
export const offer = (self: Facts, fact: Fact): Effect.Effect<void> => Effect.asVoid(Queue.offer(self, fact))

/**
 * Passes every fact to `act`, in order, until it is interrupted. Before it ends it passes on the facts that are left,
 * and `act` decides which of them still count. So interrupt whoever reports facts before the reader.
 */
export const read = (self: Facts, act: (fact: Fact) => void): Effect.Effect<never> => {
  // Taken and acted on in one step, because an interruption between the two would lose the fact.
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
    // Nobody may wait for a reader that has ended.
    Effect.ensuring(Queue.shutdown(self))
  )
}
