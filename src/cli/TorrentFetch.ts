/**
 * Fetches what a URL that the user typed leads to: a torrent file, or a magnet link to which the server redirects. The
 * URL may lead anywhere, but may not redirect to a less public place.
 */
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as MetadataLimit from "../base/MetadataLimit.ts"
import type * as Hops from "../network/Hops.ts"
import * as HttpFile from "../network/HttpFile.ts"
import * as NodeUnpacking from "../network/provider/node/NodeUnpacking.ts"
import { Unpacking } from "../network/Unpacking.ts"
import * as NodeLookup from "../node/NodeLookup.ts"
import * as NodeRoutedHttp from "../node/NodeRoutedHttp.ts"
import { CommandFailed } from "./CommandFailed.ts"

/** A text that begins with this, after blanks and a byte order mark, is a page or another document. */
const markup = /^\s*</

/** Makes a client that connects from the local address `from`; `undefined` for the system's choice. */
export const makeClient = (from: string | undefined): HttpClient.HttpClient =>
  NodeRoutedHttp.make(NodeLookup.system, from)

/** Returns the bytes of a torrent file, or a magnet link and who redirects to it. */
export const fetchTorrent = (
  url: string,
  client: HttpClient.HttpClient
): Effect.Effect<Uint8Array | Hops.Elsewhere, CommandFailed> => {
  const fail = (why: string) => Effect.fail(new CommandFailed({ why: `${url}: ${why}` }))
  const target = URL.parse(url)
  if (target === null) return fail("this is not a URL")
  const maxBytes = MetadataLimit.defaultMaxBytes
  const tooLong = MetadataLimit.whyTooLong(maxBytes)
  return HttpFile.get(client, target, { maxBytes, tooLong, whyNot: () => undefined }).pipe(
    Effect.provideService(Unpacking, NodeUnpacking.unpack),
    Effect.catch(({ elsewhere, why }) =>
      elsewhere?.url.startsWith("magnet:") === true ? Effect.succeed(elsewhere) : fail(why)
    ),
    Effect.flatMap((found) =>
      !("url" in found) && markup.test(new TextDecoder().decode(found.subarray(0, 256)))
        ? fail("the server sent a web page, not a torrent file")
        : Effect.succeed(found)
    )
  )
}
