/** The URL of an io-daemon, made safe to send the token to. Pure. */
import * as Reach from "../base/Reach.ts"

/**
 * The URL with 127.0.0.1 for every other way to name this machine. The daemon listens only there, while `localhost` and
 * `[::1]` may lead to the listener of another user, who would receive the token. A URL of another machine, and text
 * that is no URL, is returned unchanged.
 */
export const pinned = (url: string): string => {
  const parsed = URL.parse(url)
  if (parsed === null || !isHere(parsed.hostname)) return url
  parsed.hostname = "127.0.0.1"
  return parsed.href.replace(/\/$/, "")
}

/** Connecting to an unspecified address reaches loopback. */
const isHere = (hostname: string): boolean =>
  hostname === "0.0.0.0" || hostname === "[::]" || Reach.of(hostname) === "loopback"
