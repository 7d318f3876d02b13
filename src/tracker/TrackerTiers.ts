/**
 * The trackers of a torrent in tiers (BEP 12): which one comes next.
 *
 * Every tier is shuffled once. An announce asks the trackers in order, through the first tier, then the second, until one
 * answers; that one moves to the front of its tier. The next announce begins at the front again, so a tier of backups is
 * only used while everything before it fails. When to ask is `AnnounceSchedule.ts`'s question.
 */

/** Trackers' URLs in tiers, none twice, no tier empty. Immutable. */
export interface TrackerTiers {
  readonly tiers: ReadonlyArray<ReadonlyArray<string>>
}

/** What a tracker is reached by. Others (`file:`, `javascript:`) come from hostile torrents and are dropped. */
const schemes = new Set(["http:", "https:", "udp:", "ws:", "wss:"])

/**
 * Tiers of the given URLs, each shuffled by `random` (0 <= x < 1). URLs that are none, or not of a tracker, are dropped;
 * of a URL that stands in several places the first counts.
 */
export const make = (tiers: ReadonlyArray<ReadonlyArray<string>>, random: () => number): TrackerTiers => {
  const seen = new Set<string>()
  const isNew = (url: string): boolean => {
    if (seen.has(url) || !schemes.has(URL.parse(url)?.protocol ?? "")) return false
    seen.add(url)
    return true
  }
  return {
    tiers: tiers
      .map((tier) => shuffled(tier.map((url) => url.trim()).filter(isNew), random))
      .filter((tier) => tier.length > 0)
  }
}

/** Fisher-Yates: every order is equally likely. */
const shuffled = (urls: Array<string>, random: () => number): Array<string> => {
  for (let last = urls.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    const url = urls[last]!
    urls[last] = urls[other]!
    urls[other] = url
  }
  return urls
}

/** All trackers in the order in which an announce asks them. */
export const order = (self: TrackerTiers): ReadonlyArray<string> => self.tiers.flat()

/** The tiers after `url` has answered: it stands at the front of its tier. Unchanged where there is no such tracker. */
export const promote = (self: TrackerTiers, url: string): TrackerTiers => ({
  tiers: self.tiers.map((tier) => (tier.includes(url) ? [url, ...tier.filter((other) => other !== url)] : tier))
})
