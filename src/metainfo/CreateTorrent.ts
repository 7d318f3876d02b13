/**
 * Makes metainfo files (BEP 3, 12, 19, 27): `encode` from what is known, `fromPath` by reading and hashing a file or a
 * folder through Effect's `FileSystem`. Where the bytes go is for the caller to say.
 *
 * A folder's files are taken in the order of their paths' bytes, component by component (the order BEP 52 asks for),
 * hidden ones included. A symbolic link to a file of the folder is taken as that file; links to folders, links that
 * leave the folder or lead nowhere, sockets, devices and what has the name of piecewise's own folder are left out, and
 * `onProgress` is told of each. With `followLinks` a link is taken as whatever it leads to, wherever that is.
 */
import * as ByteSize from "effect/ByteSize"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import * as Result from "effect/Result"
import * as Bytes from "../base/Bytes.ts"
import * as SourceUrl from "../base/SourceUrl.ts"
import * as Bencode from "../bencode/Bencode.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import * as Metainfo from "./Metainfo.ts"
import * as ReservedName from "./ReservedName.ts"
import * as SafePath from "./SafePath.ts"

/** A torrent could not be made. `why` is a sentence a user can read; it names the file. */
export class CreateError extends Data.TaggedError("CreateError")<{ readonly why: string }> {
  override get message() {
    return this.why
  }
}

/** What goes beside the files. */
export interface Details {
  /** Tiers of tracker URLs, best first (BEP 12). */
  readonly trackers?: ReadonlyArray<ReadonlyArray<string>> | undefined
  /** URLs of web seeds (BEP 19). */
  readonly webSeeds?: ReadonlyArray<string> | undefined
  /** Peers come from the trackers only (BEP 27). */
  readonly isPrivate?: boolean | undefined
  readonly comment?: string | undefined
  /** The program that made the torrent. */
  readonly createdBy?: string | undefined
  /** Seconds since 1970. Left out by default, so that the same files give the same bytes. */
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

/** A metainfo file's bytes, in bencode's canonical form. It checks nothing: `Metainfo.decode` does. */
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
    "url-list": webSeeds.length > 0 ? webSeeds : undefined
  })
}

/** 16 KiB, one block: a smaller piece has no use, as nobody requests less. */
export const minAutomaticPieceLength = 16_384

/** 16 MiB: a larger piece keeps memory and peers waiting long before anything of it is verified. */
export const maxAutomaticPieceLength = 16_777_216

/** Few enough that the digests stay at 40 KiB, many enough that peers have something to exchange early. */
const aimedPieceCount = 2_048

/**
 * The piece length for `totalLength` bytes: a power of two that gives 1,025 to 2,048 pieces, within 16 KiB and 16 MiB.
 * It grows beyond only where a torrent would else pass `Metainfo.maxPieceCount`.
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
   * The file is part of the torrent, but downloads store it as `storedAs`: everywhere, because its name is not safe, or
   * if `isClash` only on file systems that take its name for another file's (`metainfo/SafePath.ts`).
   */
  | { readonly _tag: "Renamed"; readonly path: string; readonly storedAs: string; readonly isClash: boolean }
  /** Told once before the first piece, and after each. */
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
  /** Takes symbolic links as what they lead to, outside of the folder too; a link to a folder as that folder. */
  readonly followLinks?: boolean | undefined
  /** Told how it goes; the work waits for it. */
  readonly onProgress?: ((progress: Progress) => Effect.Effect<void>) | undefined
}

const fail = (why: string) => Effect.fail(new CreateError({ why }))

/** Ends a sentence about what the platform could not do. */
const reasons: { readonly [tag: string]: string } = {
  NotFound: "no such file or folder",
  PermissionDenied: "permission denied",
  Busy: "it is in use"
}

const atPath = (path: string) => (error: PlatformError.PlatformError) =>
  new CreateError({ why: `${path}: ${reasons[error.reason._tag] ?? error.reason.description ?? error.message}` })

/**
 * Makes a metainfo file of the file or folder at `path`, reading each file once. Holds one piece in memory. Fails with
 * a sentence that names the file where one cannot be read or changes its length meanwhile, and where there is nothing
 * to share.
 */
export const fromPath = Effect.fn("CreateTorrent.fromPath")(function* (path: string, options: FromPathOptions = {}) {
  yield* checkDetails(options)
  const paths = yield* Path.Path
  const root = paths.resolve(path)
  const name = options.name ?? paths.basename(root)
  if (name === "") return yield* fail(`${path}: a torrent needs a name, and this path has none`)
  if (ReservedName.is(name)) return yield* fail(`${path}: a torrent cannot be named ${name}: ${whyReserved}`)

  const sources = yield* listSources(root, options)
  const totalLength = sources.reduce((sum, { length }) => sum + length, 0)
  if (sources.length === 0) return yield* fail(`${root}: the folder has no files`)
  if (totalLength === 0) return yield* fail(`${root}: there are no bytes in it`)
  const pieceLength = options.pieceLength ?? pieceLengthFor(totalLength)
  if (Math.ceil(totalLength / pieceLength) > Metainfo.maxPieceCount) {
    return yield* fail(
      `${root}: pieces of ${pieceLength} bytes give more than ${Metainfo.maxPieceCount} pieces; choose a larger piece length`
    )
  }
  yield* reportRenames(root, name, sources, options.onProgress)
  const digests = yield* hashSources(sources, { totalLength, pieceLength, onProgress: options.onProgress })
  return encode({ ...options, name, files: sources, pieceLength, digests })
})

const reportRenames = Effect.fnUntraced(function* (
  root: string,
  name: string,
  sources: ReadonlyArray<Source>,
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

const checkDetails = ({ creationDate, pieceLength, trackers = [], webSeeds = [] }: FromPathOptions) => {
  const tracker = trackers.flat().find((url) => !SourceUrl.isTracker(url))
  if (tracker !== undefined) return fail(`${tracker} is no URL of a tracker: it must be http, https, udp, ws or wss`)
  const webSeed = webSeeds.find((url) => !SourceUrl.isWebSeed(url))
  if (webSeed !== undefined) return fail(`${webSeed} is no URL of a web seed: it must be http or https`)
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

/** A file on disk that becomes a file of the torrent. */
interface Source extends File {
  readonly source: string
}

const whyReserved = "piecewise keeps its own data in a folder of this name"

/** Entries of a folder that are looked at, links followed; a metainfo file has no room for half as many files. */
const maxEntries = 1_000_000

/** A folder to be listed. */
interface Folder {
  readonly path: ReadonlyArray<string>
  /** The true paths of the folders that it lies in and of itself, where links are followed: one of them ends a cycle. */
  readonly within: ReadonlyArray<string>
}

const listSources = Effect.fnUntraced(function* (
  root: string,
  { followLinks = false, onProgress = () => Effect.void }: Pick<FromPathOptions, "followLinks" | "onProgress">
) {
  const fileSystem = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const info = yield* fileSystem.stat(root).pipe(Effect.mapError(atPath(root)))
  if (info.type === "File") return [{ source: root, path: [], length: ByteSize.toNumberUnsafe(info.size) }]
  if (info.type !== "Directory") return yield* fail(`${root} is neither a file nor a folder`)

  const realRoot = yield* fileSystem.realPath(root).pipe(Effect.mapError(atPath(root)))
  const found: Array<{ readonly key: ReadonlyArray<Uint8Array>; readonly source: Source }> = []
  let entryCount = 0
  // Folders come from their parents' listings, or from links that lead to none of the folders they lie in: the walk ends.
  const folders: Array<Folder> = [{ path: [], within: followLinks ? [realRoot] : [] }]
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const folderPath = paths.join(root, ...folder.path)
    const entries = yield* fileSystem.readDirectoryEntries(folderPath).pipe(Effect.mapError(atPath(folderPath)))
    entryCount += entries.length
    if (entryCount > maxEntries) return yield* fail(`${root}: the folder has more than ${maxEntries} files and folders`)
    for (const entry of entries) {
      const path = [...folder.path, entry.name]
      const source = paths.join(folderPath, entry.name)
      const leaveOut = (why: string, isFollowable = false) =>
        onProgress({ _tag: "LeftOut", path: source, why, isFollowable })
      if (ReservedName.is(entry.name)) {
        yield* leaveOut(whyReserved)
        continue
      }
      let type = entry.type === "Unknown" ? yield* typeOf(source) : entry.type
      if (type === "SymbolicLink") {
        const target = yield* followLink(source, { realRoot, followLinks })
        if (target._tag === "LeftOut") {
          yield* leaveOut(target.why, target.isFollowable)
          continue
        }
        type = target.type
      }
      if (type === "Directory") {
        const within = yield* enterFolder(source, folder.within)
        if (within === undefined) yield* leaveOut("a symbolic link that leads back to a folder it lies in")
        else folders.push({ path, within })
        continue
      }
      if (type !== "File") {
        yield* leaveOut("not a file")
        continue
      }
      const { size } = yield* fileSystem.stat(source).pipe(Effect.mapError(atPath(source)))
      found.push({ key: path.map(Bytes.fromText), source: { source, path, length: ByteSize.toNumberUnsafe(size) } })
    }
  }
  return found.sort((a, b) => comparePaths(a.key, b.key)).map(({ source }) => source)
})

/** The type of an entry that its folder's listing did not tell, links not followed. */
const typeOf = Effect.fnUntraced(function* (source: string) {
  const fileSystem = yield* FileSystem.FileSystem
  const isLink = yield* fileSystem.readLink(source).pipe(
    Effect.as(true),
    Effect.orElseSucceed(() => false)
  )
  if (isLink) return "SymbolicLink" as const
  return (yield* fileSystem.stat(source).pipe(Effect.mapError(atPath(source)))).type
})

/** What a link is taken for. */
type Target =
  | { readonly _tag: "Taken"; readonly type: FileSystem.File.Type }
  | { readonly _tag: "LeftOut"; readonly why: string; readonly isFollowable: boolean }

const leftOut = (why: string, isFollowable: boolean): Target => ({ _tag: "LeftOut", why, isFollowable })

const followLink = Effect.fnUntraced(function* (
  source: string,
  { followLinks, realRoot }: { readonly followLinks: boolean; readonly realRoot: string }
): Effect.fn.Return<Target, CreateError, FileSystem.FileSystem | Path.Path> {
  const fileSystem = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const target = yield* fileSystem.realPath(source).pipe(Effect.orElseSucceed(() => undefined))
  if (target === undefined) return leftOut("a symbolic link that leads nowhere", false)
  const { type } = yield* fileSystem.stat(target).pipe(Effect.mapError(atPath(source)))
  const isUsable = type === "File" || type === "Directory"
  if (followLinks && isUsable) return { _tag: "Taken", type }
  const relative = paths.relative(realRoot, target)
  if (relative === ".." || relative.startsWith(`..${paths.sep}`) || paths.isAbsolute(relative)) {
    return leftOut("a symbolic link that leaves the folder", isUsable)
  }
  return type === "File" ? { _tag: "Taken", type } : leftOut("a symbolic link that does not lead to a file", isUsable)
})

/** The folders that an entry of the folder `source` lies in; `undefined` if it is one of those that it lies in itself. */
const enterFolder = Effect.fnUntraced(function* (source: string, within: ReadonlyArray<string>) {
  if (within.length === 0) return within
  const fileSystem = yield* FileSystem.FileSystem
  const real = yield* fileSystem.realPath(source).pipe(Effect.mapError(atPath(source)))
  return within.includes(real) ? undefined : [...within, real]
})

const comparePaths = (a: ReadonlyArray<Uint8Array>, b: ReadonlyArray<Uint8Array>): number => {
  for (let depth = 0; depth < a.length && depth < b.length; depth++) {
    const order = compareBytes(a[depth]!, b[depth]!)
    if (order !== 0) return order
  }
  return a.length - b.length
}

const compareBytes = (a: Uint8Array, b: Uint8Array): number => {
  for (let index = 0; index < a.length && index < b.length; index++) {
    if (a[index] !== b[index]) return a[index]! - b[index]!
  }
  return a.length - b.length
}

/** Bytes asked for in one read: large enough that the call costs nothing, small enough to be interrupted soon. */
const readLength = 1_048_576

interface HashOptions {
  readonly totalLength: number
  readonly pieceLength: number
  readonly onProgress: FromPathOptions["onProgress"]
}

const checkFile = ({ type }: FileSystem.File.Info, source: string) =>
  type === "File" ? Effect.void : fail(`${source} is not a regular file any more`)

/** Reads the files one after the other into one piece buffer and digests it whenever it is full. */
const hashSources = Effect.fnUntraced(function* (sources: ReadonlyArray<Source>, options: HashOptions) {
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
  const readSource = Effect.fnUntraced(function* ({ length, source }: Source) {
    const fileSystem = yield* FileSystem.FileSystem
    // Hours after the folder was listed there may be a FIFO, whose opening would wait for a writer.
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
