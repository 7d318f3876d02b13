/**
 * Which torrents of a session have changed since when: each has the number of its last change, and those that are gone
 * are remembered for a while. Plain code.
 */
import * as InfoHash from "../base/InfoHash.ts"
import * as RunNumber from "./RunNumber.ts"
import * as SessionQueue from "./SessionQueue.ts"
import type { Revision, SessionChanges, SessionList, SessionStatus } from "./SessionStatus.ts"

/** How many torrents that are gone are remembered. Whoever asks from before that is given all torrents. */
export const maxRemoved = 1_000

interface Seen {
  readonly status: SessionStatus
  /** The number of its last change. */
  readonly number: number
}

/** The torrents as they were last seen. */
export interface Revisions {
  /** Distinguishes a session from others, and from itself in another run. */
  readonly session: string
  /** The number of the last change of any torrent. */
  last: number
  readonly seen: Map<string, Seen>
  /** Torrents that are gone, with the number of that change, the oldest first. */
  readonly removed: Array<{ readonly infoHash: InfoHash.InfoHash; readonly number: number }>
  /** The number of the last removal that is forgotten. */
  forgotten: number
}

/** Makes it without torrents. `session` is a text without a dot. */
export const make = (session: string): Revisions => ({
  session,
  last: 0,
  seen: new Map(),
  removed: [],
  forgotten: 0
})

/** Whether two snapshots, or two parts of them, say the same. */
export const isSame = (one: unknown, other: unknown): boolean => {
  if (Object.is(one, other)) return true
  if (!isObject(one) || !isObject(other)) return false
  const keys = Object.keys(one)
  return keys.length === Object.keys(other).length && keys.every((key) => isSame(one[key], other[key]))
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null

/** Without the time that a torrent has seeded, which would make every idle seed different all the time. */
const withoutTime = ({ statistics, ...status }: SessionStatus): object => ({
  ...status,
  statistics: { ...statistics, seedingMillis: 0 }
})

/** Notes what a torrent looks like now. That it goes on seeding is no change. */
export const note = (self: Revisions, status: SessionStatus): void => {
  const key = InfoHash.toHex(status.infoHash)
  const seen = self.seen.get(key)
  const isChanged = seen === undefined || !isSame(withoutTime(seen.status), withoutTime(status))
  self.seen.set(key, { status, number: isChanged ? ++self.last : seen.number })
}

/** Notes that a torrent is gone. */
export const remove = (self: Revisions, infoHash: InfoHash.InfoHash): void => {
  if (!self.seen.delete(InfoHash.toHex(infoHash))) return
  self.removed.push({ infoHash, number: ++self.last })
  if (self.removed.length > maxRemoved) self.forgotten = self.removed.shift()!.number
}

const revisionOf = ({ last, session }: Revisions): Revision => RunNumber.textOf(session, last)

/** The number in a revision; `undefined` if it is of another session, or too old. */
const numberIn = ({ forgotten, last, session }: Revisions, revision: Revision): number | undefined => {
  const number = RunNumber.numberIn(session, revision, last)
  return number === undefined || number < forgotten ? undefined : number
}

/** All torrents. */
export const list = (self: Revisions): Pick<SessionList, "revision" | "torrents"> => ({
  revision: revisionOf(self),
  torrents: Array.from(self.seen.values(), ({ status }) => status).sort(SessionQueue.byPosition)
})

/** What has changed since a revision. */
export const since = (self: Revisions, revision: Revision): SessionChanges => {
  const number = numberIn(self, revision)
  if (number === undefined) return { ...list(self), isAll: true, removed: [] }
  const changed = [...self.seen.values()].filter((seen) => seen.number > number).map(({ status }) => status)
  return {
    revision: revisionOf(self),
    isAll: false,
    torrents: changed.sort(SessionQueue.byPosition),
    removed: self.removed
      .filter((removal) => removal.number > number && !self.seen.has(InfoHash.toHex(removal.infoHash)))
      .map(({ infoHash }) => infoHash)
  }
}
