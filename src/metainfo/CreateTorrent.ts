/**
 * Makes metainfo files (BEP 3, 12, 19, 27): `encode` from given contents, `fromPath` by reading and hashing a file or a
 * folder through Effect's `FileSystem`. The caller decides where the bytes go.
 *
 * `SourceFiles.ts` decides which files of a folder are taken, and in which order; `onProgress` is called for those that
 * are left out.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as MetadataLimit from "../base/MetadataLimit.ts"
import * as PeerAddress from "../base/PeerAddress.ts"
import * as SourceUrl from "../base/SourceUrl.ts"
import * as Bencode from "../bencode/Bencode.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import * as DhtNodes from "./DhtNodes.ts"
import * as Metainfo from "./Metainfo.ts"
import * as ReservedName from "./ReservedName.ts"
import * as SafePath from "./SafePath.ts"
import * as SourceFiles from "./SourceFiles.ts"

/** A torrent could not be made. `why` is a sentence a user can read; it names the file. */
export class CreateError extends Schema.TaggedError<CreateError>()("piecewise/CreateError", { why: Schema.String }) {
  override get message() {
    return this.why
  }
}

/** What a metainfo file says besides its files. */
export interface Details {
  /** Tiers of tracker URLs, best first (BEP 12). */
  readonly trackers?: ReadonlyArray<ReadonlyArray<string>> | undefined
  /** URLs of web seeds (BEP 19). */
  readonly webSeeds?: ReadonlyArray<string> | undefined
  /** Nodes of the DHT, for a torrent without trackers (BEP 5). A private torrent has none. */
  readonly nodes?: ReadonlyArray<PeerAddress.PeerAddress> | undefined
  /** Peers come from the trackers only (BEP 27). */
  readonly isPrivate?: boolean | undefined
  readonly comment?: string | undefined
  /** The program that made the torrent. */
  readonly createdBy?: string | undefined
  /** Seconds since 1970. Left out by default, so that the same files make the same bytes. */
  readonly creationDate?: number | undefined
}

/** A file of a new torrent. */
export interface File {
  /** Components below the torrent's folder; empty for the one file of a single-file torrent. */
  readonly path: ReadonlyArray<string>
  readonly length: number
  /** Zeros that are stored in no file (BEP 47). */
  readonly padding?: boolean | undefined
}

/** Everything a metainfo file says. */
export interface Contents extends Details {
  readonly name: string
  readonly files: ReadonlyArray<File>
  readonly pieceLength: number
  /** SHA-1 digests of all pieces, 20 bytes each. */
  readonly digests: Uint8Array
}

/** A metainfo file's bytes, in bencode's canonical form. Checks nothing; `Metainfo.decode` does. */
export const encode = (contents: Contents): Uint8Array<ArrayBuffer> => {
  const { comment, createdBy, creationDate, digests, files, isPrivate, name, pieceLength } = contents
  const trackers = (contents.trackers ?? []).filter((tier) => tier.length > 0)
  const webSeeds = contents.webSeeds ?? []
  const isSingle = files.length === 1 && files[0]!.path.length === 0
  return Bencode.encode({
    announce: trackers[0]?.[0],
    "announce-list": trackers.length > 1 || (trackers[0]?.length ?? 0) > 1 ? trackers : undefined,
    comment,
    "created by": createdBy,
    "creation date": creationDate,
    info: {
      files: isSingle
        ? undefined
        : files.map(({ length, padding, path }) => ({ attr: padding === true ? "p" : undefined, length, path })),
      length: isSingle ? files[0]!.length : undefined,
      name,
      "piece length": pieceLength,
      pieces: digests,
      private: isPrivate === true ? 1 : undefined
    },
    nodes: DhtNodes.encoded(contents.nodes ?? []),
    "url-list": webSeeds.length > 0 ? webSeeds : undefined
  })
}

/** 16 KiB, one block: a smaller piece has no use, because no client requests less. */
export const minAutomaticPieceLength = 16_384

/** 16 MiB: a larger piece occupies memory and delays peers long before anything of it is verified. */
export const maxAutomaticPieceLength = 16_777_216

/** Few enough that the digests stay at 40 KiB, many enough that peers have something to exchange early. */
const aimedPieceCount = 2_048

/**
 * The piece length for `totalLength` bytes: a power of two that makes 1,025 to 2,048 pieces, within 16 KiB and 16 MiB.
 * It is larger only if a torrent would otherwise exceed `Metainfo.maxPieceCount`.
 */
export const pieceLengthFor = (totalLength: number): number => {
  let length = minAutomaticPieceLength
  while (length < maxAutomaticPieceLength && Math.ceil(totalLength / length) > aimedPieceCount) length *= 2
  while (length < Metainfo.maxPieceLength && Math.ceil(totalLength / length) > Metainfo.maxPieceCount) length *= 2
  return length
}

/** A fact about a torrent in the making. */
export type Progress =
  /** The entry is not part of the torrent; `why` ends a sentence. With `followLinks` it would be, if `isFollowable`. */
  | { readonly _tag: "LeftOut"; readonly path: string; readonly why: string; readonly isFollowable: boolean }
  /**
   * The file is part of the torrent, but downloads store it as `storedAs`: everywhere, because its name is not safe,
   * or, if `isClash`, only on file systems that confuse its name with another file's (`metainfo/SafePath.ts`).
   */
  | { readonly _tag: "Renamed"; readonly path: string; readonly storedAs: string; readonly isClash: boolean }
  /** Reported once before the first piece, and after each. */
  | {
      readonly _tag: "Hashed"
      readonly hashedPieces: number
      readonly totalPieces: number
      readonly hashedBytes: number
      readonly totalBytes: number
    }

/** How a torrent is made from files. */
export interface FromPathOptions extends Details {
  /** The torrent's name; default: that of the file or folder. */
  readonly name?: string | undefined
  /** Bytes in a piece, any number from 1 to `Metainfo.maxPieceLength`; default `pieceLengthFor`. */
  readonly pieceLength?: number | undefined
  /** Follows symbolic links, also to places outside the folder; a link to a folder counts as that folder. */
  readonly followLinks?: boolean | undefined
  /** Called with each fact; the work waits for it. */
  readonly onProgress?: ((progress: Progress) => Effect.Effect<void>) | undefined
}

const fail = (why: string) => Effect.fail(new CreateError({ why }))

const toCreateError = ({ why }: SourceFiles.SourceError) => new CreateError({ why })

const atPath = (path: string) => (error: PlatformError.PlatformError) => toCreateError(SourceFiles.errorAt(path)(error))

/**
 * Makes a metainfo file of the file or folder at `path`, reading each file once. Holds one piece in memory. Fails with
 * a sentence that names the file if one cannot be read or changes its length meanwhile, and if there is nothing to
 * share.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { NodeServices } from "@effect/platform-node"
 * import { Effect, FileSystem, Result } from "effect"
 * import { CreateTorrent, Metainfo, WebCryptoPieceHasher } from "piecewise"
 *
 * const program = Effect.gen(function* () {
 *   const fileSystem = yield* FileSystem.FileSystem
 *   const folder = yield* fileSystem.makeTempDirectoryScoped()
 *   yield* fileSystem.writeFileString(`${folder}/hello.txt`, "hello")
 *   return yield* CreateTorrent.fromPath(folder, { name: "greetings" })
 * })
 * const bytes = await program.pipe(
 *   Effect.scoped,
 *   Effect.provide([NodeServices.layer, WebCryptoPieceHasher.layer]),
 *   Effect.runPromise
 * )
 * const { layout } = Result.getOrThrow(Metainfo.decode(bytes))
 * assert.deepEqual(layout.files[0]?.path, ["greetings", "hello.txt"])
 * ```
 */
export const fromPath = Effect.fn("CreateTorrent.fromPath")(function* (path: string, options: FromPathOptions = {}) {
  yield* checkDetails(options)
  const paths = yield* Path.Path
  const root = paths.resolve(path)
  const name = options.name ?? paths.basename(root)
  if (name === "") return yield* fail(`${path}: a torrent needs a name, and this path has none`)
  if (ReservedName.is(name)) return yield* fail(`${path}: a torrent cannot be named ${name}: ${ReservedName.why}`)

  const { followLinks = false, onProgress } = options
  const sources = yield* SourceFiles.list(root, {
    followLinks,
    onLeftOut: (entry) => onProgress?.({ _tag: "LeftOut", ...entry }) ?? Effect.void
  }).pipe(Effect.mapError(toCreateError))
  const totalLength = sources.reduce((sum, { length }) => sum + length, 0)
  if (sources.length === 0) return yield* fail(`${root}: the folder has no files`)
  if (totalLength === 0) return yield* fail(`${root}: there are no bytes in it`)
  const pieceLength = options.pieceLength ?? pieceLengthFor(totalLength)
  if (Math.ceil(totalLength / pieceLength) > Metainfo.maxPieceCount) {
    return yield* fail(
      `${root}: pieces of ${pieceLength} bytes give more than ${Metainfo.maxPieceCount} pieces; choose a larger piece length`
    )
  }
  yield* reportRenames(root, name, sources, onProgress)
  const digests = yield* hashSources(sources, { totalLength, pieceLength, onProgress })
  const bytes = encode({ ...options, name, files: sources, pieceLength, digests })
  if (bytes.length > MetadataLimit.defaultMaxBytes) {
    return yield* fail(`${root}: ${MetadataLimit.whyTooLong(MetadataLimit.defaultMaxBytes)}`)
  }
  return bytes
})

const reportRenames = Effect.fnUntraced(function* (
  root: string,
  name: string,
  sources: ReadonlyArray<SourceFiles.Source>,
  onProgress: FromPathOptions["onProgress"]
) {
  const given = sources.map(({ path }) => [name, ...path])
  const safe = yield* Effect.fromResult(SafePath.sanitize(given)).pipe(
    Effect.mapError(({ why }) => new CreateError({ why: `${root}: ${why}` }))
  )
  if (onProgress === undefined) return
  for (let index = 0; index < sources.length; index++) {
    const { path: safePath, portable = safePath } = safe[index]!
    const isClash = safePath.join("/") === given[index]!.join("/")
    // Names that Windows alone cannot hold are not worth a line each.
    const isExpected = isClash && portable.join("/") === byWindowsRules(safePath)
    if (isExpected) continue
    const storedAs = (isClash ? portable : safePath).join("/")
    yield* onProgress({ _tag: "Renamed", path: sources[index]!.source, storedAs, isClash })
  }
})

const byWindowsRules = (path: ReadonlyArray<string>): string =>
  Result.getOrElse(SafePath.path(path, "windows"), () => path).join("/")

const checkDetails = ({
  creationDate,
  isPrivate,
  nodes = [],
  pieceLength,
  trackers = [],
  webSeeds = []
}: FromPathOptions) => {
  const tracker = trackers.flat().find((url) => !SourceUrl.isTracker(url))
  if (tracker !== undefined) return fail(`${tracker} is no URL of a tracker: it must be http, https, udp, ws or wss`)
  const webSeed = webSeeds.find((url) => !SourceUrl.isWebSeed(url))
  if (webSeed !== undefined) return fail(`${webSeed} is no URL of a web seed: it must be http or https`)
  const node = nodes.find((node) => PeerAddress.make(node.host, node.port) === undefined)
  if (node !== undefined)
    return fail(`${PeerAddress.format(node)} is no address of a node: it must be a host and a port`)
  if (nodes.length > 0 && isPrivate === true)
    return fail("a private torrent has no nodes: only its trackers find peers")
  if (creationDate !== undefined && !(Number.isSafeInteger(creationDate) && creationDate >= 0)) {
    return fail(`${creationDate} is no creation date: it must be whole seconds since 1970`)
  }
  if (
    pieceLength !== undefined &&
    !(Number.isSafeInteger(pieceLength) && pieceLength >= 1 && pieceLength <= Metainfo.maxPieceLength)
  ) {
    return fail(
      `a piece length of ${pieceLength} bytes is not allowed: it must be from 1 to ${Metainfo.maxPieceLength}`
    )
  }
  return Effect.void
}

/** Bytes requested in one read: enough that the call costs nothing, few enough to be interrupted soon. */
const readLength = 1_048_576

interface HashOptions {
  readonly totalLength: number
  readonly pieceLength: number
  readonly onProgress: FromPathOptions["onProgress"]
}

const checkFile = ({ type }: FileSystem.File.Info, source: string) =>
  type === "File" ? Effect.void : fail(`${source} is not a regular file any more`)

/** Reads the files one after the other into one piece buffer and digests the buffer whenever it is full. */
const hashSources = Effect.fnUntraced(function* (sources: ReadonlyArray<SourceFiles.Source>, options: HashOptions) {
  const { onProgress, pieceLength, totalLength } = options
  const hasher = yield* PieceHasher
  const totalPieces = Math.ceil(totalLength / pieceLength)
  const digests = new Uint8Array(totalPieces * Metainfo.digestLength)
  const buffer = new Uint8Array(Math.min(pieceLength, totalLength))
  let hashedPieces = 0
  let hashedBytes = 0
  let filled = 0

  const report = () =>
    onProgress?.({ _tag: "Hashed", hashedPieces, totalPieces, hashedBytes, totalBytes: totalLength }) ?? Effect.void
  const digestBuffer = Effect.fnUntraced(function* () {
    digests.set(yield* hasher.sha1(buffer.subarray(0, filled)), hashedPieces * Metainfo.digestLength)
    hashedPieces++
    hashedBytes += filled
    filled = 0
    yield* report()
  })
  const readSource = Effect.fnUntraced(function* ({ length, source }: SourceFiles.Source) {
    const fileSystem = yield* FileSystem.FileSystem
    // Hours after the listing, a FIFO may be in its place, and to open that would wait for a writer.
    yield* checkFile(yield* fileSystem.stat(source).pipe(Effect.mapError(atPath(source))), source)
    const file = yield* fileSystem.open(source).pipe(Effect.mapError(atPath(source)))
    yield* checkFile(yield* file.stat.pipe(Effect.mapError(atPath(source))), source)
    const read = (into: Uint8Array, position: number) =>
      file.read(into, { position: BigInt(position) }).pipe(Effect.mapError(atPath(source)))
    for (let position = 0; position < length; ) {
      const room = Math.min(buffer.length - filled, length - position, readLength)
      const count = yield* read(buffer.subarray(filled, filled + room), position)
      if (count === 0) return yield* fail(`${source} became shorter while it was read`)
      position += count
      filled += count
      if (filled === buffer.length) yield* digestBuffer()
    }
    if ((yield* read(new Uint8Array(1), length)) > 0) return yield* fail(`${source} became longer while it was read`)
  }, Effect.scoped)

  yield* report()
  for (const source of sources) yield* readSource(source)
  if (filled > 0) yield* digestBuffer()
  return digests
})
