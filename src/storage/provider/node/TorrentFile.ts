/**
 * One file of an open torrent, as `FileSystemStorage.ts` uses it: looked at, claimed, opened, written, read and synced.
 *
 * It has one descriptor for reading and one for writing, which opens only the file that was claimed. Numbers and
 * offsets are those of the file. Every effect here may be interrupted only while it waits for its turn.
 *
 * How a name leads to a file is `NamedFile.ts`, what a claim makes or takes `FileClaiming.ts`, and what becomes of the
 * file that was claimed `HeldFile.ts`. A file that is not in use is kept by `RestingFiles.ts`.
 */

import type * as NFS from "node:fs"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Turn from "../../../base/Turn.ts"
import { type FileClaim, NotStored, type StorageReason, StorageUnavailable } from "../../Storage.ts"
import * as DownloadFolder from "./DownloadFolder.ts"
import * as FileClaiming from "./FileClaiming.ts"
import * as FileHandles from "./FileHandles.ts"
import * as FileSystemError from "./FileSystemError.ts"
import * as HeldFile from "./HeldFile.ts"
import * as NamedFile from "./NamedFile.ts"
import * as NodeFile from "./NodeFile.ts"

/** What the files of one torrent have in common. */
export interface Medium extends NamedFile.Medium {
  readonly handles: FileHandles.FileHandles
  /** Bytes the torrent has in a file. */
  readonly lengthOf: (index: number) => number
  /** Removes copies of the file with this true path, left by a crash. */
  readonly clean: (path: string) => Effect.Effect<void> | undefined
  /** Whether the torrent was closed; after that no file is opened. */
  readonly isClosed: () => boolean
}

/** Between which true paths a file was moved. */
export interface Relocation {
  readonly from: string | undefined
  readonly to: string | undefined
}

/** What has to be remembered of a file while it is not in use. */
export interface Resting {
  /** The file that was claimed. */
  readonly held: HeldFile.Resting | undefined
  readonly isClaimed: boolean
  readonly isUnsynced: boolean
  readonly isSynced: boolean
}

/** One file of an open torrent. Made by `make`, changed only here. */
export interface TorrentFile extends NamedFile.NamedFile {
  readonly medium: Medium
  readonly held: HeldFile.HeldFile
  /** Whether something was written that was not synced. */
  isUnsynced: boolean
  /** Whether it was synced once, so that nothing of earlier openings is left to be. */
  isSynced: boolean
  closeFailure: StorageReason | undefined
  reading: Reading | undefined
  writing: FileHandles.Slot | undefined
  /** The system writes one part of a file at a time; a second thread would only spin until the first is done. */
  readonly turn: Turn.Turn
}

const notKept = "the disk lost what was written to it"

/** Why nothing can be done with a file any more, as the end of a sentence. */
export const afterClose = "the torrent was closed"

/** A way to open the file for reading, and which file that opened. */
interface Reading {
  readonly slot: FileHandles.Slot
  at: NamedFile.KnownFile | undefined
}

/** Makes a file of the torrent as it was left; touches nothing. */
export const make = (medium: Medium, index: number, before: Resting): TorrentFile => {
  const { folder, fs } = medium
  const held = HeldFile.make({ fs, folder, nameOf: () => DownloadFolder.nameOf(folder, medium.pathOf(index)) }, before)
  return {
    medium,
    index,
    held,
    isUnsynced: before.isUnsynced,
    isSynced: before.isSynced,
    closeFailure: undefined,
    reading: undefined,
    writing: undefined,
    turn: Turn.make()
  }
}

/** What to remember of a file that nobody uses, which is closed then; `undefined` if it has changed or cannot be closed. */
export const rest = ({ closeFailure, held, isSynced, isUnsynced, writing }: TorrentFile): Resting | undefined => {
  if (held.changed !== undefined || closeFailure !== undefined) return undefined
  if (writing !== undefined && FileHandles.isOpen(writing)) return undefined
  const isNeeded = held.file !== undefined && (held.isClaimed || isUnsynced)
  return {
    held: isNeeded ? { file: held.file!, end: held.end, unchecked: held.unchecked } : undefined,
    isClaimed: held.isClaimed,
    isUnsynced,
    isSynced
  }
}

/** Whether a descriptor of the file is open. */
export const isOpen = ({ reading, writing }: TorrentFile): boolean =>
  (reading !== undefined && FileHandles.isOpen(reading.slot)) || (writing !== undefined && FileHandles.isOpen(writing))

/** What an error in a use of the file means. */
export const failed = (self: TorrentFile, access: "read" | "write") => (error: FileSystemError.SystemError) =>
  FileSystemError.reasonOf(error, NamedFile.nameOf(self), access)

/** Looks at the held file between two writes, if it seems to be gone before that. */
export const lookHeld = (self: TorrentFile, file: NamedFile.KnownFile): Effect.Effect<NFS.BigIntStats, StorageReason> =>
  HeldFile.lookTwice(self.held, file, self.turn, () => openWriting(self) !== undefined)

/** What is at its place, without opening it; `undefined` if nothing is. Notices changes of a claimed file. */
export const look = (self: TorrentFile): Effect.Effect<NFS.BigIntStats | undefined, StorageReason> =>
  Effect.suspend(() =>
    HeldFile.isIntact(self.held)
      ? Effect.catchIf(
          lookHeld(self, self.held.file!),
          (reason) => reason._tag === "FileChanged",
          () => NamedFile.look(self)
        )
      : NamedFile.look(self)
  )

/** Opens the claimed file again, after its descriptor was closed to open another file. */
const openHeld = Effect.fnUntraced(function* (self: TorrentFile, file: NamedFile.KnownFile) {
  const { held } = self
  const fd = yield* Effect.catchIf(
    NamedFile.openAt(self, file.path),
    ({ missing, reason }) => missing || reason._tag === "StorageRefused",
    // Another file has the name, or the same file may no longer be opened.
    (failure) =>
      Effect.andThen(Effect.mapError(HeldFile.look(held, file, false), FileHandles.refusal), Effect.fail(failure))
  )
  yield* NamedFile.closeUnless(
    self,
    () => fd,
    Effect.flatMap(NamedFile.stat(self, fd, "write"), (stats) => HeldFile.compare(held, file, stats))
  )
  return fd
})

/** Opens the file as a claim says, and holds it from then on. */
const settle = Effect.fnUntraced(function* (self: TorrentFile, claim: FileClaim) {
  const length = self.medium.lengthOf(self.index)
  const { fd, path, stats } = yield* FileClaiming.run(self, claim, {
    length,
    clean: self.medium.clean,
    onCopied: () => {
      // The failure was one of the replaced file: the copy is on the disk.
      self.closeFailure = undefined
    },
    onCut: () => {
      self.isUnsynced = true
    }
  })
  HeldFile.hold(self.held, yield* NamedFile.knownAs(self, path, stats, false), Math.min(Number(stats.size), length))
  return { fd, stats }
})

const readingOf = (self: TorrentFile): Reading => {
  if (self.reading !== undefined) return self.reading
  const open = Effect.map(NamedFile.openForReading(self), ({ fd, file }) => {
    made.at = file
    return fd
  })
  const made: Reading = {
    slot: FileHandles.makeSlot({ open, closeFailed: () => {}, isLocal: () => made.at?.isLocal === true }),
    at: undefined
  }
  self.reading = made
  return made
}

/** A way to open the file for writing; `claimed` opens it the first time. */
const writingSlot = (self: TorrentFile, claimed?: Effect.Effect<number, FileHandles.OpenFailure>) => {
  let first = claimed
  return FileHandles.makeSlot({
    open: Effect.suspend(() => {
      if (first === undefined) return openHeld(self, self.held.file!)
      // Repeated if there were too many open files.
      return Effect.tap(first, () => Effect.sync(() => (first = undefined)))
    }),
    closeFailed: () => {
      // Network disks report deferred writes when a file is closed, and then never again.
      self.closeFailure = new StorageUnavailable({ path: NamedFile.nameOf(self), why: notKept })
    },
    isLocal: () => self.held.file?.isLocal === true
  })
}

const retireWriting = (self: TorrentFile): Effect.Effect<void> => {
  const before = self.writing
  self.writing = undefined
  return before === undefined ? Effect.void : self.medium.handles.retire(before)
}

const gone = (self: TorrentFile) =>
  Result.fail(new StorageUnavailable({ path: NamedFile.nameOf(self), why: afterClose }))

const pickForWriting = (self: TorrentFile) => (): Result.Result<FileHandles.Slot, StorageReason> => {
  if (self.medium.isClosed()) return gone(self)
  if (self.held.changed !== undefined) return Result.fail(self.held.changed)
  self.writing ??= writingSlot(self)
  return Result.succeed(self.writing)
}

/** How the file is open for writing. After `unclaim` it may still be, if another file has the name by now. */
export const openWriting = ({ held, writing }: TorrentFile): FileHandles.Slot | undefined =>
  writing?.fd !== undefined && held.file !== undefined && held.changed === undefined ? writing : undefined

const pickForReading = (self: TorrentFile) => (): Result.Result<FileHandles.Slot, StorageReason> =>
  self.medium.isClosed() ? gone(self) : Result.succeed(openWriting(self) ?? readingOf(self).slot)

/** Makes the next read find the file by its name again. */
export const reopen = (self: TorrentFile): Effect.Effect<void> =>
  Effect.suspend(() => {
    const before = self.reading
    self.reading = undefined
    return before === undefined ? Effect.void : self.medium.handles.retire(before.slot)
  })

const claimOnce = Effect.fnUntraced(function* (self: TorrentFile, asked: FileClaim) {
  // From here on, no use gets the descriptor that is closed.
  if (self.held.file !== undefined) HeldFile.change(self.held, HeldFile.changedSince)
  yield* retireWriting(self)
  yield* reopen(self)
  let stats: NFS.BigIntStats | undefined
  const slot = writingSlot(
    self,
    Effect.map(settle(self, asked), (settled) => {
      stats = settled.stats
      return settled.fd
    })
  )
  self.writing = slot
  yield* self.medium.handles.use(
    () => (self.medium.isClosed() ? gone(self) : Result.succeed(slot)),
    () => Effect.void
  )
  return stats!
})

/** Makes or adopts the file, and returns what it looks like then. */
export const claim = (self: TorrentFile, asked: FileClaim): Effect.Effect<NFS.BigIntStats, StorageReason> =>
  Turn.take(self.turn, Effect.uninterruptible(claimOnce(self, asked)))

/**
 * Ends what a claim began; what was written can still be synced. If nothing is left to be, this returns how to close
 * the file, so that others need not be closed for it.
 */
export const unclaim = (self: TorrentFile): Effect.Effect<void> | undefined => {
  if (HeldFile.release(self.held)) self.isUnsynced = false
  return self.isUnsynced ? undefined : retireWriting(self)
}

/** Notes that a claimed file has changed; `why` is the end of a sentence. */
export const change = ({ held }: TorrentFile, why: string): void => {
  if (held.isClaimed) HeldFile.change(held, why)
}

/** Notes how a write ended, and passes it on. */
export const noteWrite = (
  self: TorrentFile,
  { length, position }: NodeFile.FilePart,
  error: FileSystemError.SystemError | undefined
): Effect.Effect<void, StorageReason> => {
  if (error !== undefined) return Effect.fail(failed(self, "write")(error))
  // After the write, not before: a sync that runs meanwhile may not cover it.
  self.isUnsynced = true
  HeldFile.noteWritten(self.held, position, length)
  return Effect.void
}

const writeOpen = (self: TorrentFile, fd: number, part: NodeFile.FilePart) =>
  Effect.callback<void, StorageReason>((resume) =>
    NodeFile.writePart(self.medium.fs, fd, part, NodeFile.deviceOf(self.held.file!.identity), (error) =>
      resume(noteWrite(self, part, error))
    )
  )

/** Only of a claimed file. */
export const write = (self: TorrentFile, part: NodeFile.FilePart): Effect.Effect<void, StorageReason> =>
  Turn.take(
    self.turn,
    self.medium.handles.use(pickForWriting(self), (fd) => {
      const { held } = self
      const writing = writeOpen(self, fd, part)
      return HeldFile.needsLook(held) ? Effect.andThen(HeldFile.look(held, held.file!, true), writing) : writing
    })
  )

/** Reads a part and returns how many bytes there were; fails with `NotStored` if there is no file. */
export const read = (self: TorrentFile, part: NodeFile.FilePart): Effect.Effect<number, StorageReason> =>
  self.medium.handles.use(pickForReading(self), (fd) =>
    Effect.mapError(NodeFile.read(self.medium.fs, fd, part), failed(self, "read"))
  )

const lookOnce = (self: TorrentFile, part: NodeFile.FilePart) => {
  let from: Reading | undefined
  const pick = () => {
    const writing = openWriting(self)
    from = writing === undefined ? readingOf(self) : { slot: writing, at: self.held.file }
    return self.medium.isClosed() ? gone(self) : Result.succeed(from.slot)
  }
  return self.medium.handles.use(pick, (fd) =>
    Effect.mapBoth(NodeFile.readAndLook(self.medium.fs, fd, part, from!.at!), {
      onSuccess: (result) => ({
        result,
        isStale: result.stats === undefined || NodeFile.identityOf(result.stats) !== from!.at!.identity
      }),
      onFailure: failed(self, "read")
    })
  )
}

/** The same as `read`, and then returns what is at the file's path. */
export const readAndLook = (
  self: TorrentFile,
  part: NodeFile.FilePart
): Effect.Effect<NodeFile.ReadPart, StorageReason> =>
  Effect.flatMap(lookOnce(self, part), ({ isStale, result }) => {
    if (!isStale) return Effect.succeed(result)
    // Another file has the name, or none: an open descriptor holds what is no longer there, or the file was moved.
    const again = openWriting(self) === undefined ? Effect.void : Effect.ignore(lookHeld(self, self.held.file!))
    return Effect.andThen(
      Effect.andThen(again, reopen(self)),
      Effect.map(lookOnce(self, part), ({ result }) => result)
    )
  })

const syncHeld = (self: TorrentFile, file: NamedFile.KnownFile) =>
  self.medium.handles
    .use(pickForWriting(self), (fd) =>
      Effect.suspend(() => {
        self.isUnsynced = false
        return Effect.mapError(
          NodeFile.call((done) => self.medium.fs.fdatasync(fd, done)),
          (error) => {
            self.isUnsynced = true
            return failed(self, "write")(error)
          }
        )
      })
    )
    // Not before: whoever has a turn of the file waits for one of the open files.
    .pipe(Effect.andThen(lookHeld(self, file)))

const lookExisting = (self: TorrentFile) =>
  Effect.flatMap(look(self), (stats): Effect.Effect<NFS.BigIntStats, StorageReason> => {
    if (self.held.changed !== undefined && self.held.isClaimed) return Effect.fail(self.held.changed)
    return stats === undefined ? Effect.fail(new NotStored({ path: NamedFile.nameOf(self) })) : Effect.succeed(stats)
  })

const syncFound = (self: TorrentFile) =>
  self.medium.handles
    .use(pickForReading(self), (fd) => Effect.mapError(NodeFile.syncFound(self.medium.fs, fd), failed(self, "read")))
    .pipe(Effect.andThen(lookExisting(self)))

/** Brings what was written, here or before, to the disk, and returns what the file looks like then. */
export const sync = (self: TorrentFile): Effect.Effect<NFS.BigIntStats, StorageReason> =>
  Effect.suspend(() => {
    const { closeFailure, held } = self
    if (closeFailure !== undefined) {
      self.closeFailure = undefined
      self.isUnsynced = true
      return Effect.fail(closeFailure)
    }
    if (self.isSynced && !self.isUnsynced) return lookExisting(self)
    const isMine = held.file !== undefined && (held.isClaimed || self.isUnsynced)
    return Effect.tap(isMine ? syncHeld(self, held.file!) : syncFound(self), () =>
      Effect.sync(() => (self.isSynced = true))
    )
  })

/** Runs `move` between two writes. It returns the true paths between which it moved the file, if it did. */
export const relocate = (
  self: TorrentFile,
  move: Effect.Effect<Relocation, StorageReason>
): Effect.Effect<void, StorageReason> =>
  Effect.uninterruptible(
    Effect.flatMap(move, ({ from, to }) =>
      Effect.suspend(() => {
        const { held } = self
        if (held.file !== undefined && to !== undefined && held.file.path === from) held.file.path = to
        if (held.changed === undefined) return reopen(self)
        // The bytes of a deleted file take room while it is open.
        return Effect.andThen(reopen(self), retireWriting(self))
      })
    )
  ).pipe((effect) => Turn.take(self.turn, effect))

/** Closes the file, as it is then kept or the torrent was closed; completes when it is closed. */
export const close = (self: TorrentFile): Effect.Effect<void> =>
  Effect.suspend(() => Effect.andThen(reopen(self), retireWriting(self)))
