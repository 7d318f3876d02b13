/**
 * The trackers of a torrent, as clients of the Transmission RPC see them. Pure.
 */
import * as SourceUrl from "../../base/SourceUrl.ts"
import * as ScrapeCodec from "../../discovery/tracker/ScrapeCodec.ts"
import type { SourceStatus } from "../../torrent/SourceStatus.ts"
import type { TorrentView } from "./TorrentView.ts"

/** A tracker and its tier, from 0. */
interface Tracker {
  readonly url: string
  readonly tier: number
}

/** Its trackers. Those of a magnet link are known once they have reported something. */
const trackersOf = ({ metainfo, sources }: TorrentView): ReadonlyArray<Tracker> =>
  metainfo === undefined
    ? sources.filter(({ source }) => SourceUrl.isTracker(source)).map(({ source }, tier) => ({ url: source, tier }))
    : metainfo.trackers.flatMap((urls, tier) => urls.map((url) => ({ url, tier })))

const placeOf = (url: string): { readonly host: string; readonly address: string } => {
  const parsed = URL.parse(url)
  if (parsed === null) return { host: url, address: url }
  return { host: parsed.hostname, address: `${parsed.protocol}//${parsed.host}` }
}

/** A name for a tracker: the last but one part of its host. */
const siteOf = (host: string): string => (/^[\d.]+$|:/.test(host) ? host : (host.split(".").at(-2) ?? host))

/** The URL of scrapes; empty if the tracker has none. Over UDP it is that of announces (BEP 15). */
const scrapeOf = (url: string): string => (/^udp:/i.test(url) ? url : (ScrapeCodec.baseUrl(url) ?? ""))

const of = ({ tier, url }: Tracker, id: number) => {
  const { host } = placeOf(url)
  return { id, announce: url, scrape: scrapeOf(url), sitename: siteOf(host), tier }
}

/** `trackers`. */
export const list = (view: TorrentView) => trackersOf(view).map(of)

/** `trackerList`: a URL a line, and an empty line between tiers. */
export const text = (view: TorrentView): string => {
  const tiers = Map.groupBy(trackersOf(view), ({ tier }) => tier)
  return Array.from(tiers.values(), (trackers) => trackers.map(({ url }) => url).join("\n")).join("\n\n")
}

const silent: SourceStatus = { source: "", reportedMillisAgo: 0, hasAnswered: false, peers: 0 }

/** `trackerStats`. Times that are not known are 0, and counts -1. */
export const statistics = (view: TorrentView) =>
  trackersOf(view).map((tracker, id) => {
    const found = view.sources.find(({ source }) => source === tracker.url)
    const { failure, leechers, peers, reportedMillisAgo, seeders } = found ?? silent
    const at = found === undefined ? 0 : Math.floor((view.now - reportedMillisAgo) / 1_000)
    return {
      ...of(tracker, id),
      host: placeOf(tracker.url).address,
      // Waiting for the next announce, or inactive.
      announceState: view.engine === undefined ? 0 : 1,
      downloadCount: -1,
      hasAnnounced: found !== undefined,
      hasScraped: false,
      isBackup: false,
      lastAnnouncePeerCount: failure === undefined ? peers : 0,
      lastAnnounceResult: found === undefined ? "" : (failure ?? "Success"),
      lastAnnounceStartTime: at,
      lastAnnounceSucceeded: found !== undefined && failure === undefined,
      lastAnnounceTime: at,
      lastAnnounceTimedOut: false,
      lastScrapeResult: "",
      lastScrapeStartTime: 0,
      lastScrapeSucceeded: false,
      lastScrapeTime: 0,
      lastScrapeTimedOut: false,
      leecherCount: leechers ?? -1,
      nextAnnounceTime: 0,
      nextScrapeTime: 0,
      scrapeState: 0,
      seederCount: seeders ?? -1
    }
  })

/**
 * What is wrong with the trackers as a whole: nothing while one of them works, or none was heard of.
 */
export const failure = ({ sources }: TorrentView): string | undefined => {
  const trackers = sources.filter(({ source }) => SourceUrl.isTracker(source))
  return trackers.every(({ failure }) => failure !== undefined) ? trackers[0]?.failure : undefined
}

/** What a tracker wants the user to know. */
export const warning = ({ sources }: TorrentView): string | undefined =>
  sources.find(({ source, warning }) => warning !== undefined && SourceUrl.isTracker(source))?.warning
