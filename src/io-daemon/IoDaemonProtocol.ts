/**
 * What is said to the io-daemon over HTTP: routes, headers and bodies. Pure. The same contract stands in
 * `native-host/io-daemon/src/routes`, and a change to one is a change to both; the storage suite runs against the daemon.
 *
 * A set is an ordered list of files under one of the daemon's roots, as one address space: bytes are written and read by
 * their offset in it. The URL of a write is the same for every piece, because a browser remembers a preflight by its URL;
 * where the bytes belong and what they digest to is said in headers (RFC 9110 section 14.4, RFC 9530).
 */
import * as Base64 from "effect/encoding/Base64"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { FileLayout } from "../metainfo/FileLayout.ts"
import * as NameRivals from "../metainfo/NameRivals.ts"
import type { FileFacts } from "../storage/Storage.ts"

/** Where everything but `/health` asks for `Authorization: Bearer`. */
export const setRoute = (id: string): string => `/v1/sets/${id}`

/** Takes the body at `Content-Range`, once it matches `Content-Digest`: 204. */
export const writeRoute = (id: string): string => `${setRoute(id)}/write`

/** Gives the bytes of `Range`: 206. */
export const readRoute = (id: string): string => `${setRoute(id)}/read`

/** Sets the files of `prepareBody` aside, and brings all others to their places: 204. */
export const prepareRoute = (id: string): string => `${setRoute(id)}/prepare`

/** Streams a line for each range of `digestsBody`; see `decodeDigest`. */
export const digestsRoute = (id: string): string => `${setRoute(id)}/digests`

/** Streams a line for each of `filesBody`, what lies at its place; see `decodeFile`. */
export const lookRoute = (id: string): string => `${setRoute(id)}/look`

/** Makes the set the only writer of the files of `reserveBody`, all of them or none: 204. */
export const reserveRoute = (id: string): string => `${setRoute(id)}/reserve`

/** Lets others write to the files of `filesBody`: 204. */
export const releaseRoute = (id: string): string => `${setRoute(id)}/release`

/** Makes reserved files writable, and streams a line for each of `claimsBody`; see `decodeFile`. */
export const claimRoute = (id: string): string => `${setRoute(id)}/claim`

/** Brings to the disk what was written to the files of `filesBody`, and streams a line for each; see `decodeFile`. */
export const flushRoute = (id: string): string => `${setRoute(id)}/flush`

/** Moves a reserved file as `renameBody` says, never over anything: 204. */
export const renameRoute = (id: string): string => `${setRoute(id)}/rename`

/** Deletes the files of `filesBody`, which are reserved: 204. */
export const removeRoute = (id: string): string => `${setRoute(id)}/remove`

/** Of an answer to `readRoute`: what the files look like that were read, where they are few; see `decodeFiles`. */
export const filesHeader = "piecewise-files"

/** Counters of the daemon, as `Stats`. */
export const statsRoute = "/v1/control/stats"

/** Where the daemon may read and write, as `Config`. */
export const configRoute = "/v1/config"

/** Ranges that the daemon digests in one request; its limit is 65,536. */
export const maxDigestRanges = 4_096

/** Files that are looked at, claimed or flushed in one request; the daemon's limit is 16,384. */
export const maxToldFiles = 4_096

/** On whose behalf a set is registered. */
export interface Client {
  /** The same for every set of a torrent. */
  readonly torrent: string
  /** The same for all sets of a program, and another one when it was started again. */
  readonly owner: string
}

/** Which files of a set lie elsewhere while nobody wants them, and where that is. */
export interface SetAside {
  /**
   * Components of a folder below the root, in which those files have the paths of the set. No file of the set may lie
   * there.
   */
  readonly folder: ReadonlyArray<string>
  /** Their indices; a set that is registered already keeps to what it was told before. */
  readonly skipped: ReadonlyArray<number>
}

/** A file by its index and the names that it may have besides that of its entry, or a folder that is some file's rival. */
type Rival =
  | { readonly file: number; readonly own?: Components | undefined; readonly original?: Components | undefined }
  | { readonly folder: Components }

type Components = ReadonlyArray<string>

/** What the daemon asks its disk about, in groups as `NameRivals.ts` has them; `undefined` for most torrents. */
const rivalsOf = (layout: Pick<FileLayout, "files">): ReadonlyArray<ReadonlyArray<Rival>> | undefined => {
  const groups = new Set(NameRivals.groupsOf(layout).values())
  if (groups.size === 0) return undefined
  return Array.from(groups, (group) =>
    group.map(({ index, names }): Rival => {
      if (index === undefined) return { folder: names[0]! }
      const { original, path, portable } = layout.files[index]!
      return { file: index, own: portable && path, original: original?.every(isComponent) ? original : undefined }
    })
  )
}

/** Whether the daemon takes it for a component: it refuses separators, those of Windows too. */
const isComponent = (component: string): boolean => !component.includes("\\")

/**
 * The body that registers the files of a torrent. Equal for equal arguments, so its digest can name the set. Files have their
 * portable names. Of those that have others, or rivals, the daemon asks its disk which name it is, as `FileNames.ts` does.
 */
export const registration = (layout: FileLayout, root: string, aside?: SetAside, client?: Client): string =>
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

/** The body that names files by their index in the set. */
export const filesBody = (files: ReadonlyArray<number>): string => JSON.stringify({ files })

/**
 * The body that reserves files. `again` says that they were before the daemon forgot the set, so that another set of the
 * same torrent, which came in between, is not pushed aside.
 */
export const reserveBody = (files: ReadonlyArray<number>, again: boolean): string => JSON.stringify({ files, again })

/** How a file becomes one that may be written; `Storage.ts` says what each means. */
export type Claim =
  | { readonly file: number; readonly as: "new" | "overwritten" }
  | {
      readonly file: number
      readonly as: "found"
      readonly facts: Pick<Facts, "identity" | "length" | "mtimeNs">
      readonly afresh?: true | undefined
    }
  /** It was claimed before the daemon forgot the set, and is at least so long. */
  | { readonly file: number; readonly as: "again"; readonly identity: string; readonly length: number }

/** The body that claims files. */
export const claimsBody = (claims: ReadonlyArray<Claim>): string =>
  JSON.stringify({
    claims: claims.map((claim) => {
      if (claim.as !== "found") return claim
      const { afresh, facts, file } = claim
      const { identity, length, mtimeNs } = facts
      return { file, as: "found", facts: { length, mtimeNs: String(mtimeNs), identity }, afresh }
    })
  })

/** The body that moves a file; by its `identity` a move is known that was made and whose answer was lost. */
export const renameBody = (file: number, path: ReadonlyArray<string>, identity: string | undefined): string =>
  JSON.stringify({ file, path, identity })

/** The body that says which files nobody wants, by their index in the set; all others are wanted. */
export const prepareBody = (skipped: ReadonlyArray<number>): string => JSON.stringify({ skipped })

/** The body that asks for SHA-1 digests of `[begin, length]` each. */
export const digestsBody = (ranges: ReadonlyArray<readonly [begin: number, length: number]>): string =>
  JSON.stringify({ algorithm: "sha1", ranges })

/** `Content-Range` of a body whose complete length is of no matter (RFC 9110 section 14.4); `length` is at least 1. */
export const contentRange = (begin: number, length: number): string => `bytes ${begin}-${begin + length - 1}/*`

/** `Range` of one part (RFC 9110 section 14.2); `length` is at least 1. */
export const range = (begin: number, length: number): string => `bytes=${begin}-${begin + length - 1}`

/** `Content-Digest` of a body by its SHA-1 (RFC 9530 section 2). */
export const contentDigest = (sha1: Uint8Array): string => `sha=:${Base64.encode(sha1)}:`

/** A line of the answer to `digestsRoute`: a digest, `undefined` where a byte is not stored; fails on anything else. */
export const decodeDigest = (line: string): Result.Result<Uint8Array | undefined, string> => {
  if (line === "null") return Result.succeed(undefined)
  const digest = /^"[A-Za-z0-9+/=]+"$/.test(line) ? Base64.decode(line.slice(1, -1)) : undefined
  return digest !== undefined && Result.isSuccess(digest) && digest.success.length === 20
    ? Result.succeed(digest.success)
    : Result.fail("the io-daemon sent something that is no digest")
}

/** What lies at a file's place. */
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

const toFacts = <A extends { readonly mtimeNs: string }>(told: A) => ({ ...told, mtimeNs: BigInt(told.mtimeNs) })

const refusalFields = {
  kind: Schema.String,
  message: Schema.String,
  path: Schema.optionalKey(Schema.String),
  why: Schema.optionalKey(Schema.String),
  holder: Schema.optionalKey(Schema.String)
}

const decodeFileJson = Schema.decodeUnknownResult(
  Schema.fromJsonString(
    Schema.NullOr(Schema.Union([Schema.Struct(factsFields), Schema.Struct({ error: Schema.Struct(refusalFields) })]))
  )
)

const decodeFilesJson = Schema.decodeUnknownResult(
  Schema.fromJsonString(Schema.Array(Schema.Struct({ file: Schema.Finite, ...factsFields })))
)

/** What a line says of a file: its facts, `undefined` where nothing lies there, or why nothing can be said. */
export type ToldFile = { readonly facts: Facts | undefined } | { readonly refusal: Refusal }

/** A line about a file; fails on anything else. Lines without anything, which say that work goes on, are none. */
export const decodeFile = (line: string): Result.Result<ToldFile, string> => {
  const decoded = decodeFileJson(line)
  if (Result.isFailure(decoded)) return Result.fail("the io-daemon sent something that says nothing of a file")
  const told = decoded.success
  if (told === null) return Result.succeed({ facts: undefined })
  return Result.succeed("error" in told ? { refusal: told.error } : { facts: toFacts(told) })
}

/** The value of `filesHeader`: files by their index in the set, without those that are gone; fails on anything else. */
export const decodeFiles = (value: string): Result.Result<ReadonlyArray<Facts & { readonly file: number }>, string> => {
  const decoded = decodeFilesJson(value)
  return Result.isSuccess(decoded)
    ? Result.succeed(decoded.success.map(toFacts))
    : Result.fail("the io-daemon sent something that says nothing of files")
}

/** How the daemon says no. `kind` is for programs, `message` for people. */
export interface Refusal {
  readonly kind: string
  readonly message: string
  /** The file to blame, its components below the root joined by `/`. */
  readonly path?: string | undefined
  /** What is wrong with it, as the end of a sentence. */
  readonly why?: string | undefined
  /** Who has what is asked for, as the end of a sentence. */
  readonly holder?: string | undefined
}

const decodeRefusalJson = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Struct(refusalFields)))

/** Reads the body of an error; what is not the daemon's own is told by its status. */
export const decodeRefusal = (status: number, body: string): Refusal => {
  const decoded = decodeRefusalJson(body)
  return Result.isSuccess(decoded) ? decoded.success : { kind: "unknown", message: `HTTP status ${status}` }
}

/** What the daemon counts; bytes, and requests since it started. Of use to people and to tests. */
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

/** How the daemon is set up, as far as others need to know: folders by the names of their roots. */
export const Config = Schema.Struct({ roots: Schema.Record(Schema.String, Schema.String) })

/** The one line that a daemon prints when it accepts connections. */
export const Started = Schema.Struct({ port: Schema.Finite, version: Schema.String })
