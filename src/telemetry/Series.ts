/**
 * The series of the metrics of engines: how each is read from the plain numbers of the engines and their torrents.
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
import type { TorrentRecord } from "../torrent/TorrentRecord.ts"
import type { TorrentState } from "../torrent/TorrentStatus.ts"
import * as EngineMetrics from "./EngineMetrics.ts"

/** The counters of a tally, and how each is computed from it and from the torrents that run. */
const counters: ReadonlyArray<readonly [Metric.Counter<number>, (shared: Shared) => number]> = [
  [
    EngineMetrics.downloadBytes,
    ({ engines, tally }) => tally.ended.downloadedBytes + sum(engines, ({ assembly }) => assembly.downloadedBytes)
  ],
  [
    EngineMetrics.wastedBytes,
    ({ engines, tally }) => tally.ended.wastedBytes + sum(engines, ({ assembly }) => assembly.wastedBytes)
  ],
  [
    EngineMetrics.uploadBytes,
    ({ engines, tally }) => tally.ended.uploadedBytes + sum(engines, ({ upload }) => upload.uploadedBytes)
  ],
  [EngineMetrics.storedPieces, ({ tally }) => tally.storedPieces],
  [EngineMetrics.rejectedPieces, ({ tally }) => tally.rejectedPieces],
  [EngineMetrics.failedWrites, ({ tally }) => tally.failedWrites],
  [EngineMetrics.sourceAnswers, ({ tally }) => tally.sourceAnswers],
  [EngineMetrics.sourceFailures, ({ tally }) => tally.sourceFailures]
]

const histograms: ReadonlyArray<
  readonly [Metric.Histogram<number>, "requestSeconds" | "verifySeconds" | "writeSeconds"]
> = [
  [EngineMetrics.requestSeconds, "requestSeconds"],
  [EngineMetrics.verifySeconds, "verifySeconds"],
  [EngineMetrics.writeSeconds, "writeSeconds"]
]

const counted = (count: (counts: PieceSwarm.Counts) => number) => (parts: TorrentParts) =>
  count(PieceSwarm.counts(parts.swarm))

/** Gauges that are the sum of what the torrents that run have. */
const sums: ReadonlyArray<readonly [Metric.Gauge<number>, (parts: TorrentParts) => number]> = [
  [EngineMetrics.connectedPeers, counted(({ connected }) => connected)],
  [EngineMetrics.diallingPeers, counted(({ dialling }) => dialling)],
  [EngineMetrics.unchokedPeers, counted(({ unchoked }) => unchoked)],
  [EngineMetrics.interestedPeers, counted(({ interested }) => interested)],
  [EngineMetrics.interestingPeers, ({ swarm }) => PieceSwarm.prospects(swarm).interesting],
  [EngineMetrics.unchokingPeers, ({ swarm }) => PieceSwarm.prospects(swarm).unchoking],
  [EngineMetrics.knownPeers, counted(({ known }) => known)],
  [EngineMetrics.bannedPeers, counted(({ banned }) => banned)],
  [EngineMetrics.missingBytes, ({ assembly, files }) => PieceTable.missingBytes(assembly.table, files.suspects)],
  [EngineMetrics.lentBufferBytes, ({ assembly: { pool } }) => BufferPool.lentCount(pool) * pool.account.bufferBytes]
]

/** What is read from an engine. */
export interface EngineView {
  readonly torrents: () => Iterable<TorrentRecord>
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
      const parts = torrent.run ?? torrent.ending
      if (parts !== undefined) total += of(parts)
    }
  }
  return total
}

const count = (engines: Iterable<EngineView>, state: TorrentState["_tag"]): number => {
  let total = 0
  for (const { torrents } of engines) {
    for (const torrent of torrents()) {
      if (TorrentMachine.stateOf(torrent.life.machine)._tag === state) total++
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

/** By registry and attributes: engines know nothing of each other. A registry that is gone takes its metrics with it. */
const everything = new WeakMap<object, Map<string, Shared>>()

/** The series of one engine. */
export interface Series {
  /** What the engine counts into. */
  readonly tally: Tally.Tally
  /** Shows the gauges until the scope closes. To be called while the engine has torrents. */
  readonly gauges: (engine: EngineView) => Effect.Effect<void, never, Scope.Scope>
  /** Shows metrics of a torrent alone, with its info hash as a label, until the scope closes. */
  readonly ofTorrent: (torrent: TorrentRecord) => Effect.Effect<void, never, Scope.Scope>
}

/** Makes the series of an engine, in the registry of the context. */
export const make: Effect.Effect<Series> = Effect.gen(function* () {
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
  const self: Series = {
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
    ...(Object.keys(EngineMetrics.stateNames) as ReadonlyArray<TorrentState["_tag"]>).map((state) =>
      observeGauge(EngineMetrics.torrents(state), context, () => count(engines, state))
    ),
    ...sums.map(([metric, of]) => observeGauge(metric, context, () => sum(engines, of))),
    observeGauge(
      EngineMetrics.heldBufferBytes,
      context,
      budgets(({ heldBytes }) => heldBytes)
    ),
    observeGauge(
      EngineMetrics.maxBufferBytes,
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

/** Has the metrics of a torrent alone read from now on. */
const observeTorrent = (
  torrent: TorrentRecord,
  context: Context.Context<never>
): ReadonlyArray<Metric.Registration> => {
  const label = { info_hash: InfoHash.toHex(torrent.options.infoHash) }
  const of = (read: (parts: TorrentParts) => number) => () => {
    const now = torrent.run ?? torrent.ending
    return now === undefined ? 0 : read(now)
  }
  const counts = (metric: Metric.Counter<number>, get: () => number) =>
    observeCounter(Metric.withAttributes(metric, label), context, get)
  const shows = (metric: Metric.Gauge<number>, get: () => number) =>
    observeGauge(Metric.withAttributes(metric, label), context, get)
  return [
    counts(
      EngineMetrics.byTorrent.downloadBytes,
      of(({ assembly }) => assembly.downloadedBytes)
    ),
    counts(
      EngineMetrics.byTorrent.uploadBytes,
      of(({ upload }) => upload.uploadedBytes)
    ),
    counts(
      EngineMetrics.byTorrent.wastedBytes,
      of(({ assembly }) => assembly.wastedBytes)
    ),
    counts(EngineMetrics.byTorrent.rejectedPieces, () => torrent.life.rejectedPieces),
    shows(EngineMetrics.byTorrent.connectedPeers, of(counted(({ connected }) => connected))),
    shows(
      EngineMetrics.byTorrent.missingBytes,
      of(({ assembly, files }) => PieceTable.missingBytes(assembly.table, files.suspects))
    )
  ]
}
