/**
 * Who is to blame for a piece that did not match its digest.
 *
 * One sender is guilty at once. Of several, the digests of the blocks they sent are kept, and the piece is fetched again
 * from a single peer; when a copy passes, exactly those whose blocks differed from it are guilty.
 *
 * Pure: digests come in, verdicts go out.
 */
import * as Bytes from "../base/Bytes.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { SupplierId } from "../supply/SupplierId.ts"

/** A block of a bad copy: who sent it, and what it was. */
export interface Suspicion {
  readonly supplier: SupplierId
  readonly block: number
  readonly sha1: Uint8Array
}

/** What is held against whom, by piece. */
export interface Blame {
  readonly suspicions: Map<PieceIndex, Array<Suspicion>>
  /** How often each piece has failed its digest since it last passed, repeated copies of one peer not counted. */
  readonly failures: Map<PieceIndex, number>
}

/** Makes a record that suspects nobody. */
export const make = (): Blame => ({ suspicions: new Map(), failures: new Map() })

/** How often `fail` was said of the piece so far. */
export const failuresOf = (self: Blame, piece: PieceIndex): number => self.failures.get(piece) ?? 0

/** Keeps the blocks of a copy that failed. Those of `guilty` peers need not be kept. */
export const suspect = (self: Blame, piece: PieceIndex, blocks: Iterable<Suspicion>): void => {
  const kept = self.suspicions.get(piece) ?? []
  for (const suspicion of blocks) kept.push(suspicion)
  self.suspicions.set(piece, kept)
}

/** Notes that a copy of the piece failed. */
export const fail = (self: Blame, piece: PieceIndex): void => {
  self.failures.set(piece, failuresOf(self, piece) + 1)
}

/** The blocks whose digests are needed for a verdict on a copy that passes; empty if nobody is suspected. */
export const suspectedBlocks = (self: Blame, piece: PieceIndex): ReadonlySet<number> =>
  new Set(self.suspicions.get(piece)?.map((suspicion) => suspicion.block))

/** A copy passed, with these digests of the suspected blocks: the peers whose blocks differed. Closes the case. */
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
