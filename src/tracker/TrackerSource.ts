/**
 * Peers from a torrent's trackers: announces while its stream runs, and says goodbye when the stream ends.
 *
 * The shell of `AnnounceSchedule.ts`: it sleeps, asks through `Tracker` and tells what came of it. It starts no
 * fiber but the one that waits for the torrent to complete; an announce is made when the consumer asks for the next
 * event, so a consumer that does not keep up slows it and nothing is queued.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { PeerSource, PeerSourceContext, PeerSourceEvent } from "../discovery/PeerSource.ts"
import * as AnnounceSchedule from "./AnnounceSchedule.ts"
import type { AnnounceEvent } from "./Tracker.ts"
import { Tracker } from "./Tracker.ts"

/** How a torrent is announced. */
export interface TrackerSourceOptions {
  /** URLs in tiers (BEP 12), as the metainfo has them. Shuffled inside a tier; what is no tracker's URL is dropped. */
  readonly tiers: ReadonlyArray<ReadonlyArray<string>>
  /** 20 bytes. */
  readonly infoHash: Uint8Array
  /** 20 bytes; the same as in handshakes, so that a tracker can leave us out of what it tells us. */
  readonly peerId: Uint8Array
  /** The TCP port that takes peers' connections; `undefined` or 0 where nobody listens (`notListeningPort`). */
  readonly port?: number | undefined
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

/** How long `stopped` may hold up the end of a torrent. A tracker that misses it forgets us after an interval or two. */
export const stopTimeout: Duration.Input = "2 seconds"

/**
 * A source that announces to `tiers`. Its stream never ends or fails by itself, unless `tiers` name no tracker: then it
 * is empty. Each run of `peers` announces on its own, from `started` to `stopped`.
 */
export const make = Effect.fnUntraced(function* (
  options: TrackerSourceOptions
): Effect.fn.Return<PeerSource, never, Tracker> {
  const tracker = yield* Tracker
  return { peers: (context) => Stream.unwrap(start(options, context, tracker)) }
})

const start = Effect.fnUntraced(function* (
  options: TrackerSourceOptions,
  context: PeerSourceContext,
  tracker: Tracker["Service"]
) {
  const random = yield* Random.Random
  const completed = yield* Deferred.make<void>()
  yield* context.completed.pipe(
    Effect.andThen(Deferred.succeed(completed, undefined)),
    Effect.forkScoped({ startImmediately: true })
  )
  // Lets a torrent that is complete already say so.
  yield* Effect.yieldNow
  const schedule = AnnounceSchedule.make({
    tiers: options.tiers,
    random: () => random.nextDoubleUnsafe(),
    isComplete: Deferred.isDoneUnsafe(completed)
  })
  if (schedule.trackers.size === 0) return Stream.empty
  const key = Math.floor(random.nextDoubleUnsafe() * 0x1_0000_0000)

  const announce = (url: string, event: AnnounceEvent | undefined, trackerId: Uint8Array | undefined) =>
    tracker.announce(url, {
      ...context.facts(),
      infoHash: options.infoHash,
      peerId: options.peerId,
      port: options.port || notListeningPort,
      event,
      numWant: event === "stopped" ? 0 : (options.numWant ?? defaultNumWant),
      key,
      trackerId
    })

  // A finalizer is not interruptible, but a timeout runs what it bounds in a fiber of its own, which is.
  yield* Effect.addFinalizer(() =>
    Effect.forEach(
      AnnounceSchedule.informed(schedule),
      ({ trackerId, url }) => Effect.ignore(announce(url, "stopped", trackerId)),
      { concurrency: "unbounded", discard: true }
    ).pipe(Effect.timeoutOption(stopTimeout))
  )

  const sleep = (millis: number) =>
    schedule.isComplete ? Effect.sleep(millis) : Effect.timeoutOption(Deferred.await(completed), millis)

  const nextEvent = Effect.gen(function* () {
    while (true) {
      const now = yield* Clock.currentTimeMillis
      if (Deferred.isDoneUnsafe(completed)) AnnounceSchedule.completed(schedule, now)
      const step = AnnounceSchedule.next(schedule, now, context.wantsMore?.() ?? false)
      if (step._tag === "Rest") return yield* Effect.never
      if (step._tag === "Wait") {
        yield* sleep(step.until - now)
        continue
      }
      const answer = yield* Effect.result(announce(step.url, step.event, step.trackerId))
      const then = yield* Clock.currentTimeMillis
      if (Result.isFailure(answer)) {
        AnnounceSchedule.failed(schedule, step, answer.failure.retryAfter, then)
        return { _tag: "Failed", source: step.url, why: answer.failure.why } satisfies PeerSourceEvent
      }
      AnnounceSchedule.answered(schedule, step, answer.success, then)
      const { externalHost, leechers, peers, seeders, warning } = answer.success
      return {
        _tag: "Peers",
        source: step.url,
        addresses: peers,
        seeders,
        leechers,
        warning,
        externalHost
      } satisfies PeerSourceEvent
    }
  })
  return Stream.fromEffectRepeat(nextEvent)
})
