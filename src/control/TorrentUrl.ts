/**
 * Fetches what a URL that a user gave leads to: a torrent file, or a magnet link to which the server redirects. The URL
 * may lead anywhere, but may not redirect to a less public place.
 */
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Schema from "effect/Schema"
import * as MetadataLimit from "../base/MetadataLimit.ts"
import * as Magnet from "../metainfo/Magnet.ts"
import type * as Hops from "../network/Hops.ts"
import * as HttpFile from "../network/HttpFile.ts"

/** The URL did not lead to a torrent. `why` is a clause. */
export class UrlFailed extends Schema.TaggedError<UrlFailed>()("piecewise/UrlFailed", {
  url: Schema.String,
  why: Schema.String
}) {
  override get message() {
    return `${this.url}: ${this.why}`
  }
}

/** A text that begins with this, after blanks and a byte order mark, is a page or another document. */
const markup = /^\s*</

/** Returns the bytes of a torrent file, or a magnet link and who redirects to it. */
export const fetch = Effect.fnUntraced(function* (
  url: string
): Effect.fn.Return<Uint8Array | Hops.Elsewhere, UrlFailed, HttpClient.HttpClient> {
  const target = URL.parse(url)
  if (target === null) return yield* new UrlFailed({ url, why: "this is not a URL" })
  if (!/^https?:$/.test(target.protocol)) {
    return yield* new UrlFailed({ url, why: "only http and https URLs can be fetched" })
  }
  const maxBytes = MetadataLimit.defaultMaxBytes
  const tooLong = MetadataLimit.whyTooLong(maxBytes)
  const client = yield* HttpClient.HttpClient
  const found = yield* HttpFile.get(client, target, { maxBytes, tooLong, whyNot: () => undefined }).pipe(
    Effect.catch(({ elsewhere, why }) =>
      elsewhere?.url.startsWith("magnet:") === true
        ? Effect.succeed(elsewhere)
        : Effect.fail(new UrlFailed({ url, why }))
    )
  )
  if (!("url" in found) && markup.test(new TextDecoder().decode(found.subarray(0, 256)))) {
    return yield* new UrlFailed({ url, why: "the server sent a web page, not a torrent file" })
  }
  return found
})

/** What a session can add. */
export type Source = { readonly metainfo: Uint8Array } | { readonly magnet: string }

/** Fetches what a session can add. A link of a server names no peer that the server may not name (`base/Naming.ts`). */
export const source = (url: string): Effect.Effect<Source, UrlFailed, HttpClient.HttpClient> =>
  Effect.flatMap(fetch(url), (found): Effect.Effect<Source, UrlFailed> => {
    if (!("url" in found)) return Effect.succeed({ metainfo: found })
    return Effect.fromResult(Magnet.parse(found.url)).pipe(
      Effect.mapBoth({
        onFailure: ({ why }) => new UrlFailed({ url, why: `it redirects to a magnet link, and ${why}` }),
        onSuccess: (link) => ({ magnet: Magnet.format({ ...link, peers: Magnet.peersNamedBy(link, found.from) }) })
      })
    )
  })
