/**
 * Moves the files of a torrent from one download folder to another, also to one on another file system.
 *
 * - First every file is put in the new folder too: by a further name (a hard link) or, if that is not possible, as a
 *   flushed copy. So until then everything is in the old folder as it was, and a failure takes back what was done.
 * - Nothing is overwritten: a copy is made beside its place, and gets its name by a link, which fails if something has it.
 * - The files leave the old folder when the caller says so, and each only if it is still what was linked or copied.
 *
 * After a kill all of it is begun again (`isBegun`). A file that has the new name already is used if it is the same file,
 * or has the same bytes; and a file that has left the old folder is where it should be. If another file has a new name
 * and nothing has left the old folder, what was put in the new one is taken back.
 */
import * as NFS from "node:fs"
import * as Path from "node:path"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as FileLayout from "../../../metainfo/FileLayout.ts"
import {
  DiskFull,
  FileChanged,
  FileExists,
  type Move,
  type MovedFile,
  type MoveOptions,
  StorageError,
  type StorageReason,
  StorageRefused,
  type TorrentStorage
} from "../../Storage.ts"
import * as DownloadFolder from "./DownloadFolder.ts"
import type * as FileHandles from "./FileHandles.ts"
import * as FilePlaces from "./FilePlaces.ts"
import * as FileSystemError from "./FileSystemError.ts"
import * as FolderEntries from "./FolderEntries.ts"
import * as NodeFile from "./NodeFile.ts"
import * as OwnCopy from "./OwnCopy.ts"

/** A torrent in one of the two folders. */
interface Side {
  readonly directory: string
  readonly torrent: TorrentStorage
  readonly folder: DownloadFolder.DownloadFolder
  readonly places: FilePlaces.FilePlaces
  readonly entries: FolderEntries.FolderEntries
}

/** A file of the torrent. */
interface Item {
  readonly file: number
  /** Components below either folder. */
  readonly path: ReadonlyArray<string>
  /** How many of them stay when folders that are empty are removed. */
  readonly keep: number
  /** What is there in the old folder, and what is in the new one. */
  readonly source: FolderEntries.Entry | undefined
  readonly target: FolderEntries.Entry | undefined
}

/** What was put in the new folder. */
interface Placed extends Item {
  readonly target: FolderEntries.Entry
  /** Whether it was put there just now. */
  readonly isNew: boolean
}

/** Bytes that are compared at a time. */
const chunkLength = 1 << 20

const factsOf = (stats: NFS.BigIntStats): MovedFile["after"] => ({
  length: Number(stats.size),
  mtimeNs: stats.mtimeNs,
  identity: NodeFile.identityOf(stats)
})

const isSameEntry = (one: NFS.BigIntStats, other: NFS.BigIntStats): boolean =>
  one.dev === other.dev && one.ino === other.ino

const isUnchanged = (before: NFS.BigIntStats, now: NFS.BigIntStats | undefined): boolean =>
  now !== undefined && isSameEntry(before, now) && now.size === before.size && now.mtimeNs === before.mtimeNs

/** Makes a side of a move. Touches nothing. */
const sideOf = (
  { fs, handles, open }: Options,
  { layout }: MoveOptions,
  directory: string
): Effect.Effect<Side, never, Scope.Scope> =>
  Effect.map(open(directory), (torrent) => {
    const folder = DownloadFolder.make(fs, directory)
    const places = FilePlaces.make({ fs, handles, folder, layout, isClosed: () => false })
    return { directory, torrent, folder, places, entries: FolderEntries.make(fs, folder) }
  })

/** What a move needs of the storage. */
export interface Options {
  readonly fs: NodeFile.NodeFileSystem
  readonly handles: FileHandles.FileHandles
  /** Opens the torrent in a folder, until the scope closes. */
  readonly open: (directory: string) => Effect.Effect<TorrentStorage, never, Scope.Scope>
}

const lookAt = (fs: NodeFile.NodeFileSystem, path: string, follows = false) =>
  Effect.mapError(NodeFile.lookAt(fs, path, follows), (error) => FileSystemError.reasonOf(error, path, "read"))

/** The files of the torrent that exist in one of the folders. */
const itemsOf = Effect.fnUntraced(function* (layout: FileLayout.FileLayout, from: Side, to: Side) {
  const parents: readonly [FolderEntries.KnownParents, FolderEntries.KnownParents] = [new Map(), new Map()]
  const items: Array<Item> = []
  const sourceAt = (path: ReadonlyArray<string>) => FolderEntries.find(from.entries, path, parents[0])
  const add = Effect.fnUntraced(function* (
    file: number,
    path: ReadonlyArray<string>,
    keep: number,
    found?: FolderEntries.Entry
  ) {
    const source = found ?? (yield* sourceAt(path))
    const target = yield* FolderEntries.find(to.entries, path, parents[1])
    if (source !== undefined || target !== undefined) items.push({ file, path, keep, source, target })
  })
  const nameIn = (side: Side, file: number) =>
    Effect.mapBoth(FilePlaces.nameOn(side.places, file, "read"), {
      onSuccess: ({ path }) => path,
      onFailure: ({ reason }) => reason
    })
  for (const file of FileLayout.realFiles(layout)) {
    const path = yield* nameIn(from, file)
    const found = yield* sourceAt(path)
    // One that is not there may have left the old folder. The new one has it by the name that it had.
    yield* add(file, found === undefined ? yield* nameIn(to, file) : path, 0, found)
    yield* add(file, FilePlaces.asidePath(from.places, file), 1)
  }
  return items
})

/** Whether two paths lead to one entry of one folder, as a folder that is mounted twice does. */
const isOnePlace = Effect.fnUntraced(function* (fs: NodeFile.NodeFileSystem, one: string, other: string) {
  const [folder, otherFolder] = [yield* lookAt(fs, Path.dirname(one)), yield* lookAt(fs, Path.dirname(other))]
  return folder !== undefined && otherFolder !== undefined && isSameEntry(folder, otherFolder)
})

const readPart = (fs: NodeFile.NodeFileSystem, fd: number, bytes: Uint8Array, position: number) =>
  Effect.uninterruptible(NodeFile.read(fs, fd, { bytes, begin: 0, length: bytes.length, position }))

const openToRead = (fs: NodeFile.NodeFileSystem, path: string) =>
  Effect.acquireRelease(
    NodeFile.call<number>((done) => fs.open(path, NFS.constants.O_RDONLY | (NFS.constants.O_NOFOLLOW ?? 0), done)),
    (fd) => Effect.ignore(NodeFile.call((done) => fs.close(fd, done)))
  )

/** Whether two files have the same bytes. */
const isSameContent = (
  fs: NodeFile.NodeFileSystem,
  one: FolderEntries.Entry,
  other: FolderEntries.Entry
): Effect.Effect<boolean, StorageReason> =>
  Effect.scoped(
    Effect.gen(function* () {
      if (one.stats.size !== other.stats.size) return false
      const [first, second] = [yield* openToRead(fs, one.place), yield* openToRead(fs, other.place)]
      const [bytes, otherBytes] = [new Uint8Array(chunkLength), new Uint8Array(chunkLength)]
      for (let position = 0; ; position += chunkLength) {
        const read = yield* readPart(fs, first, bytes, position)
        if ((yield* readPart(fs, second, otherBytes, position)) !== read) return false
        if (Buffer.compare(bytes.subarray(0, read), otherBytes.subarray(0, read)) !== 0) return false
        if (read < chunkLength) return true
      }
    })
  ).pipe(Effect.mapError((error) => FileSystemError.reasonOf(error, one.place, "read")))

/** Fails, before anything is changed, if a file cannot be moved for a reason that shows. */
const check = Effect.fnUntraced(function* (
  fs: NodeFile.NodeFileSystem,
  to: Side,
  items: ReadonlyArray<Item>,
  isBegun: boolean
) {
  let needed = 0n
  const root = yield* Effect.mapError(DownloadFolder.resolve(to.folder, [], "write"), ({ reason }) => reason)
  const { dev } = (yield* lookAt(fs, root, true))!
  for (const { path, source, target } of items) {
    const name = DownloadFolder.nameOf(to.folder, path)
    if (source !== undefined && !source.stats.isFile()) {
      return yield* Effect.fail(new StorageRefused({ path: source.place, why: "it is not a file" }))
    }
    if (target !== undefined && (!isBegun || !target.stats.isFile())) {
      return yield* Effect.fail(new FileExists({ path: name }))
    }
    if (source === undefined || target !== undefined || source.stats.dev === dev) continue
    const taken = source.stats.blocks * 512n
    needed += taken < source.stats.size ? taken : source.stats.size
  }
  if (needed === 0n) return
  const { bavail, bsize } = yield* Effect.mapError(
    NodeFile.call<NFS.BigIntStatsFs>((done) => fs.statfs(root, done)),
    (error) => FileSystemError.reasonOf(error, root, "read")
  )
  if (bavail * bsize < needed) return yield* Effect.fail(new DiskFull({ path: to.directory }))
})

/** Makes a flushed copy beside `place`, gives it that name, and returns what it is. */
const copy = (
  fs: NodeFile.NodeFileSystem,
  source: FolderEntries.Entry,
  place: string,
  name: string
): Effect.Effect<NFS.BigIntStats, StorageReason> => {
  const failed = (error: FileSystemError.SystemError): StorageReason =>
    error.code === "EEXIST" ? new FileExists({ path: name }) : FileSystemError.reasonOf(error, name, "write")
  const call = <A = void>(start: Parameters<typeof NodeFile.call<A>>[0]) =>
    Effect.uninterruptible(Effect.mapError(NodeFile.call(start), failed))
  const beside = OwnCopy.nameFor(place)
  const remove = Effect.ignore(NodeFile.call((done) => fs.unlink(beside, done)))
  const made = Effect.acquireRelease(
    call<number>((done) => fs.open(beside, NFS.constants.O_RDWR | NFS.constants.O_CREAT | NFS.constants.O_EXCL, done)),
    (fd) => Effect.andThen(Effect.ignore(NodeFile.call((done) => fs.close(fd, done))), remove)
  )
  return Effect.scoped(
    Effect.gen(function* () {
      const to = yield* made
      const from = yield* Effect.mapError(openToRead(fs, source.place), failed)
      const { stats } = source
      yield* Effect.mapError(OwnCopy.fill(fs, { from, to, stats, length: Number(stats.size) }), failed)
      const [copied, now] = [
        yield* call<NFS.BigIntStats>((done) => fs.fstatExact(to, done)),
        yield* lookAt(fs, source.place)
      ]
      if (!isUnchanged(source.stats, now) || copied.size !== source.stats.size) {
        return yield* Effect.fail<StorageReason>(new FileChanged({ path: source.place, why: "was changed" }))
      }
      const link = NodeFile.call((done) => fs.link(beside, place, done))
      const named = Effect.catchIf(
        link,
        ({ code }) => NodeFile.cannotLink.has(code),
        () => NodeFile.moveWithoutLinks(fs, beside, place)
      )
      yield* Effect.uninterruptible(Effect.mapError(named, failed))
      return copied
    })
  )
}

/** Removes a file that is still what it was. Returns its path if it could not be removed, or is another one. */
const removeFile = Effect.fnUntraced(function* (
  fs: NodeFile.NodeFileSystem,
  { entries, folder }: Side,
  { path, keep }: Item,
  entry: FolderEntries.Entry
) {
  const removed = yield* Effect.gen(function* () {
    if (!isUnchanged(entry.stats, yield* lookAt(fs, entry.place))) return false
    yield* FolderEntries.unlink(entries, entry.place, entry.place)
    return true
  }).pipe(Effect.orElseSucceed(() => false))
  if (!removed) return [entry.place]
  DownloadFolder.markChanged(folder, Path.dirname(entry.place))
  yield* FolderEntries.removeEmpty(entries, path.slice(0, -1), keep)
  return []
})

/** Whether the new name of an item is only reserved: on a disk without links, a kill may leave an empty file there. */
const isReserved = ({ source, target }: Item): boolean =>
  target?.stats.size === 0n && source !== undefined && source.stats.size > 0n

/**
 * Fails with `FileExists` if a move that is begun cannot be finished, because another file has a new name, and takes back
 * what was put in the new folder. If files have left the old folder already, it fails with `FileChanged`, and takes
 * nothing back.
 */
const checkBegun = Effect.fnUntraced(function* (fs: NodeFile.NodeFileSystem, to: Side, items: ReadonlyArray<Item>) {
  const placed: Array<readonly [Item, FolderEntries.Entry]> = []
  let conflict: string | undefined
  for (const item of items) {
    const { path, source, target } = item
    if (source === undefined || target === undefined) continue
    const isOurs =
      isReserved(item) || isSameEntry(source.stats, target.stats) || (yield* isSameContent(fs, source, target))
    if (isOurs) placed.push([item, target])
    else conflict ??= DownloadFolder.nameOf(to.folder, path)
  }
  if (conflict === undefined) return
  if (items.some(({ source }) => source === undefined)) {
    return yield* Effect.fail<StorageReason>(new FileChanged({ path: conflict, why: "is another file than was moved" }))
  }
  for (const [item, target] of placed) yield* removeFile(fs, to, item, target)
  return yield* Effect.fail<StorageReason>(new FileExists({ path: conflict }))
})

/** Puts a file in the new folder. */
const place = Effect.fnUntraced(function* (
  fs: NodeFile.NodeFileSystem,
  to: Side,
  item: Item,
  clean: ReturnType<typeof OwnCopy.makeCleaner>
) {
  const { path, source, target } = item
  const name = DownloadFolder.nameOf(to.folder, path)
  if (target !== undefined && isReserved(item)) yield* FolderEntries.unlink(to.entries, target.place, name)
  else if (target !== undefined) {
    // `checkBegun` has found that it is the same file.
    yield* clean(target.place) ?? Effect.void
    return { ...item, target, isNew: false }
  }
  const parent = yield* Effect.mapError(
    DownloadFolder.resolve(to.folder, path.slice(0, -1), "write"),
    ({ reason }) => reason
  )
  const place = Path.join(parent, path.at(-1)!)
  yield* clean(place) ?? Effect.void
  const linked = NodeFile.call((done) => fs.link(source!.place, place, done))
  const stats = yield* Effect.uninterruptible(Effect.as(linked, source!.stats)).pipe(
    Effect.catch((error): Effect.Effect<NFS.BigIntStats, StorageReason> => {
      if (error.code === "EEXIST") return Effect.fail(new FileExists({ path: name }))
      if (error.code === "EXDEV" || NodeFile.cannotLink.has(error.code)) return copy(fs, source!, place, name)
      return Effect.fail(FileSystemError.reasonOf(error, name, "write"))
    })
  )
  DownloadFolder.markChanged(to.folder, parent)
  return { ...item, target: { place, stats }, isNew: true }
})

const sync = Effect.fnUntraced(function* (fs: NodeFile.NodeFileSystem, { folder }: Side) {
  for (const path of DownloadFolder.changed(folder)) {
    yield* Effect.mapError(NodeFile.syncFolder(fs, path, false), (error) =>
      FileSystemError.reasonOf(error, path, "write")
    )
    DownloadFolder.unmarkChanged(folder, path)
  }
})

/** A move that has nothing to do. */
const nothing: Move = { isOneFolder: true, files: [], leave: Effect.succeed([]) }

/** Puts a torrent in another folder; see `Storage.move`. */
export const make = (
  options: Options,
  asked: MoveOptions,
  fromDirectory: string,
  toDirectory: string
): Effect.Effect<Move, StorageError, Scope.Scope> => {
  const { fs } = options
  const { isBegun, isTrial = false, layout } = asked
  const asError = (reason: StorageReason) => StorageError.of("move", [reason])
  return Effect.gen(function* () {
    const stats = yield* Effect.mapError(lookAt(fs, fromDirectory, true), asError)
    const there = yield* Effect.mapError(lookAt(fs, toDirectory, true), asError)
    if (stats !== undefined && there !== undefined && isSameEntry(stats, there)) return nothing
    const from = yield* sideOf(options, asked, fromDirectory)
    const to = yield* sideOf(options, asked, toDirectory)
    const real = FileLayout.realFiles(layout)
    // A folder that does not exist must not be made.
    if (stats !== undefined) yield* from.torrent.reserve(real)
    yield* to.torrent.reserve(real)

    const clean = OwnCopy.makeCleaner(fs)
    const placed: Array<Placed> = []
    const placeAll = Effect.gen(function* () {
      const found = yield* itemsOf(layout, from, to)
      const items: Array<Item> = []
      for (const item of found) {
        const { source, target } = item
        const isOne = source !== undefined && target !== undefined && isSameEntry(source.stats, target.stats)
        if (!isOne || !(yield* isOnePlace(fs, source.place, target.place))) items.push(item)
      }
      yield* check(fs, to, items, isBegun)
      if (isBegun) yield* checkBegun(fs, to, items)
      if (isTrial) return
      for (const item of items) placed.push(yield* place(fs, to, item, clean))
      yield* sync(fs, to)
    })
    const takeBack = Effect.forEach(
      placed,
      (item) => (item.isNew ? Effect.asVoid(removeFile(fs, to, item, item.target)) : Effect.void),
      { discard: true }
    )
    yield* Effect.onError(placeAll, (cause) =>
      // After an interruption, as after a kill, it goes on from here.
      isBegun || Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.suspend(() => takeBack)
    ).pipe(Effect.mapError(asError))

    const files = placed.map(
      ({ file, source, target }): MovedFile => ({
        file,
        before: source && factsOf(source.stats),
        after: factsOf(target.stats)
      })
    )
    const leave = Effect.map(
      Effect.forEach(placed, (item) =>
        item.source === undefined ? Effect.succeed([]) : removeFile(fs, from, item, item.source)
      ),
      (left) => left.flat()
    )
    return { isOneFolder: false, files, leave: Effect.uninterruptible(leave) }
  })
}
