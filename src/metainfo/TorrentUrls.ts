/**
 * The URLs that a torrent names: trackers (BEP 3, BEP 12) and web seeds (BEP 19, BEP 17). Those that cannot be used are
 * dropped.
 */
import * as Bytes from "../base/Bytes.ts"
import * as SourceUrl from "../base/SourceUrl.ts"
import * as Bencode from "../bencode/Bencode.ts"

/** Trackers that are kept of a torrent, and web seeds; further ones are dropped. Large real lists have a hundred. */
export const maxUrls = 1_000

/** The trackers in a metainfo file. If `announce-list` names one that can be used, `announce` is ignored (BEP 12). */
export const trackersOf = (root: Bencode.Dictionary): ReadonlyArray<ReadonlyArray<string>> => {
  const tiers = (Bencode.getList(root, "announce-list") ?? []).map((tier) => textsOf(Bencode.isList(tier) ? tier : []))
  const usable = usableTrackers(tiers)
  if (usable.length > 0) return usable
  const announce = Bencode.getText(root, "announce")
  return announce === undefined ? [] : usableTrackers([[announce]])
}

/** The tiers of trackers that can be used, none empty, no URL twice. */
export const usableTrackers = (tiers: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<ReadonlyArray<string>> => {
  const seen = new Set<string>()
  return tiers.map((tier) => usableUrls(tier, SourceUrl.isTracker, seen)).filter((tier) => tier.length > 0)
}

/** The web seeds in a metainfo file: one URL or a list of them (BEP 19). */
export const webSeedsOf = (root: Bencode.Dictionary): ReadonlyArray<string> => {
  const value = root.get("url-list")
  return usableWebSeeds(textsOf(Bencode.isList(value) ? value : [value]))
}

/** The web seeds in a metainfo file that serve pieces and no files: a list of URLs (BEP 17), or one. */
export const httpSeedsOf = (root: Bencode.Dictionary): ReadonlyArray<string> => {
  const value = root.get("httpseeds")
  return usableWebSeeds(textsOf(Bencode.isList(value) ? value : [value]))
}

/** The web seeds that can be used, no URL twice. */
export const usableWebSeeds = (urls: ReadonlyArray<string>): ReadonlyArray<string> =>
  usableUrls(urls, SourceUrl.isWebSeed, new Set())

const textsOf = (values: ReadonlyArray<Bencode.Value | undefined>): ReadonlyArray<string> =>
  values.flatMap((value) => (Bencode.isBytes(value) ? [Bytes.toText(value)] : []))

/** The usable URLs that are not in `seen` yet, without blanks around them. */
const usableUrls = (urls: ReadonlyArray<string>, isUsable: (url: string) => boolean, seen: Set<string>) => {
  const usable: Array<string> = []
  for (const text of urls) {
    const url = text.trim()
    if (seen.size === maxUrls) break
    if (seen.has(url) || !isUsable(url)) continue
    seen.add(url)
    usable.push(url)
  }
  return usable
}
