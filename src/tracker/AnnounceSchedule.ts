/**
 * When to announce, to whom, and with which event (BEP 3, BEP 12, BEP 31). A pure machine: time and randomness come in.
 *
 * An announce is a round over the tiers: trackers are asked in order until one answers. Then the answer's interval
 * passes. If none answers, the wait doubles from round to round. Each tracker is told `started` first, `completed` once
 * if the torrent became complete since, and `stopped` at the end if it was told anything.
 *
 * Times are milliseconds of the caller's clock. The state is mutable and has one owner: `TrackerSource.ts`.
 */
import type { AnnounceEvent, AnnounceResponse, RetryAfter } from "./Tracker.ts"
import * as TrackerTiers from "./TrackerTiers.ts"

/** Wait after the first round in which no tracker answered; it doubles with every further one. */
export const firstBackoffSeconds = 15

/** The longest wait after failed rounds, as long as the usual interval: half an hour without peers is enough. */
export const maxBackoffSeconds = 1800

/** Waits are stretched by up to this share at random, so that clients that began together do not stay together. */
export const jitterShare = 0.1

/** How often a swarm that may be asked early is asked whether it wants more peers. */
const wantCheckMillis = 30_000

interface TrackerState {
  /** Whether it answered a `started`, so that `stopped` must follow. */
  started: boolean
  /** Whether it needs no `completed`: it was told, or the torrent was complete from the start. */
  settled: boolean
  trackerId: Uint8Array | undefined
  /** Not asked before this time; `Infinity` for never. */
  allowedAt: number
}

/** The state of one torrent's announcing. */
export interface AnnounceSchedule {
  readonly random: () => number
  readonly trackers: ReadonlyMap<string, TrackerState>
  tiers: TrackerTiers.TrackerTiers
  /** Trackers asked in this round; `undefined` between rounds. */
  asked: Set<string> | undefined
  /** When the next round begins, and when it may begin if peers are wanted. */
  dueAt: number
  earliestAt: number
  failedRounds: number
  isComplete: boolean
  /** The tracker whose answer ended the last round. */
  current: string | undefined
  /** The tracker that is being asked: it may have heard of us even if its answer is never read. */
  inFlight: string | undefined
}

/** What to do now. */
export type Step =
  | {
      readonly _tag: "Announce"
      readonly url: string
      readonly event: AnnounceEvent | undefined
      readonly trackerId: Uint8Array | undefined
    }
  /** Nothing before `until`, unless the torrent completes. */
  | { readonly _tag: "Wait"; readonly until: number }
  /** Nothing any more: every tracker is out for good. */
  | { readonly _tag: "Rest" }

/** A schedule that is due at once. `isComplete`: the torrent is complete already, so `completed` is not announced. */
export const make = (options: {
  readonly tiers: ReadonlyArray<ReadonlyArray<string>>
  readonly random: () => number
  readonly isComplete: boolean
}): AnnounceSchedule => {
  const tiers = TrackerTiers.make(options.tiers, options.random)
  return {
    random: options.random,
    tiers,
    trackers: new Map(
      TrackerTiers.order(tiers).map((url) => [
        url,
        { started: false, settled: options.isComplete, trackerId: undefined, allowedAt: 0 }
      ])
    ),
    asked: undefined,
    dueAt: 0,
    earliestAt: 0,
    failedRounds: 0,
    isComplete: options.isComplete,
    current: undefined,
    inFlight: undefined
  }
}

/** What to do at `now`. After an `Announce`, `answered` or `failed` must follow before this is asked again. */
export const next = (self: AnnounceSchedule, now: number, wantsMore: boolean): Step => {
  if (self.asked === undefined) {
    const begin = wantsMore ? self.earliestAt : self.dueAt
    if (now < begin) {
      return { _tag: "Wait", until: Math.min(self.dueAt, Math.max(self.earliestAt, now + wantCheckMillis)) }
    }
    self.asked = new Set()
  }
  for (const url of TrackerTiers.order(self.tiers)) {
    const tracker = self.trackers.get(url)!
    if (self.asked.has(url) || tracker.allowedAt > now) continue
    self.asked.add(url)
    self.inFlight = url
    return { _tag: "Announce", url, event: eventFor(self, tracker), trackerId: tracker.trackerId }
  }
  return endFailedRound(self, now)
}

const eventFor = (self: AnnounceSchedule, tracker: TrackerState): AnnounceEvent | undefined => {
  if (!tracker.started) return "started"
  return self.isComplete && !tracker.settled ? "completed" : undefined
}

const jittered = (self: AnnounceSchedule, seconds: number): number =>
  Math.round(seconds * 1000 * (1 + jitterShare * self.random()))

const endFailedRound = (self: AnnounceSchedule, now: number): Step => {
  self.asked = undefined
  self.failedRounds++
  const allowedAt = Math.min(...Array.from(self.trackers.values(), (tracker) => tracker.allowedAt))
  if (allowedAt === Number.POSITIVE_INFINITY) return { _tag: "Rest" }
  const backoff = Math.min(firstBackoffSeconds * 2 ** (self.failedRounds - 1), maxBackoffSeconds)
  self.dueAt = Math.max(now + jittered(self, backoff), allowedAt)
  self.earliestAt = self.dueAt
  return { _tag: "Wait", until: self.dueAt }
}

/** Takes the answer to an announce. The round ends, and the tracker that answered comes first in its tier. */
export const answered = (
  self: AnnounceSchedule,
  announce: Extract<Step, { _tag: "Announce" }>,
  response: Pick<AnnounceResponse, "intervalSeconds" | "minIntervalSeconds" | "trackerId">,
  now: number
): void => {
  const tracker = self.trackers.get(announce.url)!
  tracker.started = true
  if (announce.event === "completed") tracker.settled = true
  // An answer without a tracker id leaves the old one in force.
  tracker.trackerId = response.trackerId ?? tracker.trackerId
  self.tiers = TrackerTiers.promote(self.tiers, announce.url)
  self.current = announce.url
  self.asked = undefined
  self.inFlight = undefined
  self.failedRounds = 0
  self.dueAt = now + jittered(self, response.intervalSeconds)
  self.earliestAt = response.minIntervalSeconds === undefined ? self.dueAt : now + response.minIntervalSeconds * 1000
  // It completed while `started` was on its way.
  if (eventFor(self, tracker) === "completed") self.dueAt = self.earliestAt = now
}

/** Takes a failed announce: the round goes on with the next tracker. */
export const failed = (
  self: AnnounceSchedule,
  announce: Extract<Step, { _tag: "Announce" }>,
  retryAfter: RetryAfter | undefined,
  now: number
): void => {
  self.inFlight = undefined
  if (retryAfter === undefined) return
  self.trackers.get(announce.url)!.allowedAt =
    retryAfter === "never" ? Number.POSITIVE_INFINITY : now + retryAfter * 1000
}

/**
 * The torrent became complete: the tracker that answered last is told at once. While no tracker answers, the backoff
 * stands and the event goes out with the next announce that gets through.
 */
export const completed = (self: AnnounceSchedule, now: number): void => {
  if (self.isComplete) return
  self.isComplete = true
  if (self.asked !== undefined || self.failedRounds > 0) return
  const current = self.current === undefined ? undefined : self.trackers.get(self.current)
  if (current !== undefined && eventFor(self, current) === "completed") self.dueAt = self.earliestAt = now
}

/** The trackers to be told `stopped`, each with its tracker id: those that know of us, or may. */
export const informed = (
  self: AnnounceSchedule
): ReadonlyArray<{ readonly url: string; readonly trackerId: Uint8Array | undefined }> =>
  Array.from(self.trackers)
    .filter(([url, tracker]) => tracker.started || url === self.inFlight)
    .map(([url, { trackerId }]) => ({ url, trackerId }))
