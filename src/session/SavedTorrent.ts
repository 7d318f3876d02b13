/**
 * What a session keeps of a torrent from one run to the next, as schemas.
 *
 * It has two parts. `SavedTorrent` is small: a session reads those of all its torrents when it starts, and lists them
 * from that. `SavedContent` has the metainfo and what is chosen for each file, which may take megabytes: it is read when
 * the torrent is added to the engine.
 *
 * Which pieces are stored is not here, but in resume data (`resume/ResumeStore.ts`).
 */
import * as Schema from "effect/Schema"
import { PiecePriority } from "../assembly/PiecePriority.ts"
import { InfoHash } from "../base/InfoHash.ts"
import { Limits } from "../rate/RateLimits.ts"
import { SeedingGoal } from "../torrent/SeedingGoal.ts"
import { TorrentOptions } from "../torrent/TorrentOptions.ts"

/** The schema of what a torrent should do. */
export const Wanted = Schema.TaggedUnion({
  /** Download what is missing and then seed, as soon as the queue has a place for it. */
  Running: {},
  /** Nothing, because somebody paused it. */
  Paused: {},
  /** Nothing, because an error ended it. `error` is the tag of the error, and `message` a sentence for users. */
  Failed: { error: Schema.String, message: Schema.String },
  /** Go away, and take its files along if `data`. A session that finds this when it starts goes on with it. */
  Removing: { data: Schema.Boolean }
})

/** What a torrent should do. */
export type Wanted = typeof Wanted.Type

const { limits, maxConnections, order, peerLimits, superSeed, uploadSlots, webSeeds } = TorrentOptions.fields

/** The schema of the options of a torrent. Those that `TorrentOptions` has too mean what they mean there. */
export const SavedOptions = Schema.Struct({
  /** The download folder; default that of the storage. Chosen when the torrent is added. */
  folder: Schema.optional(Schema.NonEmptyString),
  /**
   * When seeding ends; default the goal of the first of its labels that has one, then that of the first of its trackers
   * whose host has one, then never. Counts all runs.
   */
  goal: Schema.optional(SeedingGoal),
  order,
  limits,
  peerLimits,
  maxConnections,
  uploadSlots,
  superSeed,
  webSeeds
})

/** The options of a torrent. */
export type SavedOptions = typeof SavedOptions.Type

/** The schema of how far a torrent was when the session last looked. */
export const Progress = Schema.Struct({
  /** Bytes of the whole torrent, those of wanted pieces, and those of wanted pieces that are not stored. */
  totalBytes: Schema.Natural,
  wantedBytes: Schema.Natural,
  missingBytes: Schema.Natural
})

/** How far a torrent was when the session last looked. */
export type Progress = typeof Progress.Type

/** The schema of what a torrent has done in all runs. */
export const Statistics = Schema.Struct({
  /** Bytes received, including wasted ones, and bytes uploaded. */
  downloadedBytes: Schema.Natural,
  uploadedBytes: Schema.Natural,
  /** Milliseconds that it was complete and uploaded, or could have. */
  seedingMillis: Schema.Natural
})

/** What a torrent has done in all runs. */
export type Statistics = typeof Statistics.Type

/** The statistics of a torrent that has done nothing. */
export const noStatistics: Statistics = { downloadedBytes: 0, uploadedBytes: 0, seedingMillis: 0 }

/** The schema of what a session knows of a torrent without its metainfo. Times are milliseconds since 1970. */
export const SavedTorrent = Schema.Struct({
  infoHash: InfoHash,
  /** The best name that is known, as `TorrentStatus.name`. */
  name: Schema.String,
  /** Torrents are queued in the order of their positions. Those of the same position have the order of their info hashes. */
  position: Schema.Finite,
  wanted: Wanted,
  /** The names of its labels, in the order in which their defaults apply. */
  labels: Schema.Array(Schema.String),
  /**
   * The hosts of its trackers (`TrackerHosts.ts`), in their order. Absent until it is opened, if an earlier version that
   * did not keep them has added it.
   */
  trackerHosts: Schema.optional(Schema.Array(Schema.String)),
  options: SavedOptions,
  addedAtMillis: Schema.Natural,
  /** When everything that is wanted was stored for the first time, here or in the client that it was imported from. */
  completedAtMillis: Schema.optional(Schema.Natural),
  /** Whether its completion has still to be reported to `Session.onCompleted`. Absent for false. */
  isCompletionDue: Schema.optional(Schema.Boolean),
  /** Absent while the metadata of a magnet link is not known. */
  progress: Schema.optional(Progress),
  statistics: Statistics,
  /**
   * Bytes of wanted pieces that another client says it has stored, as far as was known when the torrent was added. Absent
   * unless some of what that client said has to be verified. `missingBytes` has them too until they are verified.
   */
  hintedBytes: Schema.optional(Schema.Natural)
})

/** What a session knows of a torrent without its metainfo. */
export type SavedTorrent = typeof SavedTorrent.Type

/** The schema of what a torrent was made from. */
export const Source = Schema.TaggedUnion({
  /** The bytes of its torrent file. */
  Metainfo: { bytes: Schema.Uint8Array },
  /** A magnet link whose metadata is not known yet. */
  Magnet: { link: Schema.String }
})

/** What a torrent was made from. */
export type Source = typeof Source.Type

/** The schema of a file that has another path than the metainfo says: safe components below the download folder. */
export const RenamedFile = Schema.Struct({ file: Schema.Natural, path: Schema.NonEmptyArray(Schema.String) })

/** A file that has another path than the metainfo says. */
export type RenamedFile = typeof RenamedFile.Type

/** The schema of what is chosen for the files of a torrent, by their index in `layout.files`. */
export const SavedFiles = Schema.Struct({
  /** As `TorrentOptions.files`. */
  priorities: Schema.optional(Schema.Array(PiecePriority)),
  renamed: Schema.Array(RenamedFile),
  /**
   * A file that is being renamed. It is set before the file is moved, and cleared when the file is in `renamed`. A
   * session that finds it when the torrent is opened moves the file if it is still in its old place.
   */
  renaming: Schema.optional(RenamedFile),
  /**
   * A move of all files to another folder, as in `SavedOptions.folder`. It is set before the first file is moved, and
   * cleared when the folder is that of the torrent. A session that finds it when the torrent is opened finishes it.
   */
  moving: Schema.optional(Schema.Struct({ to: Schema.optional(Schema.NonEmptyString) })),
  /** As `TorrentOptions.hintedPieces`. Removed once every hinted piece was verified. */
  hintedPieces: Schema.optional(Schema.Uint8Array)
})

/** What is chosen for the files of a torrent. */
export type SavedFiles = typeof SavedFiles.Type

/** Nothing is chosen. */
export const noFiles: SavedFiles = { renamed: [] }

/** The schema of what the engine needs of a torrent beside `SavedTorrent`. */
export const SavedContent = Schema.Struct({ source: Source, files: SavedFiles })

/** What the engine needs of a torrent beside `SavedTorrent`. */
export type SavedContent = typeof SavedContent.Type

/** The schema of a label, and of what it means for torrents that do not say otherwise. */
export const SavedLabel = Schema.Struct({
  name: Schema.NonEmptyString,
  folder: Schema.optional(Schema.NonEmptyString),
  goal: Schema.optional(SeedingGoal)
})

/** A label, and what it means for torrents that do not say otherwise. */
export type SavedLabel = typeof SavedLabel.Type

/** The schema of when seeding ends for torrents that have a tracker at a host, and no goal of their own or of a label. */
export const TrackerGoal = Schema.Struct({ host: Schema.NonEmptyString, goal: SeedingGoal })

/** When seeding ends for torrents that have a tracker at a host. */
export type TrackerGoal = typeof TrackerGoal.Type

/** The schema of the limits of all torrents together. Absent for no limit. */
export const SessionLimits = Schema.Struct({
  /** How many torrents with missing bytes, and how many complete ones, may be active at once. */
  downloads: Schema.optional(Schema.Natural),
  seeds: Schema.optional(Schema.Natural),
  /** As those of an engine, in bytes a second: a number of at least 1, or a `ByteSize`. */
  ...Limits.fields
})

/** The limits of all torrents together. */
export type SessionLimits = typeof SessionLimits.Type

/** The schema of something that is saved and cannot be read. It stays as it is. */
export const Unreadable = Schema.Struct({
  what: Schema.Literals(["torrent", "label", "tracker goal", "limits"]),
  /** Which one: the info hash of a torrent in hex, the name of a label, the host of a goal; of limits nothing. */
  key: Schema.String,
  /** What is wrong with it. */
  why: Schema.String
})

/** Something that is saved and cannot be read. */
export type Unreadable = typeof Unreadable.Type
