/**
 * Finds out who is to blame for a piece that did not match its digest.
 *
 * If one peer sent the whole piece, it is guilty at once. If several did, the digests of their blocks are kept, and the
 * piece is fetched again from a single peer. When a copy passes, exactly those are guilty whose blocks differ from it.
 *
 * Pure: the caller computes the digests and acts on the verdicts.
 */
import * as Bytes from "../base/Bytes.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { SupplierId } from "../supply/SupplierId.ts"

/** A block of a wrong copy: who sent it, and its digest. */
export interface Suspicion {
  readonly supplier: SupplierId
  readonly block: number
  readonly sha1: Uint8Array
}

/** The suspicions of one torrent, by piece. */
export interface Blame {
  readonly suspicions: Map<PieceIndex, Array<Suspicion>>
  /** How often each piece has failed its digest since it last passed. Repeated copies of one peer count once. */
  readonly failures: Map<PieceIndex, number>
}

/** Makes a record that suspects nobody. */
export const make = (): Blame => ({ suspicions: new Map(), failures: new Map() })

/** How often `fail` was called for the piece since it last passed. */
export const failuresOf = (self: Blame, piece: PieceIndex): number => self.failures.get(piece) ?? 0

/** Keeps the blocks of a copy that failed. Blocks of peers that are known to be guilty can be left out. */
export const suspect = (self: Blame, piece: PieceIndex, blocks: Iterable<Suspicion>): void => {
  const kept = self.suspicions.get(piece) ?? []
  for (const suspicion of blocks) kept.push(suspicion)
  self.suspicions.set(piece, kept)
}

/** Notes that a copy of the piece failed. */
export const fail = (self: Blame, piece: PieceIndex): void => {
  self.failures.set(piece, failuresOf(self, piece) + 1)
}

/** The blocks whose digests a verdict on a passing copy needs. Empty if nobody is suspected. */
export const suspectedBlocks = (self: Blame, piece: PieceIndex): ReadonlySet<number> =>
  new Set(self.suspicions.get(piece)?.map((suspicion) => suspicion.block))

/**
 * Notes that a copy passed, with the digests of its suspected blocks. Returns the peers whose blocks differed, and
 * forgets the suspicions.
 */
export const clear = (
  self: Blame,
  piece: PieceIndex,
  digests: ReadonlyMap<number, Uint8Array>
): ReadonlySet<SupplierId> => {
  const guilty = new Set<SupplierId>()
  for (const { supplier, block, sha1 } of self.suspicions.get(piece) ?? []) {
    const right = digests.get(block)
    if (right !== undefined && !Bytes.equals(sha1, right)) guilty.add(supplier)
  }
  self.suspicions.delete(piece)
  self.failures.delete(piece)
  return guilty
}
