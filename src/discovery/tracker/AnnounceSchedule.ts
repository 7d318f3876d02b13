/**
 * When to announce, to which tracker, and with which event (BEP 3, BEP 12, BEP 31). A pure machine: the caller passes
 * in time and randomness.
 *
 * An announce is a round over the tiers: trackers are asked in order until one answers. The next tracker is asked when
 * the one before it has failed, or has been silent for `patienceMillis`. The silent one may still answer, so several
 * announces can be in flight. A dead tracker therefore delays those behind it by this patience, and not by its timeout.
 * The first answer ends the round, and the tracker's interval has to pass before the next. If no tracker answers, the
 * wait doubles from round to round.
 *
 * A tier that answers may know nobody, or only peers that cannot be reached. So while the torrent has few peers, the
 * tiers behind it are asked too, one after the other. The next one is asked `graceMillis` after an answer, or at once
 * if the answer was empty. Each of their trackers has its own interval, or its own wait after a failure.
 *
 * Announces that are in flight when a round ends are not cancelled. They show whether a silent tracker is dead, and a
 * tracker that is only slow does not need another `started`. A late answer changes nothing for the other trackers.
 *
 * Each tracker gets `started` first, `completed` once if the torrent has become complete since, and `stopped` at the
 * end if it got any announce. Only one announce to a tracker is in flight at a time, and only `completed` may be sent
 * before the tracker's interval has passed. The tracker that answered last gets it in a round. The other trackers that
 * know of us get theirs beside the rounds.
 *
 * If our port changes, the next round begins as soon as the interval of the tracker that answered last allows it.
 *
 * Times are milliseconds of the caller's clock. The state is mutable and has one owner: `TrackerSource.ts`.
 */
import type { AnnounceEvent, AnnounceResponse, RetryAfter } from "./Tracker.ts"
import * as TrackerTiers from "./TrackerTiers.ts"

/** The wait after the first round in which no tracker answered. Each further failed round doubles it. */
export const firstBackoffSeconds = 15

/** The longest wait after failed rounds: half an hour, the usual interval of trackers. */
export const maxBackoffSeconds = 1800

/**
 * The longest time that we leave a tracker alone that does not want to be asked again (BEP 31), even if it says
 * `never`. It may know the torrent tomorrow, and one announce a day is no burden.
 */
export const maxRefusalSeconds = 86_400

/** Random share that is added to waits, so that clients that started together spread out. */
export const jitterShare = 0.1

/**
 * How long a tracker may be silent before the next one is asked too. Most answer in a fraction of a second. This is
 * enough for a distant tracker if the first packet is lost, because TCP retransmits after one second (RFC 6298).
 * Shorter announces us to more trackers than BEP 12 intends. Longer delays a torrent's first peers by that much for
 * every dead tracker.
 */
export const patienceMillis = 3_000

/** How long peers of one tier have to connect before the next tier is asked because there are few. */
export const graceMillis = 10_000

/** How often to check whether the torrent wants more peers, once an early announce is allowed. */
const wantCheckMillis = 30_000

interface TrackerState {
  /** Whether it answered a `started`, so that it must get `stopped`. */
  hasStarted: boolean
  /** Whether it must not get `completed`: it already did, or the torrent was complete from the start. */
  needsNoCompleted: boolean
  trackerId: Uint8Array | undefined
  /** The port in the last announce. */
  port: number | undefined
  /** Not asked before this time. Follows from its last answer or its last refusal. */
  allowedAt: number
  /** When it may be asked beside the rounds: after its interval, or after a wait if it failed. */
  furtherAt: number
  /** Failures since its last answer. */
  failures: number
}

/** The state of one torrent's announcing. */
export interface AnnounceSchedule {
  readonly random: () => number
  /**
   * `Infinity` if the next tracker is asked only after the one before it has failed. Then no further tiers are asked
   * either.
   */
  readonly patienceMillis: number
  readonly trackers: ReadonlyMap<string, TrackerState>
  /** Trackers with an announce in flight, possibly from an earlier round. They may know of us before they answer. */
  readonly inFlight: Set<string>
  /** Those of them whose announce is a `completed` beside the rounds. Its answer ends no round. */
  readonly beside: Set<string>
  tiers: TrackerTiers.TrackerTiers
  /** Trackers asked in this round; `undefined` between rounds. */
  asked: Set<string> | undefined
  /** The tracker that was asked last, and when the next one is asked even if that one stays silent. */
  lastAsked: string | undefined
  nextTurnAt: number
  /** When the next round begins, and when it may begin if peers are wanted. */
  dueAt: number
  earliestAt: number
  failedRounds: number
  isComplete: boolean
  /** The port to announce. */
  port: number
  /** The tracker whose answer ended the last round. */
  lastAnswered: string | undefined
  /** When tiers behind that tracker may be asked. */
  furtherAt: number
}

/** What the caller does next. */
export type Step =
  | {
      readonly _tag: "Announce"
      readonly url: string
      readonly event: AnnounceEvent | undefined
      readonly trackerId: Uint8Array | undefined
      readonly port: number
    }
  /**
   * Do nothing before `until`, unless a tracker answers or fails, or the torrent completes. `Infinity` if only one of
   * these can change anything.
   */
  | { readonly _tag: "Wait"; readonly until: number }

/** An announce to send. */
export type Announce = Extract<Step, { _tag: "Announce" }>

/**
 * Makes a schedule whose first announce is due at once. `isComplete`: the torrent is already complete, so `completed`
 * is never announced. `oneAtATime`: a tracker is asked only after those before it have failed, as BEP 27 requires of
 * private torrents.
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
    beside: new Set(),
    tiers,
    trackers: new Map(
      TrackerTiers.order(tiers).map((url) => [
        url,
        {
          hasStarted: false,
          needsNoCompleted: options.isComplete,
          trackerId: undefined,
          port: undefined,
          allowedAt: 0,
          furtherAt: 0,
          failures: 0
        }
      ])
    ),
    asked: undefined,
    lastAsked: undefined,
    nextTurnAt: 0,
    dueAt: 0,
    earliestAt: 0,
    failedRounds: 0,
    isComplete: options.isComplete,
    port: options.port,
    lastAnswered: undefined,
    furtherAt: 0
  }
}

/**
 * What to do at `now`. The caller must follow each `Announce` with `answered` or `failed`. `wantsMore`: no peer is left
 * to try, so the next round may begin early. `hasFew`: few peers are connected, so further tiers are asked.
 */
export const next = (self: AnnounceSchedule, now: number, wantsMore: boolean, hasFew = false): Step => {
  const completed = nextCompleted(self)
  if (completed !== undefined && completed.at <= now) {
    self.beside.add(completed.url)
    self.asked?.add(completed.url)
    return send(self, completed.url)
  }
  const step = nextOfRound(self, now, wantsMore, hasFew)
  if (completed === undefined || step._tag === "Announce") return step
  return { _tag: "Wait", until: Math.min(step.until, completed.at) }
}

/**
 * The next `completed` beside the rounds, and when it may be sent: at once, unless the tracker has failed since it
 * answered.
 */
const nextCompleted = (self: AnnounceSchedule): { readonly url: string; readonly at: number } | undefined => {
  if (!self.isComplete) return undefined
  const current = self.trackers.get(self.lastAnswered ?? "")
  const isOneAtATime = self.patienceMillis === Number.POSITIVE_INFINITY
  const isBusy = self.asked !== undefined || self.inFlight.size > 0
  if (isOneAtATime && (isBusy || (current !== undefined && eventFor(self, current) === "completed"))) return undefined
  let next: { readonly url: string; readonly at: number } | undefined
  for (const [url, tracker] of self.trackers) {
    if (url === self.lastAnswered || self.inFlight.has(url) || eventFor(self, tracker) !== "completed") continue
    const at = tracker.failures === 0 ? 0 : tracker.furtherAt
    if (next === undefined || at < next.at) next = { url, at }
  }
  return next
}

const nextOfRound = (self: AnnounceSchedule, now: number, wantsMore: boolean, hasFew: boolean): Step => {
  if (self.asked === undefined) {
    const dueAt = Math.min(self.dueAt, portDueAt(self))
    if (now < (wantsMore ? Math.min(self.earliestAt, dueAt) : dueAt)) {
      const until = Math.min(dueAt, Math.max(self.earliestAt, now + wantCheckMillis))
      return askFurther(self, now, until, hasFew)
    }
    self.asked = new Set(self.inFlight)
    self.nextTurnAt = now
  }
  if (now < self.nextTurnAt) return { _tag: "Wait", until: self.nextTurnAt }
  for (const url of TrackerTiers.order(self.tiers)) {
    const tracker = self.trackers.get(url)!
    if (self.asked.has(url) || tracker.allowedAt > now) continue
    self.asked.add(url)
    return announce(self, url, now)
  }
  return self.inFlight.size > 0 ? { _tag: "Wait", until: Number.POSITIVE_INFINITY } : endFailedRound(self, now)
}

const announce = (self: AnnounceSchedule, url: string, now: number): Announce => {
  self.lastAsked = url
  self.nextTurnAt = now + self.patienceMillis
  return send(self, url)
}

const send = (self: AnnounceSchedule, url: string): Announce => {
  const tracker = self.trackers.get(url)!
  self.inFlight.add(url)
  tracker.port = self.port
  return { _tag: "Announce", url, event: eventFor(self, tracker), trackerId: tracker.trackerId, port: self.port }
}

/** The tiers behind the tracker that answered last; none if only one tracker at a time is asked. */
const furtherTiers = ({
  failedRounds,
  lastAnswered,
  ...self
}: AnnounceSchedule): TrackerTiers.TrackerTiers["tiers"] => {
  if (lastAnswered === undefined || failedRounds > 0 || self.patienceMillis === Number.POSITIVE_INFINITY) return []
  const { tiers } = self.tiers
  return tiers.slice(tiers.findIndex((tier) => tier.includes(lastAnswered)) + 1)
}

/** Between rounds: asks a further tier if there are few peers, or waits until then, but not longer than `until`. */
const askFurther = (self: AnnounceSchedule, now: number, until: number, hasFew: boolean): Step => {
  const tiers = furtherTiers(self)
  if (tiers.length === 0) return { _tag: "Wait", until }
  const turnAt = Math.max(self.furtherAt, self.inFlight.size > 0 ? self.nextTurnAt : 0)
  if (turnAt > now) return { _tag: "Wait", until: Math.min(until, turnAt) }
  for (const tier of hasFew ? tiers : []) {
    // A tracker of the tier that has answered lately speaks for it.
    if (tier.some((url) => isHeard(self.trackers.get(url)!, now))) continue
    for (const url of tier) {
      const tracker = self.trackers.get(url)!
      const isReady = Math.max(tracker.furtherAt, tracker.allowedAt) <= now && !self.inFlight.has(url)
      if (isReady) return announce(self, url, now)
    }
  }
  return { _tag: "Wait", until: Math.min(until, now + wantCheckMillis) }
}

/** Whether the tracker has answered, and its interval is not over. */
const isHeard = ({ failures, furtherAt, hasStarted }: TrackerState, now: number): boolean =>
  hasStarted && failures === 0 && furtherAt > now

/**
 * When the tracker that answered last may be told a changed port. `Infinity` if it knows the port, or if the last
 * round failed.
 */
const portDueAt = (self: AnnounceSchedule): number => {
  const current =
    self.lastAnswered === undefined || self.failedRounds > 0 ? undefined : self.trackers.get(self.lastAnswered)
  return current === undefined || current.port === self.port ? Number.POSITIVE_INFINITY : current.allowedAt
}

const eventFor = (self: AnnounceSchedule, tracker: TrackerState): AnnounceEvent | undefined => {
  if (!tracker.hasStarted) return "started"
  return self.isComplete && !tracker.needsNoCompleted ? "completed" : undefined
}

const jittered = (self: AnnounceSchedule, seconds: number): number =>
  Math.round(seconds * 1000 * (1 + jitterShare * self.random()))

const backoffOf = (failures: number): number => Math.min(firstBackoffSeconds * 2 ** (failures - 1), maxBackoffSeconds)

const endFailedRound = (self: AnnounceSchedule, now: number): Step => {
  self.asked = undefined
  self.failedRounds++
  const allowedAt = Math.min(...Array.from(self.trackers.values(), (tracker) => tracker.allowedAt))
  self.dueAt = Math.max(now + jittered(self, backoffOf(self.failedRounds)), allowedAt)
  self.earliestAt = self.dueAt
  return { _tag: "Wait", until: self.dueAt }
}

/**
 * Records an answer with `peers`. During a round it ends the round, and the tracker moves to the front of its tier.
 * Between rounds the answer is late, or of a further tier, and changes only this tracker's own state.
 */
export const answered = (
  self: AnnounceSchedule,
  announce: Announce,
  response: Pick<AnnounceResponse, "intervalSeconds" | "minIntervalSeconds" | "trackerId" | "peers">,
  now: number
): void => {
  const { intervalSeconds, minIntervalSeconds } = response
  const tracker = self.trackers.get(announce.url)!
  self.inFlight.delete(announce.url)
  tracker.hasStarted = true
  if (announce.event === "completed") tracker.needsNoCompleted = true
  // An answer without a tracker id keeps the old one in force.
  tracker.trackerId = response.trackerId ?? tracker.trackerId
  tracker.allowedAt = now + (minIntervalSeconds ?? intervalSeconds) * 1000
  tracker.failures = 0
  tracker.furtherAt = now + jittered(self, intervalSeconds)
  if (self.beside.delete(announce.url)) return
  self.furtherAt = response.peers.length === 0 ? now : now + graceMillis
  if (self.asked === undefined) return
  self.tiers = TrackerTiers.promote(self.tiers, announce.url)
  self.lastAnswered = announce.url
  self.asked = undefined
  self.failedRounds = 0
  self.dueAt = tracker.furtherAt
  self.earliestAt = minIntervalSeconds === undefined ? self.dueAt : tracker.allowedAt
  // The torrent may have completed while `started` was in flight.
  announceCompletion(self, tracker, now)
}

/** If this tracker answered last and needs `completed`, begins a round now: that event waits for no interval. */
const announceCompletion = (self: AnnounceSchedule, tracker: TrackerState, now: number): void => {
  if (eventFor(self, tracker) === "completed") self.dueAt = self.earliestAt = tracker.allowedAt = now
}

/** Records a failed announce. If that tracker was the one asked last, the next one is asked. */
export const failed = (
  self: AnnounceSchedule,
  announce: Announce,
  retryAfter: RetryAfter | undefined,
  now: number
): void => {
  self.inFlight.delete(announce.url)
  if (!self.beside.delete(announce.url) && announce.url === self.lastAsked) self.nextTurnAt = now
  const tracker = self.trackers.get(announce.url)!
  tracker.furtherAt = now + jittered(self, backoffOf(++tracker.failures))
  if (retryAfter === undefined) return
  const seconds = retryAfter === "never" ? maxRefusalSeconds : Math.min(maxRefusalSeconds, retryAfter)
  tracker.allowedAt = now + seconds * 1000
  tracker.furtherAt = Math.max(tracker.furtherAt, tracker.allowedAt)
}

/**
 * Records that the torrent became complete. `completed` is sent at once to the tracker that answered last. While no
 * tracker answers, the backoff stays in force, and the next announce that succeeds carries the event.
 */
export const completed = (self: AnnounceSchedule, now: number): void => {
  if (self.isComplete) return
  self.isComplete = true
  if (self.asked !== undefined || self.failedRounds > 0) return
  const current = self.lastAnswered === undefined ? undefined : self.trackers.get(self.lastAnswered)
  if (current !== undefined) announceCompletion(self, current, now)
}

/** Records a change of our port. */
export const portChanged = (self: AnnounceSchedule, port: number): void => {
  self.port = port
}

/** A tracker that must get `stopped`. */
export interface Informed {
  readonly url: string
  readonly trackerId: Uint8Array | undefined
  /** Whether it has answered, so that it knows of us. Otherwise it may know of us. */
  readonly hasAnswered: boolean
}

/** The trackers that must get `stopped`: those that know of us or may know of us. */
export const informed = (self: AnnounceSchedule): ReadonlyArray<Informed> =>
  Array.from(self.trackers)
    .filter(([url, tracker]) => tracker.hasStarted || self.inFlight.has(url))
    .map(([url, { hasStarted, trackerId }]) => ({ url, trackerId, hasAnswered: hasStarted }))
