/**
 * The status of an engine: what its torrents do and have together.
 */
import * as Schema from "effect/Schema"
import type { TorrentState, TorrentStatus } from "../torrent/TorrentStatus.ts"

/** No torrent in any state. */
const noStates: Readonly<Record<TorrentState["_tag"], number>> = {
  FetchingMetadata: 0,
  Checking: 0,
  FilesMissing: 0,
  Downloading: 0,
  StorageFailing: 0,
  Flushing: 0,
  Complete: 0,
  Paused: 0,
  Stopped: 0,
  Failed: 0
}

const tags = Object.keys(noStates) as ReadonlyArray<TorrentState["_tag"]>

/** The schema of a snapshot. Bytes are payload bytes; rates are bytes a second over the last few seconds. */
export const EngineStatus = Schema.Struct({
  /** How many torrents there are, and how many of them are in each state. */
  torrents: Schema.Natural,
  states: Schema.Record(Schema.Literals(tags), Schema.Natural),
  /** Bytes of all torrents, those of their stored pieces, and those of wanted pieces that are not stored. */
  totalBytes: Schema.Natural,
  storedBytes: Schema.Natural,
  missingBytes: Schema.Natural,
  /** Bytes that were received and sent since the engine was made, also by torrents that were removed. */
  downloadedBytes: Schema.Natural,
  wastedBytes: Schema.Natural,
  uploadedBytes: Schema.Natural,
  downloadBytesPerSecond: Schema.Finite,
  uploadBytesPerSecond: Schema.Finite,
  /** Connections to peers of all torrents, also to those that are asked for metadata. */
  connections: Schema.Natural,
  /** Bytes that piece buffers take, in use and idle, as `Engine.heldBytes`. */
  bufferBytes: Schema.Natural
})

/** A snapshot of an engine. */
export type EngineStatus = typeof EngineStatus.Type

/** What was transferred by torrents that are not there any more. */
export type Transferred = Pick<EngineStatus, "downloadedBytes" | "wastedBytes" | "uploadedBytes">

/** Nothing. */
export const nothing: Transferred = { downloadedBytes: 0, wastedBytes: 0, uploadedBytes: 0 }

/** Adds what a torrent has transferred. */
export const add = (self: Transferred, { downloadedBytes, uploadedBytes, wastedBytes }: Transferred): Transferred => ({
  downloadedBytes: self.downloadedBytes + downloadedBytes,
  wastedBytes: self.wastedBytes + wastedBytes,
  uploadedBytes: self.uploadedBytes + uploadedBytes
})

/** Sums up the torrents that there are. */
export const of = (
  statuses: ReadonlyArray<TorrentStatus>,
  before: Transferred,
  engine: Pick<EngineStatus, "connections" | "bufferBytes">
): EngineStatus => {
  const states = { ...noStates }
  const sum = (of: (status: TorrentStatus) => number): number =>
    statuses.reduce((total, status) => total + of(status), 0)
  for (const { state } of statuses) states[state._tag]++
  return {
    ...engine,
    torrents: statuses.length,
    states,
    totalBytes: sum(({ totalBytes }) => totalBytes),
    storedBytes: sum(({ storedBytes }) => storedBytes),
    missingBytes: sum(({ missingBytes }) => missingBytes),
    ...statuses.reduce(add, before),
    downloadBytesPerSecond: sum(({ downloadBytesPerSecond }) => downloadBytesPerSecond),
    uploadBytesPerSecond: sum(({ uploadBytesPerSecond }) => uploadBytesPerSecond)
  }
}
