/**
 * When a torrent is looked up in the DHT, and when we are announced there. A pure machine: the caller passes in the time.
 *
 * The first lookup begins at once. While the torrent has few peers, further ones follow after 15 seconds, then after
 * twice as long each time, at most every 5 minutes. Otherwise one follows every 15 minutes. Nodes forget an announce
 * after about half an hour, so a lookup also announces us if the last announce is 15 minutes old, or says something that
 * is not true any more: another port, or that we lack something. Nobody can take back an announce; one of a torrent that
 * has stopped is forgotten by itself.
 *
 * An announce counts as made if at least one node took it. Otherwise a lookup with another announce follows after 15
 * seconds, then after twice as long each time, at most every 5 minutes.
 *
 * If no node answers, a lookup finds nothing. It is repeated soon, because nodes may answer after a second or never.
 *
 * Times are milliseconds of the caller's clock. The state is mutable and has one owner: `DhtSource.ts`.
 */

/** How often we are announced, and how often a torrent with enough peers is looked up. */
export const announceMillis = 900_000

/** The wait before the second lookup of a torrent with few peers. It doubles up to `mostFewMillis`. */
export const firstFewMillis = 15_000

/** The longest wait between two lookups of a torrent with few peers. */
export const mostFewMillis = 300_000

/** The wait before an announce that no node took is tried again. It doubles up to `mostUntakenMillis`. */
export const firstUntakenMillis = 15_000

/** The longest wait while no node takes the announce. */
export const mostUntakenMillis = 300_000

/**
 * Announces in succession that no node takes before this is reported as a failure. A first lookup often ends at
 * routers, which take none.
 */
export const patienceUntaken = 2

/** The wait after a lookup in which no node answered. It doubles up to `mostAloneMillis`. */
export const firstAloneMillis = 1_000

/** The longest wait while no node answers. */
export const mostAloneMillis = 60_000

/** How long no node may answer before this is reported as a failure: the first ones take a few seconds. */
export const patienceMillis = 10_000

/** How often to check whether a torrent has few peers. */
const checkMillis = 30_000

/** What we announce. */
export interface Announcement {
  /** The port that peers can connect to. */
  readonly port: number
  readonly isSeed: boolean
}

/** The state of one torrent's lookups. */
export interface DhtSchedule {
  /** When the last lookup ended; `undefined` before the first has. */
  endedAt: number | undefined
  /** Lookups in succession that ended while there were few peers. */
  fewLookups: number
  /** Lookups in succession in which no node answered, and when the first of them began. */
  aloneLookups: number
  aloneSince: number | undefined
  /** Announces in succession that no node took, while there is something to announce. */
  untakenAnnounces: number
  /** What was announced last, and when. At least one node took it. */
  announced: (Announcement & { readonly at: number }) | undefined
}

/** Makes a schedule whose first lookup is due at once. */
export const make = (): DhtSchedule => ({
  endedAt: undefined,
  fewLookups: 0,
  aloneLookups: 0,
  aloneSince: undefined,
  untakenAnnounces: 0,
  announced: undefined
})

/** What the caller does next. */
export type Step =
  /** Look up the torrent, and announce us if there is something to announce. The caller reports the end with `ended`. */
  | { readonly _tag: "LookUp"; readonly announce: Announcement | undefined }
  /** Do nothing before `until`, unless the port changes or the torrent completes. */
  | { readonly _tag: "Wait"; readonly until: number }

/** What is true of the torrent now. */
export interface Facts {
  /** Whether it wants peers and has few. */
  readonly hasFew: boolean
  /** Whether we have all of it. A seed needs no peers: those that lack something find it. */
  readonly isSeed: boolean
  /** The port that peers can connect to; `undefined` if there is none. */
  readonly port: number | undefined
}

/** What there is to announce, if that differs from what was announced. */
const news = ({ announced }: DhtSchedule, { isSeed, port }: Facts): Announcement | undefined =>
  port === undefined || (announced?.port === port && announced.isSeed === isSeed) ? undefined : { port, isSeed }

const doubled = (first: number, times: number, most: number): number => Math.min(first * 2 ** Math.min(times, 20), most)

/** When the next lookup begins, if nothing changes. */
const dueAt = (self: DhtSchedule, endedAt: number, facts: Facts): number => {
  const { aloneLookups, announced, fewLookups, untakenAnnounces } = self
  if (aloneLookups > 0) return endedAt + doubled(firstAloneMillis, aloneLookups - 1, mostAloneMillis)
  const few = endedAt + doubled(firstFewMillis, Math.max(0, fewLookups - 1), mostFewMillis)
  if (untakenAnnounces > 0 && facts.port !== undefined) {
    const untaken = endedAt + doubled(firstUntakenMillis, untakenAnnounces - 1, mostUntakenMillis)
    return isShort(facts) ? Math.min(few, untaken) : untaken
  }
  // Not at once, because the port may change again and again.
  if (news(self, facts) !== undefined) return endedAt + firstFewMillis
  if (isShort(facts)) return few
  return facts.port === undefined || announced === undefined
    ? endedAt + announceMillis
    : Math.max(endedAt, announced.at + announceMillis)
}

const isShort = ({ hasFew, isSeed }: Facts): boolean => hasFew && !isSeed

/** What to do at `now`. */
export const next = (self: DhtSchedule, facts: Facts, now: number): Step => {
  const { announced, endedAt } = self
  if (!isShort(facts)) self.fewLookups = 0
  const until = endedAt === undefined ? now : dueAt(self, endedAt, facts)
  if (until > now) {
    const mayRunShort = !facts.isSeed && !facts.hasFew
    return { _tag: "Wait", until: mayRunShort ? Math.min(until, now + checkMillis) : until }
  }
  const isOld = announced !== undefined && now - announced.at >= announceMillis
  const { isSeed, port } = facts
  const announce = isOld && port !== undefined ? { port, isSeed } : news(self, facts)
  return { _tag: "LookUp", announce }
}

/** How a lookup ended. */
export interface Ended {
  /** When it began. */
  readonly begunAt: number
  /** What was to be announced; `undefined` if nothing was. */
  readonly announce: Announcement | undefined
  /** How many nodes answered, and how many took the announce. */
  readonly answered: number
  readonly announced: number
}

/** What has failed for so long that it is reported: no node answers, or no node takes the announce. */
export type Trouble = "NoAnswer" | "NotTaken"

/** Records that a lookup ended. Returns what has to be reported; `undefined` if nothing has. */
export const ended = (
  self: DhtSchedule,
  { announce, announced, answered, begunAt }: Ended,
  now: number
): Trouble | undefined => {
  self.endedAt = now
  if (answered === 0) {
    self.aloneLookups++
    self.aloneSince ??= begunAt
    return now - self.aloneSince >= patienceMillis ? "NoAnswer" : undefined
  }
  self.fewLookups++
  self.aloneLookups = 0
  self.aloneSince = undefined
  if (announce === undefined) {
    // What no node took before is not due any more, as after the port changed back.
    self.untakenAnnounces = 0
    return undefined
  }
  if (announced === 0) {
    self.untakenAnnounces++
    return self.untakenAnnounces >= patienceUntaken ? "NotTaken" : undefined
  }
  self.untakenAnnounces = 0
  self.announced = { ...announce, at: now }
  return undefined
}
