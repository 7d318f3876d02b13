/**
 * What a scripted peer does, as a value: every field is a deviation from an honest seed, so the empty value is an
 * honest seed.
 *
 * Values can be printed, compared and shrunk, so a failed property shows the peer that broke it. All chance comes from
 * `seed`, all time from Effect's `Clock`. `ScriptedPeer.ts` is the interpreter. Numbers of faults are those of
 * `docs/faults.md`.
 */
import type * as Duration from "effect/Duration"
import type * as Handshake from "../wire/Handshake.ts"

/** A behaviour; fields combine freely. Times are measured by the clock, sizes are in bytes. */
export interface PeerBehaviour {
  /** Every random choice follows from it and the number of the connection. Default 1. */
  readonly seed?: number | undefined
  /**
   * What the handshake says we can do. Default: the fast extension (BEP 6), and the extension protocol (BEP 10) if the
   * peer was given the info dict, as `join` of a simulated world does.
   */
  readonly features?: Partial<Handshake.Features> | undefined
  /** The pieces it has and announces. Default: all. Indices outside the torrent are ignored. */
  readonly pieces?: "all" | ReadonlyArray<number> | undefined
  /** How it announces what it has. Default `properly`. */
  readonly announces?: Announcement | undefined
  /** The handshake is sent byte by byte, with this wait before each. Default: at once (fault 32). */
  readonly trickle?: Duration.Input | undefined
  /** The handshake names another torrent (fault 32). */
  readonly wrongInfoHash?: boolean | undefined
  /** Sends nothing at all, or nothing after the handshake; the connection stays open. */
  readonly silent?: "from the start" | "after the handshake" | undefined
  /** Default `when interested`, as seeds do; `at once` right after it announced what it has. */
  readonly unchokes?: "when interested" | "at once" | "never" | undefined
  /** Once unchoking, chokes for this long and unchokes for this long, over and over (fault 45). */
  readonly chokesEvery?: Duration.Input | undefined
  /** Payload a second, of each connection: a block leaves when its last byte would have. Default: no limit. */
  readonly bytesPerSecond?: number | undefined
  /** A block is answered no earlier than this after its request; requests wait side by side. Default: none. */
  readonly delay?: Duration.Input | undefined
  /**
   * Requests for the info dict (BEP 9) are rejected, or answered with a wrong byte in it. Default: they are answered, also
   * while the peer chokes, with the whole info dict four times at most.
   */
  readonly metadata?: "wrong" | "rejected" | undefined
  /** Flips a bit in these blocks. Default: none. */
  readonly corrupts?: Corruption | undefined
  /** Does something wrong with every n-th answer (fault 29). */
  readonly misanswers?: { readonly how: Misanswer; readonly every: number } | undefined
  /**
   * After so many blocks on a connection it closes it, or stops answering; with 0 blocks and `stall` it never answers.
   */
  readonly stopsAfter?: { readonly blocks: number; readonly how: "close" | "stall" } | undefined
  /** Breaks the connection after a block with this probability; what was just sent may be lost with it. */
  readonly disconnects?: number | undefined
  /** Sends so many requests of its own at once after the handshake, although it is choked (fault 31). */
  readonly floods?: number | undefined
}

/**
 * How a peer announces what it has. `properly`: have all or have none if both sides speak BEP 6, else a bitfield.
 * `every`: starts with nothing and gains a piece in each interval. The others break the protocol (faults 27, 28).
 */
export type Announcement =
  | "properly"
  | "bitfield"
  | "not at all"
  | { readonly every: Duration.Input }
  | "short bitfield"
  | "long bitfield"
  | "spare bit"
  | "twice"
  | "have out of range"

/**
 * Which blocks are wrong: all, the last of each piece, every block of some pieces, single blocks (their number in the
 * piece, not their offset), or any with a probability.
 */
export type Corruption =
  | "every block"
  | "last block"
  | { readonly pieces: ReadonlyArray<number> }
  | { readonly blocks: ReadonlyArray<{ readonly piece: number; readonly block: number }> }
  | { readonly probability: number }

/**
 * What is wrong with an answer. Sent instead of the right one: `unaligned` (its offset is one too large), `short` and
 * `long` (a byte less, a byte more), `other piece` (the same bytes as those of the next piece), `out of range` (a piece
 * that does not exist). Sent after the right one: `duplicate`, and `unrequested` (a right block of a piece it has,
 * which may even be a requested one).
 */
export type Misanswer = "unaligned" | "short" | "long" | "other piece" | "out of range" | "duplicate" | "unrequested"

/** A seed that does everything right. */
export const honest: PeerBehaviour = {}
