/**
 * Checks the URLs that a torrent or a magnet link names for its trackers, web seeds and torrent file: whether they are
 * URLs with a host and a scheme that we support.
 *
 * Whoever made the torrent chose these URLs, so they are not trusted. Schemes like `file:` and `javascript:` appear
 * only in hostile torrents and are refused. `Destination.ts` decides whether a request may go where a URL leads, also
 * after a redirect.
 */

/** The schemes of trackers, which speak HTTP (BEP 3), UDP (BEP 15), or WebSocket (WebTorrent). */
const trackerSchemes: ReadonlySet<string> = new Set(["http:", "https:", "udp:", "ws:", "wss:"])

/** The schemes of HTTP servers: web seeds, which have the files of the torrent (BEP 19), and those of torrent files. */
const webSeedSchemes: ReadonlySet<string> = new Set(["http:", "https:"])

const parse = (text: string, schemes: ReadonlySet<string>): URL | undefined => {
  const url = URL.parse(text)
  return url !== null && schemes.has(url.protocol) && url.hostname !== "" ? url : undefined
}

/** Parses the URL of a tracker. Returns `undefined` if `text` is not such a URL. */
export const parseTracker = (text: string): URL | undefined => parse(text, trackerSchemes)

/** Parses the URL of a web seed. Returns `undefined` if `text` is not such a URL. */
export const parseWebSeed = (text: string): URL | undefined => parse(text, webSeedSchemes)

/**
 * Parses a URL at which a magnet link says that the torrent file is. Returns `undefined` if `text` is not such a URL.
 * Removes a user and a password, with which a stranger could use a service that asks for them.
 */
export const parseTorrentFile = (text: string): URL | undefined => {
  const url = parse(text, webSeedSchemes)
  if (url === undefined) return undefined
  url.username = ""
  url.password = ""
  return url
}

/**
 * The host and port of a URL, all of it that may be written to a log. The rest is often a secret: a tracker knows its
 * users by a passkey in the path or the query. Returns `undefined` if `text` is not a URL with a host.
 */
export const placeOf = (text: string): { readonly host: string; readonly port: number | undefined } | undefined => {
  const url = URL.parse(text)
  if (url === null || url.hostname === "") return undefined
  return { host: url.hostname, port: url.port === "" ? undefined : Number(url.port) }
}

/**
 * Whether two URLs belong to one tracker: they have the same host, port and path in the normal form of RFC 3986 (section
 * 6.2). When a private torrent changes its tracker, its peers have to leave (BEP 27), which a change of the URL alone
 * should not cause.
 *
 * - The scheme does not count, because many trackers support several. So the default ports of HTTP and HTTPS are equal,
 *   with any scheme: trackers also listen to UDP at port 80.
 * - The query does not count: one program answers at a path, and the query only says who asks, often by a passkey.
 * - The path counts, and so does any other port. Two paths may contain two passkeys of one tracker, or lead to two
 *   trackers of one host, and only the tracker knows. If it is one tracker, the cost is that its peers are dialled
 *   again; two that were taken for one would mix their peers.
 */
export const isSameTracker = (one: string, other: string): boolean => {
  const [a, b] = [serviceOf(one), serviceOf(other)]
  return a === undefined || b === undefined ? one === other : a === b
}

/** The default ports of HTTP and HTTPS, as they are written or left out. */
const webPorts: ReadonlySet<string> = new Set(["", "80", "443"])

/** The host, port (`web`: one of `webPorts`) and path of a URL; `undefined` if it is none with a host. */
const serviceOf = (text: string): string | undefined => {
  const url = URL.parse(text.trim())
  if (url === null || url.hostname === "") return undefined
  // The parser does not normalize the host of a scheme that it does not know, such as `udp`.
  const host = url.hostname.toLowerCase().replace(/\.$/, "")
  return `${host}:${webPorts.has(url.port) ? "web" : url.port}${normalPath(url.pathname)}`
}

const normalPath = (path: string): string =>
  (path || "/").replace(/%[0-9a-f]{2}/gi, (escape) => {
    const character = String.fromCharCode(Number.parseInt(escape.slice(1), 16))
    return /[A-Za-z0-9\-._~]/.test(character) ? character : escape.toUpperCase()
  })

/** Parts of a URL that are shorter than this are no secret, and may be words of a sentence. */
const shortestSecret = 6

/** Words in the paths of most trackers. */
const wellKnown = /^(announce|scrape)(\.php)?$/

/** Replaces what may be a secret in the URL `source` where `text` repeats it, as errors and answers of trackers do. */
export const withoutSecrets = (text: string, source: string): string => {
  const url = URL.parse(source)
  if (url === null) return source === "" ? text : text.replaceAll(source, hidden)
  const values = [...url.searchParams].map(([name, value]) => (value === "" ? name : value))
  const parts = [...url.pathname.split("/"), ...url.pathname.split(/[/;=,]/), ...values, url.username, url.password]
  const secrets = new Set([source, url.href, ...parts.flatMap((part) => [part, decoded(part)])])
  let shown = text
  for (const secret of secrets) {
    if (secret.length >= shortestSecret && !wellKnown.test(secret)) shown = shown.replaceAll(secret, hidden)
  }
  return shown
}

/** Shorter than any secret, so that text only becomes shorter, however a URL is made. */
const hidden = "..."

const decoded = (part: string): string => {
  try {
    return decodeURIComponent(part)
  } catch {
    // It is no encoding of UTF-8, so nobody shows it decoded.
    return part
  }
}

/** Returns whether `text` is a URL that a tracker may have. */
export const isTracker = (text: string): boolean => parseTracker(text) !== undefined

/** Returns whether `text` is a URL that a web seed may have. */
export const isWebSeed = (text: string): boolean => parseWebSeed(text) !== undefined
