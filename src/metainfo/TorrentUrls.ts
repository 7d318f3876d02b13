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

/** URLs of web seeds: those that serve files (BEP 19), and those that serve pieces (BEP 17). */
export interface SeedUrls {
  readonly webSeeds?: ReadonlyArray<string> | undefined
  readonly httpSeeds?: ReadonlyArray<string> | undefined
}

/** The web seeds in a metainfo file. Each key has one URL or a list of them. */
export const seedsOf = (root: Bencode.Dictionary) => {
  const urlsOf = (key: string): ReadonlyArray<string> => {
    const value = root.get(key)
    return textsOf(Bencode.isList(value) ? value : [value])
  }
  return usableSeeds({ webSeeds: urlsOf("url-list"), httpSeeds: urlsOf("httpseeds") })
}

/** The web seeds that can be used, no URL twice. */
export const usableSeeds = ({ httpSeeds = [], webSeeds = [] }: SeedUrls) => ({
  webSeeds: usableUrls(webSeeds, SourceUrl.isWebSeed, new Set()),
  httpSeeds: usableUrls(httpSeeds, SourceUrl.isWebSeed, new Set())
})

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
