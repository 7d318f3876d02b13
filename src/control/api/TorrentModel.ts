/**
 * What a service says of its torrents, and what it is told about them. In JSON, what is absent is `null`.
 */
import * as Schema from "effect/Schema"
import { PiecePriority } from "../../assembly/PiecePriority.ts"
import { InfoHash } from "../../base/InfoHash.ts"
import { MetainfoSummary } from "../../metainfo/MetainfoSummary.ts"
import * as SessionInput from "../../session/SessionInput.ts"
import { SessionChanges, SessionList, SessionStatus } from "../../session/SessionStatus.ts"
import { SourceStatus } from "../../torrent/SourceStatus.ts"
import { TorrentStatus } from "../../torrent/TorrentStatus.ts"
import { Folder, LabelName, TorrentOptions } from "./ApiOptions.ts"

/** The schema of a torrent, as `SessionStatus`. Sizes are in bytes, and times milliseconds since 1970. */
export const TorrentItem = Schema.Struct({
  ...SessionStatus.fields,
  options: Schema.Struct({ folder: Schema.optional(Schema.String), ...TorrentOptions.fields })
}).annotate({ identifier: "TorrentItem" })

/** A torrent. */
export type TorrentItem = typeof TorrentItem.Type

/** The keys by which a list can be sorted. `queue` is the order in which torrents get a place. */
export const sortKeys = [
  "queue",
  "name",
  "size",
  "progress",
  "added",
  "completed",
  "ratio",
  "download",
  "upload"
] as const

/** A key by which a list can be sorted. */
export type SortKey = (typeof sortKeys)[number]

/** The kinds of torrents that a list can be narrowed to, by what they do. */
export const kinds = ["downloading", "seeding", "checking", "queued", "paused", "finished", "failed"] as const

/** A kind of torrents. */
export type Kind = (typeof kinds)[number]

/** The schema of a part of a list. */
export const TorrentPage = Schema.Struct({
  revision: SessionList.fields.revision,
  /** How many torrents there are with the filters, on all pages. */
  total: Schema.Natural,
  torrents: Schema.Array(TorrentItem),
  unreadable: SessionList.fields.unreadable
}).annotate({ identifier: "TorrentPage" })

/** A part of a list. */
export type TorrentPage = typeof TorrentPage.Type

/** The schema of what is different from an earlier revision, as `Session.changes`. */
export const TorrentChanges = Schema.Struct({
  ...SessionChanges.fields,
  torrents: Schema.Array(TorrentItem)
}).annotate({ identifier: "TorrentChanges" })

/** What is different from an earlier revision. */
export type TorrentChanges = typeof TorrentChanges.Type

const { files: _, ...described } = MetainfoSummary.fields

/** The schema of all that is known of a torrent, without its files, peers and trackers. */
export const TorrentDetails = Schema.Struct({
  torrent: TorrentItem,
  /** What its metainfo says, without the files. Absent while the metadata of a magnet link is not known. */
  metainfo: Schema.optional(Schema.Struct(described)),
  /** What the engine says, while it is there. */
  engine: Schema.optional(TorrentStatus)
}).annotate({ identifier: "TorrentDetails" })

/** All that is known of a torrent, without its files, peers and trackers. */
export type TorrentDetails = typeof TorrentDetails.Type

/** The schema of what a torrent is added from. */
export const TorrentSource = Schema.TaggedUnion({
  /** A magnet link (BEP 9). */
  Magnet: { link: Schema.String.check(Schema.isMaxLength(65_536)) },
  /** The URL of a torrent file, which the service fetches. */
  Url: {
    url: Schema.String.check(
      Schema.isMaxLength(8_192),
      Schema.isPattern(/^[Hh][Tt][Tt][Pp][Ss]?:\/\//, { expected: "a URL that begins with http:// or https://" })
    )
  },
  /** The bytes of a torrent file, in base64. */
  Metainfo: { bytes: Schema.Uint8ArrayFromBase64 }
})

/** What a torrent is added from. */
export type TorrentSource = typeof TorrentSource.Type

/** The fields of how a torrent is added. */
export const addFields = {
  /** Default that of the first label with one, then that of the service. */
  folder: Schema.optional(Folder),
  /** The names of its labels, in the order in which their defaults apply. */
  labels: Schema.optional(Schema.Array(LabelName).check(Schema.isMaxLength(SessionInput.maxLabels))),
  isPaused: Schema.optional(Schema.Boolean),
  /** Where it is put in the queue; default `last`. */
  place: Schema.optional(Schema.Literals(["first", "last"]))
}

/** The schema of a torrent to add. */
export const NewTorrent = Schema.Struct({
  source: TorrentSource,
  ...addFields,
  /** How much each file is wanted, in the order of the metainfo. Default `normal` for all. */
  files: Schema.optional(Schema.Array(PiecePriority)),
  options: Schema.optional(TorrentOptions)
}).annotate({ identifier: "NewTorrent" })

/** A torrent to add. */
export type NewTorrent = typeof NewTorrent.Type

/** The schema of changes to a torrent. What is absent stays. */
export const TorrentPatch = Schema.Struct({
  labels: Schema.optionalKey(addFields.labels.schema),
  options: Schema.optionalKey(TorrentOptions)
}).annotate({ identifier: "TorrentPatch" })

/** Changes to a torrent. */
export type TorrentPatch = typeof TorrentPatch.Type

/** The schema of a place in the queue. */
export const QueuePlace = Schema.Struct({
  /** An end of the queue, or the torrent before which it comes. */
  place: Schema.Union([Schema.Literals(["first", "last"]), Schema.Struct({ before: InfoHash })])
})

/** The schema of how much files are wanted, by their index. Others stay as they are. */
export const FilePriorities = Schema.Struct({
  files: Schema.Array(Schema.Struct({ index: Schema.Natural, priority: PiecePriority }))
})

/** The schema of which pieces are stored. */
export const StoredPieces = Schema.Struct({
  pieceLength: Schema.Natural,
  totalPieces: Schema.Natural,
  storedPieces: Schema.Natural,
  /** A bit for each piece, the first one the highest of the first byte (BEP 3), in base64. */
  stored: Schema.Uint8ArrayFromBase64
}).annotate({ identifier: "StoredPieces" })

/**
 * The schema of a link to the files of a torrent, for players that send no credentials. It is good for a day, and as long
 * as it is used.
 */
export const StreamLink = Schema.Struct({
  /** The path of the list of its files, to which the path of a file can be added, relative to the base of the service. */
  path: Schema.String
}).annotate({ identifier: "StreamLink" })

/** The schema of what finds peers for a torrent. */
export const TorrentTrackers = Schema.Struct({
  /** Tiers of tracker URLs, best first (BEP 12). Empty while the metadata of a magnet link is not known. */
  trackers: Schema.Array(Schema.Array(Schema.String)),
  /** How trackers and other sources are doing, while the torrent is active. */
  sources: Schema.Array(SourceStatus)
}).annotate({ identifier: "TorrentTrackers" })

/** What finds peers for a torrent. */
export type TorrentTrackers = typeof TorrentTrackers.Type
