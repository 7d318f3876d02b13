/**
 * Gives peers that are nearly done a larger share of a seed's upload limit.
 *
 * If all peers are served alike, all are done at the same time, as late as the last one has to be. If those that lack
 * least are served first, most are done sooner and none later, and whoever is done uploads to the others.
 *
 * A pure policy. A peer may claim to lack little, and claim it anew after it connected again. So a larger share must be
 * earned on the same connection with bytes of an ordinary one: as many as a peer that was nearly done had received when
 * we sent it everything. It also ends when the peer has received what it lacked by its own account. So nobody receives
 * more than 1 / 0.7 times as much, whatever it claims.
 */
import * as PieceGeometry from "../base/PieceGeometry.ts"

/** What is known of a peer. */
export interface Peer {
  /** The pieces that it has announced. */
  readonly has: { readonly length: number; readonly count: number }
  readonly uploads: { readonly isChoking: boolean; readonly pieceLength: number }
  /** Payload bytes that we sent it on this connection. */
  readonly uploadedBytes: number
}

/** A peer that has this part of all pieces is nearly done. */
export const nearlyDone = 0.7

/** How many bytes of a larger share a byte of an ordinary share earns. */
const earnedPerByte = 1 / nearlyDone - 1

/** Bytes that may still be sent in a larger share after it has ended, because they were granted before. */
const grantedAhead = 2 * PieceGeometry.blockLength

/** How many of the unchoked peers have a larger share at a time, at least one. */
const chosenPart = 0.25

/** How many times the share of others they have: with a quarter of the peers, three quarters of the bytes. */
export const largerWeight = 9

/** What a peer that was nearly done has received since. */
interface Account {
  /** Until how many `uploadedBytes` it may have a larger share, by its own account of what it lacks. */
  readonly end: number
  /** How many bytes were sent to it in a larger share. */
  preferredBytes: number
  /** Whether it has a larger share, and how many bytes had been sent to it when that was decided. */
  isPreferred: boolean
  uploadedBytes: number
}

/** The peers that were nearly done. */
export interface Shares<P extends Peer> {
  readonly accounts: WeakMap<P, Account>
}

/** Makes it without peers. */
export const make = <P extends Peer>(): Shares<P> => ({ accounts: new WeakMap() })

const lacked = ({ has }: Peer): number => has.length - has.count

/** The account of a peer, with what was sent to it since the last decision. */
const accountOf = <P extends Peer>(self: Shares<P>, peer: P): Account => {
  const { uploadedBytes, uploads } = peer
  let account = self.accounts.get(peer)
  if (account === undefined) {
    const end = uploadedBytes + lacked(peer) * uploads.pieceLength
    account = { end, preferredBytes: 0, isPreferred: false, uploadedBytes }
    self.accounts.set(peer, account)
  }
  if (account.isPreferred) account.preferredBytes += uploadedBytes - account.uploadedBytes
  account.uploadedBytes = uploadedBytes
  account.isPreferred = false
  return account
}

/** How many bytes may be sent in a larger share now. */
const earned = ({ end, preferredBytes, uploadedBytes }: Account): number =>
  Math.min(end - uploadedBytes, (uploadedBytes - preferredBytes) * earnedPerByte - preferredBytes - grantedAhead)

/**
 * Returns the peers that should have a larger share now, those that lack least, and for how many bytes each. To be
 * called about once a second.
 */
export const choose = <P extends Peer>(self: Shares<P>, peers: Iterable<P>): ReadonlyMap<P, number> => {
  const candidates: Array<readonly [peer: P, bytes: number, account: Account]> = []
  let unchoked = 0
  for (const peer of peers) {
    const { isChoking } = peer.uploads
    if (!isChoking) unchoked++
    if (peer.has.count < nearlyDone * peer.has.length) continue
    const account = accountOf(self, peer)
    const bytes = earned(account)
    if (!isChoking && lacked(peer) > 0 && bytes > 0) candidates.push([peer, bytes, account])
  }
  candidates.sort(([one], [other]) => lacked(one) - lacked(other))
  const chosen = new Map<P, number>()
  for (const [peer, bytes, account] of candidates.slice(0, Math.max(1, Math.floor(unchoked * chosenPart)))) {
    account.isPreferred = true
    chosen.set(peer, bytes)
  }
  return chosen
}
