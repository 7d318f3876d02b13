/**
 * Does what `Choker.ts` decides: gives the upload slots of a torrent to the peers whose turn it is.
 */
import type * as Clock from "effect/Clock"
import * as Monotonic from "../base/Monotonic.ts"
import type * as Prng from "../base/Prng.ts"
import * as PeerProtocol from "../peer/PeerProtocol.ts"
import * as Choker from "./Choker.ts"

/** The slots of one torrent. */
export interface UploadSlots {
  /** Unchokes the peers whose turn it is at `now`, and chokes the others. */
  readonly choose: (now: number) => void
  /**
   * The same, soon but not at once: a free slot need not wait for the next tick, and many may change their interest
   * together.
   */
  readonly chooseSoon: () => void
}

/** All free. */
export const make = (options: {
  /** How many there are now. */
  readonly slots: () => number
  readonly peers: () => Iterable<PeerProtocol.PeerProtocol>
  /** Whether everything that is wanted is stored. */
  readonly isSeeding: () => boolean
  readonly clock: Clock.Clock
  readonly random: Prng.Prng
}): UploadSlots => {
  const { clock, random } = options
  const choker = Choker.make<PeerProtocol.PeerProtocol>()
  let isChoosing = false

  const choose = (now: number): void => {
    const isSeeding = options.isSeeding()
    const { choke, unchoke } = Choker.step(choker, options.peers(), { slots: options.slots(), isSeeding, now, random })
    for (const protocol of choke) PeerProtocol.choke(protocol)
    for (const protocol of unchoke) PeerProtocol.unchoke(protocol)
  }

  const chooseSoon = (): void => {
    if (isChoosing) return
    isChoosing = true
    queueMicrotask(() => {
      isChoosing = false
      choose(Monotonic.nowUnsafe(clock))
    })
  }

  return { choose, chooseSoon }
}
