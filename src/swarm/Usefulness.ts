/**
 * How useful the peer of a session is. `connect/Places.ts` decides which peer has to leave when places are short.
 */
import type { Use } from "../connect/Places.ts"
import type { PeerProtocol } from "../peer/PeerProtocol.ts"

/**
 * A connected peer without a useful block for this long (milliseconds) can be replaced by another one. Many peers of a
 * busy swarm never unchoke anybody new.
 */
export const uselessAfter = 120_000

/** What usefulness is computed from. */
export type Peer = Pick<PeerProtocol, "lastServed" | "lastUseful" | "peerInterested">

/** What the torrent wants from its peers. */
export interface Wants {
  /** Whether it has everything that it wants, so that it only uploads. */
  readonly isFinished: boolean
  /** Whether it asks peers for blocks. While a rate limit holds requests back, no peer can be useful. */
  readonly isAsking: boolean
}

/**
 * How useful a peer is: by when we last received something useful from it. While seeding, by when we last sent it
 * something, and a peer that waits for its turn is not useless.
 */
export const of = (peer: Peer, { isAsking, isFinished }: Wants, now: number): Use => {
  const idleMillis = now - (isFinished ? peer.lastServed : peer.lastUseful)
  const couldBeUseful = isFinished ? !peer.peerInterested : isAsking
  return { idleMillis, isUseless: couldBeUseful && idleMillis >= uselessAfter }
}
