/**
 * Where a request may go that a stranger caused: a torrent names its trackers, and any server may redirect. Pure; asked
 * again for every address that is about to be dialled, because a name may lead anywhere.
 *
 * A URL that the user typed may be anywhere. What a torrent names
 *
 * - may be public, at any path: passkeys are wherever their tracker wants them;
 * - may be in the network around us, at any path, if its host shows that (10.0.0.9, `nas.lan`), as in libtorrent and
 *   Transmission: trackers behind the same NAT are ordinary;
 * - may be on this machine, or behind a public name that leads there or into the network around us, if a component of
 *   its path begins with `announce`: otherwise a stranger could make us send any request to any service here. A UDP
 *   tracker on this machine needs no such path, because nothing is sent to it before it has proved to be a tracker (BEP
 *   15);
 * - is never link-local, unspecified, multicast, broadcast or a cloud's metadata service.
 *
 * A redirect never leads to a less public place than the one that sent it, even if the user typed the first URL.
 */
import * as Reach from "./Reach.ts"

/**
 * Names that are never in the public DNS (RFC 6762, RFC 8375, the reserved `internal`, and routers' own), or one label.
 */
const localName = /^[^.:]+$|\.(?:local|home\.arpa|internal|lan)$/

/** The host of a URL of any scheme, in lower case, without the brackets of IPv6 and the root's dot. */
export const hostOf = (url: URL): string => url.hostname.toLowerCase().replace(/^\[|\]$|\.$/g, "")

/** The reach that a URL itself shows, by its address or the kind of its name. */
export const shown = (url: URL): Reach.Reach => {
  const host = hostOf(url)
  const reach = Reach.of(host)
  return reach === "public" && localName.test(host) ? "private" : reach
}

/**
 * First words of a component in the path of a tracker on this machine: of announces (BEP 3) and of scrapes (BEP 48).
 */
export type Question = "announce" | "scrape"

/** What some servers read as a slash or a parent: `/announce/..%2fadmin` is another path to them. */
const disguised = /%(?:2e|2f|5c)|\/\.\./i

const asks = (url: URL, question: Question): boolean =>
  url.pathname.split("/").some((component) => component.startsWith(question)) && !disguised.test(url.pathname)

/**
 * Why nothing may be sent to `address` for a `url` that a torrent names for a tracker; `undefined` if it may. `address`
 * may be the URL's own host before anything is resolved. The text fits after the URL and a colon.
 */
export const whyNotTracker = (url: URL, address: string, question: Question = "announce"): string | undefined => {
  const reach = Reach.of(address)
  if (reach === "public") return undefined
  if (reach === "none" || Reach.isLinkLocal(address)) return "it leads to an address that no tracker has"
  const mustAsk = (reach === "loopback" && url.protocol !== "udp:") || Reach.isLessPublic(reach, shown(url))
  if (!mustAsk || asks(url, question)) return undefined
  const where = reach === "loopback" ? "on this machine" : "in the local network"
  return `a tracker ${where} must have a component in its path that begins with ${question}`
}

/** Why a server that was reached as `from` may not redirect to `url` at `address`; `undefined` if it may. */
export const whyNotRedirect = (from: Reach.Reach, url: URL, address: string): string | undefined =>
  Reach.isLessPublic(Reach.of(address), from) || Reach.isLessPublic(shown(url), from)
    ? `it redirects into the local network, to ${url.hostname}`
    : undefined
