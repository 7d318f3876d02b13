/**
 * Of what use the peers of a swarm are to it, and which one has to go when there are more peers than places.
 */
import type { PeerProtocol } from "../peer/PeerProtocol.ts"

/**
 * Milliseconds without a block of use after which a connected peer gives its place to an address that was tried less
 * than `maxFailuresForPlace` times in vain. Many peers of a busy swarm never unchoke anybody new.
 */
export const uselessAfter = 120_000
export const maxFailuresForPlace = 3

/** What counts of a peer. */
export type Peer = Pick<PeerProtocol, "lastServed" | "lastUseful" | "peerInterested">

interface Session {
  readonly protocol: Peer
}

/** When we last sent the peer something, or it us; a torrent that wants nothing can only upload. */
const lastOfUse = (peer: Peer, isFinished: boolean): number => (isFinished ? peer.lastServed : peer.lastUseful)

/** While seeding, a peer that wants nothing is of less use than one that waits for its turn. */
const isOfLessUse = (one: Peer, other: Peer, isFinished: boolean): boolean =>
  isFinished && one.peerInterested !== other.peerInterested
    ? other.peerInterested
    : lastOfUse(one, isFinished) < lastOfUse(other, isFinished)

/** The session that is missed least. */
export const least = <S extends Session>(sessions: Iterable<S>, isFinished: boolean): S | undefined => {
  let worst: S | undefined
  for (const session of sessions) {
    if (worst === undefined || isOfLessUse(session.protocol, worst.protocol, isFinished)) worst = session
  }
  return worst
}

/**
 * When all places are taken: the session that gives its place to somebody who waits, because it was of no use for longest.
 * `next` is the address that would be dialled. While seeding, those who wait are not known, because most would connect
 * by themselves: a useless peer goes then unless it wants something.
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
