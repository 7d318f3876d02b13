/**
 * The contract of what sends blocks: a peer's session, or anything else that has pieces and answers requests for
 * blocks.
 *
 * A supplier joins an assembly (`Assembly.join`), reports to it what it has, whether it serves us and what arrived, and
 * lets it request blocks when there is room (`Requests.refill`). The assembly answers with `request`, `cancel` and
 * `wake` only. How requests and blocks travel is up to the supplier.
 *
 * Plain data, touched by the fibers and tasks of the torrent. Only the assembly changes it, except that a supplier changes its own pipeline and `allowedFast`.
 */

import * as Bitfield from "../base/Bitfield.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import type * as RateLimiter from "../rate/RateLimiter.ts"
import * as PieceBuffer from "./PieceBuffer.ts"
import * as RequestPipeline from "./RequestPipeline.ts"
import * as Resting from "./Resting.ts"
import type * as Standing from "./Standing.ts"
import type { SupplierId } from "./SupplierId.ts"

/** What blocks are requested from. */
export interface Supplier {
  readonly id: SupplierId
  /** The name for users of what is no peer. Several suppliers of one id, and so of one name, count as one. */
  readonly name: string | undefined
  /** The pieces it has. */
  readonly has: Bitfield.Bitfield
  readonly pipeline: RequestPipeline.RequestPipeline
  /** Pieces it refused to send although it has them; not requested again for a while, or until it unchokes anew. */
  readonly refused: Resting.Resting
  /** What is known about its address. */
  readonly standing: Standing.Standing
  /** Whether it serves nothing for now (BEP 3), except what it allows. */
  peerChoking: boolean
  /** Pieces that it serves although it chokes us (BEP 6). */
  readonly allowedFast: Set<PieceIndex>
  /** The piece that was last requested from it. It goes on with that one, so that few suppliers share a piece. */
  current: PieceBuffer.PieceBuffer | undefined
  /** Whether it reported every piece at once; it is not counted in the picker's availability then. */
  isSeed: boolean
  /** What it lost since it had every piece; `undefined` if it is not known to have had them all. */
  lost: Set<PieceIndex> | undefined
  /** How many of its pieces are wanted and not stored. */
  interesting: number
  /** The picker's version when a search for a new piece found none, or `neverSearched`. */
  searchedVersion: number
  /** Pieces to start that it got since that search. If that found none, no other piece needs to be looked at. */
  readonly gained: Set<PieceIndex>
  /** Requests a block, which is noted already. Called once per request, so it must be cheap. */
  readonly request: (piece: PieceIndex, begin: number, length: number) => void
  /** Cancels the request for a block. */
  readonly cancel: (piece: PieceIndex, begin: number, length: number) => void
  /** Blocks may have become available that can be requested from it. Called in the middle of what others do. */
  readonly wake: () => void
  /**
   * It has sent wrong bytes, proved and not suspected, so it should leave. Absent for a peer, which is banned by its
   * address instead. Called in the middle of what others do.
   */
  readonly expel?: ((why: string) => void) | undefined
}

/** Value of `searchedVersion` for a supplier that should be searched for: versions start at 0. */
export const neverSearched = -1

/** Pieces in `gained` beyond which all are searched again: so many that a search finds one soon. */
export const maxGained = 1_024

/** Has the next search look at all pieces. */
export const searchAgain = (self: Supplier): void => {
  self.searchedVersion = neverSearched
  self.gained.clear()
}

/** What a supplier is made of. */
export interface Options {
  readonly id: SupplierId
  readonly name?: Supplier["name"]
  readonly geometry: PieceGeometry.PieceGeometry
  /** `Assembly.standingOf` its id. */
  readonly standing: Standing.Standing
  /** How fast it may send; absent: no limit. */
  readonly limiter?: RateLimiter.RateLimiter | undefined
  readonly request: Supplier["request"]
  readonly cancel: Supplier["cancel"]
  readonly wake: Supplier["wake"]
  readonly expel?: Supplier["expel"]
  /** Milliseconds. */
  readonly now: number
}

/** Makes a supplier that has nothing yet and chokes us, as a peer does after its handshake (BEP 3). */
export const make = (options: Options): Supplier => ({
  id: options.id,
  name: options.name,
  has: Bitfield.make(options.geometry.pieceCount),
  pipeline: RequestPipeline.make(
    Math.ceil(options.geometry.pieceLength / PieceGeometry.blockLength),
    options.now,
    options.limiter
  ),
  refused: Resting.make(),
  standing: options.standing,
  peerChoking: true,
  allowedFast: new Set(),
  current: undefined,
  isSeed: false,
  lost: undefined,
  interesting: 0,
  searchedVersion: neverSearched,
  gained: new Set(),
  request: options.request,
  cancel: options.cancel,
  wake: options.wake,
  expel: options.expel
})

/** Whether the piece is not requested from it for a while, although it has the piece. */
export const isResting = (self: Supplier, piece: PieceIndex): boolean =>
  self.refused.resting.has(piece) || self.standing.damaged.resting.has(piece)

/** Forgets the requests for a piece that are out to it, and cancels them. */
export const cancelPiece = (self: Supplier, buffer: PieceBuffer.PieceBuffer): void => {
  for (const block of RequestPipeline.releasePiece(self.pipeline, buffer)) {
    self.cancel(buffer.piece, block * PieceGeometry.blockLength, PieceBuffer.sizeOf(buffer, block))
  }
}
