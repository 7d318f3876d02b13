/**
 * How a swarm super-seeds (BEP 16): which pieces each peer is told of, until every piece is spread; then of all that are
 * left. What to offer whom is `SuperSeeding.ts`'s matter, frames are `peer/PeerProtocol.ts`'s.
 */
import type * as Prng from "../base/Prng.ts"
import type { Offer } from "../peer/Offer.ts"
import * as PeerProtocol from "../peer/PeerProtocol.ts"
import * as SuperSeeding from "./SuperSeeding.ts"

/** The offers of one torrent; peers go by the key of their address. */
export interface Offers {
  /** `undefined` once every piece is spread: from then on the torrent is seeded as any other. */
  machine: SuperSeeding.SuperSeeding<number> | undefined
}

/** Nobody there yet; every piece of the torrent is stored. */
export const make = (options: { readonly pieceCount: number; readonly random: Prng.Prng }): Offers => ({
  machine: SuperSeeding.make(options)
})

/** What stands between a peer and our pieces; `undefined` where nothing does any more. `now` tells milliseconds. */
export const offerOf = (self: Offers, key: number, now: () => number): Offer | undefined =>
  self.machine === undefined
    ? undefined
    : {
        isOffered: (piece) => self.machine === undefined || SuperSeeding.isTold(self.machine, key, piece),
        gained: (piece) => self.machine !== undefined && SuperSeeding.gain(self.machine, key, piece, now()),
        sent: (piece) => self.machine !== undefined && SuperSeeding.sent(self.machine, key, piece, now())
      }

/** The handshake with a peer is done; what it has it will say. */
export const join = (self: Offers, { has, id }: PeerProtocol.PeerProtocol, now: number): void => {
  if (self.machine !== undefined) SuperSeeding.join(self.machine, id, has, now)
}

/** A peer is gone. */
export const leave = (self: Offers, key: number, now: number): void => {
  if (self.machine !== undefined) SuperSeeding.leave(self.machine, key, now)
}

/** Tells peers what they are to be told now; to be called once a second or so. */
export const step = (self: Offers, find: (key: number) => PeerProtocol.PeerProtocol | undefined, now: number): void => {
  const { machine } = self
  if (machine === undefined) return
  for (const { peer, piece } of SuperSeeding.offers(machine, now)) tell(find(peer), piece)
  if (!SuperSeeding.isDone(machine)) return
  self.machine = undefined
  for (const key of machine.recipients.keys()) {
    for (const piece of SuperSeeding.untold(machine, key)) tell(find(key), piece)
  }
}

const tell = (protocol: PeerProtocol.PeerProtocol | undefined, piece: Parameters<typeof PeerProtocol.announce>[1]) => {
  if (protocol !== undefined) PeerProtocol.announce(protocol, piece)
}
