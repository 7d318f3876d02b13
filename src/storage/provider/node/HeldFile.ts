/**
 * The file that was claimed: which one it is, how far it was written, and whether it is still that file.
 *
 * A claim remembers the file's identity and its length, so that a later look notices that the file was deleted, cut off
 * or replaced. From then on it counts as changed until it is claimed again.
 */
import type * as NFS from "node:fs"
import * as Effect from "effect/Effect"
import * as Turn from "../../../base/Turn.ts"
import { FileChanged, type StorageReason } from "../../Storage.ts"
import * as DownloadFolder from "./DownloadFolder.ts"
import * as FileSystemError from "./FileSystemError.ts"
import type { KnownFile } from "./NamedFile.ts"
import * as NodeFile from "./NodeFile.ts"

/**
 * Bytes written to an open file before it is looked at again: 8 MiB. A look may cost a hop to a thread, as a write does.
 * So rarely it is lost in the cost of the writes, and no more than this is written to a file that is gone.
 */
export const checkInterval = 1 << 23

// What happened to a file, as the end of a sentence.
export const deleted = "was deleted"
export const cutOff = "was cut off"
export const replaced = "was replaced"
export const changedSince = "was changed"

/** Made by `make`, changed only here, except that a move changes the path of `file`. */
export interface HeldFile {
  readonly fs: NodeFile.NodeFileSystem
  readonly folder: DownloadFolder.DownloadFolder
  readonly nameOf: () => string
  /** Kept until another one is claimed, or this one is given up after it changed. */
  file: KnownFile | undefined
  /** Whether it was claimed, and not given up since. */
  isClaimed: boolean
  changed: FileChanged | undefined
  /** One past the last byte that was written here, or was there when it was claimed. */
  end: number
  /** Bytes written since the last look. */
  unchecked: number
}

/** What is remembered of a held file while it is not in use. */
export type Resting = Readonly<Pick<HeldFile, "end" | "unchecked">> & { readonly file: KnownFile }

/** Holds what it held before, if anything. */
export const make = (
  options: Pick<HeldFile, "fs" | "folder" | "nameOf">,
  before: { readonly held: Resting | undefined; readonly isClaimed: boolean } = { held: undefined, isClaimed: false }
): HeldFile => ({
  ...options,
  file: before.held?.file,
  isClaimed: before.isClaimed,
  changed: undefined,
  end: before.held?.end ?? 0,
  unchecked: before.held?.unchecked ?? 0
})

/** Whether this is the file with this identity. A folder may get the inode of a file that is gone. */
export const isSame = (stats: NFS.BigIntStats, identity: string): boolean =>
  stats.isFile() && NodeFile.identityOf(stats) === identity

/** Whether the file is claimed, and still the one that was. */
export const isIntact = (self: HeldFile): boolean => self.isClaimed && self.changed === undefined

/** Holds a file of which `length` bytes are there. */
export const hold = (self: HeldFile, file: KnownFile, length: number): void => {
  self.file = file
  self.changed = undefined
  self.isClaimed = true
  self.unchecked = 0
  self.end = length
}

/** Ends the claim. Returns whether the file had changed: then nothing of what was written to it can be kept. */
export const release = (self: HeldFile): boolean => {
  self.isClaimed = false
  if (self.changed === undefined) return false
  self.file = undefined
  self.changed = undefined
  return true
}

/** Notes a write of `length` bytes at `position`. */
export const noteWritten = (self: HeldFile, position: number, length: number): void => {
  self.unchecked += length
  self.end = Math.max(self.end, position + length)
}

/** Whether enough was written since the last look for another one. */
export const needsLook = (self: HeldFile): boolean => self.unchecked >= checkInterval

/** Notes that the file is not what it was, unless that is known already; `why` is the end of a sentence. */
export const change = (self: HeldFile, why: string): FileChanged => {
  self.changed ??= new FileChanged({ path: self.nameOf(), why })
  return self.changed
}

/** The same, and fails. If the whole download folder went away, the file may be as it was. */
const changeUnlessAway = (self: HeldFile, why: string): Effect.Effect<never, StorageReason> =>
  Effect.flatMap(DownloadFolder.present(self.folder), () => Effect.suspend(() => Effect.fail(change(self, why))))

/**
 * What is at the path of the held file. While the file is open, what a look at it needs is in memory, so on a disk of
 * this machine it costs no wait for a thread.
 */
const find = (self: HeldFile, { isLocal, path }: KnownFile, isOpen: boolean) => {
  const now = isLocal && isOpen ? self.fs.lookNow(path, false) : undefined
  return now !== undefined
    ? Effect.succeed(now)
    : Effect.mapError(NodeFile.lookAt(self.fs, path), (error) => FileSystemError.reasonOf(error, self.nameOf(), "read"))
}

/** These stats, if they are those of the held file with at least `length` bytes. */
const matching = (self: HeldFile, { identity }: KnownFile, stats: NFS.BigIntStats | undefined, length: number) => {
  if (stats === undefined || !isSame(stats, identity) || stats.size < length) return undefined
  self.unchecked = 0
  return stats
}

/** What the held file looks like; `undefined` if it is not what it was, which is not noted. */
export const peek = (
  self: HeldFile,
  file: KnownFile,
  isOpen: boolean
): Effect.Effect<NFS.BigIntStats | undefined, StorageReason> => {
  // As it is before the call: a write that ends meanwhile may not show in the answer.
  const expected = self.end
  return Effect.map(find(self, file, isOpen), (stats) => matching(self, file, stats, expected))
}

/** Compares what is at the path of the held file with that file, and notes what happened to it. */
export const look = Effect.fnUntraced(function* (self: HeldFile, file: KnownFile, isOpen: boolean) {
  const expected = self.end
  const stats = yield* find(self, file, isOpen)
  if (stats === undefined) return yield* changeUnlessAway(self, deleted)
  if (!isSame(stats, file.identity)) return yield* changeUnlessAway(self, replaced)
  if (stats.size < expected) return yield* Effect.fail(change(self, cutOff))
  self.unchecked = 0
  return stats
})

/**
 * The same. A file that is not what it was may just be moved, so that is found out in a turn of those that write to it
 * and move it.
 */
export const lookTwice = (self: HeldFile, file: KnownFile, turn: Turn.Turn, isOpen: () => boolean) =>
  Effect.flatMap(
    Effect.suspend(() => peek(self, file, isOpen())),
    (stats) => {
      if (stats !== undefined) return Effect.succeed(stats)
      return Turn.take(
        turn,
        Effect.suspend(() => look(self, file, isOpen()))
      )
    }
  )

/**
 * The same, at once, of a file that is open; `undefined` if that takes a wait, or if the file is not what it was.
 */
export const lookNow = (self: HeldFile, file: KnownFile): NFS.BigIntStats | undefined =>
  matching(self, file, file.isLocal ? self.fs.lookNow(file.path, false) : undefined, self.end)

/** Compares what was opened at the path of the held file with that file. */
export const compare = (
  self: HeldFile,
  { identity }: KnownFile,
  stats: NFS.BigIntStats
): Effect.Effect<void, StorageReason> => {
  if (!isSame(stats, identity)) return changeUnlessAway(self, replaced)
  return stats.size < self.end ? Effect.fail(change(self, cutOff)) : Effect.void
}
