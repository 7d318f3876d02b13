/**
 * Limits how often an address may send wrong passwords and tokens. Pure: the time is an argument, in milliseconds.
 *
 * Ten failures within a minute lock an address for a minute. Each further lock is twice as long as the one before, up to
 * an hour; after a day without a failure the first one is short again. While an address is locked, no password from it
 * is looked at, so that guesses meanwhile say nothing.
 *
 * An address never pays for another one. While all addresses together have more than 100 failures a minute, each of them
 * is locked after its first failure instead of its tenth, but one without failures can still log in. Many addresses
 * at once are slowed down by the queue of `Credentials`, which checks one password at a time.
 *
 * A failure is reserved before a password is checked, so requests at the same time are not more guesses than others.
 */
import * as IpAddress from "../../base/IpAddress.ts"
import * as Recent from "./Recent.ts"

/** Addresses that are remembered. If there are more, those that failed the longest ago are forgotten. */
export const maxAddresses = 10_000

const minute = 60_000

/** Failures of one address in a minute, after which it is locked; and the same under attack. */
export const maxFailures = 10
const maxFailuresUnderAttack = 1

/** Failures of all addresses in a minute from which on there is an attack. */
export const maxFailuresOfAll = 100

const firstLock = minute
const longestLock = 60 * minute
const forgottenAfter = 1_440 * minute

/** What an address did. */
interface Entry {
  /** Failures since `since`, and passwords of it that are being checked. */
  failures: number
  since: number
  pending: number
  lockedUntil: number
  /** Locks so far. */
  locks: number
  failedAt: number
}

/** The failures of all addresses. */
export interface Failures {
  readonly addresses: Recent.Recent<Entry>
  all: { count: number; since: number }
}

/** No failures. */
export const make = (): Failures => ({
  addresses: Recent.make(maxAddresses),
  all: { count: 0, since: Number.NEGATIVE_INFINITY }
})

/** The entry of an address: one for what a host has, which is an IPv4 address or a /64 of IPv6. */
const entryOf = (self: Failures, address: string, now: number): Entry => {
  const key = IpAddress.network(address)
  const known = Recent.peek(self.addresses, key)
  const entry = known ?? { failures: 0, since: now, pending: 0, lockedUntil: 0, locks: 0, failedAt: now }
  if (now - entry.failedAt >= forgottenAfter) entry.locks = 0
  if (now - entry.since >= minute) {
    entry.failures = 0
    entry.since = now
  }
  if (known === undefined) Recent.set(self.addresses, key, entry)
  return entry
}

const isUnderAttack = ({ all }: Failures, now: number): boolean =>
  now - all.since < minute && all.count >= maxFailuresOfAll

const limitOf = (self: Failures, now: number): number =>
  isUnderAttack(self, now) ? maxFailuresUnderAttack : maxFailures

/** How long to wait if as many passwords of an address are being checked as it may fail (milliseconds). */
const busyWait = 1_000

/**
 * Reserves a failure before something that an address sent is checked. Returns 0, and then `end` must be called, or how
 * long the address has to wait (milliseconds).
 */
export const begin = (self: Failures, address: string, now: number): number => {
  const entry = entryOf(self, address, now)
  if (entry.lockedUntil > now) return entry.lockedUntil - now
  if (entry.failures + entry.pending >= limitOf(self, now)) return entry.pending > 0 ? busyWait : lock(entry, now)
  entry.pending++
  return 0
}

/** Notes how a check ended. */
export const end = (self: Failures, address: string, hasFailed: boolean, now: number): void => {
  const entry = entryOf(self, address, now)
  entry.pending = Math.max(0, entry.pending - 1)
  if (!hasFailed) {
    // Only addresses that failed are remembered.
    if (entry.pending + entry.failures + entry.locks === 0) Recent.remove(self.addresses, IpAddress.network(address))
    return
  }
  if (now - self.all.since >= minute) self.all = { count: 0, since: now }
  self.all.count++
  entry.failures++
  entry.failedAt = now
  // Moves it to the end: it failed most recently.
  Recent.set(self.addresses, IpAddress.network(address), entry)
  if (entry.failures >= limitOf(self, now) && entry.lockedUntil <= now) lock(entry, now)
}

/** Locks an address, and returns for how long (milliseconds). */
const lock = (entry: Entry, now: number): number => {
  const duration = Math.min(longestLock, firstLock * 2 ** Math.min(entry.locks, 10))
  entry.lockedUntil = now + duration
  entry.locks++
  entry.failures = 0
  entry.since = entry.lockedUntil
  return duration
}
