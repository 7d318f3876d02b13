/**
 * The trackers of a torrent in tiers (BEP 12): which one comes next.
 *
 * Every tier is shuffled once. An announce asks the trackers in order, through the first tier, then the second, until one
 * answers; that one moves to the front of its tier. The next announce begins at the front again, so a tier of backups is
 * only used while everything before it fails or is silent. When to ask is `AnnounceSchedule.ts`'s question.
 */

import * as Prng from "../../base/Prng.ts"
import * as SourceUrl from "../../base/SourceUrl.ts"

/** Trackers' URLs in tiers, none twice, no tier empty. Immutable. */
export interface TrackerTiers {
  readonly tiers: ReadonlyArray<ReadonlyArray<string>>
}

/**
 * Tiers of the given URLs, each shuffled by `random` (0 <= x < 1). URLs that are none, or not of a tracker, are dropped;
 * of a URL that stands in several places the first counts.
 */
export const make = (tiers: ReadonlyArray<ReadonlyArray<string>>, random: () => number): TrackerTiers => {
  const seen = new Set<string>()
  const isNew = (url: string): boolean => {
    if (seen.has(url) || !SourceUrl.isTracker(url)) return false
    seen.add(url)
    return true
  }
  return {
    tiers: tiers
      .map((tier) => {
        const urls = tier.map((url) => url.trim()).filter(isNew)
        Prng.shuffle(random, urls)
        return urls
      })
      .filter((tier) => tier.length > 0)
  }
}

/** All trackers in the order in which an announce asks them. */
export const order = (self: TrackerTiers): ReadonlyArray<string> => self.tiers.flat()

/** The tiers after `url` has answered: it stands at the front of its tier. Unchanged where there is no such tracker. */
export const promote = (self: TrackerTiers, url: string): TrackerTiers => ({
  tiers: self.tiers.map((tier) => (tier.includes(url) ? [url, ...tier.filter((other) => other !== url)] : tier))
})
