/**
 * Asks the policy about the peers of one torrent: makes candidates of what is known of them.
 */
import type { InfoHash } from "../base/InfoHash.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import * as PeerId from "../base/PeerId.ts"
import type { Ourselves } from "../connect/DialPriority.ts"
import * as Bans from "./Bans.ts"
import type { Candidate, Origin } from "./Candidate.ts"
import type { Peer, PeerBook } from "./PeerBook.ts"
import type * as PeerPolicy from "./PeerPolicy.ts"
import * as PolicyGuard from "./PolicyGuard.ts"

/** The policy for one torrent. */
export interface Admission {
  readonly infoHash: InfoHash
  readonly guard: PolicyGuard.PolicyGuard
}

/** A peer by its address and, as far as they are known, its id (20 bytes) and its client. */
export interface Known {
  readonly address: PeerAddress
  readonly origin: Origin
  readonly peerId?: Uint8Array | undefined
  readonly client?: string | undefined
}

const candidateOf = ({ infoHash }: Admission, { address, client, origin, peerId }: Known): Candidate => ({
  address,
  origin,
  infoHash,
  peerId: peerId && PeerId.fromBytes(peerId),
  client
})

/** Whether a peer may be dialled, accepted and kept. */
export const admits = (self: Admission, peer: Known): boolean => PolicyGuard.admits(self.guard, candidateOf(self, peer))

/** How much a peer is preferred; finite. */
export const rank = (self: Admission, peer: Known): number => PolicyGuard.rank(self.guard, candidateOf(self, peer))

/** In which order addresses of one rank are dialled. */
export const priority = (self: Admission, peer: Known, ourselves: Ourselves): number | undefined =>
  PolicyGuard.priority(self.guard, candidateOf(self, peer), ourselves)

/** The policy for one torrent, and its addresses. */
interface Admitting {
  readonly admission: Admission
  readonly book: PeerBook
}

/** Whether the policy admits a connected peer that has said which client it is. `peerId` has 20 bytes. */
export const admitsClient = (
  { admission, book }: Admitting,
  key: number,
  peerId: Uint8Array,
  client: string
): boolean => {
  const peer = book.peers.get(key)
  return peer === undefined || admits(admission, { ...peer, peerId, client })
}

/** What a peer did, and what is known of it if it is connected. */
export interface Deed extends Pick<PeerPolicy.Offence, "what" | "why"> {
  readonly peerId?: Uint8Array | undefined
  readonly client?: (() => string | undefined) | undefined
}

/** Bans the address of a peer for what it did, if the policy wants that. Returns whom that bans (`Bans.ban`). */
export const judge = ({ admission, book }: Admitting, peer: Peer, deed: Deed, now: number): ReadonlyArray<Peer> => {
  if (peer.state === "banned") return []
  const { client, peerId, what, why } = deed
  const { address, isProven, origin } = peer
  const candidate = candidateOf(admission, { address, origin, peerId, client: client?.() })
  const offence = { candidate, what, why, bans: Bans.bansOf(peer, now), isProven }
  const sentence = PolicyGuard.sentence(admission.guard, offence)
  return sentence === undefined ? [] : Bans.ban(book, peer, now, sentence)
}
