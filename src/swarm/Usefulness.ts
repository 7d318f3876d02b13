/**
 * Of what use the peers of a swarm are to it, where there are more of them than places.
 */
import type { PeerProtocol } from "../peer/PeerProtocol.ts"

/** What counts of a peer. */
export type Peer = Pick<PeerProtocol, "lastServed" | "lastUseful" | "peerInterested">

/** When we last gave the peer something, or it us; a torrent that wants nothing can only give. */
export const lastOfUse = (peer: Peer, isFinished: boolean): number => (isFinished ? peer.lastServed : peer.lastUseful)

/** While seeding, who wants nothing is of less use than who waits for its turn. */
const isOfLessUse = (one: Peer, other: Peer, isFinished: boolean): boolean =>
  isFinished && one.peerInterested !== other.peerInterested
    ? other.peerInterested
    : lastOfUse(one, isFinished) < lastOfUse(other, isFinished)

/** The session that is missed least. */
export const least = <S extends { readonly protocol: Peer }>(
  sessions: Iterable<S>,
  isFinished: boolean
): S | undefined => {
  let worst: S | undefined
  for (const session of sessions) {
    if (worst === undefined || isOfLessUse(session.protocol, worst.protocol, isFinished)) worst = session
  }
  return worst
}
