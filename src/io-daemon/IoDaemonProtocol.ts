/**
 * Defines the HTTP requests to the io-daemon: their routes, headers and bodies, and how answers are decoded. The
 * functions are pure. `native-host/io-daemon/src/routes` defines the same contract a second time, so change both
 * together. The tests of the storage run against the real daemon.
 *
 * A root is a folder in which the daemon may read and write. A set is an ordered list of files below one root. The
 * files of a set form one range of bytes, as if they were joined, and bytes are written and read by their offset in it.
 * All requests about a set have a route that begins with `/v1/sets/ID`. Every request needs `Authorization: Bearer
 * TOKEN`, except that for `/health`, which is not used here.
 *
 * The URL of a write is the same for every piece, because a browser remembers by its URL that a request is allowed (a
 * CORS preflight). So the offset and the digest of the bytes are in headers (RFC 9110 section 14.4, RFC 9530).
 */
import * as Base64 from "effect/encoding/Base64"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as FileLayout from "../metainfo/FileLayout.ts"
import * as NameRivals from "../metainfo/NameRivals.ts"
import type { FileFacts } from "../storage/Storage.ts"

/**
 * Returns the route of a set, with which the routes for its files and bytes begin. `PUT` registers the set with the
 * body `registration`, and is answered with 201 if the set is new or 204 if the same set was registered before.
 * `DELETE` forgets the set (204), and its files stay.
 */
export const setRoute = (id: string): string => `/v1/sets/${id}`

/**
 * Returns the route to write bytes of a set. `POST` stores the body at the offset in `Content-Range` (204). Before that
 * the daemon compares the body with `Content-Digest`.
 */
export const writeRoute = (id: string): string => `${setRoute(id)}/write`

/**
 * Returns the route to read bytes of a set. `GET` returns the bytes that `Range` names (206), or all without it (200).
 */
export const readRoute = (id: string): string => `${setRoute(id)}/read`

/**
 * Returns the route to prepare the files of a set. `POST` with `prepareBody` moves all wanted files to their places
 * (204). The unwanted files that the body lists are set aside from their next use on.
 */
export const prepareRoute = (id: string): string => `${setRoute(id)}/prepare`

/**
 * Returns the route to digest bytes. `POST` with `digestsBody` streams a line for each range (200); see `decodeDigest`.
 */
export const digestsRoute = (id: string): string => `${setRoute(id)}/digests`

/**
 * Returns the route to look at files. `POST` with `filesBody` streams a line for each file, which says what exists at
 * its place (200); see `decodeFile`.
 */
export const lookRoute = (id: string): string => `${setRoute(id)}/look`

/**
 * Returns the route to reserve files. `POST` with `reserveBody` makes the set the only writer of all these files (204),
 * or of none of them.
 */
export const reserveRoute = (id: string): string => `${setRoute(id)}/reserve`

/** Returns the route to release files. `POST` with `filesBody` lets other sets and programs write to them (204). */
export const releaseRoute = (id: string): string => `${setRoute(id)}/release`

/**
 * Returns the route to claim files. `POST` with `claimsBody` makes reserved files writable, and streams a line for each
 * (200); see `decodeFile`.
 */
export const claimRoute = (id: string): string => `${setRoute(id)}/claim`

/**
 * Returns the route to flush files. `POST` with `filesBody` makes sure that what was written to them is on the disk,
 * and streams a line for each (200); see `decodeFile`.
 */
export const flushRoute = (id: string): string => `${setRoute(id)}/flush`

/**
 * Returns the route to move a reserved file. `POST` with `renameBody` moves it to another path of the root (204). It
 * never replaces what exists there.
 */
export const renameRoute = (id: string): string => `${setRoute(id)}/rename`

/** Returns the route to delete reserved files. `POST` with `filesBody` deletes them (204). */
export const removeRoute = (id: string): string => `${setRoute(id)}/remove`

/**
 * The header of an answer to `readRoute` in which the daemon reports facts of the files that it has just read. It is
 * absent if the answer is long or has bytes of many files. See `decodeFiles`.
 */
export const filesHeader = "piecewise-files"

/** The route to the daemon's counters. `GET` returns them as `Stats` (200). */
export const statsRoute = "/v1/control/stats"

/** The route to the daemon's configuration. `GET` returns it as `Config` (200). */
export const configRoute = "/v1/config"

/** The most ranges that we ask the daemon to digest in one request. The daemon's own limit is 65,536. */
export const maxDigestRanges = 4_096

/** The most files that one request of ours looks at, claims or flushes. The daemon's own limit is 16,384. */
export const maxFilesPerRequest = 4_096

/**
 * Names whoever registers a set, so that the daemon recognizes a set that an earlier run of the same program left
 * behind.
 */
export interface Client {
  /** A text that is the same for every set of a torrent. */
  readonly torrent: string
  /** A text that is the same for all sets of a program, and that differs after a restart of the program. */
  readonly owner: string
}

/** Lists the unwanted files of a set and names the folder in which they are set aside. */
export interface SetAside {
  /**
   * The components of the path of that folder, below the root. In it, the unwanted files have the same paths as in the
   * set. No file of the set may have a path in this folder.
   */
  readonly folder: ReadonlyArray<string>
  /** The indices of the unwanted files. If the set is already registered, its unwanted files do not change. */
  readonly skipped: ReadonlyArray<number>
}

/**
 * A rival is a file or folder of a torrent that may have the same name on the disk as another one. A file is given by
 * its index and by the names that it may have besides the path of its entry.
 */
type Rival =
  | { readonly file: number; readonly own?: Components | undefined; readonly original?: Components | undefined }
  | { readonly folder: Components }

type Components = ReadonlyArray<string>

/**
 * Returns the groups of rivals, as `NameRivals.ts` finds them; `undefined` if there are none, as in most torrents. The
 * daemon finds out on its disk which name each of them has.
 */
const rivalsOf = (layout: FileLayout.FileLayout): ReadonlyArray<ReadonlyArray<Rival>> | undefined => {
  const groups = new Set(NameRivals.groupsOf(layout).values())
  if (groups.size === 0) return undefined
  return Array.from(groups, (group) =>
    group.map(({ index, names }): Rival => {
      if (index === undefined) return { folder: names[0]! }
      const { original, path, portable } = FileLayout.namesOf(layout, index)
      return { file: index, own: portable && path, original: original?.every(isComponent) ? original : undefined }
    })
  )
}

/** Returns whether the daemon accepts `component` in a path. It refuses separators, also that of Windows. */
const isComponent = (component: string): boolean => !component.includes("\\")

/**
 * Makes the body that registers the files of a torrent as a set. Equal arguments make an equal body, so its digest can
 * be the id of the set. The entries of files have their portable names, which every file system accepts. If a file has
 * other names too, or rivals, the daemon finds out on its disk which name is used, as `FileNames.ts` does.
 */
export const registration = (layout: FileLayout.FileLayout, root: string, aside?: SetAside, client?: Client): string =>
  JSON.stringify({
    root,
    files: layout.files.map(({ length, padding, path, portable = path }) =>
      padding ? { path: [], length, padding } : { path: portable, length }
    ),
    allocate: false,
    rivals: rivalsOf(layout),
    aside: aside?.folder,
    skipped: aside?.skipped,
    ...client
  })

/** Makes the body that lists files by their index in the set. */
export const filesBody = (files: ReadonlyArray<number>): string => JSON.stringify({ files })

/**
 * Makes the body that reserves files. `again` says that they were reserved before the daemon forgot the set. Then the
 * request does not take files from another set of the same torrent that was registered since.
 */
export const reserveBody = (files: ReadonlyArray<number>, again: boolean): string => JSON.stringify({ files, again })

/** How a file becomes writable. `Storage.ts` defines `new`, `found` and `overwritten`. */
export type Claim =
  | { readonly file: number; readonly as: "new" | "overwritten" }
  | {
      readonly file: number
      readonly as: "found"
      readonly facts: Pick<Facts, "identity" | "length" | "mtimeNs">
      readonly afresh?: true | undefined
    }
  /** The file was claimed before the daemon forgot the set. It must still be the same, with at least this length. */
  | { readonly file: number; readonly as: "again"; readonly identity: string; readonly length: number }

/** Makes the body that claims files. */
export const claimsBody = (claims: ReadonlyArray<Claim>): string =>
  JSON.stringify({
    claims: claims.map((claim) => {
      if (claim.as !== "found") return claim
      const { afresh, facts, file } = claim
      const { identity, length, mtimeNs } = facts
      return { file, as: "found", facts: { length, mtimeNs: String(mtimeNs), identity }, afresh }
    })
  })

/**
 * Makes the body that moves a file to `path`. If the answer to a move that succeeded was lost, the daemon recognizes
 * the moved file by its `identity` when the move is requested again.
 */
export const renameBody = (file: number, path: ReadonlyArray<string>, identity: string | undefined): string =>
  JSON.stringify({ file, path, identity })

/** Makes the body that lists the unwanted files by their index in the set. All others are wanted. */
export const prepareBody = (skipped: ReadonlyArray<number>): string => JSON.stringify({ skipped })

/** Makes the body that asks for the SHA-1 digest of each range, given as its offset in the set and its length. */
export const digestsBody = (ranges: ReadonlyArray<readonly [begin: number, length: number]>): string =>
  JSON.stringify({ algorithm: "sha1", ranges })

/**
 * Returns the value of `Content-Range` for `length` bytes at offset `begin` (RFC 9110 section 14.4). It leaves open how
 * long the whole set is. `length` is at least 1.
 */
export const contentRange = (begin: number, length: number): string => `bytes ${begin}-${begin + length - 1}/*`

/**
 * Returns the value of `Range` for `length` bytes at offset `begin` (RFC 9110 section 14.2). `length` is at least 1.
 */
export const range = (begin: number, length: number): string => `bytes=${begin}-${begin + length - 1}`

/** Returns the value of `Content-Digest` for a body with this SHA-1 digest (RFC 9530 section 2). */
export const contentDigest = (sha1: Uint8Array): string => `sha=:${Base64.encode(sha1)}:`

/** Parses a line of the answer to `digestsRoute`. The result is `undefined` if a byte of the range is not stored. */
export const decodeDigest = (line: string): Result.Result<Uint8Array | undefined, string> => {
  if (line === "null") return Result.succeed(undefined)
  const digest = /^"[A-Za-z0-9+/=]+"$/.test(line) ? Base64.decode(line.slice(1, -1)) : undefined
  return digest !== undefined && Result.isSuccess(digest) && digest.success.length === 20
    ? Result.succeed(digest.success)
    : Result.fail("the io-daemon sent something that is no digest")
}

/** The facts of what exists at a file's place. */
export type Facts = Omit<FileFacts, "file">

const factsFields = {
  kind: Schema.Literals(["file", "other"]),
  length: Schema.Finite,
  mtimeNs: Schema.String.check(Schema.isPattern(/^-?[0-9]{1,30}$/)),
  identity: Schema.String.check(Schema.isPattern(/^[!-~]{1,64}$/)),
  isHole: Schema.Boolean,
  isAside: Schema.Boolean,
  otherNames: Schema.Finite
}

const toFacts = <A extends { readonly mtimeNs: string }>(facts: A) => ({ ...facts, mtimeNs: BigInt(facts.mtimeNs) })

/** The schema of the daemon's reason for an error. Programs decide by `kind`, and people read `message`. */
export const Refusal = Schema.Struct({
  kind: Schema.String,
  message: Schema.String,
  /** The path of the file that is to blame, below the root, with `/` between its components. */
  path: Schema.optionalKey(Schema.String),
  /** What is wrong with that file, as the end of a sentence. */
  why: Schema.optionalKey(Schema.String),
  /** Which program or torrent has reserved the requested files, as the end of a sentence. */
  holder: Schema.optionalKey(Schema.String)
})

/** The daemon's reason for an error. */
export type Refusal = typeof Refusal.Type

const decodeFileJson = Schema.decodeUnknownResult(
  Schema.fromJsonString(Schema.NullOr(Schema.Union([Schema.Struct(factsFields), Schema.Struct({ error: Refusal })])))
)

const decodeFilesJson = Schema.decodeUnknownResult(
  Schema.fromJsonString(Schema.Array(Schema.Struct({ file: Schema.Finite, ...factsFields })))
)

/**
 * The outcome of a request for one file. It has the facts of the file, or `undefined` if nothing exists at its place.
 * If the request failed for this file, it has the refusal instead.
 */
export type FileOutcome = { readonly facts: Facts | undefined } | { readonly refusal: Refusal }

/**
 * Parses a line about one file. Do not call it for an empty line, which the daemon sends between others to show that it
 * is still working.
 */
export const decodeFile = (line: string): Result.Result<FileOutcome, string> => {
  const decoded = decodeFileJson(line)
  if (Result.isFailure(decoded)) return Result.fail("the io-daemon sent something that says nothing of a file")
  const outcome = decoded.success
  if (outcome === null) return Result.succeed({ facts: undefined })
  return Result.succeed("error" in outcome ? { refusal: outcome.error } : { facts: toFacts(outcome) })
}

/** Parses the value of `filesHeader`. It names files by their index in the set, and leaves out files that are gone. */
export const decodeFiles = (value: string): Result.Result<ReadonlyArray<Facts & { readonly file: number }>, string> => {
  const decoded = decodeFilesJson(value)
  return Result.isSuccess(decoded)
    ? Result.succeed(decoded.success.map(toFacts))
    : Result.fail("the io-daemon sent something that says nothing of files")
}

const decodeRefusalJson = Schema.decodeUnknownResult(Schema.fromJsonString(Refusal))

/** Parses the body of an error. If the body is not the daemon's own, returns a refusal that names the HTTP status. */
export const decodeRefusal = (status: number, body: string): Refusal => {
  const decoded = decodeRefusalJson(body)
  return Result.isSuccess(decoded) ? decoded.success : { kind: "unknown", message: `HTTP status ${status}` }
}

/**
 * What the daemon reports about itself, for people and tests. Most numbers count requests or bytes since it started.
 * But `sets`, `openFiles`, `connections`, `bufferedBytes` and `sockets` are how many there are now, `peakBufferedBytes`
 * is the highest `bufferedBytes` so far, and `uptimeMillis` is the time since the start.
 */
export const Stats = Schema.Struct({
  version: Schema.String,
  uptimeMillis: Schema.Finite,
  requests: Schema.Finite,
  preflights: Schema.Finite,
  unauthorized: Schema.Finite,
  sets: Schema.Finite,
  writes: Schema.Finite,
  writeRequests: Schema.Finite,
  writtenBytes: Schema.Finite,
  reads: Schema.Finite,
  readBytes: Schema.Finite,
  digestedBytes: Schema.Finite,
  openFiles: Schema.Finite,
  connections: Schema.Finite,
  bufferedBytes: Schema.Finite,
  peakBufferedBytes: Schema.Finite,
  sockets: Schema.Finite
})

/** The part of the daemon's configuration that is used here, which is the folder of each root by the root's name. */
export const Config = Schema.Struct({ roots: Schema.Record(Schema.String, Schema.String) })

/** The line that a daemon prints to standard output when it accepts connections. It prints no other line there. */
export const Started = Schema.Struct({ port: Schema.Finite, version: Schema.String })
