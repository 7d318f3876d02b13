/**
 * Carries out what `Choker.ts` decides: unchokes the peers of a torrent whose turn it is.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Monotonic from "../base/Monotonic.ts"
import type * as Prng from "../base/Prng.ts"
import type * as PeerProtocol from "../peer/PeerProtocol.ts"
import * as PeerRequests from "../peer/PeerRequests.ts"
import * as Choker from "./Choker.ts"

/** The upload slots of one torrent. */
export interface Choking {
  readonly choker: Choker.Choker<PeerProtocol.PeerProtocol>
  readonly options: Options
  /** Open if another peer may be unchoked before the next tick. */
  readonly isDue: Latch.Latch
  /** Whether every peer stays choked, because uploads end. */
  isParting: boolean
}

/** What choking depends on. */
export interface Options {
  /** How many slots there are now. */
  readonly slots: () => number
  readonly peers: () => Iterable<PeerProtocol.PeerProtocol>
  /** Whether everything that is wanted is stored. */
  readonly isSeeding: () => boolean
  readonly random: Prng.Prng
}

/** Makes it with all slots free. */
export const make = (options: Options): Choking => ({
  choker: Choker.make(),
  options,
  isDue: Latch.makeUnsafe(false),
  isParting: false
})

/** Unchokes the peers whose turn it is at `now`, and chokes the others. */
export const choose = ({ choker, isParting, options }: Choking, now: number): void => {
  const { choke, unchoke } = Choker.step(choker, options.peers(), {
    slots: isParting ? 0 : options.slots(),
    isSeeding: options.isSeeding(),
    now,
    random: options.random
  })
  for (const protocol of choke) PeerRequests.choke(protocol)
  for (const protocol of unchoke) PeerRequests.unchoke(protocol)
}

/**
 * Makes `run` choose soon, but not within this call. A free slot need not wait for the next tick, and many peers may
 * change their interest at the same time.
 */
export const chooseSoon = (self: Choking): void => {
  Latch.openUnsafe(self.isDue)
}

/** Chooses whenever that is due, until it is interrupted. */
export const run = Effect.fnUntraced(function* (self: Choking): Effect.fn.Return<never> {
  const clock = yield* Clock.Clock
  while (true) {
    yield* self.isDue.await
    // The caller that opened the latch runs this fiber within its call, and may be in the middle of reading from a
    // peer.
    yield* Effect.yieldNow
    Latch.closeUnsafe(self.isDue)
    choose(self, Monotonic.nowUnsafe(clock))
  }
})
