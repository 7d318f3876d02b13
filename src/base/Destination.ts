/**
 * Decides where a request may go if a stranger caused it. A stranger is whoever made a torrent, which names its
 * trackers, or whoever runs a server, which may redirect us. The functions are pure. They are asked again for every
 * address that is about to be dialled, because a name may lead to any address.
 *
 * A URL that the user typed may lead anywhere. For the URL of a tracker that a torrent names, these rules hold:
 *
 * - A public tracker may have any path, because its passkey may be anywhere in the path.
 * - A tracker in the local network may have any path if the host of its URL shows that it is there, like 10.0.0.9 or
 *   `nas.lan`. Trackers behind the same NAT are common, and libtorrent and Transmission allow them too.
 * - A tracker on this machine must have a component in its path that begins with `announce`. Otherwise a stranger could
 *   make us send any request to any service here. The same holds if a URL seems to be more public than the address to
 *   which it leads, like a public name with a local address.
 * - A UDP tracker on this machine needs no such path if its URL itself shows that it is here. Before it has
 *   proved that it is a tracker, it receives only a connect request, into which no stranger can write (BEP 15).
 * - The URL of a torrent file in a magnet link must have a path that ends in `.torrent` if it leads into the local network
 *   or to this machine, or if its host shows that. A server can redirect to a magnet link, and so to all its URLs.
 * - A web seed in the local network or on this machine must have a URL whose host shows that, without a query. So a
 *   stranger can make us ask a server there for a file by its path, and can say nothing else to it. Web seeds on a
 *   server of the same network are common, and libtorrent allows them under a similar rule.
 * - Addresses that are link-local, unspecified, multicast or broadcast are never allowed, nor are those of the services
 *   that hold a cloud machine's credentials.
 *
 * A redirect may never lead to a less public place than the server that sent it, even if the user typed the first URL.
 */
import * as Reach from "./Reach.ts"

/**
 * Matches the names of hosts in the local network. These are names of a single label, and names in domains that are
 * never in the public DNS: `local` (RFC 6762), `home.arpa` (RFC 8375), `internal` (reserved), and `lan` (used by
 * routers).
 */
const localName = /^[^.:]+$|\.(?:local|home\.arpa|internal|lan)$/

/** Returns the host of a URL of any scheme in lower case, without the brackets of IPv6 and without a dot at the end. */
export const hostOf = (url: URL): string => url.hostname.toLowerCase().replace(/^\[|\]$|\.$/g, "")

/** Returns from where a host can be reached, as far as its URL shows that by an address or by the kind of name. */
export const shown = (url: URL): Reach.Reach => {
  const host = hostOf(url)
  const reach = Reach.of(host)
  return reach === "public" && localName.test(host) ? "private" : reach
}

/**
 * What a tracker is asked: to announce us (BEP 3), or to count the peers of a torrent (BEP 48). A component of the path
 * must begin with this text if the tracker is on this machine; `announce.php` and `announcement` do.
 */
export type Question = "announce" | "scrape"

/**
 * Matches what some servers read as a slash or as the parent folder. `/announce/..%2fadmin` is the path `/admin` to
 * them.
 */
const disguised = /%(?:2e|2f|5c)|\/\.\./i

/** Returns whether the path of a URL is that of a tracker, so that no other service may be meant. */
const asks = (url: URL, question: Question): boolean =>
  url.pathname.split("/").some((component) => component.startsWith(question)) && !disguised.test(url.pathname)

/**
 * Returns why nothing may be sent to `address` for the URL of a tracker that a torrent names; `undefined` if it may.
 * Before the name is resolved, `address` may be the host of the URL itself. The text fits after the URL and a colon.
 */
export const whyNotTracker = (url: URL, address: string, question: Question = "announce"): string | undefined =>
  whyNot(url, address, {
    what: "tracker",
    isClear: asks(url, question),
    rule: `must have a component in its path that begins with ${question}`,
    mayBeUnclear: (reach) => (reach !== "loopback" || url.protocol === "udp:") && !Reach.isLessPublic(reach, shown(url))
  })

/** Returns whether the path of a URL is that of a torrent file, so that no other service may be meant. */
const namesTorrentFile = (url: URL): boolean => /\.torrent$/i.test(url.pathname) && !disguised.test(url.pathname)

/**
 * Returns why nothing may be sent to `address` for a URL at which a magnet link says that the torrent file is;
 * `undefined` if it may. See `whyNotTracker`.
 */
export const whyNotTorrentFile = (url: URL, address: string): string | undefined =>
  whyNot(url, address, {
    what: "torrent file",
    isClear: namesTorrentFile(url),
    rule: "must have a path that ends in .torrent",
    mayBeUnclear: (reach) => reach === "public" && shown(url) === "public"
  })

/** Returns whether a URL asks for a plain file: whoever chose it can say nothing else to a server. */
const namesFile = (url: URL): boolean => url.search === "" && !disguised.test(url.pathname)

/**
 * Returns why nothing may be sent to `address` for the URL of a web seed that a torrent names; `undefined` if it may.
 * See `whyNotTracker`.
 */
export const whyNotWebSeed = (url: URL, address: string): string | undefined =>
  whyNot(url, address, {
    what: "web seed",
    isClear: namesFile(url) && !Reach.isLessPublic(Reach.of(address), shown(url)),
    rule: "must have a host that shows where it is, and no query",
    mayBeUnclear: (reach) => reach === "public" && shown(url) === "public"
  })

interface Purpose {
  readonly what: string
  /** Whether the URL itself shows its purpose. */
  readonly isClear: boolean
  /** What a URL must have to show it. */
  readonly rule: string
  /** Whether a URL that leads to an address of this reach need not show its purpose. */
  readonly mayBeUnclear: (reach: Reach.Reach) => boolean
}

const whyNot = (url: URL, address: string, { isClear, mayBeUnclear, rule, what }: Purpose): string | undefined => {
  const reach = Reach.of(address)
  if (reach === "none" || Reach.isLinkLocal(address)) return `it leads to an address that no ${what} has`
  if (isClear || mayBeUnclear(reach)) return undefined
  const isHere = reach === "loopback" || (reach === "public" && shown(url) === "loopback")
  return `a ${what} ${isHere ? "on this machine" : "in the local network"} ${rule}`
}

/**
 * Returns why a server may not redirect to `url` at `address`; `undefined` if it may. `from` is the reach of that
 * server. The text fits after the URL of the server and a colon. In this text, the local network includes this machine.
 */
export const whyNotRedirect = (from: Reach.Reach, url: URL, address: string): string | undefined =>
  Reach.isLessPublic(Reach.of(address), from) || Reach.isLessPublic(shown(url), from)
    ? `it redirects into the local network, to ${url.hostname}`
    : undefined
