/**
 * The contract of `--json`: the schema of every line that the commands print (docs/json.md). A program decodes the
 * output of another process with it.
 *
 * `download` and `seed` print many lines: `Begun` first and `Ended` last, between them the events of the torrent as
 * `TorrentEvent` encodes them, and its status once a second. The other commands print one line.
 */
import * as Schema from "effect/Schema"
import { InfoHash } from "../base/InfoHash.ts"
import { Magnet } from "../metainfo/Magnet.ts"
import { MetainfoSummary } from "../metainfo/MetainfoSummary.ts"
import { TorrentEvent } from "../torrent/TorrentEvent.ts"
import { TorrentStatus } from "../torrent/TorrentStatus.ts"

/**
 * The version of the contract, in the first line of every command. It grows when a field is removed or changes its
 * meaning. New fields and new lines do not change it, so readers ignore those that they do not know.
 */
export const version = 1

const Version = Schema.Literal(version)

/** The first line of `download` and `seed`. */
export const Begun = Schema.TaggedStruct("Begun", {
  version: Version,
  command: Schema.Literals(["download", "seed"]),
  /** The name and the version of the program. */
  program: Schema.String
})

/** The metadata of a magnet link is being fetched. Printed whenever one of the fields has changed. */
export const MetadataProgress = Schema.TaggedStruct("MetadataProgress", {
  /** Connected peers that are asked. */
  peers: Schema.Natural,
  knownPeers: Schema.Natural,
  /** Why none has arrived yet, if that is known. */
  why: Schema.UndefinedOr(Schema.String)
})

/** Peers can connect to this TCP port. */
export const Listening = Schema.TaggedStruct("Listening", { port: Schema.Natural })

const { infoHash, isPrivate, name, pieceLength, pieces, totalBytes } = MetainfoSummary.fields

/** The torrent that is downloaded or seeded: a summary without the list of its files. */
export const Torrent = Schema.TaggedStruct("Torrent", {
  name,
  infoHash,
  totalBytes,
  pieceLength,
  pieces,
  isPrivate,
  /** How many files it has. */
  files: Schema.Natural
})

/** The status, once a second. Left out while nobody reads the output. */
export const Progress = Schema.TaggedStruct("Progress", {
  /** `status.bottleneck` in words; empty if nothing holds it up. */
  why: Schema.String,
  status: TorrentStatus
})

/** The last line of `download` and `seed`, unless the process is killed or nobody reads its output any more. */
export const Ended = Schema.TaggedStruct("Ended", {
  /** `stopped` if a signal ended it. The exit codes are 0, 1 and 130. */
  exit: Schema.Literals(["success", "failure", "stopped"]),
  /** Why it failed, as on standard error. */
  why: Schema.UndefinedOr(Schema.String),
  /** How long it ran. */
  seconds: Schema.Finite,
  /** The last status, which says what is kept; `null` if the torrent was not started. */
  status: Schema.UndefinedOr(TorrentStatus)
})

/** An error in words, beside the fields of an event. */
const withMessage = Schema.fieldsAssign({ message: Schema.String })

const { Failed, FlushFailed, ReadFailed, StorageFailed, ...others } = TorrentEvent.cases

/** An event of the torrent. Those that have an `error` also have its `message`. */
export const Event = Schema.Union([
  ...Object.values(others),
  Failed.pipe(withMessage),
  FlushFailed.pipe(withMessage),
  ReadFailed.pipe(withMessage),
  StorageFailed.pipe(withMessage)
])

/** The schema of a line of `download` and `seed`. */
export const Line = Schema.Union([Begun, MetadataProgress, Listening, Torrent, Progress, Ended, Event])

/** A line of `download` and `seed`. */
export type Line = typeof Line.Type

/** What `info` prints of a torrent file. */
export const TorrentInfo = Schema.TaggedStruct("TorrentInfo", { version: Version, ...MetainfoSummary.fields })

/** What `info` prints of a magnet link. */
export const MagnetInfo = Schema.TaggedStruct("MagnetInfo", { version: Version, ...Magnet.fields })

/** What `verify` prints. */
export const Verified = Schema.TaggedStruct("Verified", {
  version: Version,
  /** Whether every file is there and right. */
  ok: Schema.Boolean,
  pieces: Schema.Natural,
  goodPieces: Schema.Natural,
  totalBytes: Schema.Natural,
  /** Files that are missing or wrong: what is wrong with them, and their pieces that are. */
  faults: Schema.Array(
    Schema.Struct({ path: Schema.String, why: Schema.String, badPieces: Schema.Array(Schema.Natural) })
  )
})

/**
 * What `scrape` prints. A number that a tracker does not say is `null`; `error` is why it did not answer. The DHT is a
 * tracker of the `url` `DHT`, which only estimates its numbers (BEP 33).
 */
export const Scraped = Schema.TaggedStruct("Scraped", {
  version: Version,
  infoHash: InfoHash,
  trackers: Schema.Array(
    Schema.Struct({
      url: Schema.String,
      seeders: Schema.UndefinedOr(Schema.Natural),
      leechers: Schema.UndefinedOr(Schema.Natural),
      downloads: Schema.UndefinedOr(Schema.Natural),
      error: Schema.UndefinedOr(Schema.String)
    })
  )
})

/** What `doctor` prints. */
export const Diagnosed = Schema.TaggedStruct("Diagnosed", {
  version: Version,
  checks: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      /** `unknown` if it cannot be found out from here, which is no failure. */
      state: Schema.Literals(["works", "fails", "unknown"]),
      /** What was found, in words. */
      what: Schema.String,
      /** What to do about it. */
      advice: Schema.UndefinedOr(Schema.String)
    })
  )
})

/** The schema of the line that `info`, `verify`, `scrape` and `doctor` print. */
export const Result = Schema.Union([TorrentInfo, MagnetInfo, Verified, Scraped, Diagnosed])

/** The line that `info`, `verify`, `scrape` and `doctor` print. */
export type Result = typeof Result.Type

/** Encodes a line of `download` and `seed` as a value for `JSON.stringify`. */
export const encodeLine = Schema.encodeSync(Schema.toCodecJson(Line))

/** Encodes the line of `info`, `verify`, `scrape` and `doctor` as a value for `JSON.stringify`. */
export const encodeResult = Schema.encodeSync(Schema.toCodecJson(Result))

/** Makes the line of an event. */
export const ofEvent = (event: TorrentEvent): Line =>
  "error" in event ? { ...event, message: event.error.message } : event

/** Makes the line of a status. Rates are whole bytes a second, and the share ratio has three decimals. */
export const ofStatus = (status: TorrentStatus, why: string): Line => ({
  _tag: "Progress",
  why,
  status: rounded(status)
})

/** Rounds what is measured, so that lines are not longer than they need to be. */
export const rounded = (status: TorrentStatus): TorrentStatus => ({
  ...status,
  downloadBytesPerSecond: Math.round(status.downloadBytesPerSecond),
  uploadBytesPerSecond: Math.round(status.uploadBytesPerSecond),
  shareRatio: Math.round(status.shareRatio * 1_000) / 1_000
})
