/**
 * URLs that a torrent or a magnet link names for trackers and web seeds: which of them could be one at all.
 *
 * They are a stranger's. Others than these (`file:`, `javascript:`) come from hostile torrents and are dropped. Where a
 * URL may lead, also after a redirect, is `Destination.ts`'s question.
 */

/** Schemes of trackers: HTTP (BEP 3), UDP (BEP 15), and WebSocket as WebTorrent's trackers use it. */
const trackerSchemes: ReadonlySet<string> = new Set(["http:", "https:", "udp:", "ws:", "wss:"])

/** Schemes of web seeds (BEP 19). */
const webSeedSchemes: ReadonlySet<string> = new Set(["http:", "https:"])

const parse = (text: string, schemes: ReadonlySet<string>): URL | undefined => {
  const url = URL.parse(text)
  return url !== null && schemes.has(url.protocol) && url.hostname !== "" ? url : undefined
}

/** The URL of a tracker; `undefined` where `text` is none. */
export const parseTracker = (text: string): URL | undefined => parse(text, trackerSchemes)

/** The URL of a web seed; `undefined` where `text` is none. */
export const parseWebSeed = (text: string): URL | undefined => parse(text, webSeedSchemes)

/** Whether `text` is a URL that a tracker may have. */
export const isTracker = (text: string): boolean => parseTracker(text) !== undefined

/** Whether `text` is a URL that a web seed may have. */
export const isWebSeed = (text: string): boolean => parseWebSeed(text) !== undefined
