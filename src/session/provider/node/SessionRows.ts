/**
 * The rows of a session in SQLite, as values of the session and back.
 */
import * as Schema from "effect/Schema"
import type { InfoHash } from "../../../base/InfoHash.ts"
import { SeedingGoal } from "../../../torrent/SeedingGoal.ts"
import * as Saved from "../../SavedTorrent.ts"

const json = <A, I>(schema: Schema.Codec<A, I>) => Schema.fromJsonString(Schema.toCodecJson(schema))

/** The schema of a row of `torrents`. */
export const TorrentRow = Schema.Struct({
  info_hash: Schema.Uint8Array,
  position: Schema.Finite,
  name: Schema.String,
  wanted: json(Saved.Wanted),
  labels: json(Schema.Array(Schema.String)),
  tracker_hosts: Schema.NullOr(json(Schema.Array(Schema.String))),
  options: json(Saved.SavedOptions),
  added_at_millis: Schema.Natural,
  completed_at_millis: Schema.NullOr(Schema.Natural),
  is_completion_due: Schema.Literals([0, 1]),
  hinted_bytes: Schema.NullOr(Schema.Natural),
  total_bytes: Schema.NullOr(Schema.Natural),
  wanted_bytes: Schema.NullOr(Schema.Natural),
  missing_bytes: Schema.NullOr(Schema.Natural),
  downloaded_bytes: Schema.Natural,
  uploaded_bytes: Schema.Natural,
  seeding_millis: Schema.Natural
})

/** The schema of the text of the files in `contents`. */
const FilesText = json(Saved.SavedFiles)

/** The schema of a row of `contents`. */
export const ContentRow = Schema.Struct({
  metainfo: Schema.NullOr(Schema.Uint8Array),
  magnet: Schema.NullOr(Schema.String),
  files: FilesText
})

/** The schema of the text in `labels`. */
export const LabelText = json(Saved.SavedLabel)

/** The schema of the text in `tracker_goals`. */
export const GoalText = json(SeedingGoal)

/** The schema of the text of the limits in `settings`. */
export const LimitsText = json(Saved.SessionLimits)

const encodeTorrent = Schema.encodeSync(TorrentRow)
const encodeFiles = Schema.encodeSync(FilesText)

/** The columns that `SetStatistics` sets. */
export const numbersOf = (statistics: Saved.Statistics, progress: Saved.Progress | undefined) => ({
  total_bytes: progress?.totalBytes ?? null,
  wanted_bytes: progress?.wantedBytes ?? null,
  missing_bytes: progress?.missingBytes ?? null,
  downloaded_bytes: statistics.downloadedBytes,
  uploaded_bytes: statistics.uploadedBytes,
  seeding_millis: statistics.seedingMillis
})

/** The row of a torrent. */
export const ofTorrent = (torrent: Saved.SavedTorrent): typeof TorrentRow.Encoded =>
  encodeTorrent({
    info_hash: torrent.infoHash,
    position: torrent.position,
    name: torrent.name,
    wanted: torrent.wanted,
    labels: torrent.labels,
    tracker_hosts: torrent.trackerHosts ?? null,
    options: torrent.options,
    added_at_millis: torrent.addedAtMillis,
    completed_at_millis: torrent.completedAtMillis ?? null,
    is_completion_due: torrent.isCompletionDue === true ? 1 : 0,
    hinted_bytes: torrent.hintedBytes ?? null,
    ...numbersOf(torrent.statistics, torrent.progress)
  })

const encodeHosts = Schema.encodeSync(json(Schema.Array(Schema.String)))

/** The columns of the hosts of trackers. */
export const ofTrackerHosts = (hosts: ReadonlyArray<string>) => ({ tracker_hosts: encodeHosts(hosts) })

/** The torrent of a row. */
export const toTorrent = (row: typeof TorrentRow.Type): Saved.SavedTorrent => ({
  infoHash: row.info_hash as InfoHash,
  name: row.name,
  position: row.position,
  wanted: row.wanted,
  labels: row.labels,
  trackerHosts: row.tracker_hosts ?? undefined,
  options: row.options,
  addedAtMillis: row.added_at_millis,
  completedAtMillis: row.completed_at_millis ?? undefined,
  isCompletionDue: row.is_completion_due === 1 ? true : undefined,
  hintedBytes: row.hinted_bytes ?? undefined,
  progress:
    row.total_bytes === null || row.wanted_bytes === null || row.missing_bytes === null
      ? undefined
      : { totalBytes: row.total_bytes, wantedBytes: row.wanted_bytes, missingBytes: row.missing_bytes },
  statistics: {
    downloadedBytes: row.downloaded_bytes,
    uploadedBytes: row.uploaded_bytes,
    seedingMillis: row.seeding_millis
  }
})

/** The columns of a source. */
export const ofSource = (source: Saved.Source) =>
  source._tag === "Metainfo" ? { metainfo: source.bytes, magnet: null } : { metainfo: null, magnet: source.link }

/** The columns of the files. */
export const ofFiles = (files: Saved.SavedFiles) => ({ files: encodeFiles(files) })

/** The content of a row; `undefined` if the row has no source. */
export const toContent = ({ files, magnet, metainfo }: typeof ContentRow.Type): Saved.SavedContent | undefined => {
  if (metainfo !== null) return { files, source: { _tag: "Metainfo", bytes: metainfo } }
  return magnet === null ? undefined : { files, source: { _tag: "Magnet", link: magnet } }
}
