/**
 * The folders below a download folder: found or made one component at a time, and never outside it.
 *
 * The download folder itself may be a symbolic link, and links below it may point to places below it. A link that leads
 * out is refused before anything is made behind it. A download folder that was there and has vanished, as on a drive
 * that was unplugged, is never made again: a new one would fill the disk below it and be hidden when the drive is back.
 *
 * Node has no `openat`, so a path is resolved first and used afterwards. This does not stop a user who may already
 * write in the download folder and swaps a folder for a link within those microseconds. Such a user could at most have
 * verified pieces written to places where this process may write.
 */

import type * as NFS from "node:fs"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Turn from "../../../base/Turn.ts"
import { type StorageReason, StorageRefused, StorageUnavailable } from "../../Storage.ts"
import type { OpenFailure } from "./FileHandles.ts"
import * as FileHandles from "./FileHandles.ts"
import type { SystemError } from "./FileSystemError.ts"
import * as FileSystemError from "./FileSystemError.ts"
import * as LocalDevices from "./LocalDevices.ts"
import type { NodeFileSystem } from "./NodeFile.ts"
import * as NodeFile from "./NodeFile.ts"

/** A download folder, as one torrent knows it. Made by `make`, changed only here. */
export interface DownloadFolder {
  readonly fs: NodeFileSystem
  /** As the user named it. */
  readonly directory: string
  /** Whether reads may leave the folder through links; writes may not. */
  readonly followLinks: boolean
  /** Folders that were found or made, by their components; "" for the download folder. */
  known: Map<string, KnownFolder> | undefined
  /** Folders with new entries that were not synced yet. */
  changed: Set<string> | undefined
  /** Folders that were made here, until somebody asks. */
  made: Set<string> | undefined
  /** Of the folder that was found first. */
  identity: RootIdentity | undefined
  /** Whether a folder was found that is on another device, or far down. */
  hasFar: boolean
  /** Folders are made one at a time, so that files that are made at once do not try to make the same ones. */
  readonly making: Turn.Turn
}

/** A folder that was found or made. There may be hundreds of thousands. */
interface KnownFolder {
  /** True, with no link left in it. */
  readonly path: string
  /** `undefined` if it is on another device than the download folder, on a network disk, or more than `maxWay` down. */
  readonly ino: number | undefined
  /** The folder that it is in, if that is another one than the download folder, and on its device. */
  readonly outer: KnownFolder | undefined
}

/** Tells a download folder apart from what is at its path after it vanished. */
interface RootIdentity {
  readonly dev: bigint
  readonly ino: bigint
  /** Of the file system. */
  readonly type: bigint
}

/**
 * How many folders on the way to a folder are looked at on this thread. One look costs 4 us there, and 14 us on another
 * thread (CPU, Node 24), which looks at the whole way.
 */
const maxWay = 8

const vanished = "the download folder vanished, and is not made again while the torrent is open"

/** Makes a download folder of `directory`, which need not exist. Touches nothing. */
export const make = (
  fs: NodeFileSystem,
  directory: string,
  { followLinks = false }: { readonly followLinks?: boolean | undefined } = {}
): DownloadFolder => ({
  fs,
  directory,
  followLinks,
  known: undefined,
  changed: undefined,
  made: undefined,
  identity: undefined,
  hasFar: false,
  making: Turn.make()
})

/** Whether the download folder is on a disk of this machine, as far as is known; see `LocalDevices.ts`. */
export const isLocal = ({ identity }: DownloadFolder): boolean =>
  identity !== undefined && LocalDevices.isLocalType(identity.type)

/** Whether everything that was found below the download folder is on a disk of this machine. */
export const isLocalThroughout = (self: DownloadFolder): boolean => isLocal(self) && !self.hasFar

const rootOf = ({ directory }: DownloadFolder): string => Path.resolve(directory)

/** A path below the folder, as the user would name it. */
export const nameOf = ({ directory }: DownloadFolder, components: ReadonlyArray<string>): string =>
  Path.join(directory, ...components)

/** Forgets which folders are known to exist, after one turned out to be gone. */
export const forget = (self: DownloadFolder): void => {
  self.known = undefined
}

/** Notes that the folder with this true path has a new entry; `resolve` does so for folders it makes. */
export const markChanged = (self: DownloadFolder, folder: string): void => {
  self.changed ??= new Set()
  self.changed.add(folder)
}

/** Whether the folder with this true path was made here, so that nothing of earlier runs is in it. True once. */
export const takeMade = (self: DownloadFolder, folder: string): boolean => self.made?.delete(folder) === true

/** Folders with new entries that were not synced yet. */
export const changed = (self: DownloadFolder): ReadonlyArray<string> => [...(self.changed ?? [])]

/** Forgets that a folder has new entries; later ones count again. */
export const unmarkChanged = (self: DownloadFolder, folder: string): void => {
  self.changed?.delete(folder)
  if (self.changed?.size === 0) self.changed = undefined
}

/** The inode of what is there now, on this thread, if that is a folder on the device of the download folder. */
const inodeNow = ({ fs, identity }: DownloadFolder, path: string): number | undefined => {
  const stats = fs.lookNow(path, false)
  if (stats?.isDirectory() !== true || stats.dev !== identity!.dev) return undefined
  const ino = Number(stats.ino)
  return Number.isSafeInteger(ino) ? ino : undefined
}

/** A folder below `top`, given by its true path, that was in use just now; `outer` may be the one that it is in. */
const knownAs = (self: DownloadFolder, top: string, path: string, outer: KnownFolder | undefined): KnownFolder => {
  const near = nearAs(self, top, path, outer)
  if (near?.ino !== undefined) return near
  self.hasFar = true
  return { path, ino: undefined, outer: undefined }
}

const nearAs = (self: DownloadFolder, top: string, path: string, outer?: KnownFolder): KnownFolder | undefined => {
  if (!isLocal(self) || !isInside(top, path)) return undefined
  if (path.slice(top.length).split(Path.sep).length > maxWay + 1) return undefined
  const parent = Path.dirname(path)
  if (parent === top) return { path, ino: inodeNow(self, path), outer: undefined }
  const above = parent === outer?.path ? outer : nearAs(self, top, parent)
  return above?.ino === undefined ? undefined : { path, ino: inodeNow(self, path), outer: above }
}

const isInside = (top: string, path: string): boolean => path.startsWith(top.endsWith(Path.sep) ? top : top + Path.sep)

const remember = (self: DownloadFolder, key: string, folder: KnownFolder): string => {
  self.known ??= new Map()
  self.known.set(key, folder)
  return folder.path
}

/** Whether a folder and those on the way to it are the ones that are known, as far as this thread may look. */
const isSame = (self: DownloadFolder, known: KnownFolder): boolean => {
  let left: KnownFolder | undefined = known
  while (left?.ino !== undefined && inodeNow(self, left.path) === left.ino) left = left.outer
  return left === undefined
}

const refuse = (path: string, why: string): OpenFailure => FileHandles.refusal(new StorageRefused({ path, why }))

const failed = (path: string, access: "read" | "write") => (error: SystemError) => openFailure(error, path, access)

const realpath = ({ fs }: DownloadFolder, path: string) => NodeFile.call<string>((done) => fs.realpath(path, done))

const identify = Effect.fnUntraced(function* ({ fs }: DownloadFolder, path: string) {
  const { dev, ino } = yield* NodeFile.call<NFS.BigIntStats>((done) => fs.statExact(path, done))
  const { type } = yield* NodeFile.call<NFS.BigIntStatsFs>((done) => fs.statfs(path, done))
  return { dev, ino, type } satisfies RootIdentity
})

/** Whether the download folder is the one that was found first, as far as this thread may look. */
const isPresent = (self: DownloadFolder): boolean => {
  const { fs, identity } = self
  if (identity === undefined || !isLocal(self)) return false
  const now = fs.lookNow(rootOf(self), true)
  return now?.dev === identity.dev && now.ino === identity.ino
}

/**
 * Fails with `StorageUnavailable` if the download folder is not the one that was found first. A folder on another
 * device with the same inode on the same kind of file system counts as the same, mounted again.
 */
export const present = Effect.fnUntraced(function* (self: DownloadFolder): Effect.fn.Return<void, StorageReason> {
  const { directory, fs, identity } = self
  if (identity === undefined || isPresent(self)) return
  const root = rootOf(self)
  const found = yield* Effect.result(NodeFile.call<NFS.BigIntStats>((done) => fs.statExact(root, done)))
  const isThere = Result.isSuccess(found) && found.success.ino === identity.ino
  if (isThere && found.success.dev === identity.dev) return
  // A drive that was plugged in again may have another device number, and so has everything on it.
  const back = isThere ? yield* Effect.orElseSucceed(identify(self, root), () => undefined) : undefined
  if (back?.ino !== identity.ino || back.type !== identity.type) {
    return yield* Effect.fail(new StorageUnavailable({ path: directory, why: vanished }))
  }
  self.identity = back
})

const makeRoot = Effect.fnUntraced(function* (self: DownloadFolder) {
  const root = rootOf(self)
  const top = yield* NodeFile.call<string | undefined>((done) => self.fs.mkdirs(root, done))
  if (top === undefined) return
  for (let made = root; made !== Path.dirname(top); made = Path.dirname(made)) markChanged(self, Path.dirname(made))
})

const resolveRoot = Effect.fnUntraced(function* (self: DownloadFolder, access: "read" | "write") {
  const { directory } = self
  if (access === "write" && self.identity !== undefined) yield* Effect.mapError(present(self), FileHandles.refusal)
  const found = self.known?.get("")
  if (found !== undefined) return found.path
  if (access === "write" && self.identity === undefined) {
    yield* Effect.mapError(makeRoot(self), failed(directory, access))
  }
  const real = yield* Effect.mapError(realpath(self, rootOf(self)), failed(directory, access))
  self.identity ??= yield* Effect.mapError(identify(self, real), failed(directory, access))
  return remember(self, "", { path: real, ino: undefined, outer: undefined })
})

/** Makes the folder, or finds the true path of what is there. */
const makeFolder = Effect.fnUntraced(function* (self: DownloadFolder, parent: string, child: string, name: string) {
  // Most folders that are written to for the first time are missing.
  const made = yield* Effect.result(NodeFile.call((done) => self.fs.mkdir(child, done)))
  if (made._tag === "Success") {
    markChanged(self, parent)
    self.made ??= new Set()
    self.made.add(child)
    return child
  }
  return yield* Effect.mapError(realpath(self, child), (error) => {
    if (error.code !== "ENOENT") return openFailure(error, name, "write")
    return made.failure.code === "EEXIST"
      ? refuse(name, "a symbolic link leads nowhere")
      : openFailure(made.failure, name, "write")
  })
})

const enter = Effect.fnUntraced(function* (
  self: DownloadFolder,
  top: string,
  parent: string,
  component: string,
  name: string,
  access: "read" | "write"
) {
  const child = Path.join(parent, component)
  const real =
    access === "write"
      ? yield* makeFolder(self, parent, child, name)
      : yield* Effect.mapError(realpath(self, child), failed(name, access))
  const mayLeave = self.followLinks && access === "read"
  if (!isInside(top, real) && !mayLeave) return yield* Effect.fail(refuse(name, FileSystemError.linkLeadsOut))
  return real
})

// Reads may resolve to places where writes are refused.
const keyOf = ({ followLinks }: DownloadFolder, components: ReadonlyArray<string>, access: "read" | "write"): string =>
  `${followLinks ? access : ""}/${components.join("/")}`

/**
 * The folder with these components, if it is known and still there, and no folder on the way to it was swapped for a
 * link. A folder that is written to is looked at on this thread, because it is in memory. One that is read from may have
 * been used last days ago, so that a look has to wait for the disk.
 */
const recall = Effect.fnUntraced(function* (
  self: DownloadFolder,
  top: string,
  components: ReadonlyArray<string>,
  access: "read" | "write"
) {
  const key = keyOf(self, components, access)
  const known = self.known?.get(key)
  if (known === undefined) return undefined
  if (access === "write" && isSame(self, known)) return known.path
  // One call instead of one a component.
  const real = yield* Effect.orElseSucceed(realpath(self, known.path), () => undefined)
  if (real !== known.path) return undefined
  // Another folder took its place, or its disk has another number now.
  if (access === "write" && known.ino !== undefined) remember(self, key, knownAs(self, top, real, undefined))
  return real
})

const find = Effect.fnUntraced(function* (
  self: DownloadFolder,
  top: string,
  components: ReadonlyArray<string>,
  access: "read" | "write"
): Effect.fn.Return<string, OpenFailure> {
  const recalled = yield* recall(self, top, components, access)
  if (recalled !== undefined) return recalled
  const outer = components.slice(0, -1)
  // Beside another folder, most often. Its parent was remembered as well, unless the way is long.
  const parent = outer.length === 0 ? top : yield* recall(self, top, outer, access)
  let real = parent ?? top
  let known = parent === undefined ? undefined : self.known?.get(keyOf(self, outer, access))
  for (let depth = parent === undefined ? 1 : components.length; depth <= components.length; depth++) {
    const names = components.slice(0, depth)
    real = yield* enter(self, top, real, names[depth - 1]!, nameOf(self, names), access)
    if (depth < components.length - 1) continue
    known = knownAs(self, top, real, known)
    remember(self, keyOf(self, names, access), known)
  }
  return real
})

/**
 * The true path of the folder with these components, with no link left in it. Makes what is missing for `write`.
 * Fails with `NotStored` for `read`, and with `StorageUnavailable` for `write` if the download folder has vanished.
 */
export const resolve = (
  self: DownloadFolder,
  components: ReadonlyArray<string>,
  access: "read" | "write"
): Effect.Effect<string, OpenFailure> =>
  Effect.suspend(() => {
    const now = access === "write" ? resolveNow(self, components) : undefined
    return now === undefined ? resolveSoon(self, components, access) : Effect.succeed(now)
  })

/** Resolves a folder that is known and on a disk of this machine, and looks at all on the way to it on this thread. */
const resolveNow = (self: DownloadFolder, components: ReadonlyArray<string>): string | undefined => {
  if (!isPresent(self)) return undefined
  if (components.length === 0) return self.known?.get("")?.path
  const known = self.known?.get(keyOf(self, components, "write"))
  return known !== undefined && isSame(self, known) ? known.path : undefined
}

const resolveSoon = Effect.fnUntraced(function* (
  self: DownloadFolder,
  components: ReadonlyArray<string>,
  access: "read" | "write"
): Effect.fn.Return<string, OpenFailure> {
  const top = yield* resolveRoot(self, access)
  if (components.length === 0) return top
  const known = yield* recall(self, top, components, access)
  if (known !== undefined) return known
  const finding = find(self, top, components, access)
  return yield* access === "write" ? Turn.take(self.making, finding) : finding
})

/** What an error in opening `path` means. */
export const openFailure = (error: SystemError, path: string, access: "read" | "write"): OpenFailure => ({
  reason: FileSystemError.reasonOf(error, path, access),
  exhausted: FileSystemError.isExhausted(error),
  missing: error.code === "ENOENT",
  unnameable: FileSystemError.isUnnameable(error)
})
