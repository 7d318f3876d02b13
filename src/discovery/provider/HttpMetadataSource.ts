/**
 * Fetches the torrent files that a magnet link names (`xs` and `as`) over Effect's `HttpClient`, which the environment
 * (a Node process, a page) provides.
 *
 * A stranger made the link. So few of its URLs are tried, each once, a few at a time, and each response is bounded in
 * time, bytes and redirects (`HttpFile.ts`). `Destination.ts` decides where a request may go. A URL that fails is
 * skipped, because the peers or another URL may have the metadata.
 */
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Destination from "../../base/Destination.ts"
import * as MetadataLimit from "../../base/MetadataLimit.ts"
import * as SourceUrl from "../../base/SourceUrl.ts"
import * as HttpFile from "../../network/HttpFile.ts"
import type { MetadataSource } from "../MetadataSource.ts"
import { MetadataSources } from "../MetadataSource.ts"

/** URLs of a link that are tried. Real links name one. */
export const maxUrls = 8

/** URLs that are fetched at the same time, each of which may hold a whole torrent file. */
export const maxAtOnce = 2

/** Makes a source that fetches with `client`. */
export const make = (client: HttpClient.HttpClient): MetadataSource => ({
  metadata: ({ maxBytes, urls }) => {
    const options: HttpFile.Options = {
      maxBytes,
      tooLong: MetadataLimit.whyTooLong(maxBytes),
      whyNot: Destination.whyNotTorrentFile
    }
    const fetch = (text: string) =>
      Effect.suspend(() => {
        const url = SourceUrl.parseTorrentFile(text)
        return url === undefined
          ? new HttpFile.HttpFileError({ why: "this is not an HTTP URL" })
          : HttpFile.get(client, url, options)
      }).pipe(
        Effect.map((bytes) => [bytes]),
        Effect.catch(({ why }) => Effect.as(Effect.logDebug(`${text}: ${why}`), []))
      )
    return Stream.fromIterable(urls.slice(0, maxUrls)).pipe(
      Stream.mapEffect(fetch, { concurrency: maxAtOnce, unordered: true }),
      Stream.flatMap(Stream.fromIterable)
    )
  }
})

/** Provides `MetadataSources` with one source: the URLs of each link. */
export const layer: Layer.Layer<never, never, HttpClient.HttpClient> = Layer.effect(
  MetadataSources,
  Effect.map(HttpClient.HttpClient, (client) => [make(client)])
)
