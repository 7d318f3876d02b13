/**
 * Decides when a swarm dials, and how many peers at once: the addresses that are due in the book, while there is room.
 *
 * Leaves to the book which address is next, and to the swarm what follows from a dial.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Monotonic from "../base/Monotonic.ts"
import * as PeerBook from "./PeerBook.ts"

/** How many connections of a torrent are opened at once; `connect/Places.ts` bounds those of the whole engine. */
export const maxDialing = 10

/** The dialling of one swarm. */
export interface Dialling {
  readonly book: PeerBook.PeerBook
  /** How many connections may be opened at once. */
  readonly max: number
  /** Open if there may be an address to dial, or room for a dial. */
  readonly awake: Latch.Latch
}

/** Makes the dialling of a swarm whose addresses are in `book`. */
export const make = (book: PeerBook.PeerBook, max: number): Dialling => ({ book, max, awake: Latch.makeUnsafe(true) })

/** Makes `run` look for addresses to dial soon, but not within this call. */
export const wake = (self: Dialling): void => {
  Latch.openUnsafe(self.awake)
}

/** What dialling needs of its swarm. */
export interface Options<R> {
  /** Whether peers are wanted. */
  readonly wantsPeers: () => boolean
  /** How many peers are being dialled. */
  readonly dialing: () => number
  /** Takes one of the engine's dials; `false` if none is free. Then it wakes this dialling when one is. */
  readonly takeDial: () => boolean
  /** Called when there is nobody to dial for now. */
  readonly leaveLine: () => void
  /** Begins to dial a peer with the dial that was taken, and returns at once. */
  readonly dial: (peer: PeerBook.Peer) => Effect.Effect<void, never, R>
}

/** Dials until it is interrupted. */
export const run = Effect.fnUntraced(function* <R>(
  self: Dialling,
  options: Options<R>
): Effect.fn.Return<never, never, R> {
  const clock = yield* Clock.Clock
  while (true) {
    Latch.closeUnsafe(self.awake)
    const wait = yield* dialDue(self, options, clock)
    yield* wait === undefined
      ? self.awake.await
      : Effect.timeoutOrElse(self.awake.await, { duration: wait, orElse: () => Effect.void })
    // The caller that opened the latch runs this fiber within its call, and may be in the middle of reading from a
    // peer.
    yield* Effect.yieldNow
  }
})

/**
 * Dials every address that is due. Returns the milliseconds until the next is due; `undefined` if there is none or no
 * room for it.
 */
const dialDue = Effect.fnUntraced(function* <R>(
  { book, max }: Dialling,
  { dial, dialing, leaveLine, takeDial, wantsPeers }: Options<R>,
  clock: Clock.Clock
): Effect.fn.Return<number | undefined, never, R> {
  while (wantsPeers() && dialing() < max) {
    const now = Monotonic.nowUnsafe(clock)
    const peer = PeerBook.nextToDial(book, now)
    if (peer === undefined) {
      leaveLine()
      const dialAt = PeerBook.nextDialAt(book)
      return dialAt === undefined ? undefined : dialAt - now
    }
    if (!takeDial()) return undefined
    PeerBook.dialing(book, peer)
    yield* dial(peer)
  }
  leaveLine()
  return undefined
})
