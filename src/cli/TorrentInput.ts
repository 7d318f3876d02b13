/**
 * Loads the torrent that a command is given: a file, an http(s) URL or a magnet link. Error messages begin with the
 * path or URL.
 */
import * as Effect from "effect/Effect"
import * as MetadataLimit from "../base/MetadataLimit.ts"
import * as Naming from "../base/Naming.ts"
import type * as Reach from "../base/Reach.ts"
import type { PieceHasher } from "../hash/PieceHasher.ts"
import * as Metainfo from "../metainfo/Metainfo.ts"
import type * as Hops from "../network/Hops.ts"
import * as NodeBoundedFile from "../storage/provider/node/NodeBoundedFile.ts"
import * as Failure from "./CommandFailed.ts"
import { CommandFailed } from "./CommandFailed.ts"

/** The platform whose rules file names must follow. */
export const platform = process.platform === "win32" ? "windows" : "posix"

/** Whether a word is a magnet link. */
export const isMagnet = (text: string): boolean => /^\s*magnet:/i.test(text)

/** Whether a word is a URL of something to fetch. */
export const isUrl = (text: string): boolean => /^https?:\/\//i.test(text)

/** Reads a torrent file, as bytes that need not be one. */
export const readFile = (path: string): Effect.Effect<Uint8Array, CommandFailed> =>
  Effect.tryPromise({
    try: () => NodeBoundedFile.read(path, MetadataLimit.defaultMaxBytes),
    catch: (cause) =>
      cause instanceof NodeBoundedFile.FileTooLong
        ? new CommandFailed({ why: `${path}: ${tooLong()}` })
        : Failure.ofFile(path, cause)
  }).pipe(
    Effect.filterOrFail(
      (bytes) => bytes.length > 0,
      () => new CommandFailed({ why: `${path}: the file is empty` })
    )
  )

const tooLong = (): string => MetadataLimit.whyTooLong(MetadataLimit.defaultMaxBytes)

// Imported only for a URL: the HTTP client takes longer to load than everything else together.
const fetchUrl = (url: string, from: string | undefined): Effect.Effect<Uint8Array | Hops.Elsewhere, CommandFailed> =>
  Effect.flatMap(
    Effect.promise(() => import("./TorrentFetch.ts")),
    ({ fetchTorrent, makeClient }) => fetchTorrent(url, makeClient(from))
  )

/** What an operand names: a torrent, or the text of a magnet link. */
export type Found =
  | { readonly _tag: "Torrent"; readonly metainfo: Metainfo.Metainfo }
  | {
      readonly _tag: "Link"
      readonly link: string
      /** The reach of whoever the link is from. A server that redirects to it may not name all peers (`Naming`). */
      readonly reach: Reach.Reach
    }

/**
 * Finds what the operand names: a path, an http(s) URL, which may redirect to a magnet link, or a magnet link. A URL is
 * fetched from the local address `from`, or from the one that the system chooses.
 */
export const find = (text: string, from: string | undefined): Effect.Effect<Found, CommandFailed, PieceHasher> => {
  if (isMagnet(text)) return Effect.succeed({ _tag: "Link", link: text, reach: Naming.anything })
  return Effect.flatMap(isUrl(text) ? fetchUrl(text, from) : readFile(text), (found) =>
    "url" in found
      ? Effect.succeed<Found>({ _tag: "Link", link: found.url, reach: found.from })
      : Metainfo.fromBytes(found, { platform }).pipe(
          Effect.mapBoth({
            onFailure: ({ why }) => new CommandFailed({ why: `${text}: ${why}` }),
            onSuccess: (metainfo): Found => ({ _tag: "Torrent", metainfo })
          })
        )
  )
}

/** Loads the torrent at a path or an http(s) URL; see `find`. Fails for a magnet link. */
export const load = (
  text: string,
  from: string | undefined
): Effect.Effect<Metainfo.Metainfo, CommandFailed, PieceHasher> =>
  Effect.flatMap(find(text, from), (found) =>
    found._tag === "Torrent"
      ? Effect.succeed(found.metainfo)
      : Effect.fail(new CommandFailed({ why: `${text}: a magnet link does not suffice here, only a torrent file` }))
  )
