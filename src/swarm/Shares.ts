/**
 * Gives peers that are nearly done a larger share of a seed's upload limit.
 *
 * If all peers are served alike, all are done at the same time, as late as the last one has to be. If those that lack
 * least are served first, most are done sooner and none later, and whoever is done uploads to the others.
 *
 * A pure policy. A peer may claim to lack little, so its larger share ends when it has received what it lacked by its
 * own account, and all others go on to be served.
 */

/** What is known of a peer. */
export interface Peer {
  /** The pieces that it has announced. */
  readonly has: { readonly length: number; readonly count: number }
  readonly uploads: { readonly isChoking: boolean; readonly pieceLength: number }
  /** Payload bytes that we sent it. */
  readonly uploadedBytes: number
}

/** A peer that has this part of all pieces is nearly done. So nobody receives more than 1 / 0.7 times as much. */
export const nearlyDone = 0.7

/** How many of the unchoked peers have a larger share at a time, at least one. */
const chosenPart = 0.25

/** How many times the share of others they have: with a quarter of the peers, three quarters of the bytes. */
export const largerWeight = 9

/** The peers that were nearly done, and until how many `uploadedBytes` they may have a larger share. */
export interface Shares<P extends Peer> {
  readonly ends: WeakMap<P, number>
}

/** Makes it without peers. */
export const make = <P extends Peer>(): Shares<P> => ({ ends: new WeakMap() })

const lacked = ({ has }: Peer): number => has.length - has.count

/** Returns the peers that should have a larger share now, those that lack least. To be called about once a second. */
export const choose = <P extends Peer>(self: Shares<P>, peers: Iterable<P>): ReadonlySet<P> => {
  const candidates: Array<P> = []
  let unchoked = 0
  for (const peer of peers) {
    if (peer.uploads.isChoking) continue
    unchoked++
    if (peer.has.count < nearlyDone * peer.has.length || lacked(peer) === 0) continue
    let end = self.ends.get(peer)
    if (end === undefined) {
      end = peer.uploadedBytes + lacked(peer) * peer.uploads.pieceLength
      self.ends.set(peer, end)
    }
    if (peer.uploadedBytes < end) candidates.push(peer)
  }
  candidates.sort((one, other) => lacked(one) - lacked(other))
  return new Set(candidates.slice(0, Math.max(1, Math.floor(unchoked * chosenPart))))
}
