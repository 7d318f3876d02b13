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

/** A download folder, as one torrent knows it. */
export interface DownloadFolder {
  /** A path below the folder, as the user would name it. */
  readonly nameOf: (components: ReadonlyArray<string>) => string
  /**
   * The true path of the folder with these components, with no link left in it. Makes what is missing for `write`.
   * Fails with `NotStored` for `read`, and with `StorageUnavailable` for `write` if the download folder has vanished.
   */
  readonly resolve: (components: ReadonlyArray<string>, access: "read" | "write") => Effect.Effect<string, OpenFailure>
  /**
   * Fails with `StorageUnavailable` if the download folder is not the one that was found first. A folder on another
   * device with the same inode on the same kind of file system counts as the same, mounted again.
   */
  readonly present: Effect.Effect<void, StorageReason>
  /** Forgets which folders are known to exist, after one turned out to be gone. */
  readonly forget: () => void
  /** Notes that the folder with this true path has a new entry; `resolve` does so for folders it makes. */
  readonly markChanged: (folder: string) => void
  /** Folders with new entries that were not synced yet. */
  readonly changed: () => ReadonlyArray<string>
  /** Forgets that a folder has new entries; later ones count again. */
  readonly unmarkChanged: (folder: string) => void
}

/** Tells a download folder apart from what is at its path after it vanished. */
interface RootIdentity {
  readonly dev: bigint
  readonly ino: bigint
  /** Of the file system. */
  readonly type: bigint
}

const vanished = "the download folder vanished, and is not made again while the torrent is open"

/**
 * Makes a download folder of `directory`, which need not exist. Touches nothing. With `followLinks` reads may leave the
 * folder; writes may not.
 */
export const make = (
  fs: NodeFileSystem,
  directory: string,
  { followLinks = false }: { readonly followLinks?: boolean | undefined } = {}
): DownloadFolder => {
  const root = Path.resolve(directory)
  const known = new Map<string, string>()
  const changed = new Set<string>()
  let identity: RootIdentity | undefined
  const nameOf = (components: ReadonlyArray<string>) => Path.join(directory, ...components)

  const refuse = (path: string, why: string): OpenFailure => FileHandles.refusal(new StorageRefused({ path, why }))
  const failed = (path: string, access: "read" | "write") => (error: SystemError) => openFailure(error, path, access)
  const realpath = (path: string) => NodeFile.call<string>((done) => fs.realpath(path, done))

  const identify = Effect.fnUntraced(function* (path: string) {
    const { dev, ino } = yield* NodeFile.call<NFS.BigIntStats>((done) => fs.statExact(path, done))
    const { type } = yield* NodeFile.call<NFS.BigIntStatsFs>((done) => fs.statfs(path, done))
    return { dev, ino, type } satisfies RootIdentity
  })

  const present: Effect.Effect<void, StorageReason> = Effect.gen(function* () {
    if (identity === undefined) return
    const found = yield* Effect.result(NodeFile.call<NFS.BigIntStats>((done) => fs.statExact(root, done)))
    const isThere = Result.isSuccess(found) && found.success.ino === identity.ino
    if (isThere && found.success.dev === identity.dev) return
    // A drive that was plugged in again may have another device number, and so has everything on it.
    const back = isThere ? yield* Effect.orElseSucceed(identify(root), () => undefined) : undefined
    if (back?.ino !== identity.ino || back.type !== identity.type) {
      return yield* Effect.fail(new StorageUnavailable({ path: directory, why: vanished }))
    }
    identity = back
  })

  const makeRoot = Effect.fnUntraced(function* () {
    const top = yield* NodeFile.call<string | undefined>((done) => fs.mkdirs(root, done))
    if (top === undefined) return
    for (let made = root; made !== Path.dirname(top); made = Path.dirname(made)) changed.add(Path.dirname(made))
  })

  const resolveRoot = Effect.fnUntraced(function* (access: "read" | "write") {
    if (access === "write" && identity !== undefined) {
      yield* Effect.mapError(present, FileHandles.refusal)
    }
    const found = known.get("")
    if (found !== undefined) return found
    if (access === "write" && identity === undefined) yield* Effect.mapError(makeRoot(), failed(directory, access))
    const real = yield* Effect.mapError(realpath(root), failed(directory, access))
    identity ??= yield* Effect.mapError(identify(real), failed(directory, access))
    known.set("", real)
    return real
  })

  const makeFolder = Effect.fnUntraced(function* (parent: string, child: string, name: string) {
    const made = yield* Effect.result(NodeFile.call((done) => fs.mkdir(child, done)))
    if (made._tag === "Success") {
      changed.add(parent)
      return child
    }
    if (made.failure.code !== "EEXIST") return yield* Effect.fail(openFailure(made.failure, name, "write"))
    // Another program made it meanwhile, or a link leads nowhere.
    return yield* Effect.mapError(realpath(child), (error) =>
      error.code === "ENOENT" ? refuse(name, "a symbolic link leads nowhere") : openFailure(error, name, "write")
    )
  })

  const enter = Effect.fnUntraced(function* (
    top: string,
    parent: string,
    component: string,
    name: string,
    access: "read" | "write"
  ) {
    const child = Path.join(parent, component)
    const found = yield* Effect.result(realpath(child))
    if (found._tag === "Failure" && (access === "read" || found.failure.code !== "ENOENT")) {
      return yield* Effect.fail(openFailure(found.failure, name, access))
    }
    const real = found._tag === "Success" ? found.success : yield* makeFolder(parent, child, name)
    const inside = real.startsWith(top.endsWith(Path.sep) ? top : top + Path.sep)
    const mayLeave = followLinks && access === "read"
    if (!inside && !mayLeave) return yield* Effect.fail(refuse(name, FileSystemError.linkLeadsOut))
    return real
  })

  const resolve = Effect.fnUntraced(function* (components: ReadonlyArray<string>, access: "read" | "write") {
    const top = yield* resolveRoot(access)
    if (components.length === 0) return top
    // Reads may resolve to places where writes are refused.
    const key = `${followLinks ? access : ""}/${components.join("/")}`
    const remembered = known.get(key)
    if (remembered !== undefined) {
      // One call instead of one a component. It also notices a folder that was swapped for a link.
      const still = yield* Effect.result(realpath(remembered))
      if (still._tag === "Success" && still.success === remembered) return remembered
    }
    let real = top
    for (let depth = 0; depth < components.length; depth++) {
      real = yield* enter(top, real, components[depth]!, nameOf(components.slice(0, depth + 1)), access)
    }
    known.set(key, real)
    return real
  })

  return {
    nameOf,
    resolve,
    present,
    forget: () => known.clear(),
    markChanged: (folder) => void changed.add(folder),
    changed: () => [...changed],
    unmarkChanged: (folder) => void changed.delete(folder)
  }
}

/** What an error in opening `path` means. */
export const openFailure = (error: SystemError, path: string, access: "read" | "write"): OpenFailure => ({
  reason: FileSystemError.reasonOf(error, path, access),
  exhausted: FileSystemError.isExhausted(error),
  missing: error.code === "ENOENT",
  unnameable: FileSystemError.isUnnameable(error)
})
