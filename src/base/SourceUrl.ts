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

/** Returns whether `text` is a URL that a tracker may have. */
export const isTracker = (text: string): boolean => parseTracker(text) !== undefined

/** Returns whether `text` is a URL that a web seed may have. */
export const isWebSeed = (text: string): boolean => parseWebSeed(text) !== undefined
