/**
 * Where a tracker's URL leads: into the public network, the one around us, or this machine. A torrent names its trackers,
 * so a stranger decides whom we ask.
 */
import * as Reach from "../base/Reach.ts"

/**
 * Names that are never in the public DNS (RFC 6762, RFC 8375, the reserved `internal`, and routers' own), or one label.
 */
const localName = /^[^.:]+$|\.(?:local|home\.arpa|internal|lan)$/

/** The host of a URL of any scheme, in lower case, without the brackets of IPv6 and the root's dot. */
export const hostOf = (url: URL): string => url.hostname.toLowerCase().replace(/^\[|\]$|\.$/g, "")

/** Whether the host is a public one. What its name resolves to may be another's address and must be asked again. */
export const isPublic = (url: URL): boolean => {
  const host = hostOf(url)
  return Reach.of(host) === "public" && !localName.test(host)
}

/** Whether the host is this machine. */
export const isLoopback = (url: URL): boolean => Reach.of(hostOf(url)) === "loopback"
