/**
 * The metrics of engines, as `Metric`s of Effect. Nobody updates them: each is read from the plain numbers of the
 * engines when a program or an exporter takes a snapshot. So they cost nothing while nobody asks, and are exact when
 * somebody does. docs/telemetry.md lists them.
 *
 * Engines with the same `MetricRegistry` and the same attributes (`Metric.CurrentMetricAttributes`) are counted
 * together. Counters and histograms stay after an engine has ended, so that the last export of a program has them.
 * Gauges are there while an engine has torrents, and those of a torrent while that is in its engine.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import type { Ledger } from "../assembly/BufferBudget.ts"
import * as BufferPool from "../assembly/BufferPool.ts"
import * as PieceTable from "../assembly/PieceTable.ts"
import * as Histogram from "../base/Histogram.ts"
import * as InfoHash from "../base/InfoHash.ts"
import * as Tally from "../base/Tally.ts"
import * as PieceSwarm from "../swarm/PieceSwarm.ts"
import * as TorrentMachine from "../torrent/TorrentMachine.ts"
import type { TorrentParts } from "../torrent/TorrentParts.ts"
import type { TorrentProgram } from "../torrent/TorrentProgram.ts"
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
  Checking: "checking",
  FilesMissing: "files_missing",
  Downloading: "downloading",
  StorageFailing: "storage_failing",
  Flushing: "flushing",
  Complete: "complete",
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

/** The counters of a tally, and how each is computed from it and from the torrents that run. */
const counters: ReadonlyArray<readonly [Metric.Counter<number>, (shared: Shared) => number]> = [
  [
    downloadBytes,
    ({ engines, tally }) => tally.ended.downloadedBytes + sum(engines, ({ assembly }) => assembly.downloadedBytes)
  ],
  [wastedBytes, ({ engines, tally }) => tally.ended.wastedBytes + sum(engines, ({ assembly }) => assembly.wastedBytes)],
  [uploadBytes, ({ engines, tally }) => tally.ended.uploadedBytes + sum(engines, ({ upload }) => upload.uploadedBytes)],
  [storedPieces, ({ tally }) => tally.storedPieces],
  [rejectedPieces, ({ tally }) => tally.rejectedPieces],
  [failedWrites, ({ tally }) => tally.failedWrites],
  [sourceAnswers, ({ tally }) => tally.sourceAnswers],
  [sourceFailures, ({ tally }) => tally.sourceFailures]
]

const histograms: ReadonlyArray<
  readonly [Metric.Histogram<number>, "requestSeconds" | "verifySeconds" | "writeSeconds"]
> = [
  [requestSeconds, "requestSeconds"],
  [verifySeconds, "verifySeconds"],
  [writeSeconds, "writeSeconds"]
]

const counted = (count: (counts: PieceSwarm.Counts) => number) => (parts: TorrentParts) =>
  count(PieceSwarm.counts(parts.swarm))

/** Gauges that are the sum of what the torrents that run have. */
const sums: ReadonlyArray<readonly [Metric.Gauge<number>, (parts: TorrentParts) => number]> = [
  [connectedPeers, counted(({ connected }) => connected)],
  [diallingPeers, counted(({ dialling }) => dialling)],
  [unchokedPeers, counted(({ unchoked }) => unchoked)],
  [interestedPeers, counted(({ interested }) => interested)],
  [interestingPeers, ({ swarm }) => PieceSwarm.prospects(swarm).interesting],
  [unchokingPeers, ({ swarm }) => PieceSwarm.prospects(swarm).unchoking],
  [knownPeers, counted(({ known }) => known)],
  [bannedPeers, counted(({ banned }) => banned)],
  [missingBytes, ({ assembly }) => PieceTable.missingBytes(assembly.table)],
  [lentBufferBytes, ({ assembly: { pool } }) => BufferPool.lentCount(pool) * pool.account.bufferBytes]
]

/** What is read from an engine. A torrent that is being made is `undefined`. */
export interface EngineView {
  readonly torrents: () => Iterable<TorrentProgram | undefined>
  readonly budget: Ledger
}

/** What the engines with the same registry and attributes share. */
interface Shared {
  readonly tally: Tally.Tally
  /** Those that have torrents. */
  readonly engines: Set<EngineView>
  /** The gauges, while there is an engine. */
  gauges: ReadonlyArray<Metric.Registration>
}

const sum = (engines: Iterable<EngineView>, of: (parts: TorrentParts) => number): number => {
  let total = 0
  for (const { torrents } of engines) {
    for (const torrent of torrents()) {
      const parts = torrent?.parts()
      if (parts !== undefined) total += of(parts)
    }
  }
  return total
}

const count = (engines: Iterable<EngineView>, state: TorrentState["_tag"]): number => {
  let total = 0
  for (const { torrents } of engines) {
    for (const torrent of torrents()) {
      if (torrent !== undefined && TorrentMachine.stateOf(torrent.lasting.life.machine)._tag === state) total++
    }
  }
  return total
}

const nothing = (): void => {}

/** Has a metric read by `get` from now on. */
const observe = <Input, State>(
  metric: Metric.Metric<Input, State>,
  context: Context.Context<never>,
  get: () => State
): Metric.Registration => Metric.registerUnsafe(metric, context, { get, update: nothing, modify: nothing })

const observeCounter = (metric: Metric.Counter<number>, context: Context.Context<never>, get: () => number) =>
  observe(metric, context, () => ({ count: get(), incremental: true }))

const observeGauge = (metric: Metric.Gauge<number>, context: Context.Context<never>, get: () => number) =>
  observe(metric, context, () => ({ value: get() }))

/** By registry and attributes. A registry that is gone takes its metrics with it. */
const everything = new WeakMap<object, Map<string, Shared>>()

/** The metrics of one engine. */
export interface EngineMetrics {
  /** What the engine counts into. */
  readonly tally: Tally.Tally
  /** Shows the gauges until the scope closes. To be called while the engine has torrents. */
  readonly gauges: (engine: EngineView) => Effect.Effect<void, never, Scope.Scope>
  /** Shows metrics of a torrent alone, with its info hash as a label, until the scope closes. */
  readonly ofTorrent: (torrent: TorrentProgram) => Effect.Effect<void, never, Scope.Scope>
}

/** Makes the metrics of an engine, in the registry of the context. */
export const make: Effect.Effect<EngineMetrics> = Effect.gen(function* () {
  const registry = yield* Metric.MetricRegistry
  const attributes = yield* Metric.CurrentMetricAttributes
  const context = Context.make(Metric.MetricRegistry, registry).pipe(
    Context.add(Metric.CurrentMetricAttributes, attributes)
  )
  const key = JSON.stringify(Object.entries(attributes).sort(([one], [other]) => (one < other ? -1 : 1)))
  const shareds = everything.get(registry) ?? new Map<string, Shared>()
  everything.set(registry, shareds)
  const shared = shareds.get(key) ?? start(context)
  shareds.set(key, shared)
  const self: EngineMetrics = {
    tally: shared.tally,
    gauges: (engine) =>
      Effect.acquireRelease(
        Effect.sync(() => join(shared, engine, context)),
        () => Effect.sync(() => leave(shared, engine))
      ),
    ofTorrent: (torrent) =>
      Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => observeTorrent(torrent, context)),
          (series) => Effect.sync(() => remove(series))
        )
      )
  }
  return self
})

const start = (context: Context.Context<never>): Shared => {
  const shared: Shared = { tally: Tally.make(), engines: new Set(), gauges: [] }
  for (const [metric, of] of counters) observeCounter(metric, context, () => of(shared))
  for (const [metric, name] of histograms) {
    const times = shared.tally[name]
    observe(metric, context, () => {
      const { count, max, min, sum } = times
      return { buckets: Histogram.cumulative(times), count, max, min, sum }
    })
  }
  return shared
}

const join = (shared: Shared, engine: EngineView, context: Context.Context<never>): void => {
  const { engines } = shared
  engines.add(engine)
  if (engines.size > 1) return
  const budgets = (of: (budget: Ledger) => number) => () => {
    let total = 0
    for (const { budget } of engines) total += of(budget)
    return total
  }
  shared.gauges = [
    ...(Object.keys(stateNames) as ReadonlyArray<TorrentState["_tag"]>).map((state) =>
      observeGauge(torrents(state), context, () => count(engines, state))
    ),
    ...sums.map(([metric, of]) => observeGauge(metric, context, () => sum(engines, of))),
    observeGauge(
      heldBufferBytes,
      context,
      budgets(({ heldBytes }) => heldBytes)
    ),
    observeGauge(
      maxBufferBytes,
      context,
      budgets(({ totalBytes }) => totalBytes)
    )
  ]
}

const leave = (shared: Shared, engine: EngineView): void => {
  shared.engines.delete(engine)
  if (shared.engines.size > 0) return
  remove(shared.gauges)
  shared.gauges = []
}

const remove = (series: ReadonlyArray<Metric.Registration>): void => {
  for (const one of series) one.remove()
}

/** The metrics that a torrent has if they are shown by torrent. Counters begin again when its files went away. */
export const byTorrent = {
  downloadBytes: counter("piecewise_torrent_download_bytes_total", "As piecewise_download_bytes_total", bytes),
  uploadBytes: counter("piecewise_torrent_upload_bytes_total", "As piecewise_upload_bytes_total", bytes),
  wastedBytes: counter("piecewise_torrent_wasted_bytes_total", "As piecewise_wasted_bytes_total", bytes),
  rejectedPieces: counter("piecewise_torrent_pieces_rejected_total", "As piecewise_pieces_rejected_total"),
  connectedPeers: gauge("piecewise_torrent_peers_connected", "As piecewise_peers_connected"),
  missingBytes: gauge("piecewise_torrent_missing_bytes", "As piecewise_missing_bytes", bytes)
} as const

const observeTorrent = (
  { lasting, parts }: TorrentProgram,
  context: Context.Context<never>
): ReadonlyArray<Metric.Registration> => {
  const label = { info_hash: InfoHash.toHex(lasting.options.metainfo.infoHash) }
  const of = (read: (parts: TorrentParts) => number) => () => {
    const now = parts()
    return now === undefined ? 0 : read(now)
  }
  const counts = (metric: Metric.Counter<number>, get: () => number) =>
    observeCounter(Metric.withAttributes(metric, label), context, get)
  const shows = (metric: Metric.Gauge<number>, get: () => number) =>
    observeGauge(Metric.withAttributes(metric, label), context, get)
  return [
    counts(
      byTorrent.downloadBytes,
      of(({ assembly }) => assembly.downloadedBytes)
    ),
    counts(
      byTorrent.uploadBytes,
      of(({ upload }) => upload.uploadedBytes)
    ),
    counts(
      byTorrent.wastedBytes,
      of(({ assembly }) => assembly.wastedBytes)
    ),
    counts(byTorrent.rejectedPieces, () => lasting.life.rejectedPieces),
    shows(byTorrent.connectedPeers, of(counted(({ connected }) => connected))),
    shows(
      byTorrent.missingBytes,
      of(({ assembly }) => PieceTable.missingBytes(assembly.table))
    )
  ]
}
