/**
 * The sessions of browsers, in memory. One ends 7 days after its last request and 30 days after its login, with the
 * password it was made with, and with the process. There are at most 1,000; another one ends that which was used the
 * longest ago.
 */
import * as Recent from "./Recent.ts"
import * as Secret from "./Secret.ts"

/** Sessions at a time. */
export const maxSessions = 1_000

const day = 86_400_000

/** How long a session lasts without requests, and with them (milliseconds). */
const idleLifetime = 7 * day
export const lifetime = 30 * day

/** A session. */
export interface BrowserSession {
  /** The value of its cookie. */
  readonly secret: string
  /** What it sends with every request that may change something, and which another site does not know. */
  readonly csrfToken: string
  /** The revision of the password that started it. */
  readonly revision: number
  readonly startedAt: number
  readonly usedAt: number
}

/** The sessions by their keys. */
export type BrowserSessions = Recent.Recent<BrowserSession>

/** No sessions. */
export const make = (): BrowserSessions => Recent.make(maxSessions)

/** The name of a session for logs and for `end`. It gives no access. */
export const keyOf = ({ secret }: BrowserSession): string => Secret.keyOf(secret)

/** Starts a session with new secrets. `now` is elapsed time in milliseconds. */
export const start = (self: BrowserSessions, revision: number, now: number): BrowserSession => {
  const secret = Secret.make()
  const session = { secret, csrfToken: Secret.make(), revision, startedAt: now, usedAt: now }
  Recent.set(self, Secret.keyOf(secret), session)
  return session
}

/** The session of a cookie, which is used by that; `undefined` if it is unknown or has ended. */
export const find = (
  self: BrowserSessions,
  secret: string,
  revision: number,
  now: number
): BrowserSession | undefined => {
  const key = Secret.keyOf(secret)
  const session = Recent.peek(self, key)
  if (session === undefined || !Secret.equals(session.secret, secret)) return undefined
  const isOver = now - session.usedAt >= idleLifetime || now - session.startedAt >= lifetime
  if (isOver || session.revision !== revision) {
    Recent.remove(self, key)
    return undefined
  }
  const used = { ...session, usedAt: now }
  Recent.set(self, key, used)
  return used
}

/** Ends a session. */
export const end = (self: BrowserSessions, key: string): boolean => Recent.remove(self, key)
