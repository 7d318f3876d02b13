/**
 * How many connections to a web seed there should be at once. One is enough if the server or the way to it is the
 * limit. More are faster if the server limits each connection, or if the delay does. So another one is tried now and
 * then, and kept if all of them together are clearly faster.
 *
 * A server that refuses one more is left with what it had, because many servers count the connections of a client.
 *
 * Pure: `now`, in milliseconds, is an argument.
 */

/** The most connections to one seed: what browsers do to one host is 6, and a seed serves many clients. */
export const most = 4

/** How long a number of connections is measured (milliseconds), without the first part, in which it starts slowly. */
export const measuredFor = 4_000
const startsFor = 2_000

/** How much faster one connection more must make it to be kept. */
export const worthwhile = 1.15

/** How long after a try that was of no use the next one waits (milliseconds). It doubles each time. */
export const retryAfter = 30_000

/** The number of connections to one seed. Immutable. */
export interface SeedLanes {
  readonly count: number
  /** The rate before the last connection was added; `undefined` if it was measured already, or never. */
  readonly before: number | undefined
  /** Since when there are so many, and their bytes are counted. */
  readonly since: number
  readonly bytes: number
  /** Another one is not tried before, and how often that was of no use. */
  readonly triesAt: number
  readonly failures: number
}

/** Begins with one connection. */
export const make = (now: number): SeedLanes => ({
  count: 1,
  before: undefined,
  since: now,
  bytes: 0,
  triesAt: now,
  failures: 0
})

/** What happened. */
export type Event =
  /**
   * Time has passed, and `bytes` arrived since the last tick. `isLimited` if the seed could have sent more, but a rate
   * limit, the memory, or the end of the torrent held it up.
   */
  | { readonly _tag: "Tick"; readonly bytes: number; readonly isLimited: boolean }
  /** One of several connections failed, so that one less is left. */
  | { readonly _tag: "Lost" }

const restart = (self: SeedLanes, now: number): SeedLanes => ({ ...self, since: now, bytes: 0 })

const giveUp = (self: SeedLanes, now: number): SeedLanes => ({
  ...restart(self, now),
  count: Math.max(1, self.count - 1),
  before: undefined,
  triesAt: now + retryAfter * 2 ** Math.min(self.failures, 10),
  failures: self.failures + 1
})

/** Takes the next step. */
export const step = (self: SeedLanes, event: Event, now: number): SeedLanes => {
  if (event._tag === "Lost") return giveUp(self, now)
  // Nothing can be learnt from a rate that something else limits.
  if (event.isLimited) return restart(self, now)
  const age = now - self.since
  // Bytes of the slow start are not counted.
  const counted = age <= startsFor ? 0 : self.bytes + event.bytes
  const measured = { ...self, bytes: counted }
  if (age < startsFor + measuredFor) return measured
  const rate = (counted * 1_000) / (age - startsFor)
  if (self.before !== undefined && rate < self.before * worthwhile) return giveUp(measured, now)
  if (self.count >= most || now < self.triesAt) return { ...restart(self, now), before: undefined }
  return {
    ...restart(self, now),
    count: self.count + 1,
    before: rate,
    failures: self.before === undefined ? self.failures : 0
  }
}
