/**
 * Finds peers through a torrent's trackers: announces while its stream runs, and announces `stopped` when the stream
 * ends. The trackers of a private torrent are asked one at a time: each only after those before it have failed (BEP
 * 27).
 *
 * This is the shell of `AnnounceSchedule.ts`: it sleeps, asks through `Tracker`, and emits the results. Each announce
 * runs in its own fiber, because several may be in flight. An announce starts only when the consumer pulls the next
 * event. So a slow consumer slows the announces down, and at most one answer of each tracker waits for it.
 */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Environment from "../../base/Environment.ts"
import * as Monotonic from "../../base/Monotonic.ts"
import * as SourceUrl from "../../base/SourceUrl.ts"
import * as ListeningPort from "../../network/ListeningPort.ts"
import type { PeerSource, PeerSourceContext, PeerSourceEvent } from "../PeerSource.ts"
import { PeerSources } from "../PeerSources.ts"
import * as AnnounceSchedule from "./AnnounceSchedule.ts"
import * as AnnounceSpan from "./AnnounceSpan.ts"
import type { AnnounceEvent, AnnounceResponse, TrackerError } from "./Tracker.ts"
import { Tracker } from "./Tracker.ts"
import * as TrackerAnswer from "./TrackerAnswer.ts"

/** How torrents are announced. */
export interface TrackerSourceOptions {
  /** How many addresses to ask for; default `defaultNumWant`. Most trackers send 50 however many are asked for. */
  readonly numWant?: number | undefined
}

/** Enough to fill the usual number of connections from one response even if half the addresses are stale. */
export const defaultNumWant = 100

/**
 * The port that we announce if we do not listen. BEP 3 has no word for that, and trackers refuse 0. Port 1 is what
 * libtorrent announces then, and it leaves peers with that port out, as `TrackerAnswer.ts` does. Any other port might
 * be somebody's.
 */
export const notListeningPort = TrackerAnswer.notListeningPort

/**
 * How long `stopped` may delay the end of a torrent. A tracker that does not get it forgets us after an interval or
 * two. A process that is asked to end should do so within three seconds, and has more to do than this.
 */
export const stopTimeout: Duration.Input = "1500 millis"

/** The same for a tracker that has not answered a `started`: it may know of us, and it may never answer. */
export const silentStopTimeout: Duration.Input = "500 millis"

/**
 * Makes a source that announces to a torrent's trackers. Its stream never ends or fails by itself; if the torrent has
 * no trackers, the stream is empty. Each run of `peers` announces separately, from `started` to `stopped`.
 */
export const make = Effect.fnUntraced(function* (
  options: TrackerSourceOptions = {}
): Effect.fn.Return<PeerSource, never, Tracker> {
  const tracker = yield* Tracker
  const announcing = (context: PeerSourceContext) => Stream.unwrap(start(options, context, tracker))
  return {
    peers: (context) =>
      context.allTiers === true
        ? together(context.trackers.map((tier) => announcing({ ...context, trackers: [tier] })))
        : announcing(context)
  }
})

/** Provides `PeerSources` with one source: the trackers of each torrent. */
export const layer: Layer.Layer<PeerSources, never, Tracker> = Layer.effect(
  PeerSources,
  Effect.map(make(), (source) => [source])
)

/** Reads `PIECEWISE_TRACKER_PEERS` (docs/configuration.md). */
export const fromEnvironment = (): Config.Config<TrackerSourceOptions> =>
  Config.all({ numWant: Environment.optional(Environment.integer("PIECEWISE_TRACKER_PEERS", 1, 10_000)) })

/** The same with options as `config` says. Fails with `ConfigError` if a value is bad. */
export const layerConfig = (
  config: Config.Wrap<TrackerSourceOptions> = fromEnvironment()
): Layer.Layer<PeerSources, Config.ConfigError, Tracker> =>
  Layer.effect(
    PeerSources,
    Effect.map(Effect.flatMap(Config.unwrap<TrackerSourceOptions>(config), make), (source) => [source])
  )

/** Runs all streams at once. Unlike `Stream.mergeAll`, it also interrupts them all at once. */
const together = (streams: ReadonlyArray<Stream.Stream<PeerSourceEvent>>): Stream.Stream<PeerSourceEvent> =>
  Stream.callback<PeerSourceEvent>(
    (events) =>
      Effect.forEach(streams, (stream) => Stream.runForEach(stream, (event) => Queue.offer(events, event)), {
        concurrency: "unbounded",
        discard: true
      }).pipe(Effect.andThen(Queue.end(events))),
    { bufferSize: 1 }
  )

/** What the loop waits for. */
type Fact =
  | { readonly _tag: "Completed" }
  | { readonly _tag: "PortChanged" }
  | {
      readonly _tag: "Announced"
      readonly announce: AnnounceSchedule.Announce
      /** A defect of the tracker's layer ends the stream, as it would without this fiber. */
      readonly answer: Exit.Exit<Result.Result<AnnounceResponse, TrackerError>>
    }

const start = Effect.fnUntraced(function* (
  options: TrackerSourceOptions,
  context: PeerSourceContext,
  tracker: Tracker["Service"]
) {
  const scope = yield* Effect.scope
  const random = yield* Random.Random
  // Each tracker has one announce in flight and the torrent completes once, so only changes of the port may have to
  // wait.
  const facts = yield* Queue.bounded<Fact>(context.trackers.flat().length + 1)
  yield* context.completed.pipe(
    Effect.andThen(Queue.offer(facts, { _tag: "Completed" })),
    Effect.forkScoped({ startImmediately: true })
  )
  // Lets a torrent that is already complete offer that fact first.
  yield* Effect.yieldNow
  const schedule = AnnounceSchedule.make({
    tiers: context.trackers,
    random: () => random.nextDoubleUnsafe(),
    isComplete: Option.isSome(yield* Queue.poll(facts)),
    port: portOf(context),
    oneAtATime: context.isPrivate
  })
  if (schedule.trackers.size === 0) return Stream.empty
  const key = Math.floor(random.nextDoubleUnsafe() * 0x1_0000_0000)

  yield* SubscriptionRef.changes(context.port).pipe(
    Stream.runForEach(() => Queue.offer(facts, { _tag: "PortChanged" })),
    Effect.forkScoped
  )

  const announce = (
    url: string,
    event: AnnounceEvent | undefined,
    { port, trackerId }: Pick<AnnounceSchedule.Announce, "port" | "trackerId">
  ) =>
    AnnounceSpan.trace(
      url,
      {
        ...context.facts(),
        infoHash: context.infoHash,
        peerId: context.peerId,
        port,
        event,
        numWant: event === "stopped" ? 0 : (options.numWant ?? defaultNumWant),
        key,
        trackerId,
        encryption: context.encryption
      },
      tracker
    )

  // A finalizer is not interruptible, but `timeoutOption` runs the announces in their own fiber, which is.
  yield* Effect.addFinalizer(() =>
    Effect.forEach(
      AnnounceSchedule.informed(schedule),
      ({ hasAnswered, trackerId, url }) =>
        announce(url, "stopped", { port: schedule.port, trackerId }).pipe(
          Effect.ignore,
          Effect.timeoutOption(hasAnswered ? stopTimeout : silentStopTimeout)
        ),
      { concurrency: "unbounded", discard: true }
    )
  )

  const begin = (step: AnnounceSchedule.Announce) =>
    announce(step.url, step.event, step).pipe(
      Effect.result,
      Effect.exit,
      Effect.flatMap((answer) => Queue.offer(facts, { _tag: "Announced", announce: step, answer })),
      Effect.forkIn(scope, { startImmediately: true })
    )

  const nextEvent = Effect.gen(function* () {
    while (true) {
      const fact = Option.getOrUndefined(yield* Queue.poll(facts))
      const now = yield* Monotonic.now
      switch (fact?._tag) {
        case "Announced":
          return record(schedule, fact.announce, yield* fact.answer, now, context.isPrivate)
        case "Completed":
          AnnounceSchedule.completed(schedule, now)
          break
        case "PortChanged":
          AnnounceSchedule.portChanged(schedule, portOf(context))
      }
      const [wantsMore, hasFew] = [context.wantsMore?.() ?? false, context.hasFew?.() ?? false]
      const step = AnnounceSchedule.next(schedule, now, wantsMore, hasFew)
      if (step._tag === "Announce") yield* begin(step)
      // `peek` removes nothing, so no fact is lost if the time runs out at the same moment.
      else yield* Effect.timeoutOption(Queue.peek(facts), step.until - now)
    }
  })
  return Stream.fromEffectRepeat(nextEvent)
})

/** The port to announce now. */
const portOf = ({ port }: PeerSourceContext): number => ListeningPort.current(port) || notListeningPort

/** The host of a URL. */
const hostOf = (url: string): string | undefined => SourceUrl.placeOf(url)?.host

/** Records the result of an announce, and returns the event to emit. */
const record = (
  schedule: AnnounceSchedule.AnnounceSchedule,
  step: AnnounceSchedule.Announce,
  answer: Result.Result<AnnounceResponse, TrackerError>,
  now: number,
  isPrivate: boolean
): PeerSourceEvent => {
  if (Result.isFailure(answer)) {
    const { isFinal, retryAfter, why } = answer.failure
    AnnounceSchedule.failed(schedule, step, retryAfter, now)
    const hasRefused = isFinal === true || retryAfter === "never"
    return { _tag: "Failed", source: step.url, why, ...(hasRefused && { isFinal: true }) }
  }
  AnnounceSchedule.answered(schedule, step, answer.success, now)
  const {
    externalHost,
    from = hostOf(step.url),
    leechers,
    peers,
    preferringEncryption,
    seeders,
    warning
  } = answer.success
  const counts = { source: step.url, seeders, leechers, warning, externalHost, from }
  // A private torrent has the peers of one tracker (BEP 27).
  return isPrivate && schedule.lastAnswered !== step.url
    ? { _tag: "Peers", ...counts, addresses: [], isBeside: true }
    : { _tag: "Peers", ...counts, addresses: peers, ...(preferringEncryption && { preferringEncryption }) }
}
