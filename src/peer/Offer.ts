/**
 * Which of our pieces one peer knows of, if the torrent offers each peer a few pieces at a time (BEP 16). A contract:
 * whoever super-seeds keeps the state (`swarm/Offers.ts`).
 */
import type { PieceIndex } from "../base/PieceGeometry.ts"

/** The offers to one peer. */
export interface Offer {
  /** Whether the piece was offered to the peer, so that the peer may request it. */
  readonly isOffered: (piece: PieceIndex) => boolean
  /** The peer has the piece now. */
  readonly gained: (piece: PieceIndex) => void
  /** The peer has every piece now. Costs no more than the pieces that it had before. */
  readonly gainedEverything: () => void
  /** So many bytes of the piece were sent to the peer. */
  readonly sent: (piece: PieceIndex, bytes: number) => void
}
