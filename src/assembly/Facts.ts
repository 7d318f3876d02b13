/**
 * What happened in an assembly: facts in their order, which the torrent reads and acts on. The assembly itself calls
 * nobody.
 *
 * When too many are unread, verifying and writing wait for the reader. Once all buffers are lent, so does the download.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as Signal from "../base/Signal.ts"
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
  /** The storage does not take writes. Reported once until it does again, or fails for another reason. */
  | { readonly _tag: "Failed"; readonly piece: PieceIndex; readonly error: StorageError }
  /**
   * The storage takes writes again. Reported before the piece that showed it, so that nothing follows the completion of
   * a torrent.
   */
  | { readonly _tag: "Recovered" }

/** The facts of an assembly that nobody has read yet. */
export interface Facts {
  readonly unread: Array<Fact>
  readonly some: Signal.Signal
  /** Whoever waits until there is room. */
  readonly waiting: Array<() => void>
  /** Whether the reader has ended. */
  isOver: boolean
}

/** How many facts may wait to be read: a few for each piece that one turn of a busy event loop completes. */
export const capacity = 256

/** Makes it without facts. */
export const make = (): Facts => ({ unread: [], some: Signal.make(), waiting: [], isOver: false })

/** Nobody may wait for a reader that has ended. */
const end = (self: Facts): void => {
  self.isOver = true
  admit(self)
}

const admit = ({ waiting }: Facts): void => {
  for (const resume of waiting.splice(0)) resume()
}

const add = (self: Facts, fact: Fact): void => {
  self.unread.push(fact)
  Signal.set(self.some)
}

/** Reports a fact if there is room for it, and returns whether it did. Does nothing after the reader has ended. */
export const offerNow = (self: Facts, fact: Fact): boolean => {
  if (self.isOver) return true
  if (self.unread.length >= capacity) return false
  add(self, fact)
  return true
}

/** Reports a fact, and waits while too many are unread. Does nothing after the reader has ended. */
export const offer = (self: Facts, fact: Fact): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (offerNow(self, fact)) return Effect.void
    add(self, fact)
    return hasRoom(self)
  })

const hasRoom = ({ waiting }: Facts): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const go = () => resume(Effect.void)
    waiting.push(go)
    return Effect.sync(() => {
      const index = waiting.indexOf(go)
      if (index >= 0) waiting.splice(index, 1)
    })
  })

/**
 * Passes every fact to `act`, in order, until the scope closes. Before it ends it passes on the facts that are left,
 * and `act` decides which of them still count. So end whoever reports facts before the reader.
 */
export const read = (self: Facts, act: (fact: Fact) => void): Effect.Effect<void, never, Scope.Scope> => {
  const drain = () => {
    const { unread } = self
    let done = 0
    try {
      while (done < unread.length) act(unread[done++]!)
    } finally {
      unread.splice(0, done)
      admit(self)
    }
  }
  // Another reader may have ended before.
  self.isOver = false
  return Effect.andThen(
    Effect.addFinalizer(() =>
      Effect.ensuring(
        Effect.sync(drain),
        Effect.sync(() => end(self))
      )
    ),
    Signal.react(self.some, drain)
  )
}
