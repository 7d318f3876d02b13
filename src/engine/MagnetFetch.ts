/**
 * Fetches what a magnet link stands for, with what an engine has: its places, its port and its sources.
 */
import * as Effect from "effect/Effect"
import type { PiecePriority } from "../assembly/PiecePriority.ts"
import * as InfoHash from "../base/InfoHash.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import * as Magnet from "../metainfo/Magnet.ts"
import * as Metainfo from "../metainfo/Metainfo.ts"
import * as MetadataFetch from "../torrent/MetadataFetch.ts"
import type { Metadata } from "./EngineOptions.ts"

/** A link that has an info hash of version 1. */
export type Link = Magnet.Magnet & { readonly infoHash: InfoHash.InfoHash }

/** What a fetch needs besides the link. */
export interface Options
  extends Pick<
    MetadataFetch.Options,
    "peerId" | "port" | "sources" | "dht" | "maxBytes" | "random" | "places" | "own"
  > {
  readonly link: Link
  /** As in `Metainfo.decodeInfo`. */
  readonly platform?: Metainfo.Options["platform"]
}

/** The name to show until the metainfo is known. */
export const nameOf = ({ infoHash, name }: Link): string => name ?? InfoHash.toHex(infoHash)

/** The trackers of a magnet link have no order and are often dead, so each one is a tier. */
export const trackersOf = ({ trackers }: Link): ReadonlyArray<ReadonlyArray<string>> => trackers.map((url) => [url])

/** The files that the link selects (BEP 53); `undefined` if it selects none. */
export const filesOf = (link: Link): ((metainfo: Metainfo.Metainfo) => ReadonlyArray<PiecePriority>) | undefined =>
  link.select === undefined
    ? undefined
    : ({ layout }) =>
        Array.from(FileLayout.indices(layout), (index) => (Magnet.selects(link, index) ? "normal" : "skip"))

/**
 * Fetches until a peer or a URL has sent the info dict, and then ends everything that it started. The trackers and web
 * seeds of a torrent file that was found are added to those of the link. Of a private torrent only those peers are
 * returned that the user gave (BEP 27). Fails with `MetainfoError` if the info dict is
 * invalid although its digest matches.
 */
export const run = Effect.fnUntraced(function* (
  { link, maxBytes, platform, ...options }: Options,
  { listen, report }: Pick<MetadataFetch.Options, "listen" | "report">
) {
  const trackers = trackersOf(link)
  const fetched = yield* MetadataFetch.run({
    ...options,
    infoHash: link.infoHash,
    trackers,
    urls: [...link.exactSources, ...link.acceptableSources],
    maxBytes,
    listen,
    report
  })
  const metainfo = yield* Metainfo.fromInfoBytes(fetched.info, {
    trackers: [...trackers, ...(fetched.file?.trackers ?? [])],
    webSeeds: [...link.webSeeds, ...(fetched.file?.webSeeds ?? [])],
    httpSeeds: fetched.file?.httpSeeds,
    nodes: fetched.file?.nodes,
    platform,
    maxBytes
  })
  const found: Metadata = { metainfo, peers: metainfo.isPrivate ? fetched.given : fetched.addresses }
  return found
})
