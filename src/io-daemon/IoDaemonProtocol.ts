/**
 * The requests to the io-daemon over HTTP: routes, headers and bodies. Pure. The same contract is in
 * `native-host/io-daemon/src/routes`, and a change to one is a change to both; the storage suite runs against the
 * daemon.
 *
 * A set is an ordered list of files under one of the daemon's roots, as one address space: bytes are written and read
 * by their offset in it. The URL of a write is the same for every piece, because a browser remembers a preflight by its
 * URL; headers have the offset and the digest of the bytes (RFC 9110 section 14.4, RFC 9530).
 */
import * as Base64 from "effect/encoding/Base64"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { FileLayout } from "../metainfo/FileLayout.ts"
import * as NameRivals from "../metainfo/NameRivals.ts"
import type { FileFacts } from "../storage/Storage.ts"

/** The prefix of all routes except `/health`. They need `Authorization: Bearer`. */
export const setRoute = (id: string): string => `/v1/sets/${id}`

/** Stores the body at `Content-Range`, once it matches `Content-Digest`: 204. */
export const writeRoute = (id: string): string => `${setRoute(id)}/write`

/** Returns the bytes of `Range`: 206. */
export const readRoute = (id: string): string => `${setRoute(id)}/read`

/** Sets the files of `prepareBody` aside, and moves all others to their places: 204. */
export const prepareRoute = (id: string): string => `${setRoute(id)}/prepare`

/** Streams a line for each range of `digestsBody`; see `decodeDigest`. */
export const digestsRoute = (id: string): string => `${setRoute(id)}/digests`

/** Streams a line for each of `filesBody`, with what exists at its place; see `decodeFile`. */
export const lookRoute = (id: string): string => `${setRoute(id)}/look`

/** Makes the set the only writer of the files of `reserveBody`, all of them or none: 204. */
export const reserveRoute = (id: string): string => `${setRoute(id)}/reserve`

/** Lets others write to the files of `filesBody`: 204. */
export const releaseRoute = (id: string): string => `${setRoute(id)}/release`

/** Makes reserved files writable, and streams a line for each of `claimsBody`; see `decodeFile`. */
export const claimRoute = (id: string): string => `${setRoute(id)}/claim`

/** Brings what was written to the files of `filesBody` to the disk, and streams a line for each; see `decodeFile`. */
export const flushRoute = (id: string): string => `${setRoute(id)}/flush`

/** Moves a reserved file as `renameBody` says, never over anything: 204. */
export const renameRoute = (id: string): string => `${setRoute(id)}/rename`

/** Deletes the files of `filesBody`, which are reserved: 204. */
export const removeRoute = (id: string): string => `${setRoute(id)}/remove`

/** Of an answer to `readRoute`: the facts of the files that were read, if they are few; see `decodeFiles`. */
export const filesHeader = "piecewise-files"

/** Counters of the daemon, as `Stats`. */
export const statsRoute = "/v1/control/stats"

/** Where the daemon may read and write, as `Config`. */
export const configRoute = "/v1/config"

/** Ranges that the daemon digests in one request; its limit is 65,536. */
export const maxDigestRanges = 4_096

/** Files that one request may look at, claim or flush; the daemon's limit is 16,384. */
export const maxFilesPerRequest = 4_096

/** For whom a set is registered. */
export interface Client {
  /** The same for every set of a torrent. */
  readonly torrent: string
  /** The same for all sets of a program; differs after a restart of the program. */
  readonly owner: string
}

/** Which files of a set are unwanted, and the folder in which they are set aside. */
export interface SetAside {
  /**
   * Components of a folder below the root, in which those files have the paths of the set. No file of the set may be
   * there.
   */
  readonly folder: ReadonlyArray<string>
  /** Their indices; a set that is already registered keeps those it had. */
  readonly skipped: ReadonlyArray<number>
}

/**
 * A file by its index and the names that it may have besides that of its entry, or a folder that is some file's rival.
 */
type Rival =
  | { readonly file: number; readonly own?: Components | undefined; readonly original?: Components | undefined }
  | { readonly folder: Components }

type Components = ReadonlyArray<string>

/** The names that the daemon resolves on its disk, in groups as in `NameRivals.ts`; `undefined` for most torrents. */
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

/** Whether the daemon accepts it as a component: it refuses separators, those of Windows too. */
const isComponent = (component: string): boolean => !component.includes("\\")

/**
 * The body that registers the files of a torrent. Equal for equal arguments, so its digest can name the set. Files have
 * their portable names. If they have others, or rivals, the daemon finds out on its disk which name is used, as
 * `FileNames.ts` does.
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

/** The body that lists files by their index in the set. */
export const filesBody = (files: ReadonlyArray<number>): string => JSON.stringify({ files })

/**
 * The body that reserves files. `again`: they were reserved before the daemon forgot the set, so that another set of
 * the same torrent, which was registered in between, keeps its files.
 */
export const reserveBody = (files: ReadonlyArray<number>, again: boolean): string => JSON.stringify({ files, again })

/** How a file becomes writable; `Storage.ts` says what each means. */
export type Claim =
  | { readonly file: number; readonly as: "new" | "overwritten" }
  | {
      readonly file: number
      readonly as: "found"
      readonly facts: Pick<Facts, "identity" | "length" | "mtimeNs">
      readonly afresh?: true | undefined
    }
  /** It was claimed before the daemon forgot the set, and has at least this length. */
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

/**
 * The body that moves a file. By its `identity` the daemon recognizes a move that succeeded but whose answer was lost.
 */
export const renameBody = (file: number, path: ReadonlyArray<string>, identity: string | undefined): string =>
  JSON.stringify({ file, path, identity })

/** The body that lists the unwanted files by their index in the set; all others are wanted. */
export const prepareBody = (skipped: ReadonlyArray<number>): string => JSON.stringify({ skipped })

/** The body that asks for SHA-1 digests of `[begin, length]` each. */
export const digestsBody = (ranges: ReadonlyArray<readonly [begin: number, length: number]>): string =>
  JSON.stringify({ algorithm: "sha1", ranges })

/** `Content-Range` of a body whose complete length does not matter (RFC 9110 section 14.4); `length` is at least 1. */
export const contentRange = (begin: number, length: number): string => `bytes ${begin}-${begin + length - 1}/*`

/** `Range` of one part (RFC 9110 section 14.2); `length` is at least 1. */
export const range = (begin: number, length: number): string => `bytes=${begin}-${begin + length - 1}`

/** `Content-Digest` of a body by its SHA-1 (RFC 9530 section 2). */
export const contentDigest = (sha1: Uint8Array): string => `sha=:${Base64.encode(sha1)}:`

/** Parses a line of the answer to `digestsRoute`: a digest, or `undefined` if a byte is not stored. */
export const decodeDigest = (line: string): Result.Result<Uint8Array | undefined, string> => {
  if (line === "null") return Result.succeed(undefined)
  const digest = /^"[A-Za-z0-9+/=]+"$/.test(line) ? Base64.decode(line.slice(1, -1)) : undefined
  return digest !== undefined && Result.isSuccess(digest) && digest.success.length === 20
    ? Result.succeed(digest.success)
    : Result.fail("the io-daemon sent something that is no digest")
}

/** What exists at a file's place. */
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

/** The outcome of one file: its facts, `undefined` if nothing exists there, or why there are none. */
export type FileOutcome = { readonly facts: Facts | undefined } | { readonly refusal: Refusal }

/** Parses a line about a file. Empty lines, which say that work continues, are no such lines. */
export const decodeFile = (line: string): Result.Result<FileOutcome, string> => {
  const decoded = decodeFileJson(line)
  if (Result.isFailure(decoded)) return Result.fail("the io-daemon sent something that says nothing of a file")
  const outcome = decoded.success
  if (outcome === null) return Result.succeed({ facts: undefined })
  return Result.succeed("error" in outcome ? { refusal: outcome.error } : { facts: toFacts(outcome) })
}

/** Parses the value of `filesHeader`: files by their index in the set, without those that are gone. */
export const decodeFiles = (value: string): Result.Result<ReadonlyArray<Facts & { readonly file: number }>, string> => {
  const decoded = decodeFilesJson(value)
  return Result.isSuccess(decoded)
    ? Result.succeed(decoded.success.map(toFacts))
    : Result.fail("the io-daemon sent something that says nothing of files")
}

/** How the daemon refuses. `kind` is for programs, `message` for people. */
export interface Refusal {
  readonly kind: string
  readonly message: string
  /** The file to blame, its components below the root joined by `/`. */
  readonly path?: string | undefined
  /** What is wrong with it, as the end of a sentence. */
  readonly why?: string | undefined
  /** Who has the requested files, as the end of a sentence. */
  readonly holder?: string | undefined
}

const decodeRefusalJson = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Struct(refusalFields)))

/** Reads the body of an error; if it is not the daemon's own, the status decides. */
export const decodeRefusal = (status: number, body: string): Refusal => {
  const decoded = decodeRefusalJson(body)
  return Result.isSuccess(decoded) ? decoded.success : { kind: "unknown", message: `HTTP status ${status}` }
}

/** The daemon's counters: bytes, and requests since it started. For people and tests. */
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

/** The daemon's configuration, as far as it is public: folders by the names of their roots. */
export const Config = Schema.Struct({ roots: Schema.Record(Schema.String, Schema.String) })

/** The one line that a daemon prints when it accepts connections. */
export const Started = Schema.Struct({ port: Schema.Finite, version: Schema.String })
