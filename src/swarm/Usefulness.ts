/**
 * How useful the peers of a swarm are, and which one has to leave when there are more peers than places.
 */
import type { PeerProtocol } from "../peer/PeerProtocol.ts"

/**
 * A connected peer without a useful block for this long (milliseconds) can be replaced by an address that failed less
 * than `maxFailuresForPlace` times. Many peers of a busy swarm never unchoke anybody new.
 */
export const uselessAfter = 120_000
export const maxFailuresForPlace = 3

/** What usefulness is computed from. */
export type Peer = Pick<PeerProtocol, "lastServed" | "lastUseful" | "peerInterested">

interface Session {
  readonly protocol: Peer
}

/** When we last sent the peer something (if the torrent wants nothing more), or it us. */
const lastOfUse = (peer: Peer, isFinished: boolean): number => (isFinished ? peer.lastServed : peer.lastUseful)

/** While seeding, a peer that wants nothing is less useful than one that waits for its turn. */
const isOfLessUse = (one: Peer, other: Peer, isFinished: boolean): boolean =>
  isFinished && one.peerInterested !== other.peerInterested
    ? other.peerInterested
    : lastOfUse(one, isFinished) < lastOfUse(other, isFinished)

/** The least useful session. */
export const least = <S extends Session>(sessions: Iterable<S>, isFinished: boolean): S | undefined => {
  let worst: S | undefined
  for (const session of sessions) {
    if (worst === undefined || isOfLessUse(session.protocol, worst.protocol, isFinished)) worst = session
  }
  return worst
}

/**
 * If there is no free place: the session that has to leave for a peer that waits, because it was useless for longest.
 * `next` is the address that would be dialled. While seeding, most peers connect to us, so we do not know who waits: a
 * useless peer leaves unless it wants something.
 */
export const replaceable = <S extends Session>(
  sessions: Iterable<S>,
  options: {
    readonly isFinished: boolean
    readonly now: number
    readonly next: { readonly failures: number } | undefined
  }
): S | undefined => {
  const { isFinished, next, now } = options
  const worst = least(sessions, isFinished)
  if (worst === undefined || now - lastOfUse(worst.protocol, isFinished) < uselessAfter) return undefined
  const isWaitedFor = isFinished
    ? !worst.protocol.peerInterested
    : next !== undefined && next.failures < maxFailuresForPlace
  return isWaitedFor ? worst : undefined
}
