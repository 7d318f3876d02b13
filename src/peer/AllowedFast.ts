/**
 * The allowed fast set (BEP 6): pieces that a peer may ask for although it is choked, so that it soon has something to give.
 * It follows from the peer's network and the torrent, so nobody gets another set by coming back.
 *
 * Knows nothing of sessions: which of the pieces we have, how many times a choked peer is served, and that a peer that has
 * pieces enough is told none, is their matter.
 */
import * as Effect from "effect/Effect"
import * as Bytes from "../base/Bytes.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as IpAddress from "../base/IpAddress.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"

/** Pieces in a set: the number that BEP 6 names. */
export const defaultSize = 10

/** Pieces that are taken of what a peer allows us, however many it names. */
export const maxTaken = 64

/** What a set follows from. */
export interface Options {
  readonly infoHash: InfoHash
  /** Pieces in the torrent, at least 1. */
  readonly pieceCount: number
  /** The peer's IPv4 or IPv6 address, as we see it. A name has no set. */
  readonly host: string
  /** Pieces in the set; default `defaultSize`. A torrent of no more pieces gives them all. */
  readonly size?: number | undefined
}

/**
 * The set, in the order in which BEP 6 draws it. Every draw of five costs one SHA-1 of 20 bytes; a set of ten takes two
 * or three.
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

/** Adds the pieces that a digest names, five at most, as far as the set has room. */
const draw = (set: Set<PieceIndex>, digest: Uint8Array, pieceCount: number, size: number): void => {
  for (let offset = 0; offset < 20 && set.size < size; offset += 4) {
    set.add((Bytes.readUint32Unsafe(digest, offset) % pieceCount) as PieceIndex)
  }
}

/**
 * The part of an address that one customer of a provider cannot change: of IPv4 three bytes (BEP 6), in four. BEP 6 knows
 * IPv4 only and lets us allow what we like; of IPv6 it is the /64, which is given to one customer as a whole.
 */
const networkOf = (host: string): Uint8Array | undefined => {
  const ip = IpAddress.parse(host.replace(/%.*$/, ""))
  if (ip === undefined) return undefined
  if (ip.length === 4) return Uint8Array.of(ip[0]!, ip[1]!, ip[2]!, 0)
  return ip.subarray(0, 8)
}
