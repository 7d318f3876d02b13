/**
 * The metrics of engines, as `Metric`s of Effect. Nobody updates them: each is read from the plain numbers of the
 * engines when a program or an exporter takes a snapshot. So they cost nothing while nobody asks, and are exact when
 * somebody does. docs/telemetry.md lists them.
 *
 * Engines with the same `MetricRegistry` and the same attributes (`Metric.CurrentMetricAttributes`) are counted
 * together. Counters and histograms stay after an engine has ended, so that the last export of a program has them.
 * Gauges are there while an engine has torrents, and those of a torrent while that is in its engine.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect, Metric } from "effect"
 * import { Engine, EngineMetrics } from "piecewise"
 * import { KnownTorrent, PeerBehaviour, TestEngine } from "piecewise/testing"
 *
 * const program = Effect.gen(function* () {
 *   const { during, join } = yield* TestEngine.TestEngine
 *   const known = yield* KnownTorrent.make({ files: [{ path: [], length: 300_000 }], pieceLength: 65_536 })
 *   yield* join(known, PeerBehaviour.honest)
 *   const torrent = yield* Engine.Engine.use((engine) => engine.add(known.metainfo))
 *   yield* during(torrent.completed)
 *   const stored = yield* Metric.value(EngineMetrics.storedPieces)
 *   const missing = yield* Metric.value(EngineMetrics.missingBytes)
 *   assert.deepEqual([stored.count, missing.value], [5, 0])
 * }).pipe(Effect.scoped, Effect.provide(TestEngine.layer()))
 * // A registry of its own: the default one is that of the process.
 * await Effect.runPromise(Effect.provideService(program, Metric.MetricRegistry, new Map()))
 * ```
 */
import * as Metric from "effect/Metric"
import * as Tally from "../base/Tally.ts"
import type { TorrentState } from "../torrent/TorrentStatus.ts"

const bytes = { unit: "bytes" }
const seconds = { unit: "seconds" }

const counter = (name: string, description: string, attributes?: Metric.Metric.AttributeSet) =>
  Metric.counter(name, { description, incremental: true, attributes })

const histogram = (name: string, description: string) =>
  Metric.histogram(name, { description, boundaries: Tally.bounds, attributes: seconds })

const gauge = (name: string, description: string, attributes?: Metric.Metric.AttributeSet) =>
  Metric.gauge(name, { description, attributes })

/** Payload bytes received, wasted ones included. */
export const downloadBytes = counter(
  "piecewise_download_bytes_total",
  "Payload bytes received, wasted ones included",
  bytes
)

/** Payload bytes sent to peers. */
export const uploadBytes = counter("piecewise_upload_bytes_total", "Payload bytes sent to peers", bytes)

/** Received payload bytes that were of no use. */
export const wastedBytes = counter(
  "piecewise_wasted_bytes_total",
  "Received payload bytes that were of no use: late, duplicate, not requested, or of a piece with the wrong digest",
  bytes
)

/** Pieces whose write the storage has confirmed. */
export const storedPieces = counter("piecewise_pieces_stored_total", "Pieces whose write the storage has confirmed")

/** Pieces that had the wrong digest, counted each time. */
export const rejectedPieces = counter("piecewise_pieces_rejected_total", "Pieces that had the wrong digest")

/** Writes of verified pieces that failed and are repeated. */
export const failedWrites = counter(
  "piecewise_writes_failed_total",
  "Writes of verified pieces that failed and are repeated"
)

/** Answers of peer sources, such as trackers. */
export const sourceAnswers = counter("piecewise_source_answers_total", "Answers of peer sources, such as trackers")

/** Failures of peer sources, such as trackers. */
export const sourceFailures = counter("piecewise_source_failures_total", "Failures of peer sources, such as trackers")

/** Seconds from a request to its block, of the first block of each piece. */
export const requestSeconds = histogram(
  "piecewise_request_duration_seconds",
  "Time from a request to its block, of the first block of each piece"
)

/** Seconds that computing the digest of a piece took. */
export const verifySeconds = histogram("piecewise_verify_duration_seconds", "Time to compute the digest of a piece")

/** Seconds until the storage confirmed the write of a piece. */
export const writeSeconds = histogram(
  "piecewise_write_duration_seconds",
  "Time until the storage confirms the write of a piece"
)

/** The label `state` of `torrents`, by the state of a torrent. */
export const stateNames: Readonly<Record<TorrentState["_tag"], string>> = {
  FetchingMetadata: "fetching_metadata",
  Checking: "checking",
  FilesMissing: "files_missing",
  Downloading: "downloading",
  StorageFailing: "storage_failing",
  Flushing: "flushing",
  Complete: "complete",
  Paused: "paused",
  Stopped: "stopped",
  Failed: "failed"
}

/** Torrents in a state, of any engine. */
export const torrents = (state: TorrentState["_tag"]) =>
  gauge("piecewise_torrents", "Torrents by state", { state: stateNames[state] })

/** Peers with whom the handshake is done. */
export const connectedPeers = gauge("piecewise_peers_connected", "Peers with whom the handshake is done")

/** Connections to peers that are being opened. */
export const diallingPeers = gauge("piecewise_peers_dialling", "Connections to peers that are being opened")

/** Connected peers that may request blocks from us. */
export const unchokedPeers = gauge("piecewise_peers_unchoked", "Connected peers that may request blocks from us")

/** Connected peers that want pieces from us. */
export const interestedPeers = gauge("piecewise_peers_interested", "Connected peers that want pieces from us")

/** Connected peers that have a piece that is wanted and missing here. */
export const interestingPeers = gauge(
  "piecewise_peers_interesting",
  "Connected peers that have a piece that is wanted and missing here"
)

/** Those of `interestingPeers` from which we may request blocks. */
export const unchokingPeers = gauge(
  "piecewise_peers_unchoking",
  "Connected peers that have a piece that is wanted and missing here, and from which we may request blocks"
)

/** Known addresses of peers, connected or not. */
export const knownPeers = gauge("piecewise_peers_known", "Known addresses of peers, connected or not")

/** Addresses of peers that are banned now. */
export const bannedPeers = gauge("piecewise_peers_banned", "Addresses of peers that are banned now")

/** Bytes of wanted pieces that are not stored yet. */
export const missingBytes = gauge("piecewise_missing_bytes", "Bytes of wanted pieces that are not stored yet", bytes)

/** Bytes that piece buffers take, in use or idle. */
export const heldBufferBytes = gauge(
  "piecewise_buffer_held_bytes",
  "Bytes that piece buffers take, in use or idle",
  bytes
)

/** Bytes of piece buffers that are in use. */
export const lentBufferBytes = gauge("piecewise_buffer_lent_bytes", "Bytes of piece buffers that are in use", bytes)

/** The most bytes that piece buffers may take. */
export const maxBufferBytes = gauge("piecewise_buffer_max_bytes", "The most bytes that piece buffers may take", bytes)

/** The metrics that a torrent has if they are shown by torrent. Counters begin again when its files went away. */
export const byTorrent = {
  downloadBytes: counter("piecewise_torrent_download_bytes_total", "As piecewise_download_bytes_total", bytes),
  uploadBytes: counter("piecewise_torrent_upload_bytes_total", "As piecewise_upload_bytes_total", bytes),
  wastedBytes: counter("piecewise_torrent_wasted_bytes_total", "As piecewise_wasted_bytes_total", bytes),
  rejectedPieces: counter("piecewise_torrent_pieces_rejected_total", "As piecewise_pieces_rejected_total"),
  connectedPeers: gauge("piecewise_torrent_peers_connected", "As piecewise_peers_connected"),
  missingBytes: gauge("piecewise_torrent_missing_bytes", "As piecewise_missing_bytes", bytes)
} as const
