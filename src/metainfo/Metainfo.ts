/**
 * Metainfo: what a .torrent file says (BEP 3), with multiple trackers (BEP 12), web seeds (BEP 17, BEP 19), private
 * torrents (BEP 27), padding and links (BEP 47). `decode` is the pure part; `fromBytes` adds the info hash, the SHA-1 of `info`.
 *
 * A torrent is refused if it cannot be downloaded or contradicts itself. What is merely odd is ignored, as other
 * clients do: unknown keys, unordered or repeated keys (the first counts), bytes after the root, fields outside `info`
 * of the wrong type, URLs of other schemes. A hybrid of v1 and v2 (BEP 52) is loaded as v1 if both halves describe the
 * same files; its `piece layers` are not read, so nothing in them is trusted. A torrent of v2 alone is refused.
 * `SafePath.ts` makes names safe.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect } from "effect"
 * import { CreateTorrent, Metainfo, WebCryptoPieceHasher } from "piecewise"
 *
 * // In a program, the bytes of a torrent file.
 * const files = [{ path: [], length: 5 }]
 * const bytes = CreateTorrent.encode({ name: "hello", files, pieceLength: 16_384, digests: new Uint8Array(20) })
 *
 * const program = Metainfo.fromBytes(bytes).pipe(Effect.provide(WebCryptoPieceHasher.layer))
 * const metainfo = await Effect.runPromise(program)
 * assert.equal(metainfo.name, "hello")
 * assert.equal(metainfo.layout.geometry.pieceCount, 1)
 * assert.equal(metainfo.infoHash.length, 20)
 * ```
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Bytes from "../base/Bytes.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as MetadataLimit from "../base/MetadataLimit.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import * as Bencode from "../bencode/Bencode.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import * as DhtNodes from "./DhtNodes.ts"
import * as FileLayout from "./FileLayout.ts"
import * as FileTree from "./FileTree.ts"
import * as HybridTorrent from "./HybridTorrent.ts"
import * as SafePath from "./SafePath.ts"
import * as TorrentUrls from "./TorrentUrls.ts"

export type { Names, Platform } from "./SafePath.ts"

/** The bytes are no torrent that can be downloaded. `why` is a sentence a user can read; it names the field. */
export class MetainfoError extends Schema.TaggedError<MetainfoError>()("piecewise/MetainfoError", {
  why: Schema.String
}) {
  override get message() {
    return this.why
  }
}

/** The contents of a metainfo file. */
export interface Structure {
  /** The torrent's name, a safe component: the file of a single-file torrent, else the folder of all files. */
  readonly name: string
  /** Paths begin with `name`. Files keep the order and the indices they have in `info`. */
  readonly layout: FileLayout.FileLayout
  /** The SHA-1 digests of all pieces, 20 bytes each; a view into `infoBytes`. */
  readonly pieceDigests: Uint8Array
  /** Tiers of tracker URLs (BEP 12), best first, none empty, no URL twice; http, https, udp, ws or wss. */
  readonly trackers: ReadonlyArray<ReadonlyArray<string>>
  /** Peers may come from the trackers only: no DHT, no PEX, no LSD (BEP 27). */
  readonly isPrivate: boolean
  /** URLs of web seeds (BEP 19), http or https, as they are in the file, no URL twice. */
  readonly webSeeds: ReadonlyArray<string>
  /** URLs of web seeds that serve pieces and no files (BEP 17), as `webSeeds`. */
  readonly httpSeeds: ReadonlyArray<string>
  /** Nodes of the DHT that it names (BEP 5 `nodes`). Those of a private torrent must not be asked. */
  readonly nodes: ReadonlyArray<PeerAddress>
  readonly comment: string | undefined
  /** The program that made the torrent. */
  readonly createdBy: string | undefined
  /** Seconds since 1970. */
  readonly creationDate: number | undefined
  /** The raw bytes of the `info` dictionary; peers request it (BEP 9). Must not be changed. */
  readonly infoBytes: Uint8Array
}

/** A torrent that can be downloaded. */
export interface Metainfo extends Structure {
  readonly infoHash: InfoHash
}

/** How a torrent is read. */
export interface Options {
  /**
   * The platform whose rules the file names must meet; default `posix`. With `windows` every file has only its portable
   * name.
   */
  readonly platform?: SafePath.Platform | undefined
  /** The most bytes that are read; default `MetadataLimit.defaultMaxBytes`. */
  readonly maxBytes?: number | undefined
}

/** What is known of a torrent besides its `info`, as from a magnet link. */
export interface InfoOptions extends Options, TorrentUrls.SeedUrls {
  readonly trackers?: ReadonlyArray<ReadonlyArray<string>> | undefined
  readonly nodes?: ReadonlyArray<PeerAddress> | undefined
}

/** Bytes in a SHA-1 digest. */
export const digestLength = 20

/** 512 MiB. A piece is a buffer in memory, and no torrent in use has a larger one. */
export const maxPieceLength = 536_870_912

/** The limit of libtorrent: 40 MiB of digests. */
export const maxPieceCount = 2_097_152

/** Trackers that are kept of a torrent, and web seeds; further ones are dropped. Large real lists have a hundred. */
export const maxUrls = TorrentUrls.maxUrls

const limitsOf = ({ length }: Uint8Array, { maxBytes = MetadataLimit.defaultMaxBytes }: Options) => ({
  maxBytes,
  maxTokens: MetadataLimit.maxValues(length)
})

const refuse = (why: string): never => {
  throw new MetainfoError({ why })
}

const whyUnread = (what: string, { offset, tooMany, why }: Bencode.BencodeError): string =>
  tooMany === undefined ? `${what}: ${why} at byte ${offset}` : MetadataLimit.whyTooMany(tooMany)

/** Runs a parser that throws `MetainfoError`, which costs nothing unless something is wrong. */
const attempt = <A>(parse: () => A): Result.Result<A, MetainfoError> => {
  try {
    return Result.succeed(parse())
  } catch (error) {
    if (error instanceof MetainfoError) return Result.fail(error)
    throw error
  }
}

/** Reads a metainfo file. Keeps no view of `bytes`. */
export const decode = (bytes: Uint8Array, options: Options = {}): Result.Result<Structure, MetainfoError> =>
  attempt(() => {
    const limits = limitsOf(bytes, options)
    if (bytes.length > limits.maxBytes) return refuse(MetadataLimit.whyTooLong(limits.maxBytes))
    const decoded = Bencode.decode(bytes, { ...limits, trailing: "ignore" })
    if (Result.isFailure(decoded)) return refuse(whyUnread("this is not a torrent file", decoded.failure))
    const root = decoded.success.value
    if (!Bencode.isDictionary(root)) return refuse("this is not a torrent file: it holds no dictionary")
    const info = root.get("info")
    if (info === undefined) return refuse("the torrent has no `info`")
    if (!Bencode.isDictionary(info)) return refuse("`info` is not a dictionary")
    const raw = decoded.success.spans.get("info")!
    const infoBytes = raw.slice()
    return {
      ...parseInfo(info, raw, infoBytes, options),
      trackers: TorrentUrls.trackersOf(root),
      ...TorrentUrls.seedsOf(root),
      nodes: DhtNodes.of(root),
      comment: Bencode.getText(root, "comment.utf-8") ?? Bencode.getText(root, "comment"),
      createdBy: Bencode.getText(root, "created by"),
      creationDate: nonNegative(Bencode.getInt(root, "creation date"))
    }
  })

/**
 * Reads an `info` dictionary alone, as peers send it for a magnet link (BEP 9). The caller checks its digest. Keeps no
 * view of `bytes`.
 */
export const decodeInfo = (bytes: Uint8Array, options: InfoOptions = {}): Result.Result<Structure, MetainfoError> =>
  attempt(() => {
    const limits = limitsOf(bytes, options)
    if (bytes.length > limits.maxBytes) return refuse(MetadataLimit.whyTooLong(limits.maxBytes))
    const infoBytes = bytes.slice()
    const decoded = Bencode.decode(infoBytes, limits)
    if (Result.isFailure(decoded)) {
      return refuse(whyUnread("`info` is damaged", decoded.failure))
    }
    const info = decoded.success.value
    if (!Bencode.isDictionary(info)) return refuse("`info` is not a dictionary")
    return {
      ...parseInfo(info, infoBytes, infoBytes, options),
      trackers: TorrentUrls.usableTrackers(options.trackers ?? []),
      ...TorrentUrls.usableSeeds(options),
      nodes: options.nodes ?? [],
      comment: undefined,
      createdBy: undefined,
      creationDate: undefined
    }
  })

const withInfoHash = Effect.fnUntraced(function* (decoded: Result.Result<Structure, MetainfoError>) {
  const structure = yield* Effect.fromResult(decoded)
  const hasher = yield* PieceHasher
  const infoHash = yield* hasher.sha1(structure.infoBytes)
  const metainfo: Metainfo = { ...structure, infoHash: infoHash as InfoHash }
  return metainfo
})

/** Reads a metainfo file and computes its info hash. */
export const fromBytes = (bytes: Uint8Array, options?: Options): Effect.Effect<Metainfo, MetainfoError, PieceHasher> =>
  Effect.suspend(() => withInfoHash(decode(bytes, options)))

/** Reads an `info` dictionary alone and computes its info hash; see `decodeInfo`. */
export const fromInfoBytes = (
  bytes: Uint8Array,
  options?: InfoOptions
): Effect.Effect<Metainfo, MetainfoError, PieceHasher> => Effect.suspend(() => withInfoHash(decodeInfo(bytes, options)))

/** The SHA-1 digest of one piece, a view of 20 bytes. */
export const pieceDigest = (self: Structure, piece: PieceGeometry.PieceIndex): Uint8Array =>
  self.pieceDigests.subarray(piece * digestLength, (piece + 1) * digestLength)

type InfoPart = Pick<Structure, "name" | "layout" | "pieceDigests" | "isPrivate" | "infoBytes">

/** `raw` are the bytes that `info` was decoded from, `infoBytes` a copy of them to keep (may be the same array). */
const parseInfo = (info: Bencode.Dictionary, raw: Uint8Array, infoBytes: Uint8Array, options: Options): InfoPart => {
  const version = Bencode.getInt(info, "meta version") ?? 1
  const pieces = info.get("pieces")
  if (version > 2) return refuse(`\`meta version\` is ${version}, which is not known; versions 1 and 2 are`)
  if (version === 2 && pieces === undefined) {
    return refuse("this is a torrent of version 2 alone (BEP 52): it has no `pieces`, the hashes of version 1")
  }
  if (version !== 2 && info.has("file tree")) return refuse("`file tree` is there without `meta version` 2")

  const pieceLength = parsePieceLength(info.get("piece length"), version)
  const { entries, isSingle, rawName } = parseFiles(info)
  const singleName = isSingle ? rawName : undefined
  const limits = limitsOf(infoBytes, options)
  const fault =
    version === 2
      ? HybridTorrent.fault({ info, infoBytes, limits, files: entries, pieceLength, singleName })
      : undefined
  if (fault !== undefined) return refuse(fault)

  let totalLength = 0
  for (const { length } of entries) {
    totalLength += length
    if (totalLength > Number.MAX_SAFE_INTEGER) return refuse("the files' `length`s add up to 2^53 bytes or more")
  }
  if (totalLength === 0) return refuse("the files' `length`s add up to 0: there is nothing to download")
  const { pieceCount } = PieceGeometry.make({ totalLength, pieceLength })
  if (pieceCount > maxPieceCount) {
    return refuse(`the torrent has ${pieceCount} pieces, more than the ${maxPieceCount} that are allowed`)
  }
  if (pieces === undefined) return refuse("`info` has no `pieces`")
  if (!Bencode.isBytes(pieces)) return refuse("`pieces` is not a string")
  if (pieces.length % digestLength !== 0) {
    return refuse(`\`pieces\` has ${pieces.length} bytes, which is not a multiple of ${digestLength}`)
  }
  if (pieces.length !== pieceCount * digestLength) {
    return refuse(
      `\`pieces\` holds ${pieces.length / digestLength} hashes, but ${totalLength} bytes in pieces of ${pieceLength} need ${pieceCount}`
    )
  }

  const givenName = SafePath.fromBytes(rawName)
  // First by the rules for all platforms, as in `sanitize`.
  const name = SafePath.component(SafePath.component(givenName) ?? "_", options.platform) ?? "_"
  const layout = FileLayout.make({ files: safeFiles(entries, { givenName, name }, options.platform), pieceLength })
  const begin = pieces.byteOffset - raw.byteOffset
  return {
    name,
    layout,
    pieceDigests: infoBytes.subarray(begin, begin + pieces.length),
    isPrivate: (Bencode.getInt(info, "private") ?? 0) !== 0,
    infoBytes
  }
}

const parsePieceLength = (value: Bencode.Value | undefined, version: number): number => {
  if (value === undefined) return refuse("`info` has no `piece length`")
  if (typeof value !== "number" && typeof value !== "bigint") return refuse("`piece length` is not a number")
  if (typeof value === "bigint" || value < 1 || value > maxPieceLength) {
    return refuse(`\`piece length\` is ${value}, but must be from 1 to ${maxPieceLength} bytes`)
  }
  if (version === 2 && !FileTree.isPieceLength(value)) {
    return refuse(`\`piece length\` is ${value}, but a version 2 torrent needs a power of two of at least 16384`)
  }
  return value
}

/** A file as `info` describes it. */
interface Entry extends HybridTorrent.VersionOneFile {
  readonly symlink: ReadonlyArray<string> | undefined
}

interface Files {
  readonly rawName: Uint8Array
  readonly isSingle: boolean
  readonly entries: ReadonlyArray<Entry>
}

const parseFiles = (info: Bencode.Dictionary): Files => {
  const preferred = Bencode.getBytes(info, "name.utf-8")
  const rawName =
    preferred !== undefined && preferred.length > 0 && Bytes.toTextStrict(preferred) !== undefined
      ? preferred
      : info.get("name")
  if (rawName === undefined) return refuse("`info` has no `name`")
  if (!Bencode.isBytes(rawName)) return refuse("`name` is not a string")
  const length = info.get("length")
  const files = info.get("files")
  if (files === undefined) {
    if (length === undefined) return refuse("`info` has neither `length` nor `files`")
    if (rawName.length === 0) return refuse("`name` is empty")
    const entry = { rawPath: [], length: parseLength(length, "`length`"), padding: false, symlink: undefined }
    return { rawName, isSingle: true, entries: [entry] }
  }
  if (length !== undefined) return refuse("`info` has both `length` and `files`, of which only one may be there")
  if (!Bencode.isList(files)) return refuse("`files` is not a list")
  if (files.length === 0) return refuse("`files` is empty: the torrent has no file")
  return { rawName, isSingle: false, entries: files.map(parseFile) }
}

const parseLength = (value: Bencode.Value | undefined, field: string): number => {
  if (value === undefined) return refuse(`${field} is missing`)
  if (typeof value !== "number" && typeof value !== "bigint") return refuse(`${field} is not a number`)
  if (value < 0) return refuse(`${field} is negative: ${value}`)
  if (typeof value === "bigint") return refuse(`${field} is ${value}, which is 2^53 or more`)
  return value
}

/** How BitComet marked padding before BEP 47 did. */
const bitCometPadding = "_____padding_file_"

const parseFile = (file: Bencode.Value, index: number): Entry => {
  if (!Bencode.isDictionary(file)) return refuse(`\`files\` entry ${index} is not a dictionary`)
  const attributes = Bytes.toLatin1(Bencode.getBytes(file, "attr") ?? new Uint8Array(0))
  const isLink = attributes.includes("l")
  const symlink = isLink ? parseSymlink(file.get("symlink path"), index) : undefined
  // A link has no bytes of its own, whatever its `length` says.
  const length = isLink ? 0 : parseLength(file.get("length"), `\`length\` of \`files\` entry ${index}`)
  const isPadding = attributes.includes("p")
  const rawPath = parsePath(file, index, isPadding)
  const last = rawPath.at(-1)
  const padding = isPadding || (last !== undefined && Bytes.toLatin1(last).startsWith(bitCometPadding))
  return { rawPath, length, padding, symlink }
}

const parsePath = (file: Bencode.Dictionary, index: number, isPadding: boolean): ReadonlyArray<Uint8Array> => {
  const preferred = file.get("path.utf-8")
  if (
    Bencode.isList(preferred) &&
    preferred.length > 0 &&
    preferred.every((part): part is Uint8Array => Bencode.isBytes(part) && Bytes.toTextStrict(part) !== undefined)
  ) {
    return preferred
  }
  const path = file.get("path")
  if (path === undefined || (Bencode.isList(path) && path.length === 0)) {
    // Padding is in no folder, so it needs no path.
    return isPadding ? [] : refuse(`\`files\` entry ${index} has no \`path\``)
  }
  if (!Bencode.isList(path) || !path.every(Bencode.isBytes)) {
    return refuse(`\`path\` of \`files\` entry ${index} is not a list of strings`)
  }
  return path
}

/**
 * The target of a link, with `.` and `..` resolved; `undefined` if it has none, which makes it an empty file (as in
 * other clients). The root of the torrent is its own parent, as that of a file system is, so no link leaves it.
 * Torrents of folders with links between neighbours have targets such as `../lib/x`, which their makers took from the
 * disk.
 */
const parseSymlink = (target: Bencode.Value | undefined, index: number): ReadonlyArray<string> | undefined => {
  if (!Bencode.isList(target)) return undefined
  const resolved: Array<string> = []
  for (const part of target) {
    if (!Bencode.isBytes(part)) return refuse(`\`symlink path\` of \`files\` entry ${index} is not a list of strings`)
    const text = SafePath.fromBytes(part)
    if (text === "" || text === ".") continue
    if (text === "..") resolved.pop()
    else resolved.push(SafePath.component(text) ?? "_")
  }
  return resolved
}

const safeFiles = (
  entries: ReadonlyArray<Entry>,
  { givenName, name }: { readonly givenName: string; readonly name: string },
  platform: SafePath.Platform | undefined
): ReadonlyArray<FileLayout.FileEntry> => {
  // Each file's path begins with the torrent's name. A long one is made safe once for all files, because a long name and
  // many files would cost quadratic time. No file system has it, so there is no original name to look for.
  const isLong = Bytes.fromText(givenName).length > SafePath.maxComponentBytes
  const first = isLong ? (SafePath.component(givenName) ?? "_") : givenName
  const given = entries.map(({ rawPath }) => [first, ...rawPath.map(SafePath.fromBytes)])
  // Padding and links are not on disk, so they must take no name from a file that is.
  const onDisk = entries.flatMap(({ padding, symlink }, index) => (padding || symlink !== undefined ? [] : [index]))
  const names = succeedOrRefuse(
    SafePath.sanitize(
      onDisk.map((index) => given[index]!),
      { platform }
    )
  )
  const files: Array<FileLayout.FileEntry> = []
  let next = 0
  for (let index = 0; index < entries.length; index++) {
    const { length, padding, symlink } = entries[index]!
    if (symlink !== undefined) {
      files.push({ path: succeedOrRefuse(SafePath.path(given[index]!, platform)), length, padding: true, symlink })
    } else if (padding) {
      files.push({ path: [name, ".pad", String(length)], length, padding: true })
    } else {
      files.push({ ...names[next++]!, ...(isLong ? { original: undefined } : {}), length })
    }
  }
  return files
}

const succeedOrRefuse = <A>(result: Result.Result<A, SafePath.PathError>): A =>
  Result.isSuccess(result) ? result.success : refuse(result.failure.why)

const nonNegative = (value: number | undefined): number | undefined =>
  value !== undefined && value >= 0 ? value : undefined
