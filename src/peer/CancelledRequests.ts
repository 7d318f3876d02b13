/**
 * Requests that we cancelled lately. A block may cross with its cancel, so these are remembered to distinguish a late
 * block from one that was never requested.
 */
import * as PieceGeometry from "../base/PieceGeometry.ts"

/** Requests that are remembered; beyond that the oldest is forgotten. Twice what a pipeline holds at most. */
export const maxRemembered = 1_024

/** The cancelled requests of one peer. */
export interface CancelledRequests {
  readonly blocksPerPiece: number
  /** The numbers of their blocks in the torrent, the oldest first. */
  readonly blocks: Set<number>
}

/** Makes an empty memory, for pieces of up to `blocksPerPiece` blocks. */
export const make = (blocksPerPiece: number): CancelledRequests => ({ blocksPerPiece, blocks: new Set() })

const blockAt = (self: CancelledRequests, piece: number, begin: number): number =>
  piece * self.blocksPerPiece + (begin >>> PieceGeometry.blockShift)

/** Remembers that the request for the block at `begin` was cancelled. */
export const add = (self: CancelledRequests, piece: number, begin: number): void => {
  const { blocks } = self
  if (blocks.size >= maxRemembered) blocks.delete(blocks.values().next().value!)
  blocks.add(blockAt(self, piece, begin))
}

/** Forgets a request because it was answered after all. Returns whether it was remembered. */
export const remove = (self: CancelledRequests, piece: number, begin: number): boolean =>
  self.blocks.delete(blockAt(self, piece, begin))
