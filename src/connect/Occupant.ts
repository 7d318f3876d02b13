/**
 * The peer at a place (`Places.ts`), and one that wants a place.
 */

/** How useful a peer is. */
export interface Use {
  /** For how long it has been of no use (milliseconds). */
  readonly idleMillis: number
  /** Whether that is so long that any other peer is better. */
  readonly isUseless: boolean
}

/** Why a peer lost its place. */
export type Why = "useless" | "host" | "torrent" | "rank" | "descriptors"

/** The peer at a place. */
export interface Occupant {
  readonly useOf: (now: number) => Use
  /** Ends the session. */
  readonly leave: (why: Why) => void
}

/** A peer that has introduced itself, and wants a place. */
export interface Newcomer {
  readonly host: string
  readonly isIncoming: boolean
  /** How much it is preferred to others of its torrent; a finite number, default 0. */
  readonly rank?: number | undefined
  readonly occupant: Occupant
}
