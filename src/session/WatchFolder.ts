/**
 * Adds the torrent files and magnet links that appear in a folder.
 *
 * - A file is one named `.torrent`, or `.magnet` with a link in it. Hidden files, links and folders are not looked at.
 * - It is read once it has looked the same in two scans, because a browser or a copy may still be writing it.
 * - Then it is renamed: to `NAME.added` if the torrent is in the session, or to `NAME.refused` if it can never be added, and
 *   the log says why. If the store cannot keep it now, the file stays and is tried again.
 *
 * The folder is its own memory: what a kill interrupts is in the folder or in the session at the next start, and a torrent
 * that is in the session already counts as added. A folder that does not exist, or that vanishes, is waited for.
 */
import * as ByteSize from "effect/ByteSize"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import * as InfoHash from "../base/InfoHash.ts"
import { type AddError, type AddOptions, Session } from "./Session.ts"

/** A folder that is watched. */
export interface Options {
  readonly folder: string
  /** How its torrents are added. */
  readonly add?: AddOptions | undefined
  /** How often it is looked at. Default 5 seconds. */
  readonly every?: Duration.Input | undefined
  /** The most bytes that a torrent file may have. Default 64 MiB, as for metadata from elsewhere. */
  readonly maxBytes?: number | undefined
}

/** The most bytes of a torrent file by default. */
export const defaultMaxBytes = 64 * 1_024 * 1_024

/** The most bytes of a file with a magnet link. */
const maxMagnetBytes = 65_536

type Kind = "torrent" | "magnet"

/** What a file looked like. */
interface Look {
  readonly size: bigint
  readonly modified: number
}

/** A watch. */
interface Watch {
  readonly fs: FileSystem.FileSystem
  readonly path: Path.Path
  readonly session: Session["Service"]
  readonly options: Options
  /** What the files looked like in the last scan, by name. */
  looks: Map<string, Look>
  /** Files that were handled and could not be renamed, and those whose failure was logged; as they looked then. */
  readonly handled: Map<string, Look>
  readonly failed: Map<string, Look>
  /** Whether the folder could be read in the last scan. */
  isThere: boolean | undefined
}

const isSame = (one: Look | undefined, other: Look): boolean =>
  one !== undefined && one.size === other.size && one.modified === other.modified

const kindOf = (name: string): Kind | undefined => {
  if (name.startsWith(".")) return undefined
  const extension = /\.(torrent|magnet)$/i.exec(name)?.[1]
  return extension?.toLowerCase() as Kind | undefined
}

/** What a file looks like; `undefined` if it is none, or gone. */
const lookAt = Effect.fnUntraced(function* ({ fs, options, path }: Watch, name: string) {
  const info = yield* Effect.option(fs.lstat(path.join(options.folder, name)))
  if (Option.isNone(info) || info.value.type !== "File") return undefined
  const modified = Option.match(info.value.mtime, { onNone: () => 0, onSome: (date) => date.getTime() })
  const look: Look = { size: ByteSize.toBigInt(info.value.size), modified }
  return look
})

/** The files that may be torrents, and what they look like. */
const find = Effect.fnUntraced(function* (self: Watch) {
  const found = new Map<string, Look>()
  for (const { name, type } of yield* self.fs.readDirectoryEntries(self.options.folder)) {
    if (type !== "File" || kindOf(name) === undefined) continue
    const look = yield* lookAt(self, name)
    if (look !== undefined) found.set(name, look)
  }
  return found
})

/** Opens a file and no link. Not every platform can tell at that moment. */
const open = (fs: FileSystem.FileSystem, file: string) =>
  Effect.catchIf(
    fs.open(file, { flag: "r", noFollow: true }),
    ({ reason }) => reason._tag === "BadArgument",
    () => fs.open(file, { flag: "r" })
  )

/** Reads a file of so many bytes; fewer or one more if it has changed. */
const read = ({ fs }: Watch, file: string, size: number) =>
  Effect.scoped(
    Effect.gen(function* () {
      const opened = yield* open(fs, file)
      const bytes = new Uint8Array(size + 1)
      for (let length = 0; ; ) {
        const count = Number(yield* opened.read(bytes.subarray(length)))
        length += count
        if (count === 0 || length > size) return bytes.subarray(0, length)
      }
    })
  )

/** A free name for a file that was handled. */
const nameFor = Effect.fnUntraced(function* ({ fs }: Watch, file: string, end: string) {
  for (let number = 1; ; number++) {
    const name = number === 1 ? `${file}.${end}` : `${file}.${number}.${end}`
    if (!(yield* fs.exists(name))) return name
  }
})

/**
 * Renames a file that was handled, unless it has changed meanwhile, so that it is handled again. If that fails, it is not
 * handled again in this run.
 */
const rename = (self: Watch, name: string, look: Look, end: "added" | "refused"): Effect.Effect<void> => {
  const file = self.path.join(self.options.folder, name)
  return Effect.gen(function* () {
    const to = yield* nameFor(self, file, end)
    const now = yield* lookAt(self, name)
    if (now !== undefined && isSame(look, now)) yield* self.fs.rename(file, to)
  }).pipe(
    Effect.catch((error) => {
      self.handled.set(name, look)
      return Effect.logWarning("a file in a watched folder could not be renamed", { file, error: error.message })
    })
  )
}

/** A file that can never be added. */
interface Refused {
  readonly _tag: "Refused"
  readonly message: string
}

/** Adds what is in a file, and returns its info hash; `undefined` if the file has changed meanwhile. */
const add = (
  self: Watch,
  kind: Kind,
  file: string,
  look: Look
): Effect.Effect<InfoHash.InfoHash | undefined, AddError | PlatformError.PlatformError | Refused> =>
  Effect.gen(function* () {
    const { options, session } = self
    const maxBytes = kind === "magnet" ? maxMagnetBytes : (options.maxBytes ?? defaultMaxBytes)
    const size = Number(look.size)
    if (size > maxBytes)
      return yield* Effect.fail({ _tag: "Refused" as const, message: `it has more than ${maxBytes} bytes` })
    const bytes = yield* read(self, file, size)
    if (bytes.length !== size) return undefined
    const link = () => new TextDecoder().decode(bytes).trim().split(/\s/)[0]!
    const { infoHash } = yield* session.add(kind === "torrent" ? { metainfo: bytes } : { magnet: link() }, options.add)
    return infoHash
  })

const handle = Effect.fnUntraced(function* (self: Watch, name: string, look: Look) {
  const file = self.path.join(self.options.folder, name)
  const added = yield* Effect.result(add(self, kindOf(name)!, file, look))
  if (added._tag === "Success") {
    if (added.success === undefined) return
    const infoHash = InfoHash.toHex(added.success)
    yield* Effect.logInfo("a torrent was added from a watched folder", { file, infoHash })
    return yield* rename(self, name, look, "added")
  }
  const error = added.failure
  if (error._tag === "piecewise/AlreadyInSession") return yield* rename(self, name, look, "added")
  if (error._tag === "piecewise/SessionStoreError" || error._tag === "PlatformError") {
    if (isSame(self.failed.get(name), look)) return
    self.failed.set(name, look)
    return yield* Effect.logWarning("a file in a watched folder cannot be added yet", { file, error: error.message })
  }
  yield* Effect.logWarning("a file in a watched folder was refused", { file, error: error.message })
  yield* rename(self, name, look, "refused")
})

/** Looks at the folder once. */
const scan = Effect.fnUntraced(function* (self: Watch) {
  const { folder } = self.options
  const found = yield* Effect.result(find(self))
  const isThere = found._tag === "Success"
  if (!isThere && self.isThere !== false) {
    yield* Effect.logWarning("a watched folder cannot be read, and is waited for", {
      folder,
      error: found.failure.message
    })
  }
  if (isThere && self.isThere === false) yield* Effect.logInfo("a watched folder can be read again", { folder })
  self.isThere = isThere
  const before = self.looks
  self.looks = isThere ? found.success : new Map()
  for (const [name, look] of self.looks) {
    if (look.size > 0n && isSame(before.get(name), look) && !isSame(self.handled.get(name), look)) {
      yield* handle(self, name, look)
    }
  }
  for (const kept of [self.handled, self.failed]) {
    for (const name of kept.keys()) if (!self.looks.has(name)) kept.delete(name)
  }
})

/** Makes a watch, and returns what looks at its folder once. */
export const make = (
  options: Options
): Effect.Effect<Effect.Effect<void>, never, Session | FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const self: Watch = {
      fs: yield* FileSystem.FileSystem,
      path: yield* Path.Path,
      session: yield* Session,
      options,
      looks: new Map(),
      handled: new Map(),
      failed: new Map(),
      isThere: undefined
    }
    return self
  }).pipe(Effect.map(scan))

/** Watches a folder until the scope closes. */
export const run = (
  options: Options
): Effect.Effect<void, never, Session | FileSystem.FileSystem | Path.Path | Scope.Scope> =>
  Effect.flatMap(make(options), (scan) =>
    Effect.asVoid(Effect.forkScoped(Effect.forever(Effect.andThen(scan, Effect.sleep(options.every ?? "5 seconds")))))
  )

/** Watches folders. */
export const layer = (
  folders: ReadonlyArray<Options>
): Layer.Layer<never, never, Session | FileSystem.FileSystem | Path.Path> =>
  Layer.effectDiscard(Effect.forEach(folders, run, { discard: true }))
