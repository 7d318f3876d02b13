/**
 * When to announce, to whom, and with which event (BEP 3, BEP 12, BEP 31). A pure machine: time and randomness come in.
 *
 * An announce is a round over the tiers: trackers are asked in order until one answers. The next has its turn when the
 * one before it has failed, or has been silent for `patienceMillis`: that one may still answer then, and several are in
 * flight. So a dead tracker holds up those behind it by its patience and not by its timeout. The first answer ends the
 * round, and its interval passes. If none answers, the wait doubles from round to round.
 *
 * What is in flight when a round ends is not given up: it tells whether a silent tracker is dead, and one that is only
 * slow need not be told `started` again. A late answer changes nothing for the other trackers.
 *
 * Each tracker is told `started` first, `completed` once if the torrent became complete since, and `stopped` at the end
 * if it was told anything. It is asked one thing at a time, and but for `completed` not before its interval has passed.
 *
 * If our port changes, the next round begins as soon as the interval of the tracker that answered last allows it.
 *
 * Times are milliseconds of the caller's clock. The state is mutable and has one owner: `TrackerSource.ts`.
 */
import type { AnnounceEvent, AnnounceResponse, RetryAfter } from "./Tracker.ts"
import * as TrackerTiers from "./TrackerTiers.ts"

/** Wait after the first round in which no tracker answered; it doubles with every further one. */
export const firstBackoffSeconds = 15

/** The longest wait after failed rounds, as long as the usual interval: half an hour without peers is enough. */
export const maxBackoffSeconds = 1800

/**
 * The longest that a tracker is believed which wants to be left alone, be it for ever (BEP 31): what it does not know today
 * it may know tomorrow, and one question a day is no burden.
 */
export const maxRefusalSeconds = 86_400

/** Waits are stretched by up to this share at random, so that clients that began together do not stay together. */
export const jitterShare = 0.1

/**
 * How long a tracker may be silent before the next one is asked too. Most answer in a fraction of a second; this is
 * enough for distant ones whose first packet is lost, as TCP sends it again after a second (RFC 6298). Shorter tells more
 * trackers of us than BEP 12 means to; longer keeps a torrent without peers that much longer for every dead one.
 */
export const patienceMillis = 3_000

/** How often a swarm that may be asked early is asked whether it wants more peers. */
const wantCheckMillis = 30_000

interface TrackerState {
  /** Whether it answered a `started`, so that `stopped` must follow. */
  started: boolean
  /** Whether it needs no `completed`: it was told, or the torrent was complete from the start. */
  settled: boolean
  trackerId: Uint8Array | undefined
  /** The port that was announced last. */
  port: number | undefined
  /** Not asked before this time, be it for its answer or for its refusal. */
  allowedAt: number
}

/** The state of one torrent's announcing. */
export interface AnnounceSchedule {
  readonly random: () => number
  /** `Infinity` where the next tracker has its turn only when the one before it has failed. */
  readonly patienceMillis: number
  readonly trackers: ReadonlyMap<string, TrackerState>
  /** The trackers that are being asked, maybe since an earlier round: they may know of us before they answer. */
  readonly inFlight: Set<string>
  tiers: TrackerTiers.TrackerTiers
  /** Trackers asked in this round; `undefined` between rounds. */
  asked: Set<string> | undefined
  /** The tracker that was asked last, and when the next one has its turn even if that one is silent. */
  latest: string | undefined
  nextTurnAt: number
  /** When the next round begins, and when it may begin if peers are wanted. */
  dueAt: number
  earliestAt: number
  failedRounds: number
  isComplete: boolean
  /** The port to announce. */
  port: number
  /** The tracker whose answer ended the last round. */
  current: string | undefined
}

/** What to do now. */
export type Step =
  | {
      readonly _tag: "Announce"
      readonly url: string
      readonly event: AnnounceEvent | undefined
      readonly trackerId: Uint8Array | undefined
      readonly port: number
    }
  /**
   * Nothing before `until`, unless a tracker answers or fails, or the torrent completes. `Infinity` where only that can
   * change anything.
   */
  | { readonly _tag: "Wait"; readonly until: number }

/** An announce to be made. */
export type Announce = Extract<Step, { _tag: "Announce" }>

/**
 * A schedule that is due at once. `isComplete`: the torrent is complete already, so `completed` is not announced.
 * `oneAtATime`: a tracker is only asked when those before it have failed, as BEP 27 wants it of private torrents.
 */
export const make = (options: {
  readonly tiers: ReadonlyArray<ReadonlyArray<string>>
  readonly random: () => number
  readonly isComplete: boolean
  readonly port: number
  readonly oneAtATime?: boolean | undefined
}): AnnounceSchedule => {
  const tiers = TrackerTiers.make(options.tiers, options.random)
  return {
    random: options.random,
    patienceMillis: options.oneAtATime === true ? Number.POSITIVE_INFINITY : patienceMillis,
    inFlight: new Set(),
    tiers,
    trackers: new Map(
      TrackerTiers.order(tiers).map((url) => [
        url,
        { started: false, settled: options.isComplete, trackerId: undefined, port: undefined, allowedAt: 0 }
      ])
    ),
    asked: undefined,
    latest: undefined,
    nextTurnAt: 0,
    dueAt: 0,
    earliestAt: 0,
    failedRounds: 0,
    isComplete: options.isComplete,
    port: options.port,
    current: undefined
  }
}

/** What to do at `now`. For each `Announce`, `answered` or `failed` must follow some time. */
export const next = (self: AnnounceSchedule, now: number, wantsMore: boolean): Step => {
  if (self.asked === undefined) {
    const dueAt = Math.min(self.dueAt, portDueAt(self))
    if (now < (wantsMore ? Math.min(self.earliestAt, dueAt) : dueAt)) {
      return { _tag: "Wait", until: Math.min(dueAt, Math.max(self.earliestAt, now + wantCheckMillis)) }
    }
    self.asked = new Set(self.inFlight)
    self.nextTurnAt = now
  }
  if (now < self.nextTurnAt) return { _tag: "Wait", until: self.nextTurnAt }
  for (const url of TrackerTiers.order(self.tiers)) {
    const tracker = self.trackers.get(url)!
    if (self.asked.has(url) || tracker.allowedAt > now) continue
    self.asked.add(url)
    self.inFlight.add(url)
    self.latest = url
    self.nextTurnAt = now + self.patienceMillis
    tracker.port = self.port
    return { _tag: "Announce", url, event: eventFor(self, tracker), trackerId: tracker.trackerId, port: self.port }
  }
  return self.inFlight.size > 0 ? { _tag: "Wait", until: Number.POSITIVE_INFINITY } : endFailedRound(self, now)
}

/** When the current tracker may be told of another port than it knows; `Infinity` if it knows the port, or fails. */
const portDueAt = (self: AnnounceSchedule): number => {
  const current = self.current === undefined || self.failedRounds > 0 ? undefined : self.trackers.get(self.current)
  return current === undefined || current.port === self.port ? Number.POSITIVE_INFINITY : current.allowedAt
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
  const backoff = Math.min(firstBackoffSeconds * 2 ** (self.failedRounds - 1), maxBackoffSeconds)
  self.dueAt = Math.max(now + jittered(self, backoff), allowedAt)
  self.earliestAt = self.dueAt
  return { _tag: "Wait", until: self.dueAt }
}

/**
 * Takes the answer to an announce. It ends the round, and the tracker comes first in its tier; between rounds it is late,
 * and counts for this tracker alone.
 */
export const answered = (
  self: AnnounceSchedule,
  announce: Announce,
  response: Pick<AnnounceResponse, "intervalSeconds" | "minIntervalSeconds" | "trackerId">,
  now: number
): void => {
  const { intervalSeconds, minIntervalSeconds } = response
  const tracker = self.trackers.get(announce.url)!
  self.inFlight.delete(announce.url)
  tracker.started = true
  if (announce.event === "completed") tracker.settled = true
  // An answer without a tracker id leaves the old one in force.
  tracker.trackerId = response.trackerId ?? tracker.trackerId
  tracker.allowedAt = now + (minIntervalSeconds ?? intervalSeconds) * 1000
  if (self.asked === undefined) return
  self.tiers = TrackerTiers.promote(self.tiers, announce.url)
  self.current = announce.url
  self.asked = undefined
  self.failedRounds = 0
  self.dueAt = now + jittered(self, intervalSeconds)
  self.earliestAt = minIntervalSeconds === undefined ? self.dueAt : tracker.allowedAt
  // It may have completed while `started` was on its way.
  tellCompleted(self, tracker, now)
}

/** Begins a round now if this tracker, the current one, is to be told `completed`: that waits for no interval. */
const tellCompleted = (self: AnnounceSchedule, tracker: TrackerState, now: number): void => {
  if (eventFor(self, tracker) === "completed") self.dueAt = self.earliestAt = tracker.allowedAt = now
}

/** Takes a failed announce: the next tracker has its turn, if this was the one that was asked last. */
export const failed = (
  self: AnnounceSchedule,
  announce: Announce,
  retryAfter: RetryAfter | undefined,
  now: number
): void => {
  self.inFlight.delete(announce.url)
  if (announce.url === self.latest) self.nextTurnAt = now
  if (retryAfter === undefined) return
  const seconds = retryAfter === "never" ? maxRefusalSeconds : Math.min(maxRefusalSeconds, retryAfter)
  self.trackers.get(announce.url)!.allowedAt = now + seconds * 1000
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
  if (current !== undefined) tellCompleted(self, current, now)
}

/** Our port is another one from now on. */
export const portChanged = (self: AnnounceSchedule, port: number): void => {
  self.port = port
}

/** The trackers to be told `stopped`, each with its tracker id: those that know of us, or may. */
export const informed = (
  self: AnnounceSchedule
): ReadonlyArray<{ readonly url: string; readonly trackerId: Uint8Array | undefined }> =>
  Array.from(self.trackers)
    .filter(([url, tracker]) => tracker.started || self.inFlight.has(url))
    .map(([url, { trackerId }]) => ({ url, trackerId }))
