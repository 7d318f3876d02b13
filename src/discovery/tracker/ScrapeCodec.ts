/**
 * A scrape of an HTTP tracker (BEP 48): the URL that asks about one torrent, and the bencoded response: a dictionary
 * `files` from info hashes to dictionaries of `complete`, `incomplete` and `downloaded`. Pure.
 */
import * as Result from "effect/Result"
import * as Bytes from "../../base/Bytes.ts"
import * as Bencode from "../../bencode/Bencode.ts"
import * as AnnounceCodec from "./AnnounceCodec.ts"
import type { ScrapeResponse } from "./Tracker.ts"
import { TrackerRefused } from "./TrackerAnswer.ts"

/**
 * The URL of scrapes, without the torrents that they are about. Replaces `announce` at the beginning of the path's last
 * component by `scrape`. `undefined` if that component begins with anything else: such a tracker has no scrape (BEP 48).
 */
export const baseUrl = (trackerUrl: string): string | undefined => {
  const url = URL.parse(trackerUrl)
  if (url === null) return undefined
  const path = url.pathname.replace(/\/announce([^/]*)$/, "/scrape$1")
  if (path === url.pathname) return undefined
  url.pathname = path
  return url.href
}

/** The URL of a scrape for an info hash of 20 bytes; `undefined` if the tracker has no scrape. */
export const toUrl = (trackerUrl: string, infoHash: Uint8Array): string | undefined => {
  const url = baseUrl(trackerUrl)
  return url && AnnounceCodec.withParameters(url, [`info_hash=${AnnounceCodec.percentEncode(infoHash)}`])
}

/**
 * Decodes the counts of the torrent `infoHash`. Fails if the response does not contain it: the tracker does not know
 * it.
 */
export const decode = (bytes: Uint8Array, infoHash: Uint8Array): Result.Result<ScrapeResponse, TrackerRefused> =>
  Result.flatMap(AnnounceCodec.decodeDictionary(bytes), (root) => {
    const files = root.get("files")
    if (!Bencode.isDictionary(files))
      return Result.fail(new TrackerRefused({ why: "the answer is not a scrape response" }))
    const key = Bytes.toLatin1(infoHash)
    // Some trackers written in JavaScript encode the bytes of the key as if they were characters, in UTF-8.
    const file = files.get(key) ?? files.get(Bytes.toLatin1(Bytes.fromText(key)))
    if (!Bencode.isDictionary(file)) return Result.fail(new TrackerRefused({ why: "it does not know this torrent" }))
    return Result.succeed({
      seeders: AnnounceCodec.readCount(file, "complete"),
      leechers: AnnounceCodec.readCount(file, "incomplete"),
      downloads: AnnounceCodec.readCount(file, "downloaded")
    })
  })
