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
import { type StorageReason, StorageRefused, StorageUnavailable } from "../../Storage.ts"
import type { OpenFailure } from "./FileHandles.ts"
import * as FileHandles from "./FileHandles.ts"
import type { SystemError } from "./FileSystemError.ts"
import * as FileSystemError from "./FileSystemError.ts"
import type { NodeFileSystem } from "./NodeFile.ts"
import * as NodeFile from "./NodeFile.ts"

/** A download folder, as one torrent knows it. Made by `make`, changed only here. */
export interface DownloadFolder {
  readonly fs: NodeFileSystem
  /** As the user named it. */
  readonly directory: string
  /** Whether reads may leave the folder through links; writes may not. */
  readonly followLinks: boolean
  /** True paths of folders that were found or made, by their components; "" for the download folder. */
  known: Map<string, string> | undefined
  /** Folders with new entries that were not synced yet. */
  changed: Set<string> | undefined
  /** Of the folder that was found first. */
  identity: RootIdentity | undefined
}

/** Tells a download folder apart from what is at its path after it vanished. */
interface RootIdentity {
  readonly dev: bigint
  readonly ino: bigint
  /** Of the file system. */
  readonly type: bigint
}

const vanished = "the download folder vanished, and is not made again while the torrent is open"

/** Makes a download folder of `directory`, which need not exist. Touches nothing. */
export const make = (
  fs: NodeFileSystem,
  directory: string,
  { followLinks = false }: { readonly followLinks?: boolean | undefined } = {}
): DownloadFolder => ({ fs, directory, followLinks, known: undefined, changed: undefined, identity: undefined })

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

/** Folders with new entries that were not synced yet. */
export const changed = (self: DownloadFolder): ReadonlyArray<string> => [...(self.changed ?? [])]

/** Forgets that a folder has new entries; later ones count again. */
export const unmarkChanged = (self: DownloadFolder, folder: string): void => {
  self.changed?.delete(folder)
  if (self.changed?.size === 0) self.changed = undefined
}

const remember = (self: DownloadFolder, key: string, real: string): string => {
  self.known ??= new Map()
  self.known.set(key, real)
  return real
}

const refuse = (path: string, why: string): OpenFailure => FileHandles.refusal(new StorageRefused({ path, why }))

const failed = (path: string, access: "read" | "write") => (error: SystemError) => openFailure(error, path, access)

const realpath = ({ fs }: DownloadFolder, path: string) => NodeFile.call<string>((done) => fs.realpath(path, done))

const identify = Effect.fnUntraced(function* ({ fs }: DownloadFolder, path: string) {
  const { dev, ino } = yield* NodeFile.call<NFS.BigIntStats>((done) => fs.statExact(path, done))
  const { type } = yield* NodeFile.call<NFS.BigIntStatsFs>((done) => fs.statfs(path, done))
  return { dev, ino, type } satisfies RootIdentity
})

/**
 * Fails with `StorageUnavailable` if the download folder is not the one that was found first. A folder on another
 * device with the same inode on the same kind of file system counts as the same, mounted again.
 */
export const present = Effect.fnUntraced(function* (self: DownloadFolder): Effect.fn.Return<void, StorageReason> {
  const { directory, fs, identity } = self
  if (identity === undefined) return
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
  if (found !== undefined) return found
  if (access === "write" && self.identity === undefined) {
    yield* Effect.mapError(makeRoot(self), failed(directory, access))
  }
  const real = yield* Effect.mapError(realpath(self, rootOf(self)), failed(directory, access))
  self.identity ??= yield* Effect.mapError(identify(self, real), failed(directory, access))
  return remember(self, "", real)
})

const makeFolder = Effect.fnUntraced(function* (self: DownloadFolder, parent: string, child: string, name: string) {
  const made = yield* Effect.result(NodeFile.call((done) => self.fs.mkdir(child, done)))
  if (made._tag === "Success") {
    markChanged(self, parent)
    return child
  }
  if (made.failure.code !== "EEXIST") return yield* Effect.fail(openFailure(made.failure, name, "write"))
  // Another program made it meanwhile, or a link leads nowhere.
  return yield* Effect.mapError(realpath(self, child), (error) =>
    error.code === "ENOENT" ? refuse(name, "a symbolic link leads nowhere") : openFailure(error, name, "write")
  )
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
  const found = yield* Effect.result(realpath(self, child))
  if (found._tag === "Failure" && (access === "read" || found.failure.code !== "ENOENT")) {
    return yield* Effect.fail(openFailure(found.failure, name, access))
  }
  const real = found._tag === "Success" ? found.success : yield* makeFolder(self, parent, child, name)
  const inside = real.startsWith(top.endsWith(Path.sep) ? top : top + Path.sep)
  const mayLeave = self.followLinks && access === "read"
  if (!inside && !mayLeave) return yield* Effect.fail(refuse(name, FileSystemError.linkLeadsOut))
  return real
})

/**
 * The true path of the folder with these components, with no link left in it. Makes what is missing for `write`.
 * Fails with `NotStored` for `read`, and with `StorageUnavailable` for `write` if the download folder has vanished.
 */
export const resolve = Effect.fnUntraced(function* (
  self: DownloadFolder,
  components: ReadonlyArray<string>,
  access: "read" | "write"
): Effect.fn.Return<string, OpenFailure> {
  const top = yield* resolveRoot(self, access)
  if (components.length === 0) return top
  // Reads may resolve to places where writes are refused.
  const key = `${self.followLinks ? access : ""}/${components.join("/")}`
  const remembered = self.known?.get(key)
  if (remembered !== undefined) {
    // One call instead of one a component. It also notices a folder that was swapped for a link.
    const still = yield* Effect.result(realpath(self, remembered))
    if (still._tag === "Success" && still.success === remembered) return remembered
  }
  let real = top
  for (let depth = 0; depth < components.length; depth++) {
    const name = nameOf(self, components.slice(0, depth + 1))
    real = yield* enter(self, top, real, components[depth]!, name, access)
  }
  return remember(self, key, real)
})

/** What an error in opening `path` means. */
export const openFailure = (error: SystemError, path: string, access: "read" | "write"): OpenFailure => ({
  reason: FileSystemError.reasonOf(error, path, access),
  exhausted: FileSystemError.isExhausted(error),
  missing: error.code === "ENOENT",
  unnameable: FileSystemError.isUnnameable(error)
})
