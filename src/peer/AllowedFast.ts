/**
 * The allowed fast set (BEP 6): pieces that a peer may request although it is choked, so that it soon has something to
 * upload. It follows from the peer's network and the torrent, so a peer does not get another set by reconnecting.
 *
 * Leaves to the sessions which of the pieces we have, how often a choked peer is served (`FastAllowance.ts`), and that
 * a peer with enough pieces is sent no set.
 */
import * as Effect from "effect/Effect"
import * as Bytes from "../base/Bytes.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as IpAddress from "../base/IpAddress.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"

/** Pieces in a set: the number that BEP 6 names. */
export const defaultSize = 10

/** Pieces that are accepted of those that a peer allows us, however many it names. */
export const maxTaken = 64

/** What a set is computed from. */
export interface Options {
  readonly infoHash: InfoHash
  /** Pieces in the torrent, at least 1. */
  readonly pieceCount: number
  /** The peer's IPv4 or IPv6 address, as we see it. A name has no set. */
  readonly host: string
  /** Pieces in the set; default `defaultSize`. All pieces of a torrent that has no more. */
  readonly size?: number | undefined
}

/**
 * Computes the set, in the order in which BEP 6 draws it. Every draw of five pieces costs one SHA-1 of 20 bytes; a set
 * of ten takes two or three.
 */
export const make = Effect.fnUntraced(function* (options: Options) {
  const { pieceCount, size = defaultSize } = options
  const network = networkOf(options.host)
  if (network === undefined) return []
  if (pieceCount <= size) return Array.from({ length: pieceCount }, (_, index) => index as PieceIndex)
  const hasher = yield* PieceHasher
  const set = new Set<PieceIndex>()
  let digest: Uint8Array = Bytes.concat([network, options.infoHash])
  while (set.size < size) {
    digest = yield* hasher.sha1(digest)
    draw(set, digest, pieceCount, size)
  }
  return Array.from(set)
})

/** Adds the pieces that a digest names, at most five, until the set is full. */
const draw = (set: Set<PieceIndex>, digest: Uint8Array, pieceCount: number, size: number): void => {
  for (let offset = 0; offset < 20 && set.size < size; offset += 4) {
    set.add((Bytes.readUint32Unsafe(digest, offset) % pieceCount) as PieceIndex)
  }
}

/**
 * The part of an address that one customer of a provider cannot change. Of IPv4 it is the first three bytes, followed
 * by a zero (BEP 6). BEP 6 does not define it for IPv6 and lets us allow what we like; we use the /64 that one customer
 * is assigned.
 */
const networkOf = (host: string): Uint8Array | undefined => {
  const ip = IpAddress.parse(IpAddress.withoutZone(host))
  if (ip === undefined) return undefined
  if (ip.length === 4) return Uint8Array.of(ip[0]!, ip[1]!, ip[2]!, 0)
  return ip.subarray(0, 8)
}
