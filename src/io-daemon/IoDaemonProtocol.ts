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

/** Where everything but `/health` asks for `Authorization: Bearer`. */
export const setRoute = (id: string): string => `/v1/sets/${id}`

/** Takes the body at `Content-Range`, once it matches `Content-Digest`: 204. */
export const writeRoute = (id: string): string => `${setRoute(id)}/write`

/** Gives the bytes of `Range`: 206. */
export const readRoute = (id: string): string => `${setRoute(id)}/read`

/**
 * Sets the files of `prepareBody` aside, brings all others to their places and makes the empty ones among those: 204.
 */
export const prepareRoute = (id: string): string => `${setRoute(id)}/prepare`

/** Streams a line for each range of `digestsBody`; see `decodeDigest`. */
export const digestsRoute = (id: string): string => `${setRoute(id)}/digests`

/** Brings to the disk what was written: 204. */
export const flushRoute = (id: string): string => `${setRoute(id)}/flush`

/** Counters of the daemon, as `Stats`. */
export const statsRoute = "/v1/control/stats"

/** Where the daemon may read and write, as `Config`. */
export const configRoute = "/v1/config"

/** Ranges that the daemon digests in one request; its limit is 65,536. */
export const maxDigestRanges = 4_096

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

/**
 * The body that registers the files of a torrent. Equal for equal arguments, so its digest can name the set. Files have their
 * portable names: the daemon does not look which names its file system tells apart.
 */
export const registration = (layout: FileLayout, root: string, aside?: SetAside): string =>
  JSON.stringify({
    root,
    files: layout.files.map(({ length, padding, path, portable = path }) =>
      padding ? { path: [], length, padding } : { path: portable, length }
    ),
    allocate: false,
    aside: aside?.folder,
    skipped: aside?.skipped
  })

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

/** How the daemon says no. `kind` is for programs, `message` for people. */
export interface Refusal {
  readonly kind: string
  readonly message: string
  /** The file to blame, its components below the root joined by `/`. */
  readonly path?: string | undefined
  /** What is wrong with it, as the end of a sentence. */
  readonly why?: string | undefined
}

const decodeRefusalJson = Schema.decodeUnknownResult(
  Schema.fromJsonString(
    Schema.Struct({
      kind: Schema.String,
      message: Schema.String,
      path: Schema.optionalKey(Schema.String),
      why: Schema.optionalKey(Schema.String)
    })
  )
)

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
