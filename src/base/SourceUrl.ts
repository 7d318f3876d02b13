/**
 * URLs that a torrent or a magnet link names for trackers and web seeds: whether their form is usable at all.
 *
 * They are a stranger's. Other schemes (`file:`, `javascript:`) are from hostile torrents and are dropped.
 * `Destination.ts` decides where a URL may lead, even after a redirect.
 */

/** Schemes of trackers: HTTP (BEP 3), UDP (BEP 15), and WebSocket as in WebTorrent's trackers. */
const trackerSchemes: ReadonlySet<string> = new Set(["http:", "https:", "udp:", "ws:", "wss:"])

/** Schemes of web seeds (BEP 19). */
const webSeedSchemes: ReadonlySet<string> = new Set(["http:", "https:"])

const parse = (text: string, schemes: ReadonlySet<string>): URL | undefined => {
  const url = URL.parse(text)
  return url !== null && schemes.has(url.protocol) && url.hostname !== "" ? url : undefined
}

/** The URL of a tracker; `undefined` if `text` is none. */
export const parseTracker = (text: string): URL | undefined => parse(text, trackerSchemes)

/** The URL of a web seed; `undefined` if `text` is none. */
export const parseWebSeed = (text: string): URL | undefined => parse(text, webSeedSchemes)

/** Whether `text` is a URL that a tracker may have. */
export const isTracker = (text: string): boolean => parseTracker(text) !== undefined

/** Whether `text` is a URL that a web seed may have. */
export const isWebSeed = (text: string): boolean => parseWebSeed(text) !== undefined
