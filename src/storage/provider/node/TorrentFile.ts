/**
 * One file of an open torrent, as `FileSystemStorage.ts` uses it: looked at, claimed, opened, written, read and synced.
 *
 * It has one descriptor for reading and one for writing, which opens only the file that was claimed. Numbers and
 * offsets are those of the file. Every effect here may be interrupted only while it waits for its turn.
 *
 * How a name leads to a file is `NamedFile.ts`, what a claim makes or takes `FileClaiming.ts`, and what becomes of the
 * file that was claimed `HeldFile.ts`.
 */

import type * as NFS from "node:fs"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import { type FileClaim, NotStored, type StorageReason, StorageUnavailable } from "../../Storage.ts"
import type * as DownloadFolder from "./DownloadFolder.ts"
import * as FileClaiming from "./FileClaiming.ts"
import * as FileHandles from "./FileHandles.ts"
import type { FilePlace } from "./FileNames.ts"
import * as FileSystemError from "./FileSystemError.ts"
import * as HeldFile from "./HeldFile.ts"
import * as NamedFile from "./NamedFile.ts"
import * as NodeFile from "./NodeFile.ts"

/** Between which true paths a file was moved. */
export interface Relocation {
  readonly from: string | undefined
  readonly to: string | undefined
}

/** One file of an open torrent. */
export interface TorrentFile {
  /** What is at its place, without opening it; `undefined` if nothing is. Notices changes of a claimed file. */
  readonly look: Effect.Effect<NFS.BigIntStats | undefined, StorageReason>
  /** Makes or adopts the file, and returns what it looks like then. */
  readonly claim: (claim: FileClaim) => Effect.Effect<NFS.BigIntStats, StorageReason>
  /** The true path of the file that was claimed last. */
  readonly path: () => string | undefined
  /** Ends what a claim began; what was written can still be synced. */
  readonly unclaim: () => void
  /** Whether it was claimed, and not unclaimed since. */
  readonly isClaimed: () => boolean
  /** Whether it was claimed, and is still the file that was. */
  readonly isHeld: () => boolean
  /** Notes that a claimed file has changed; `why` is the end of a sentence. */
  readonly change: (why: string) => void
  /** Only of a claimed file. */
  readonly write: (part: NodeFile.FilePart) => Effect.Effect<void, StorageReason>
  /** Reads a part and returns how many bytes there were; fails with `NotStored` if there is no file. */
  readonly read: (part: NodeFile.FilePart) => Effect.Effect<number, StorageReason>
  /** The same, and then returns what is at the file's path. */
  readonly readAndLook: (part: NodeFile.FilePart) => Effect.Effect<NodeFile.ReadPart, StorageReason>
  /** Brings what was written, here or before, to the disk, and returns what the file looks like then. */
  readonly sync: Effect.Effect<NFS.BigIntStats, StorageReason>
  /** Makes the next read find the file by its name again. */
  readonly reopen: Effect.Effect<void>
  /** Runs `move` between two writes. It returns the true paths between which it moved the file, if it did. */
  readonly relocate: (move: Effect.Effect<Relocation, StorageReason>) => Effect.Effect<void, StorageReason>
  /** Whether it knows nothing that a new one would not find out: it may be closed and made again when it is needed. */
  readonly isForgettable: () => boolean
  /** Whether it was synced once, so that nothing of earlier openings is left to be. */
  readonly isSynced: () => boolean
  /** Closes the file for ever, after `isClosed` became true; completes when it is closed. */
  readonly close: Effect.Effect<void>
}

const notKept = "the disk lost what was written to it"

/** Why nothing can be done with a file any more, as the end of a sentence. */
export const afterClose = "the torrent was closed"

/** A way to open the file for reading, and which file that opened. */
interface Reading {
  readonly slot: FileHandles.Slot
  at: NamedFile.KnownFile | undefined
}

/** Makes a file of the torrent; touches nothing. */
export const make = (options: {
  readonly fs: NodeFile.NodeFileSystem
  readonly handles: FileHandles.FileHandles
  readonly folder: DownloadFolder.DownloadFolder
  /** Components below the folder, at least one, as users know the file now. */
  readonly path: () => ReadonlyArray<string>
  /** The components at which it is on this disk, or is to be made. See `FileNames.resolve`. */
  readonly place: (access: "read" | "create") => Effect.Effect<FilePlace, FileHandles.OpenFailure>
  /** Whether reads follow a symbolic link; writes never do. */
  readonly followLinks: boolean
  /** Bytes the torrent has in this file. */
  readonly length: number
  /** Whether it was synced since the torrent was opened. */
  readonly isSynced: boolean
  /** Whether a file is on a disk of this machine; see `LocalDevices.ts`. */
  readonly isLocal: (stats: NFS.BigIntStats, path: string) => Effect.Effect<boolean>
  /** Removes copies of the file with this true path, left by a crash. */
  readonly clean: (path: string) => Effect.Effect<void>
  /** Whether the torrent was closed; after that no file is opened. */
  readonly isClosed: () => boolean
}): TorrentFile => {
  const { folder, fs, handles, length } = options
  const named = NamedFile.make(options)
  const { nameOf } = named
  const held = HeldFile.make({ fs, folder, nameOf })
  let unsynced = false
  let { isSynced } = options
  let closeFailure: StorageReason | undefined
  // The system writes one part of a file at a time; a second thread would only spin until the first is done.
  const turn = Semaphore.makeUnsafe(1)

  const claiming = FileClaiming.make({
    ...options,
    named,
    onCopied: () => {
      // The failure was one of the replaced file: the copy is on the disk.
      closeFailure = undefined
    },
    onCut: () => {
      unsynced = true
    }
  })

  const failed = (access: "read" | "write") => (error: FileSystemError.SystemError) =>
    FileSystemError.reasonOf(error, nameOf(), access)

  const look: TorrentFile["look"] = Effect.suspend(() =>
    HeldFile.isIntact(held)
      ? Effect.catchIf(
          HeldFile.look(held, held.file!),
          (reason) => reason._tag === "FileChanged",
          () => named.look
        )
      : named.look
  )

  /** Opens the claimed file again, after its descriptor was closed to open another file. */
  const openHeld = (file: NamedFile.KnownFile) =>
    Effect.gen(function* () {
      const fd = yield* Effect.catchIf(
        named.openAt(file.path),
        ({ missing, reason }) => missing || reason._tag === "StorageRefused",
        // Another file has the name, or the same file may no longer be opened.
        (failure) =>
          Effect.andThen(Effect.mapError(HeldFile.look(held, file), FileHandles.refusal), Effect.fail(failure))
      )
      yield* named.closeUnless(
        () => fd,
        Effect.flatMap(named.stat(fd, "write"), (stats) => HeldFile.compare(held, file, stats))
      )
      return fd
    })

  /** Opens the file as a claim says, and holds it from then on. */
  const settle = (claim: FileClaim) =>
    Effect.gen(function* () {
      const { fd, path, stats } = yield* claiming(claim)
      HeldFile.hold(held, yield* named.knownAs(path, stats, false), Math.min(Number(stats.size), length))
      return { fd, stats }
    })

  const makeReading = (): Reading => {
    const open = Effect.map(named.openForReading, ({ fd, file }) => {
      made.at = file
      return fd
    })
    const made: Reading = { slot: FileHandles.makeSlot({ open, closeFailed: () => {} }), at: undefined }
    return made
  }
  /** A way to open the file for writing; `claimed` opens it the first time. */
  const writingSlot = (claimed?: Effect.Effect<number, FileHandles.OpenFailure>) => {
    let first = claimed
    return FileHandles.makeSlot({
      open: Effect.suspend(() => {
        if (first === undefined) return openHeld(held.file!)
        // Repeated if there were too many open files.
        return Effect.tap(first, () => Effect.sync(() => (first = undefined)))
      }),
      closeFailed: () => {
        // Network disks report deferred writes when a file is closed, and then never again.
        closeFailure = new StorageUnavailable({ path: nameOf(), why: notKept })
      }
    })
  }
  let reading = makeReading()
  let writing = writingSlot()

  const gone = () => Result.fail(new StorageUnavailable({ path: nameOf(), why: afterClose }))

  const pickForWriting = (): Result.Result<FileHandles.Slot, StorageReason> =>
    options.isClosed() ? gone() : held.changed === undefined ? Result.succeed(writing) : Result.fail(held.changed)

  // After `unclaim` the descriptor may still be open, of a file that no longer has the name.
  const isWritingOpen = () => writing.fd !== undefined && held.file !== undefined && held.changed === undefined

  const pickForReading = (): Result.Result<FileHandles.Slot, StorageReason> =>
    options.isClosed() ? gone() : Result.succeed(isWritingOpen() ? writing : reading.slot)

  const claim = (asked: FileClaim) =>
    Effect.gen(function* () {
      // From here on, no use gets the descriptor that is closed.
      if (held.file !== undefined) HeldFile.change(held, HeldFile.changedSince)
      yield* handles.retire(writing)
      yield* reopen
      let stats: NFS.BigIntStats | undefined
      writing = writingSlot(
        Effect.map(settle(asked), (settled) => {
          stats = settled.stats
          return settled.fd
        })
      )
      const slot = writing
      yield* handles.use(
        () => (options.isClosed() ? gone() : Result.succeed(slot)),
        () => Effect.void
      )
      return stats!
    })

  const write = (part: NodeFile.FilePart) =>
    handles
      .use(pickForWriting, (fd) => {
        const writing = Effect.map(Effect.mapError(NodeFile.write(fs, fd, part), failed("write")), () => {
          // After the write, not before: a sync that runs meanwhile may not cover it.
          unsynced = true
          HeldFile.noteWritten(held, part.position, part.length)
        })
        return HeldFile.needsLook(held) ? Effect.andThen(HeldFile.look(held, held.file!), writing) : writing
      })
      .pipe(turn.withPermit)

  const lookOnce = (part: NodeFile.FilePart) => {
    let from = reading
    const pick = () => {
      from = isWritingOpen() ? { slot: writing, at: held.file } : reading
      return options.isClosed() ? gone() : Result.succeed(from.slot)
    }
    return handles.use(pick, (fd) =>
      Effect.mapBoth(NodeFile.readAndLook(fs, fd, part, from.at!), {
        onSuccess: (result) => ({
          result,
          isStale: result.stats === undefined || NodeFile.identityOf(result.stats) !== from.at!.identity
        }),
        onFailure: failed("read")
      })
    )
  }

  const readAndLook: TorrentFile["readAndLook"] = (part) =>
    Effect.flatMap(lookOnce(part), ({ isStale, result }) => {
      if (!isStale) return Effect.succeed(result)
      // Another file has the name, or none: an open descriptor holds what is no longer there.
      if (isWritingOpen()) HeldFile.change(held, result.stats === undefined ? HeldFile.deleted : HeldFile.replaced)
      return Effect.andThen(
        reopen,
        Effect.map(lookOnce(part), ({ result }) => result)
      )
    })

  const syncHeld = handles.use(pickForWriting, (fd) =>
    Effect.suspend(() => {
      unsynced = false
      return NodeFile.call((done) => fs.fdatasync(fd, done)).pipe(
        Effect.mapError((error) => {
          unsynced = true
          return FileSystemError.reasonOf(error, nameOf(), "write")
        }),
        Effect.andThen(HeldFile.look(held, held.file!))
      )
    })
  )

  const syncFound = handles
    .use(pickForReading, (fd) => Effect.mapError(NodeFile.syncFound(fs, fd), failed("read")))
    .pipe(Effect.andThen(lookExisting()))

  function lookExisting() {
    return Effect.flatMap(look, (stats): Effect.Effect<NFS.BigIntStats, StorageReason> => {
      if (held.changed !== undefined && held.isClaimed) return Effect.fail(held.changed)
      return stats === undefined ? Effect.fail(new NotStored({ path: nameOf() })) : Effect.succeed(stats)
    })
  }

  const sync: TorrentFile["sync"] = Effect.suspend(() => {
    if (closeFailure !== undefined) {
      const reason = closeFailure
      closeFailure = undefined
      unsynced = true
      return Effect.fail(reason)
    }
    if (isSynced && !unsynced) return lookExisting()
    const mine = held.file !== undefined && (held.isClaimed || unsynced)
    return Effect.tap(mine ? syncHeld : syncFound, () => Effect.sync(() => (isSynced = true)))
  })

  const reopen = Effect.suspend(() => {
    const before = reading
    reading = makeReading()
    return handles.retire(before.slot)
  })

  return {
    look,
    claim: (asked) => Effect.uninterruptible(claim(asked)).pipe(turn.withPermit),
    path: () => held.file?.path,
    unclaim: () => {
      if (HeldFile.release(held)) unsynced = false
    },
    isClaimed: () => held.isClaimed,
    isHeld: () => HeldFile.isIntact(held),
    change: (why) => {
      if (held.isClaimed) HeldFile.change(held, why)
    },
    write,
    read: (part) => handles.use(pickForReading, (fd) => Effect.mapError(NodeFile.read(fs, fd, part), failed("read"))),
    readAndLook,
    sync,
    reopen,
    relocate: (move) =>
      Effect.uninterruptible(
        Effect.flatMap(move, ({ from, to }) =>
          Effect.suspend(() => {
            if (held.file !== undefined && to !== undefined && held.file.path === from) held.file.path = to
            if (held.changed === undefined) return reopen
            // The bytes of a deleted file take room while it is open.
            const before = writing
            writing = writingSlot()
            return Effect.andThen(reopen, handles.retire(before))
          })
        )
      ).pipe(turn.withPermit),
    isForgettable: () =>
      !held.isClaimed &&
      held.changed === undefined &&
      !unsynced &&
      closeFailure === undefined &&
      writing.fd === undefined,
    isSynced: () => isSynced,
    close: Effect.suspend(() => Effect.andThen(handles.retire(reading.slot), handles.retire(writing)))
  }
}
