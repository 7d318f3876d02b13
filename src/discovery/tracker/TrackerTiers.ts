/**
 * The trackers of a torrent in tiers (BEP 12), and their order.
 *
 * Each tier is shuffled once. An announce asks the trackers in order, the first tier, then the second, until one
 * answers; that one moves to the front of its tier. The next announce begins at the front again, so a backup tier is
 * used only while everything before it fails or is silent. `AnnounceSchedule.ts` decides when to ask.
 */

import * as Prng from "../../base/Prng.ts"
import * as SourceUrl from "../../base/SourceUrl.ts"

/** Tracker URLs in tiers. No URL appears twice and no tier is empty. Immutable. */
export interface TrackerTiers {
  readonly tiers: ReadonlyArray<ReadonlyArray<string>>
}

/**
 * Makes tiers from the given URLs, and shuffles each by `random` (0 <= x < 1). Drops everything that is not a tracker
 * URL. If a URL appears more than once, its first place counts.
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

/** The tiers after `url` answered: it is first in its tier. Unchanged if no tier contains it. */
export const promote = (self: TrackerTiers, url: string): TrackerTiers => ({
  tiers: self.tiers.map((tier) => (tier.includes(url) ? [url, ...tier.filter((other) => other !== url)] : tier))
})
