/**
 * Carries out what the policy decides (`PeerPolicy.choker`): unchokes the peers of a torrent whose turn it is.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Monotonic from "../base/Monotonic.ts"
import type * as Prng from "../base/Prng.ts"
import * as Signal from "../base/Signal.ts"
import type * as PeerProtocol from "../peer/PeerProtocol.ts"
import * as PeerRequests from "../peer/PeerRequests.ts"
import * as RateMeter from "../rate/RateMeter.ts"
import type { Contender } from "./Contender.ts"
import * as PolicyGuard from "./PolicyGuard.ts"
import * as Shares from "./Shares.ts"

/** The upload slots of one torrent. */
export interface Choking {
  readonly chooser: PolicyGuard.Chooser
  readonly shares: Shares.Shares<PeerProtocol.PeerProtocol>
  /** How fast blocks are sent to the connected peers, and how many bytes these had received at the last step. */
  readonly rate: RateMeter.RateMeter
  uploadedBytes: number
  readonly options: Options
  /** Set if another peer may be unchoked before the next tick. */
  readonly isDue: Signal.Signal
  /** Whether every peer stays choked, because uploads end. */
  isParting: boolean
}

/** What choking depends on. */
export interface Options {
  /** How many slots there are now, if we upload so many bytes per second. */
  readonly slots: (bytesPerSecond: number) => number
  readonly peers: () => Iterable<Contender>
  /** Whether everything that is wanted is stored. */
  readonly isSeeding: () => boolean
  /** Whether peers that are nearly done have a larger share of the upload limit. */
  readonly prefersNearlyDone: () => boolean
  readonly random: Prng.Prng
  /** The policy that decides; default the standard one. */
  readonly policy?: PolicyGuard.PolicyGuard | undefined
}

/** Makes it with all slots free. */
export const make = (options: Options): Choking => ({
  chooser: PolicyGuard.chooser(options.policy ?? PolicyGuard.standard),
  shares: Shares.make(),
  rate: RateMeter.make({ now: 0 }),
  uploadedBytes: 0,
  options,
  isDue: Signal.make(),
  isParting: false
})

/** Unchokes the peers whose turn it is at `now`, and chokes the others. */
export const choose = (self: Choking, now: number): void => {
  const { chooser, isParting, options } = self
  const peers = [...options.peers()]
  const unchoked = PolicyGuard.choose(chooser, peers, {
    slots: isParting ? 0 : options.slots(measure(self, peers, now)),
    isSeeding: options.isSeeding(),
    now,
    random: options.random
  })
  // Before anybody is unchoked, so that there are never more than slots.
  for (const peer of peers) if (!unchoked.has(peer)) PeerRequests.choke(peer.protocol)
  for (const { protocol } of unchoked) PeerRequests.unchoke(protocol)
  const preferred = options.prefersNearlyDone() ? Shares.choose(self.shares, protocolsOf(peers)) : nobody
  for (const { protocol } of peers) {
    const bytes = preferred.get(protocol)
    PeerRequests.setWeight(protocol, bytes === undefined ? 1 : Shares.largerWeight, bytes)
  }
}

function* protocolsOf(peers: ReadonlyArray<Contender>): Generator<PeerProtocol.PeerProtocol> {
  for (const { protocol } of peers) yield protocol
}

const nobody: ReadonlyMap<PeerProtocol.PeerProtocol, number> = new Map()

/** Bytes per second that are sent to `peers`. */
const measure = (self: Choking, peers: ReadonlyArray<Contender>, now: number): number => {
  let uploadedBytes = 0
  for (const peer of peers) uploadedBytes += peer.uploadedBytes
  // When a peer leaves, the sum falls.
  RateMeter.add(self.rate, Math.max(0, uploadedBytes - self.uploadedBytes), now)
  self.uploadedBytes = uploadedBytes
  return RateMeter.bytesPerSecond(self.rate, now)
}

/**
 * Makes `run` choose soon, but not within this call. A free slot need not wait for the next tick, and many peers may
 * change their interest at the same time.
 */
export const chooseSoon = (self: Choking): void => {
  Signal.set(self.isDue)
}

/** Chooses whenever that is due, until the scope closes. */
export const run = (self: Choking): Effect.Effect<void, never, Scope.Scope> =>
  Signal.attend(
    self.isDue,
    Effect.map(Monotonic.now, (now) => choose(self, now))
  )
