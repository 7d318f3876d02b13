/**
 * Peers from a torrent's trackers: announces while its stream runs, and says goodbye when the stream ends. A private torrent
 * is announced to one tracker at a time: a tracker is only asked when those before it have failed (BEP 27).
 *
 * The shell of `AnnounceSchedule.ts`: it sleeps, asks through `Tracker` and tells what came of it. Every announce has a
 * fiber of its own, as several may be under way. One is begun when the consumer asks for the next event, so a consumer
 * that does not keep up slows it, and no more waits than an answer of each tracker.
 */
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
import * as Monotonic from "../../base/Monotonic.ts"
import * as ListeningPort from "../../network/ListeningPort.ts"
import type { PeerSource, PeerSourceContext, PeerSourceEvent } from "../PeerSource.ts"
import { PeerSources } from "../PeerSources.ts"
import * as AnnounceSchedule from "./AnnounceSchedule.ts"
import type { AnnounceEvent, AnnounceResponse, TrackerError } from "./Tracker.ts"
import { Tracker } from "./Tracker.ts"

/** How torrents are announced. */
export interface TrackerSourceOptions {
  /** Addresses to ask for, default `defaultNumWant`. Most trackers give 50 whatever is asked. */
  readonly numWant?: number | undefined
}

/** Enough to fill the usual number of connections with one answer, although half the addresses are stale. */
export const defaultNumWant = 100

/**
 * The port announced by a client that does not listen. Trackers refuse 0, and several refuse 6881 to 6889; nothing
 * listens on port 1 anywhere, so a peer that tries it fails at once and reaches no other service of this host.
 */
export const notListeningPort = 1

/**
 * How long `stopped` may hold up the end of a torrent. A tracker that misses it forgets us after an interval or two.
 */
export const stopTimeout: Duration.Input = "2 seconds"

/**
 * A source that announces to the trackers of a torrent. Its stream never ends or fails by itself, unless the torrent names
 * no tracker: then it is empty. Each run of `peers` announces on its own, from `started` to `stopped`.
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

/** `PeerSources` that are the trackers of each torrent. */
export const layer: Layer.Layer<PeerSources, never, Tracker> = Layer.effect(
  PeerSources,
  Effect.map(make(), (source) => [source])
)

/** Runs all streams at once. Unlike those of `Stream.mergeAll`, they are also interrupted at once. */
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
      /** A defect of the tracker's layer ends the stream, as it would if nothing ran beside it. */
      readonly answer: Exit.Exit<Result.Result<AnnounceResponse, TrackerError>>
    }

const start = Effect.fnUntraced(function* (
  options: TrackerSourceOptions,
  context: PeerSourceContext,
  tracker: Tracker["Service"]
) {
  const scope = yield* Effect.scope
  const random = yield* Random.Random
  // A tracker is asked one thing at a time, and the torrent completes once: only changes of the port may have to wait.
  const facts = yield* Queue.bounded<Fact>(context.trackers.flat().length + 1)
  yield* context.completed.pipe(
    Effect.andThen(Queue.offer(facts, { _tag: "Completed" })),
    Effect.forkScoped({ startImmediately: true })
  )
  // Lets a torrent that is complete already say so.
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
    tracker.announce(url, {
      ...context.facts(),
      infoHash: context.infoHash,
      peerId: context.peerId,
      port,
      event,
      numWant: event === "stopped" ? 0 : (options.numWant ?? defaultNumWant),
      key,
      trackerId
    })

  // A finalizer is not interruptible, but a timeout runs what it bounds in a fiber of its own, which is.
  yield* Effect.addFinalizer(() =>
    Effect.forEach(
      AnnounceSchedule.informed(schedule),
      ({ trackerId, url }) => Effect.ignore(announce(url, "stopped", { port: schedule.port, trackerId })),
      { concurrency: "unbounded", discard: true }
    ).pipe(Effect.timeoutOption(stopTimeout))
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
          return take(schedule, fact.announce, yield* fact.answer, now)
        case "Completed":
          AnnounceSchedule.completed(schedule, now)
          break
        case "PortChanged":
          AnnounceSchedule.portChanged(schedule, portOf(context))
      }
      const step = AnnounceSchedule.next(schedule, now, context.wantsMore?.() ?? false)
      if (step._tag === "Announce") yield* begin(step)
      // What is only looked at cannot be lost when time runs out at the same moment.
      else yield* Effect.timeoutOption(Queue.peek(facts), step.until - now)
    }
  })
  return Stream.fromEffectRepeat(nextEvent)
})

/** The port to announce now. */
const portOf = ({ port }: PeerSourceContext): number => ListeningPort.current(port) || notListeningPort

/** Notes what came of an announce, and says what there is to tell. */
const take = (
  schedule: AnnounceSchedule.AnnounceSchedule,
  step: AnnounceSchedule.Announce,
  answer: Result.Result<AnnounceResponse, TrackerError>,
  now: number
): PeerSourceEvent => {
  if (Result.isFailure(answer)) {
    const { retryAfter, why } = answer.failure
    AnnounceSchedule.failed(schedule, step, retryAfter, now)
    return { _tag: "Failed", source: step.url, why }
  }
  AnnounceSchedule.answered(schedule, step, answer.success, now)
  const { externalHost, leechers, peers, seeders, warning } = answer.success
  return { _tag: "Peers", source: step.url, addresses: peers, seeders, leechers, warning, externalHost }
}
