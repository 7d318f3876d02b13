/**
 * Decides when a swarm dials, and how many peers at once: the addresses that are due in the book, while there is room.
 *
 * Leaves to the book which address is next, to the policy whether it is dialled at all, and to the swarm what follows
 * from a dial.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Monotonic from "../base/Monotonic.ts"
import * as Signal from "../base/Signal.ts"
import * as PeerBook from "./PeerBook.ts"

/** How many connections of a torrent are opened at once; `connect/Places.ts` bounds those of the whole engine. */
export const maxDialing = 10

/** The dialling of one swarm. */
export interface Dialling {
  readonly book: PeerBook.PeerBook
  /** How many connections may be opened at once. */
  readonly max: number
  /** Set if there may be an address to dial, or room for a dial. */
  readonly awake: Signal.Signal
  /** When the next address is due, if it was not when `run` looked (milliseconds). */
  dueAt: number | undefined
}

/** Makes the dialling of a swarm whose addresses are in `book`. */
export const make = (book: PeerBook.PeerBook, max: number): Dialling => ({
  book,
  max,
  awake: Signal.make(),
  dueAt: undefined
})

/** Makes `run` look for addresses to dial soon, but not within this call. */
export const wake = (self: Dialling): void => {
  Signal.set(self.awake)
}

/** Wakes it if an address has become due. To be called about once a second. */
export const tick = (self: Dialling, now: number): void => {
  if (self.dueAt !== undefined && now >= self.dueAt) wake(self)
}

/** What dialling needs of its swarm. */
export interface Options<R> {
  /** Whether peers are wanted. */
  readonly wantsPeers: () => boolean
  /** Whether the policy admits a peer. */
  readonly admits: (peer: PeerBook.Peer) => boolean
  /** How many peers are being dialled. */
  readonly dialing: () => number
  /** Takes one of the engine's dials for a peer; `false` if none is free. Then it wakes this dialling when one is. */
  readonly takeDial: (peer: PeerBook.Peer) => boolean
  /** Called when there is nobody to dial for now. */
  readonly leaveLine: () => void
  /** Begins to dial a peer with the dial that was taken, and returns at once. */
  readonly dial: (peer: PeerBook.Peer) => Effect.Effect<void, never, R>
}

/** Dials until the scope closes. */
export const run = <R>(self: Dialling, options: Options<R>): Effect.Effect<void, never, R | Scope.Scope> =>
  Signal.attend(self.awake, dialDue(self, options))

/** Dials every address that is due, and notes when the next one is, if there is room for it. */
const dialDue = Effect.fnUntraced(function* <R>(
  self: Dialling,
  { admits, dial, dialing, leaveLine, takeDial, wantsPeers }: Options<R>
): Effect.fn.Return<void, never, R> {
  const { book, max } = self
  const clock = yield* Clock.Clock
  self.dueAt = undefined
  while (wantsPeers() && dialing() < max) {
    const now = Monotonic.nowUnsafe(clock)
    const peer = PeerBook.nextToDial(book, now)
    if (peer === undefined) {
      leaveLine()
      self.dueAt = PeerBook.nextDialAt(book)
      return
    }
    if (!admits(peer)) {
      PeerBook.disconnected(book, peer, now, "not admitted")
      continue
    }
    if (!takeDial(peer)) return
    PeerBook.dialing(book, peer)
    yield* dial(peer)
  }
  leaveLine()
})
