/**
 * What an engine reports to the operators of a program: metrics (`EngineMetrics.ts`, `Series.ts`), a span for the life of each
 * torrent, and logs (`TorrentLog.ts`). They go wherever the program's layers send them. docs/telemetry.md lists them.
 *
 * Engines have thousands of torrents that rest, so a torrent takes little here until something happens.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import * as InfoHash from "../base/InfoHash.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { Tally } from "../base/Tally.ts"
import type { FileLayout } from "../metainfo/FileLayout.ts"
import * as EventLog from "../torrent/EventLog.ts"
import type { TorrentRecord } from "../torrent/TorrentRecord.ts"
import * as LogQueue from "./LogQueue.ts"
import * as Series from "./Series.ts"
import * as TorrentLog from "./TorrentLog.ts"

/** What an engine reports. */
export interface TelemetryOptions {
  /** Whether it has metrics; default true. They cost nothing measurable, and are read only when somebody asks. */
  readonly metrics?: boolean | undefined
  /**
   * Whether each torrent has metrics of its own, with its info hash as the label `info_hash`; default false. Each
   * torrent adds six series to what is exported.
   */
  readonly byTorrent?: boolean | undefined
  /** Whether the torrents' events are logged; default true. The program's `MinimumLogLevel` decides which. */
  readonly logs?: boolean | undefined
  /** Whether the digest and the write of each piece have spans of their own; default false. */
  readonly pieces?: boolean | undefined
}

/** The telemetry of one engine. */
export interface Telemetry {
  readonly options: TelemetryOptions
  /** Absent if there are no metrics. */
  readonly metrics: Series.Series | undefined
  /** What the torrents count into; absent: they count nothing. */
  readonly tally: Tally | undefined
  readonly queue: LogQueue.LogQueue
}

/** What is known of a torrent when it is added: its metainfo, or a magnet link, which need not say its name. */
export interface About {
  readonly infoHash: InfoHash.InfoHash
  readonly name?: string | undefined
  readonly layout?: FileLayout | undefined
}

const nameOf = ({ infoHash, name }: About): string => name ?? InfoHash.toHex(infoHash)

/** Makes the telemetry of an engine, with metrics in the registry of the context. */
export const make = (options: TelemetryOptions = {}): Effect.Effect<Telemetry> => {
  const queue = LogQueue.make()
  return options.metrics === false
    ? Effect.succeed({ options, metrics: undefined, tally: undefined, queue })
    : Effect.map(Series.make, (metrics) => ({ options, metrics, tally: metrics.tally, queue }))
}

/** Logs, and shows the gauges of an engine, until the scope closes. To be called while it has torrents. */
export const run = (
  { metrics, queue }: Telemetry,
  engine: Series.EngineView
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.andThen(LogQueue.run(queue), metrics?.gauges(engine) ?? Effect.void)

/** Names the torrent in whatever is logged while it is added, and by its fibers. */
export const annotate = <A, E, R>(adding: Effect.Effect<A, E, R>, about: About): Effect.Effect<A, E, R> =>
  Effect.annotateLogs(adding, { infoHash: InfoHash.toHex(about.infoHash), torrent: nameOf(about) })

/**
 * Makes a torrent, and reports on it until the scope closes: in a span that begins now and is a child of the caller's,
 * with logs, and with its own metrics if these are wanted.
 */
export const torrent = Effect.fnUntraced(function* <R>(
  self: Telemetry,
  about: About,
  make: Effect.Effect<TorrentRecord, never, R>
): Effect.fn.Return<TorrentRecord, never, R | Scope.Scope> {
  const { metrics, options, queue } = self
  let program: TorrentRecord | undefined
  const span = yield* lifetime(about, () => program && failureOf(program))
  const reported = Effect.gen(function* () {
    const isLogged = options.logs !== false && (yield* Logger.CurrentLoggers).size > 0
    if (isLogged) {
      yield* Effect.addFinalizer(() => Effect.andThen(LogQueue.flush(queue), Effect.logInfo(TorrentLog.removed)))
      yield* Effect.logInfo(TorrentLog.added)
    }
    program = yield* make
    if (isLogged) yield* log(queue, program)
    return program
  })
  const made = yield* span === undefined ? reported : Effect.withParentSpan(reported, span)
  if (options.byTorrent === true && metrics !== undefined) yield* metrics.ofTorrent(made)
  return made
})

/** Gives the fetch of a magnet link's metadata a span, which is a child of the caller's, and names it in logs. */
export const metadata = <A, E, R>(
  fetch: Effect.Effect<A, E, R>,
  { infoHash }: { readonly infoHash: InfoHash.InfoHash | undefined }
): Effect.Effect<A, E, R> => {
  const hex = infoHash === undefined ? "unknown" : InfoHash.toHex(infoHash)
  const named = Effect.annotateLogs(fetch, { infoHash: hex })
  return Effect.withSpan(named, "piecewise.metadata", {
    attributes: { "piecewise.info_hash": hex },
    captureStackTrace: false
  })
}

const failureOf = ({ life }: TorrentRecord): Cause.Cause<unknown> | undefined => {
  const { error } = life.machine
  if (error === undefined) return undefined
  return error._tag === "piecewise/TorrentDefect" ? Cause.die(error.cause) : Cause.fail(error)
}

/** The tracer of a program that has chosen none: nobody sees its spans. */
const noTracer = Context.get(Context.empty(), Tracer.Tracer)

/**
 * Opens the span of a torrent's life, which ends with the scope: with the failure of the torrent, if it failed. Returns
 * what stands for it as a parent, or for the caller's span if the program traces nothing; `undefined` if there is none.
 *
 * What runs in a torrent may log for months, and Effect adds logs to the span in which they are logged, so it must be
 * in none: only what stands for a span takes no logs.
 */
const lifetime = Effect.fnUntraced(function* (about: About, failure: () => Cause.Cause<unknown> | undefined) {
  if ((yield* Tracer.Tracer) === noTracer) {
    const caller = Context.getOrUndefined(yield* Effect.context<never>(), Tracer.ParentSpan)
    return caller && standIn(caller)
  }
  const scope = yield* Scope.make()
  yield* Effect.addFinalizer((exit) => {
    const cause = failure()
    return Scope.close(scope, cause === undefined ? exit : Exit.failCause(cause))
  })
  const span = yield* Effect.makeSpanScoped("piecewise.torrent", {
    attributes: {
      "piecewise.info_hash": InfoHash.toHex(about.infoHash),
      "piecewise.name": nameOf(about),
      ...(about.layout && {
        "piecewise.pieces": about.layout.geometry.pieceCount,
        "piecewise.bytes": about.layout.geometry.totalLength
      })
    }
  }).pipe(Scope.provide(scope))
  return standIn(span)
})

const standIn = (span: Tracer.AnySpan): Tracer.ExternalSpan => {
  if (span._tag === "ExternalSpan") return span
  const { annotations, sampled, spanId, traceId } = span
  return Tracer.externalSpan({ annotations, sampled, spanId, traceId })
}

/** Logs the events of a torrent from now on, with the loggers and the level of the context. */
const log = Effect.fnUntraced(function* (queue: LogQueue.LogQueue, { life }: TorrentRecord) {
  const context = yield* Effect.context<never>()
  const minimum = Context.get(context, References.MinimumLogLevel)
  const now = () => Monotonic.nowUnsafe(Context.get(context, Clock.Clock))
  let state: TorrentLog.TorrentLog | undefined
  EventLog.listen(life.log, (event) => {
    if (!TorrentLog.isOfInterest(event, minimum)) return
    state ??= TorrentLog.make()
    const entry = TorrentLog.read(state, event, minimum, now)
    if (entry !== undefined) LogQueue.add(queue, entry, context)
  })
})
