/**
 * One file of an open torrent, as `FileSystemStorage.ts` uses it: looked at, claimed, opened, written, read and synced.
 *
 * Nothing but a claim makes a file or opens one for its first write. A claim remembers which file that was (device and
 * inode) and how far it went, so that later looks notice one that was deleted, cut off or replaced; `FileSystemStorage.ts`
 * tells when those are. Numbers and offsets are those of the file. Every effect here may be interrupted only while it waits
 * for its turn.
 */

import * as NFS from "node:fs"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import {
  FileChanged,
  type FileClaim,
  FileExists,
  type FileFacts,
  NotStored,
  type StorageReason,
  StorageRefused,
  StorageUnavailable
} from "../../Storage.ts"
import * as DownloadFolder from "./DownloadFolder.ts"
import * as FileHandles from "./FileHandles.ts"
import type { FilePlace } from "./FileNames.ts"
import * as FileSystemError from "./FileSystemError.ts"
import * as NodeFile from "./NodeFile.ts"
import * as OwnCopy from "./OwnCopy.ts"

/**
 * Bytes written to an open file before it is looked at again: 8 MiB. A look costs a thread's hop, as a write does; so
 * often it is lost in the cost of the writes, and no more than this is written to a file that is gone.
 */
export const checkInterval = 1 << 23

/** Between which true paths a file was moved. */
export interface Relocation {
  readonly from: string | undefined
  readonly to: string | undefined
}

/** One file of an open torrent. */
export interface TorrentFile {
  /** What lies at its place, without opening it; `undefined` where nothing does. Notices what happened to a claimed file. */
  readonly look: Effect.Effect<NFS.BigIntStats | undefined, StorageReason>
  /** Makes or adopts the file, and tells what it looks like then. */
  readonly claim: (claim: FileClaim) => Effect.Effect<NFS.BigIntStats, StorageReason>
  /** The true path of the file that was claimed last. */
  readonly path: () => string | undefined
  /** Ends what a claim began; what was written can still be synced. */
  readonly unclaim: () => void
  /** Whether it was claimed, and not given up since. */
  readonly isClaimed: () => boolean
  /** Whether it was claimed, and is still the file that was. */
  readonly isHeld: () => boolean
  /** Says that a claimed file is not what it was; `why` is the end of a sentence. */
  readonly change: (why: string) => void
  /** Only of a claimed file. */
  readonly write: (part: NodeFile.FilePart) => Effect.Effect<void, StorageReason>
  /** Reads a part and tells how many bytes there were; fails with `NotStored` where there is no file. */
  readonly read: (part: NodeFile.FilePart) => Effect.Effect<number, StorageReason>
  /** The same, and then tells what lies at the file's path. */
  readonly readAndLook: (part: NodeFile.FilePart) => Effect.Effect<NodeFile.ReadPart, StorageReason>
  /** Brings to the disk what was written, here or before, and tells what the file looks like then. */
  readonly sync: Effect.Effect<NFS.BigIntStats, StorageReason>
  /** Makes the next read find the file by its name again. */
  readonly reopen: Effect.Effect<void>
  /** Runs `move` between two writes. It gives the true paths between which it moved the file, if it did. */
  readonly relocate: (move: Effect.Effect<Relocation, StorageReason>) => Effect.Effect<void, StorageReason>
  /** Closes the file for ever, after `isClosed` turned true; completes when it is closed. */
  readonly close: Effect.Effect<void>
}

// Neither waits for the other end of a FIFO nor follows a link. Windows has neither flag; `undefined` counts as 0 there.
const nonBlocking = NFS.constants.O_NONBLOCK ?? 0
const noFollow = NFS.constants.O_NOFOLLOW ?? 0
const mustLookForLinks = noFollow === 0

const deleted = "was deleted"
const cutOff = "was cut off"
const replaced = "was replaced"
const changedSince = "was changed"
const notKept = "the disk lost what was written to it"

/** Why nothing can be done with a file any more, as the end of a sentence. */
export const afterClose = "the torrent was closed"

/** Whether this is the file with this identity. A folder may be given the inode of a file that is gone. */
const isSame = (stats: NFS.BigIntStats, identity: string): boolean =>
  stats.isFile() && NodeFile.identityOf(stats) === identity

/** Where a file that is open lies, and which it is. */
interface Place {
  /** True, with no link left in it. */
  path: string
  readonly identity: string
  readonly isLocal: boolean
  /** Whether it may be a link, which leads to the file. */
  readonly follows: boolean
}

/** A way to open the file for reading, and which file that opened. */
interface Reading {
  readonly slot: FileHandles.Slot
  at: Place | undefined
}

/** Makes a file of the torrent; touches nothing. */
export const make = (options: {
  readonly fs: NodeFile.NodeFileSystem
  readonly handles: FileHandles.FileHandles
  readonly folder: DownloadFolder.DownloadFolder
  /** Components below the folder, at least one, as users know the file now. */
  readonly path: () => ReadonlyArray<string>
  /** The components at which it lies on this disk, or is to be made. See `FileNames.resolve`. */
  readonly place: (access: "read" | "create") => Effect.Effect<FilePlace, FileHandles.OpenFailure>
  /** Whether reading follows a symbolic link to whatever it leads to; writing never does. */
  readonly followLinks: boolean
  /** Bytes the torrent has in this file. */
  readonly length: number
  /** Whether a file lies on a disk of this machine; see `NodeFile.isLocal`. */
  readonly isLocal: (stats: NFS.BigIntStats, path: string) => Effect.Effect<boolean>
  /** Removes copies of the file with this true path that a crash has left. */
  readonly clean: (path: string) => Effect.Effect<void>
  /** Whether the torrent was closed, after which no file is opened any more. */
  readonly isClosed: () => boolean
}): TorrentFile => {
  const { folder, followLinks, fs, handles, length } = options
  const nameOf = () => folder.nameOf(options.path())

  // The file that was claimed: its true path and which it is. Kept until it is claimed again.
  let held: Place | undefined
  let isClaimed = false
  let changed: FileChanged | undefined
  // One past the last byte that was written here, or was there when it was claimed.
  let end = 0
  let unchecked = 0
  let unsynced = false
  let isSynced = false
  let closeFailure: StorageReason | undefined
  // The system writes one part of a file at a time; a second thread would only spin until the first is done.
  const turn = Semaphore.makeUnsafe(1)

  const failed = (access: "read" | "write") => (error: FileSystemError.SystemError) =>
    FileSystemError.reasonOf(error, nameOf(), access)

  const change = (why: string): FileChanged => {
    changed ??= new FileChanged({ path: nameOf(), why })
    return changed
  }

  /** Of a claimed file; where the whole download folder went away, the file may be as it was. */
  const changeUnlessAway = (why: string): Effect.Effect<never, StorageReason> =>
    Effect.flatMap(folder.present, () => Effect.suspend(() => Effect.fail(change(why))))

  const statRegular = (fd: number, access: "read" | "write") =>
    Effect.flatMap(
      Effect.mapError(
        NodeFile.call<NFS.BigIntStats>((done) => fs.fstatExact(fd, done)),
        failed(access)
      ),
      (stats): Effect.Effect<NFS.BigIntStats, StorageReason> => {
        if (stats.isFile()) return Effect.succeed(stats)
        const why = stats.isDirectory() ? "a folder is in the way of a file" : "it is not a regular file"
        return Effect.fail(new StorageRefused({ path: nameOf(), why }))
      }
    )

  /** Compares what lies at the path of a claimed file with what was claimed. */
  const lookAtHeld = Effect.fnUntraced(function* ({ identity, path }: Place) {
    // As it is before the call: a write that ends meanwhile may not show in what the call tells.
    const expected = end
    const stats = yield* Effect.mapError(NodeFile.lookAt(fs, path), failed("read"))
    if (stats === undefined) return yield* changeUnlessAway(deleted)
    if (!isSame(stats, identity)) return yield* changeUnlessAway(replaced)
    if (stats.size < expected) return yield* Effect.fail(change(cutOff))
    unchecked = 0
    return stats
  })

  /** The true path of the file on this disk, and whether it was made just now to find out its name. */
  const locate = Effect.fnUntraced(function* (access: "read" | "write") {
    const place = yield* options.place(access === "read" ? "read" : "create")
    const parent = yield* folder.resolve(place.path.slice(0, -1), access)
    return { path: Path.join(parent, place.path[place.path.length - 1]!), isMade: place.isMade }
  })

  const look: TorrentFile["look"] = Effect.suspend(() =>
    held !== undefined && isClaimed && changed === undefined
      ? Effect.catchIf(
          lookAtHeld(held),
          (reason) => reason._tag === "FileChanged",
          () => lookByName
        )
      : lookByName
  )

  const lookByName: TorrentFile["look"] = Effect.suspend(() => locate("read")).pipe(
    Effect.flatMap(({ path }) =>
      Effect.mapError(NodeFile.lookAt(fs, path, followLinks), (error) =>
        DownloadFolder.openFailure(error, nameOf(), "read")
      )
    ),
    Effect.catchIf(
      ({ missing }) => missing,
      () => Effect.undefined
    ),
    Effect.mapError(({ reason }) => reason)
  )

  const openAt = Effect.fnUntraced(function* (path: string, access: "read" | "write", flags: number) {
    const follows = followLinks && access === "read"
    if (mustLookForLinks && !follows) {
      const there = yield* Effect.orElseSucceed(NodeFile.lookAt(fs, path), () => undefined)
      if (there?.isSymbolicLink() === true) {
        return yield* Effect.fail(DownloadFolder.openFailure({ code: "ELOOP", message: "a link" }, nameOf(), access))
      }
    }
    return yield* Effect.mapError(
      NodeFile.call<number>((done) => fs.open(path, flags | (follows ? nonBlocking : nonBlocking | noFollow), done)),
      (error) => DownloadFolder.openFailure(error, nameOf(), access)
    )
  })

  const refuse = (reason: StorageReason): FileHandles.OpenFailure => ({ reason, exhausted: false, missing: false })

  /** Closes what was just opened when `check` refuses it. */
  const opened = <A>(fd: number, check: Effect.Effect<A, StorageReason>) =>
    Effect.catch(check, (reason) =>
      Effect.andThen(Effect.ignore(NodeFile.call((done) => fs.close(fd, done))), Effect.fail(refuse(reason)))
    )

  const placeOf = (path: string, stats: NFS.BigIntStats, follows: boolean): Effect.Effect<Place> =>
    Effect.map(options.isLocal(stats, path), (isLocal) => ({
      path,
      identity: NodeFile.identityOf(stats),
      isLocal,
      follows
    }))

  const openForReading = Effect.fnUntraced(function* (reading: Reading) {
    const { path } = yield* locate("read")
    const fd = yield* openAt(path, "read", NFS.constants.O_RDONLY)
    const stats = yield* opened(fd, statRegular(fd, "read"))
    reading.at = yield* placeOf(path, stats, followLinks)
    return fd
  })

  /** Opens the file that was claimed once more, after its descriptor was closed for another one. */
  const openHeld = Effect.fnUntraced(function* (place: Place) {
    const { identity, path } = place
    const fd = yield* Effect.catchIf(
      openAt(path, "write", NFS.constants.O_RDWR),
      ({ missing, reason }) => missing || reason._tag === "StorageRefused",
      // Something else has the name, or the same file may not be opened any more.
      (failure) => Effect.andThen(Effect.mapError(lookAtHeld(place), refuse), Effect.fail(failure))
    )
    const check = Effect.flatMap(statRegular(fd, "write"), (stats): Effect.Effect<void, StorageReason> => {
      if (!isSame(stats, identity)) return changeUnlessAway(replaced)
      return stats.size < end ? Effect.fail(change(cutOff)) : Effect.void
    })
    yield* opened(fd, check)
    return fd
  })

  const create = Effect.fnUntraced(function* (onExisting: StorageReason) {
    const { isMade, path } = yield* locate("write")
    if (isMade) return { fd: yield* openAt(path, "write", NFS.constants.O_RDWR), path }
    const fd = yield* Effect.mapError(
      NodeFile.call<number>((done) =>
        fs.open(
          path,
          NFS.constants.O_RDWR | NFS.constants.O_CREAT | NFS.constants.O_EXCL | nonBlocking | noFollow,
          done
        )
      ),
      (error) => (error.code === "EEXIST" ? refuse(onExisting) : DownloadFolder.openFailure(error, nameOf(), "write"))
    )
    folder.markChanged(Path.dirname(path))
    return { fd, path }
  })

  // A folder that was known to exist and has gone is made again, once.
  const createAgain = (onExisting: StorageReason) =>
    Effect.catchIf(
      create(onExisting),
      ({ missing }) => missing,
      () =>
        Effect.suspend(() => {
          folder.forget()
          return create(onExisting)
        })
    )

  const openExisting = Effect.fnUntraced(function* (access: "read" | "write") {
    const { path } = yield* locate(access)
    return { fd: yield* openAt(path, "write", NFS.constants.O_RDWR), path }
  })

  /** What differs between a file and the facts it is claimed by, as the end of a sentence. */
  const difference = (facts: FileFacts, stats: NFS.BigIntStats): string | undefined => {
    if (!isSame(stats, facts.identity)) return replaced
    if (stats.size < facts.length) return cutOff
    return stats.size !== BigInt(facts.length) || stats.mtimeNs !== facts.mtimeNs ? changedSince : undefined
  }

  const fileChanged = (why: string) => new FileChanged({ path: nameOf(), why })

  const openFound = (facts: FileFacts) =>
    Effect.catchIf(
      openExisting("read"),
      ({ missing, reason }) => missing || (reason._tag === "StorageRefused" && facts.kind === "file"),
      ({ missing, reason }) =>
        Effect.mapError(
          Effect.flatMap(folder.present, () =>
            // What cannot be opened is another thing by now, or the same one that may not be written.
            Effect.flatMap(lookByName, (stats) =>
              Effect.fail(
                missing || stats === undefined
                  ? fileChanged(deleted)
                  : isSame(stats, facts.identity)
                    ? reason
                    : fileChanged(replaced)
              )
            )
          ),
          refuse
        )
    )

  const openClaimed = (claim: FileClaim) => {
    switch (claim.as) {
      case "new":
        return createAgain(new FileExists({ path: nameOf() }))
      case "found":
        return openFound(claim.facts)
      case "overwritten":
        return Effect.catchIf(
          openExisting("write"),
          ({ missing }) => missing,
          () =>
            Effect.suspend(() => {
              folder.forget()
              return createAgain(new StorageUnavailable({ path: nameOf(), why: "somebody else made it meanwhile" }))
            })
        )
    }
  }

  /** Opens the file as a claim says, and holds it from then on. */
  const settle = Effect.fnUntraced(function* (claim: FileClaim) {
    const { path, ...first } = yield* openClaimed(claim)
    let fd = first.fd
    const check = Effect.gen(function* () {
      let stats = yield* statRegular(fd, "write")
      const why = claim.as === "found" ? difference(claim.facts, stats) : undefined
      if (why !== undefined) return yield* Effect.fail(fileChanged(why))
      yield* options.clean(path)
      const isAfresh = claim.as === "found" && claim.afresh === true
      if (stats.nlink > 1n || isAfresh) {
        fd = yield* OwnCopy.replace({
          fs,
          fd,
          path,
          name: nameOf(),
          stats,
          length: claim.as === "overwritten" ? Math.min(Number(stats.size), length) : Number(stats.size),
          countsBlocks: yield* options.isLocal(stats, path),
          mayShare: !isAfresh
        })
        // Of the file that was left: what the copy has is on the disk.
        closeFailure = undefined
        folder.markChanged(Path.dirname(path))
        stats = yield* statRegular(fd, "write")
      }
      if (claim.as === "overwritten" && stats.size > length) {
        yield* Effect.mapError(
          NodeFile.call((done) => fs.ftruncate(fd, length, done)),
          failed("write")
        )
        unsynced = true
        stats = yield* statRegular(fd, "write")
      }
      return stats
    })
    const stats = yield* Effect.catch(check, (reason) =>
      Effect.andThen(Effect.ignore(NodeFile.call((done) => fs.close(fd, done))), Effect.fail(refuse(reason)))
    )
    held = yield* placeOf(path, stats, false)
    changed = undefined
    isClaimed = true
    unchecked = 0
    end = Math.min(Number(stats.size), length)
    return { fd, stats }
  })

  const makeReading = (): Reading => {
    const made: Reading = {
      slot: FileHandles.makeSlot({ open: Effect.suspend(() => openForReading(made)), closeFailed: () => {} }),
      at: undefined
    }
    return made
  }
  /** A way to open the file for writing; `claimed` opens it for the first time, once, and says which file it is. */
  const writingSlot = (claimed?: Effect.Effect<number, FileHandles.OpenFailure>) => {
    let first = claimed
    return FileHandles.makeSlot({
      open: Effect.suspend(() => {
        if (first === undefined) return openHeld(held!)
        // Tried again where there were too many open files.
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
    options.isClosed() ? gone() : changed === undefined ? Result.succeed(writing) : Result.fail(changed)

  // After `unclaim` the descriptor may still be open, of a file that no longer lies at the name.
  const isWritingOpen = () => writing.fd !== undefined && held !== undefined && changed === undefined

  const pickForReading = (): Result.Result<FileHandles.Slot, StorageReason> =>
    options.isClosed() ? gone() : Result.succeed(isWritingOpen() ? writing : reading.slot)

  const claim = Effect.fnUntraced(function* (asked: FileClaim) {
    // From here on nobody takes the descriptor that is closed.
    if (held !== undefined) change(changedSince)
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
          unchecked += part.length
          end = Math.max(end, part.position + part.length)
        })
        return unchecked >= checkInterval ? Effect.andThen(lookAtHeld(held!), writing) : writing
      })
      .pipe(turn.withPermit)

  const lookOnce = (part: NodeFile.FilePart) => {
    let from = reading
    const pick = () => {
      from = isWritingOpen() ? { slot: writing, at: held } : reading
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
      // Another file has the name, or none: what an open descriptor still holds is not what lies there.
      if (isWritingOpen()) change(result.stats === undefined ? deleted : replaced)
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
        Effect.andThen(lookAtHeld(held!))
      )
    })
  )

  const syncFound = handles
    .use(pickForReading, (fd) => Effect.mapError(NodeFile.syncFound(fs, fd), failed("read")))
    .pipe(Effect.andThen(lookExisting()))

  function lookExisting() {
    return Effect.flatMap(look, (stats): Effect.Effect<NFS.BigIntStats, StorageReason> => {
      if (changed !== undefined && isClaimed) return Effect.fail(changed)
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
    const mine = held !== undefined && (isClaimed || unsynced)
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
    path: () => held?.path,
    unclaim: () => {
      isClaimed = false
      if (changed === undefined) return
      // Of what was written to a file that is gone nothing can be kept.
      held = undefined
      changed = undefined
      unsynced = false
    },
    isClaimed: () => isClaimed,
    isHeld: () => isClaimed && changed === undefined,
    change: (why) => {
      if (isClaimed) change(why)
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
            if (held !== undefined && to !== undefined && held.path === from) held.path = to
            if (changed === undefined) return reopen
            // The bytes of a file that was deleted take room for as long as it is open.
            const before = writing
            writing = writingSlot()
            return Effect.andThen(reopen, handles.retire(before))
          })
        )
      ).pipe(turn.withPermit),
    close: Effect.suspend(() => Effect.andThen(handles.retire(reading.slot), handles.retire(writing)))
  }
}
