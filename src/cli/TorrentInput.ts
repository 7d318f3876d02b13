/**
 * Loads the torrent that a command is given: a file or an http(s) URL. Error messages begin with the path or URL.
 */
import * as Effect from "effect/Effect"
import * as MetadataLimit from "../base/MetadataLimit.ts"
import type { PieceHasher } from "../hash/PieceHasher.ts"
import * as Metainfo from "../metainfo/Metainfo.ts"
import * as NodeBoundedFile from "../storage/provider/node/NodeBoundedFile.ts"
import * as Failure from "./CommandFailed.ts"
import { CommandFailed } from "./CommandFailed.ts"

/** The platform whose rules file names must follow. */
export const platform = process.platform === "win32" ? "windows" : "posix"

/** Whether a word is a magnet link. */
export const isMagnet = (text: string): boolean => /^\s*magnet:/i.test(text)

const isUrl = (text: string): boolean => /^https?:\/\//i.test(text)

const readFile = (path: string): Effect.Effect<Uint8Array, CommandFailed> =>
  Effect.tryPromise({
    try: () => NodeBoundedFile.read(path, MetadataLimit.defaultMaxBytes),
    catch: (cause) =>
      cause instanceof NodeBoundedFile.FileTooLong
        ? new CommandFailed({ why: `${path}: ${tooLong}` })
        : Failure.ofFile(path, cause)
  }).pipe(
    Effect.filterOrFail(
      (bytes) => bytes.length > 0,
      () => new CommandFailed({ why: `${path}: the file is empty` })
    )
  )

const tooLong = MetadataLimit.whyTooLong(MetadataLimit.defaultMaxBytes)

// Imported only for a URL: the HTTP client takes longer to load than everything else together.
const fetchUrl = (url: string): Effect.Effect<Uint8Array, CommandFailed> =>
  Effect.flatMap(
    Effect.promise(() => import("./TorrentFetch.ts")),
    ({ fetchTorrent }) => fetchTorrent(url, MetadataLimit.defaultMaxBytes, tooLong)
  )

/** Loads the torrent at a path or an http(s) URL. */
export const load = (text: string): Effect.Effect<Metainfo.Metainfo, CommandFailed, PieceHasher> =>
  (isUrl(text) ? fetchUrl(text) : readFile(text)).pipe(
    Effect.flatMap((bytes) =>
      Effect.mapError(
        Metainfo.fromBytes(bytes, { platform }),
        ({ why }) => new CommandFailed({ why: `${text}: ${why}` })
      )
    )
  )
