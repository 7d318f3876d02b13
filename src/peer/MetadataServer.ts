/**
 * Serves the info dict to one peer (BEP 9). A pure machine.
 *
 * Requests wait as a set of pieces, so their number is bounded. The session takes the next answer when its outbox has
 * room for one, so a peer that does not read cannot make us hold what it requested. The info dict is sent a few times
 * over; after that requests are rejected, and a peer that goes on is to be dropped. Without an info dict every request
 * is rejected.
 *
 * Leaves to the session to know that the peer speaks `ut_metadata`.
 */
import * as MetadataMessage from "../wire/extension/MetadataMessage.ts"

/** How many times over the info dict is sent to a peer: once, and again if other peers sent it bad pieces. */
export const maxCopies = 4

/** Requests beyond that, or for pieces that do not exist, that are rejected before the peer is dropped. */
export const maxRejects = 256

/** The answers that are owed to one peer. Owned by its session. */
export interface MetadataServer {
  /** The info dict; `undefined` while we do not have it. */
  readonly info: Uint8Array | undefined
  /** Pieces that the peer requested and was not sent yet, in order. */
  readonly waiting: Set<number>
  /** How many more pieces may be requested. */
  remaining: number
  rejected: number
}

/** Makes a server of `info`, which must not change. */
export const make = (info: Uint8Array | undefined): MetadataServer => ({
  info,
  waiting: new Set(),
  remaining: info === undefined ? 0 : maxCopies * MetadataMessage.pieceCount(info.length),
  rejected: 0
})

/**
 * The peer requests a piece. `wait`: `next` will return it. `reject`: a reject is to be sent at once. `drop`: the peer
 * was rejected too often, and the connection is to be ended.
 */
export const request = (self: MetadataServer, piece: number): "wait" | "reject" | "drop" => {
  if (self.waiting.has(piece)) return "wait"
  if (self.info === undefined || self.remaining === 0 || MetadataMessage.pieceSize(self.info.length, piece) <= 0) {
    return ++self.rejected > maxRejects ? "drop" : "reject"
  }
  self.remaining--
  self.waiting.add(piece)
  return "wait"
}

/** The next piece that is owed to the peer; `undefined` if there is none. `bytes` are a view into the info dict. */
export const next = (
  self: MetadataServer
): Extract<MetadataMessage.MetadataMessage, { readonly _tag: "Data" }> | undefined => {
  const { info } = self
  if (info === undefined) return undefined
  for (const piece of self.waiting) {
    self.waiting.delete(piece)
    const begin = piece * MetadataMessage.pieceLength
    const bytes = info.subarray(begin, begin + MetadataMessage.pieceLength)
    return { _tag: "Data", piece, totalSize: info.length, bytes }
  }
  return undefined
}
