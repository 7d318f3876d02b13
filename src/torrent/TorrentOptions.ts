/**
 * What a user may say about one torrent when it is added.
 */
import type { PiecePriority } from "../assembly/PiecePriority.ts"
import type { Limits } from "../rate/RateLimits.ts"
import type { SeedingGoal } from "./SeedingGoal.ts"

/** Everything may be left out. */
export interface TorrentOptions {
  /**
   * How much each file of `metainfo.layout.files` is wanted, in their order: `skip`, `normal` or `high`; default `normal`
   * for all. The torrent is complete when every piece is stored that has a byte of a wanted file.
   */
  readonly files?: ReadonlyArray<PiecePriority> | undefined
  /** `sequential` fetches pieces from the first on; default `rarest`, which is better for the swarm. */
  readonly order?: "rarest" | "sequential" | undefined
  /**
   * Overwrites files of somebody else's that lie at the torrent's paths, also what another client left half done, and cuts
   * files that are too long. Pieces that match are kept. Default: the torrent fails with `ContentExists`, and those files stay
   * as they are.
   */
  readonly overwrite?: boolean | undefined
  /** Fetches everything again if every file that held stored bytes is gone; default: it waits for them to come back. */
  readonly startOver?: boolean | undefined
  /** Uploads what is stored and fetches nothing: no file is made, moved or written. Default false. */
  readonly readOnly?: boolean | undefined
  /** Pieces under way at once; default 20, or more where pieces are small. */
  readonly maxActivePieces?: number | undefined
  /** Connections of this torrent; default 50. */
  readonly maxConnections?: number | undefined
  /**
   * Goes on looking for peers and giving to them when everything that is wanted is stored: until the torrent is stopped, or
   * a ratio or a time is reached; default false.
   */
  readonly seed?: boolean | SeedingGoal | undefined
  /**
   * Tells each peer of one piece at a time until they have passed all of them on (BEP 16), where everything is stored from
   * the start: the first seed of a torrent then gives little more than one copy. Slower where there are other seeds.
   */
  readonly superSeed?: boolean | undefined
  /** What all peers of this torrent may send and be sent together, shared evenly among them; default no limits. */
  readonly limits?: Limits | undefined
  /** The same for each of its peers. */
  readonly peerLimits?: Limits | undefined
  /**
   * Peers that may be given to at once; default 8, or as many as suit the upload limit. More get less each, which few
   * put up with for long.
   */
  readonly uploadSlots?: number | undefined
}
