/**
 * Gives one peer the info dict, where it asks for it (BEP 9). A pure machine.
 *
 * Requests wait as a set of pieces, so that their number is bounded; the session takes the next answer when its outbox has
 * room for one, and so a peer that does not read cannot make us hold what it asked for. An info dict is given a few times
 * over, then requests are rejected, and a peer that goes on is to be dropped.
 *
 * Leaves to the session that the peer speaks `ut_metadata`. Whoever has no info dict yet rejects every request.
 */
import * as MetadataMessage from "../wire/extension/MetadataMessage.ts"

/** How many times over a peer is given the info dict: once, and again after it got a bad piece from somebody else. */
export const maxCopies = 4

/** Requests beyond that, or for pieces that do not exist, which are rejected before the peer is dropped. */
export const maxRejects = 256

/** The answers owed to one peer. Owned by its session. */
export interface MetadataServer {
  /** The info dict; `undefined` while we do not have it. */
  readonly info: Uint8Array | undefined
  /** Pieces that the peer asked for and has not been given, in order. */
  readonly waiting: Set<number>
  /** Pieces that it will be given still. */
  remaining: number
  rejected: number
}

/** A server of `info`, which must not change. */
export const make = (info: Uint8Array | undefined): MetadataServer => ({
  info,
  waiting: new Set(),
  remaining: info === undefined ? 0 : maxCopies * MetadataMessage.pieceCount(info.length),
  rejected: 0
})

/**
 * The peer asks for a piece. `wait`: `next` will give it. `reject`: the peer is to be told so at once. `drop`: it was
 * rejected too often, and the connection is to be ended.
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

/** The next piece that the peer is owed; `undefined` where it is owed none. `bytes` are a view into the info dict. */
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
