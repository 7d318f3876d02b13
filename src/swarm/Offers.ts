/**
 * Super-seeding of a swarm (BEP 16): announces chosen pieces to each peer until every piece is spread and half of the
 * peers have everything, and then all the others. `SuperSeeding.ts` chooses the pieces, `peer/PeerProtocol.ts` sends
 * the frames.
 */
import * as Bitfield from "../base/Bitfield.ts"
import type { PieceGeometry, PieceIndex } from "../base/PieceGeometry.ts"
import type * as Prng from "../base/Prng.ts"
import type { Offer } from "../peer/Offer.ts"
import * as PeerProtocol from "../peer/PeerProtocol.ts"
import * as Upload from "../peer/Upload.ts"
import * as SuperSeeding from "./SuperSeeding.ts"

/** The offers of one torrent. Peers are known by the key of their address. */
export interface Offers {
  /** `undefined` once super-seeding has ended. From then on the torrent is seeded as any other. */
  machine: SuperSeeding.SuperSeeding<number> | undefined
}

/** Makes the offers of a torrent whose pieces are all stored, without peers. */
export const make = (options: { readonly geometry: PieceGeometry; readonly random: Prng.Prng }): Offers => ({
  machine: SuperSeeding.make(options)
})

/** Finds the session of a peer. */
export type Find = (key: number) => PeerProtocol.PeerProtocol | undefined

/** What restricts a peer to offered pieces; `undefined` after super-seeding has ended. `now` returns milliseconds. */
export const offerOf = (self: Offers, key: number, find: Find, now: () => number): Offer | undefined =>
  self.machine === undefined
    ? undefined
    : {
        isOffered: (piece) => self.machine === undefined || SuperSeeding.mayServe(self.machine, key, piece),
        gained: (piece) => self.machine !== undefined && SuperSeeding.gain(self.machine, key, piece, now()),
        gainedEverything: () => self.machine !== undefined && SuperSeeding.gainEverything(self.machine, key, now()),
        sent: (piece, bytes) => {
          if (self.machine === undefined || !SuperSeeding.sent(self.machine, key, piece, bytes, now())) return
          announceAll(SuperSeeding.offersTo(self.machine, key, now()), find)
        }
      }

/**
 * Notes that the handshake with a peer is done. The peer will announce its pieces. If super-seeding has ended since the
 * peer was told that we have nothing, announces everything to it.
 */
export const join = (self: Offers, protocol: PeerProtocol.PeerProtocol, now: number): void => {
  const { assembly, has, id, offer, upload } = protocol
  if (self.machine !== undefined) return SuperSeeding.join(self.machine, id, has, now)
  if (offer === undefined) return
  const stored = Upload.offered(upload, assembly.table.stored)
  for (const piece of Bitfield.indices(stored)) PeerProtocol.announce(protocol, piece as PieceIndex)
}

/** Notes that a peer has left. */
export const leave = (self: Offers, key: number, now: number): void => {
  if (self.machine !== undefined) SuperSeeding.leave(self.machine, key, now)
}

/** Notes that pieces cannot be read any more: they are offered to nobody. */
export const retract = (self: Offers, pieces: ReadonlyArray<PieceIndex>): void => {
  if (self.machine !== undefined) for (const piece of pieces) SuperSeeding.withdraw(self.machine, piece)
}

/** Notes that a piece can be read, also if it could before. */
export const restore = (self: Offers, piece: PieceIndex, now: number): void => {
  if (self.machine !== undefined) SuperSeeding.restore(self.machine, piece, now)
}

/** Announces to peers what is due now. To be called about once a second. */
export const step = (self: Offers, find: Find, now: number): void => {
  const { machine } = self
  if (machine === undefined) return
  announceAll(
    SuperSeeding.offers(machine, now, (key) => stanceOf(find(key))),
    find
  )
  if (!SuperSeeding.isDone(machine)) return
  self.machine = undefined
  for (const key of machine.recipients.keys()) {
    for (const piece of SuperSeeding.unoffered(machine, key)) announceTo(find(key), piece)
  }
}

const stanceOf = (protocol: PeerProtocol.PeerProtocol | undefined): SuperSeeding.Stance => {
  if (protocol?.peerInterested !== true) return "not interested"
  return protocol.uploads.isChoking || protocol.uploads.requests.size > 0 ? "waiting" : "interested"
}

const announceAll = (offers: ReadonlyArray<SuperSeeding.Offer<number>>, find: Find): void => {
  for (const { peer, piece } of offers) announceTo(find(peer), piece)
}

const announceTo = (protocol: PeerProtocol.PeerProtocol | undefined, piece: PieceIndex): void => {
  if (protocol !== undefined) PeerProtocol.announce(protocol, piece)
}
