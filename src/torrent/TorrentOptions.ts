/**
 * What a user may choose for a torrent when it is added.
 */
import * as Schema from "effect/Schema"
import { PiecePriority } from "../assembly/PiecePriority.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import { Limits } from "../rate/RateLimits.ts"
import { SeedingGoal } from "./SeedingGoal.ts"

/** Every option may be left out. */
export interface TorrentOptions {
  /**
   * How much each file of `metainfo.layout.files` is wanted, in their order: `skip`, `normal` or `high`; default
   * `normal` for all, or for the files that a magnet link selects (BEP 53). The torrent is complete when every piece
   * that has a byte of a wanted file is stored. A function is called once the metainfo is known.
   */
  readonly files?: ReadonlyArray<PiecePriority> | ((metainfo: Metainfo) => ReadonlyArray<PiecePriority>) | undefined
  /** Whether it is added paused, as `Torrent.pause` leaves it. Default false. */
  readonly isPaused?: boolean | undefined
  /** `sequential` fetches pieces in the order of their indices. Default `rarest`, which is better for the swarm. */
  readonly order?: "rarest" | "sequential" | undefined
  /**
   * Overwrites files of somebody else's at the torrent's paths, including those that another client has half finished,
   * and cuts files that are too long. Pieces that match are kept. Default false: the torrent fails with
   * `ContentExists`, and those files stay as they are.
   */
  readonly overwrite?: boolean | undefined
  /** Fetches everything again if every file with stored bytes is gone. Default false: waits until one is back. */
  readonly startOver?: boolean | undefined
  /** Uploads what is stored and fetches nothing: no file is made, moved or written. Default false. */
  readonly readOnly?: boolean | undefined
  /**
   * Pieces that another client says it has stored, one bit a piece as in the wire's `bitfield` message (BEP 3). They are
   * announced to peers at once. Each is verified before it is first uploaded or read: when somebody requests it, or in the
   * background. None counts as stored before, and those that are wrong are fetched. Pieces that are not in the hint, of
   * files that are, count as missing without being read. Bits that are missing count as clear, and those beyond the last
   * piece are left out. Default: what is on the disk is verified first.
   */
  readonly hintedPieces?: Uint8Array | undefined
  /**
   * URLs of web seeds (BEP 19) besides those that the torrent names. They may lead anywhere, also into the local network
   * and to this machine, and so may the same URL in the torrent. `false` uses no web seed at all. Default none.
   */
  readonly webSeeds?: ReadonlyArray<string> | false | undefined
  /** The most pieces that are fetched at once; default 20, or more if pieces are small. */
  readonly maxActivePieces?: number | undefined
  /** The most connections of this torrent; default 50. */
  readonly maxConnections?: number | undefined
  /**
   * Goes on finding peers and uploading when everything that is wanted is stored: until the torrent is stopped, or
   * until a goal is reached. Default false.
   */
  readonly seed?: boolean | SeedingGoal | undefined
  /**
   * Announces a few pieces at a time to each peer, until every piece has two holders (BEP 16), if everything is
   * stored from the start. The first seed of a torrent then uploads little more than one copy. Slower if there are
   * other seeds. Default false.
   */
  readonly superSeed?: boolean | undefined
  /** Limits of all its peers together, in bytes a second, shared evenly among them. Default no limits. */
  readonly limits?: Limits | undefined
  /** Limits of each of its peers, in bytes a second. Default no limits. */
  readonly peerLimits?: Limits | undefined
  /**
   * How many peers are unchoked at once; default 8, or as many as suit the upload limit. With more, each gets a lower
   * rate, and few peers stay long for that.
   */
  readonly uploadSlots?: number | undefined
}

const Slots = Schema.Int.check(Schema.isGreaterThan(0))

/**
 * The schema of the options, for a program that keeps them or receives them from another one. What is decoded can be
 * passed to `engine.add`.
 */
export const TorrentOptions = Schema.Struct({
  files: Schema.optional(Schema.Array(PiecePriority)),
  isPaused: Schema.optional(Schema.Boolean),
  order: Schema.optional(Schema.Literals(["rarest", "sequential"])),
  overwrite: Schema.optional(Schema.Boolean),
  startOver: Schema.optional(Schema.Boolean),
  readOnly: Schema.optional(Schema.Boolean),
  hintedPieces: Schema.optional(Schema.Uint8Array),
  webSeeds: Schema.optional(Schema.Union([Schema.Array(Schema.String), Schema.Literal(false)])),
  maxActivePieces: Schema.optional(Slots),
  maxConnections: Schema.optional(Slots),
  seed: Schema.optional(Schema.Union([Schema.Boolean, SeedingGoal])),
  superSeed: Schema.optional(Schema.Boolean),
  limits: Schema.optional(Limits),
  peerLimits: Schema.optional(Limits),
  uploadSlots: Schema.optional(Slots)
})
