/**
 * Where each file of an open torrent lies: in its place below the download folder, or, while nobody wants it, set aside in
 * a hidden folder beside the torrent.
 *
 * Pieces do not end where files do, so a wanted piece brings bytes of its neighbours. Those of a skipped file must not make
 * that file: a user would find a file that was not asked for, full of holes. They are kept, at the same offsets, in a file
 * of the same name below `AsideFolder`, from where peers are given them like any other. When the file is wanted it is moved
 * to its place as it is, and the hidden folders go with the last of them. A skipped file that exists is used where it is.
 *
 * Files are moved so that nothing can be overwritten: the new name is linked first, which fails where something has it.
 */
import * as NFS from "node:fs"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type * as FileLayout from "../../../metainfo/FileLayout.ts"
import * as AsideFolder from "../../AsideFolder.ts"
import { type FileClaim, FileExists, type FileFacts, type StorageReason } from "../../Storage.ts"
import type * as DownloadFolder from "./DownloadFolder.ts"
import type * as FileHandles from "./FileHandles.ts"
import * as FileNames from "./FileNames.ts"
import * as FileSystemError from "./FileSystemError.ts"
import * as NodeFile from "./NodeFile.ts"
import * as OwnCopy from "./OwnCopy.ts"
import * as TorrentFile from "./TorrentFile.ts"

/** The files of one torrent; an index is one in `layout.files`, of a file that is no padding. */
export interface FilePlaces {
  /** Components of a file in its place, as users know it. */
  readonly pathOf: (index: number) => ReadonlyArray<string>
  /** All components at which a file may lie in its place on this disk, that one first. */
  readonly pathsOf: (index: number) => ReadonlyArray<ReadonlyArray<string>>
  /** The path of a file as the user would name it. */
  readonly nameOf: (index: number) => string
  /** What lies there; `parents` remembers true paths of folders, for looks that follow at once. */
  readonly look: (
    index: number,
    parents: Map<string, string | undefined>
  ) => Effect.Effect<FileFacts | undefined, StorageReason>
  readonly claim: (claim: FileClaim) => Effect.Effect<FileFacts, StorageReason>
  readonly unclaim: (index: number) => void
  readonly isClaimed: (index: number) => boolean
  readonly write: (index: number, part: NodeFile.FilePart) => Effect.Effect<void, StorageReason>
  /** Tells how many bytes there were, as `TorrentFile.read`. */
  readonly read: (index: number, part: NodeFile.FilePart) => Effect.Effect<number, StorageReason>
  /** The same, and what lies there after the read. */
  readonly readAndLook: (
    index: number,
    part: NodeFile.FilePart
  ) => Effect.Effect<{ readonly read: number; readonly facts: FileFacts | undefined }, StorageReason>
  readonly sync: (index: number) => Effect.Effect<FileFacts, StorageReason>
  /** Whether any file lies aside on the disk. */
  readonly hasAside: Effect.Effect<boolean>
  /** Whether a file is to be brought back once it is wanted, whatever earlier runs did. */
  readonly isSkipped: (index: number) => boolean
  /** Sets a file aside from its next use on, unless it exists in its place then or was claimed there. */
  readonly setAside: (index: number) => void
  /**
   * Moves a file to its place where it was set aside, by an earlier run too. Where there is a file already that one is
   * used, and what was set aside is removed.
   */
  readonly bringBack: (index: number) => Effect.Effect<void, StorageReason>
  /** Moves a file to another path, where nothing may lie. */
  readonly rename: (index: number, path: ReadonlyArray<string>) => Effect.Effect<void, StorageReason>
  /** Deletes a file wherever it lies, and the folders that are empty then. */
  readonly remove: (index: number) => Effect.Effect<void, StorageReason>
  /** Whether a file lies somewhere below the folder with this true path, as far as that is known. */
  readonly isBelow: (index: number, folder: string) => boolean
  /** The files that were used, wherever they lie. */
  readonly used: () => Iterable<TorrentFile.TorrentFile>
}

/** Every file in its place; touches nothing. */
export const make = (options: {
  readonly fs: NodeFile.NodeFileSystem
  readonly handles: FileHandles.FileHandles
  readonly folder: DownloadFolder.DownloadFolder
  readonly layout: FileLayout.FileLayout
  /** As `TorrentFile.make`. */
  readonly followLinks?: boolean | undefined
  /** Whether the torrent was closed, after which no file is opened any more. */
  readonly isClosed: () => boolean
}): FilePlaces => {
  const { folder, followLinks = false, fs, handles, isClosed, layout } = options
  const names = FileNames.make({ fs, folder, layout })
  const files = new Map<number, TorrentFile.TorrentFile>()
  const renamed = new Map<number, ReadonlyArray<string>>()
  /** Files to set aside of which nobody knows yet whether they exist in their place: asked when one is used. */
  const undecided = new Set<number>()
  /** Files that are set aside. */
  const aside = new Set<number>()
  /** By device, as `NodeFile.isLocal`. */
  const localDevices = new Map<bigint, boolean>()
  // One at a time: a name that is another file's on some disks is told from it by what lies there.
  const moving = Semaphore.makeUnsafe(1)
  /** Copies that a crash has left, by the folder they lie in. */
  const leftovers = new Map<string, ReadonlyArray<string>>()

  const pathOf = (index: number): ReadonlyArray<string> => renamed.get(index) ?? layout.files[index]!.path
  const pathsOf = (index: number): ReadonlyArray<ReadonlyArray<string>> => {
    const { path, portable } = layout.files[index]!
    const own = renamed.get(index)
    return own !== undefined ? [own] : portable === undefined ? [path] : [path, portable]
  }
  // Under the name that no file system takes for another file's: nobody looks there for the name itself.
  const asidePath = (index: number): ReadonlyArray<string> => [...AsideFolder.components, ...pathsOf(index).at(-1)!]
  const nameOn = (
    index: number,
    access: "read" | "create"
  ): Effect.Effect<FileNames.FilePlace, FileHandles.OpenFailure> => {
    const own = renamed.get(index)
    return own === undefined ? names.resolve(index, access) : Effect.succeed({ path: own, isMade: false })
  }
  const placeOf = (
    index: number,
    access: "read" | "create"
  ): Effect.Effect<FileNames.FilePlace, FileHandles.OpenFailure> =>
    aside.has(index) ? Effect.succeed({ path: asidePath(index), isMade: false }) : nameOn(index, access)
  const nameOf = (index: number) => folder.nameOf(pathOf(index))

  const call = <A = void>(
    name: string,
    start: Parameters<typeof NodeFile.call<A>>[0]
  ): Effect.Effect<A, StorageReason> =>
    Effect.mapError(NodeFile.call(start), (error) => FileSystemError.reasonOf(error, name, "write"))

  const isLocal = Effect.fnUntraced(function* ({ dev }: NFS.BigIntStats, path: string) {
    const known = localDevices.get(dev)
    if (known !== undefined) return known
    const found = yield* NodeFile.call<NFS.BigIntStatsFs>((done) => fs.statfs(path, done)).pipe(
      Effect.map(({ type }) => NodeFile.isLocal(type)),
      Effect.orElseSucceed(() => false)
    )
    localDevices.set(dev, found)
    return found
  })

  const clean = Effect.fnUntraced(function* (path: string) {
    const parent = Path.dirname(path)
    const known = leftovers.get(parent)
    const listed =
      known ??
      (yield* Effect.orElseSucceed(
        NodeFile.call<Array<string>>((done) => fs.readdir(parent, done)),
        () => []
      ))
    const copies = known ?? OwnCopy.among(listed)
    leftovers.set(parent, copies)
    for (const name of OwnCopy.leftovers(copies, Path.basename(path))) {
      yield* Effect.ignore(NodeFile.call((done) => fs.unlink(Path.join(parent, name), done)))
    }
  })

  const fileOf = (index: number): TorrentFile.TorrentFile => {
    const known = files.get(index)
    if (known !== undefined) return known
    const { length } = layout.files[index]!
    const file = TorrentFile.make({
      fs,
      handles,
      folder,
      path: () => (aside.has(index) ? asidePath(index) : pathOf(index)),
      place: (access) => placeOf(index, access),
      followLinks,
      length,
      isLocal,
      clean,
      isClosed
    })
    files.set(index, file)
    return file
  }

  const factsOf = (index: number, stats: NFS.BigIntStats): Effect.Effect<FileFacts> => {
    const isFile = stats.isFile()
    const facts = (isHole: boolean): FileFacts => ({
      file: index,
      kind: isFile ? "file" : "other",
      length: isFile ? Number(stats.size) : 0,
      mtimeNs: stats.mtimeNs,
      identity: NodeFile.identityOf(stats),
      isHole,
      isAside: aside.has(index),
      otherNames: isFile ? Math.max(0, Number(stats.nlink) - 1) : 0
    })
    if (!isFile || stats.blocks > 0n || stats.size === 0n) return Effect.succeed(facts(isFile && stats.size === 0n))
    return Effect.map(isLocal(stats, folder.nameOf(aside.has(index) ? asidePath(index) : pathOf(index))), facts)
  }

  const decide = Effect.fnUntraced(function* (index: number) {
    const found = yield* findInPlace(index)
    // Somebody else may have been faster, or the file is wanted by now.
    if (undecided.delete(index) && found === undefined) aside.add(index)
  })

  /** Uses a file where it lies. */
  const use = <A>(
    index: number,
    effect: (file: TorrentFile.TorrentFile) => Effect.Effect<A, StorageReason>
  ): Effect.Effect<A, StorageReason> =>
    Effect.suspend(() =>
      undecided.has(index) ? Effect.andThen(decide(index), use(index, effect)) : effect(fileOf(index))
    )

  /** The true path of a folder, if it exists. */
  const parentOf = (
    path: ReadonlyArray<string>,
    known?: Map<string, string | undefined>
  ): Effect.Effect<string | undefined, StorageReason> => {
    const components = path.slice(0, -1)
    const key = components.join("/")
    if (known?.has(key) === true) return Effect.succeed(known.get(key))
    return folder.resolve(components, "read").pipe(
      Effect.catchIf(
        ({ missing }) => missing,
        () => Effect.undefined
      ),
      Effect.mapBoth({
        onSuccess: (parent) => {
          known?.set(key, parent)
          return parent
        },
        onFailure: ({ reason }) => reason
      })
    )
  }

  /** The true path of what lies at `path`, and what that is; `undefined` where nothing does. */
  const find = Effect.fnUntraced(function* (
    path: ReadonlyArray<string>,
    known?: Map<string, string | undefined>,
    follows = false
  ) {
    const parent = yield* parentOf(path, known)
    if (parent === undefined) return undefined
    const place = Path.join(parent, path[path.length - 1]!)
    const stats = yield* Effect.mapError(NodeFile.lookAt(fs, place, follows), (error) =>
      FileSystemError.reasonOf(error, folder.nameOf(path), "read")
    )
    return stats && { place, stats }
  })

  /** What lies in the place of a file, under the name that it has on this disk. */
  const findInPlace = Effect.fnUntraced(function* (
    index: number,
    known?: Map<string, string | undefined>,
    follows = false
  ) {
    const { path } = yield* Effect.mapError(nameOn(index, "read"), ({ reason }) => reason)
    return yield* find(path, known, follows)
  })

  const look = Effect.fnUntraced(function* (index: number, parents: Map<string, string | undefined>) {
    const file = files.get(index)
    if (file?.isHeld() === true) return yield* file.look
    const isSkipped = undecided.has(index) || aside.has(index)
    const found = yield* findInPlace(index, parents, followLinks)
    if (!isSkipped) return found?.stats
    undecided.delete(index)
    if (found === undefined) {
      aside.add(index)
      return (yield* find(asidePath(index), parents))?.stats
    }
    if (aside.delete(index) && file !== undefined) yield* file.reopen
    // Asked again when it is used, as it may be gone by then.
    undecided.add(index)
    return found.stats
  })

  /** Moves a file to a path where nothing lies, or an empty file that was made for it, and gives its true path there. */
  const move = Effect.fnUntraced(function* (from: string, { isMade, path }: FileNames.FilePlace) {
    const name = folder.nameOf(path)
    const parent = yield* Effect.mapError(folder.resolve(path.slice(0, -1), "write"), ({ reason }) => reason)
    const to = Path.join(parent, path[path.length - 1]!)
    const exists = () => Effect.fail(new FileExists({ path: name }))
    const reasonOf = (error: FileSystemError.SystemError) => FileSystemError.reasonOf(error, name, "write")
    const replace = NodeFile.call((done) => fs.rename(from, to, done))
    const linked = NodeFile.call((done) => fs.link(from, to, done)).pipe(
      Effect.andThen(NodeFile.call((done) => fs.unlink(from, done)))
    )
    yield* (isMade ? replace : linked).pipe(
      Effect.catchIf(
        // Not every file system has further names. One of ours is in the way of others until the file has it.
        ({ code }) => NodeFile.cannotLink.has(code),
        () =>
          NodeFile.call<number>((done) =>
            fs.open(to, NFS.constants.O_WRONLY | NFS.constants.O_CREAT | NFS.constants.O_EXCL, done)
          ).pipe(
            Effect.flatMap((fd) => Effect.ignore(NodeFile.call((done) => fs.close(fd, done)))),
            Effect.andThen(replace)
          )
      ),
      Effect.catch(
        (error): Effect.Effect<void, StorageReason> =>
          error.code === "EEXIST" ? exists() : Effect.fail(reasonOf(error))
      )
    )
    folder.markChanged(parent)
    folder.markChanged(Path.dirname(from))
    return to
  })

  /** Removes folders that hold nothing any more, from the innermost at these components on; a link is no folder. */
  const removeEmpty = Effect.fnUntraced(function* (components: ReadonlyArray<string>, keep = 0) {
    for (let depth = components.length; depth > keep; depth--) {
      const place = folder.nameOf(components.slice(0, depth))
      const removed = yield* Effect.result(NodeFile.call((done) => fs.rmdir(place, done)))
      if (removed._tag === "Failure") break
      folder.forget()
    }
  })

  const bringBack = Effect.fnUntraced(function* (index: number) {
    const found = yield* find(asidePath(index))
    const file = fileOf(index)
    // A folder there is of another torrent, with what was set aside of its files.
    if (found?.stats.isFile() !== true) {
      undecided.delete(index)
      if (aside.delete(index)) yield* file.reopen
      return
    }
    const isThere = (yield* findInPlace(index)) !== undefined
    yield* file.relocate(
      Effect.gen(function* () {
        const place = isThere ? undefined : yield* Effect.mapError(nameOn(index, "create"), ({ reason }) => reason)
        const to = place && (yield* move(found.place, place))
        undecided.delete(index)
        aside.delete(index)
        if (isThere) {
          file.change("was replaced")
          yield* call(nameOf(index), (done) => fs.unlink(found.place, done))
        }
        return { from: found.place, to }
      })
    )
    yield* removeEmpty(asidePath(index).slice(0, -1), 1)
  })

  const rename = Effect.fnUntraced(function* (index: number, path: ReadonlyArray<string>) {
    const file = fileOf(index)
    if (undecided.has(index)) yield* decide(index)
    yield* file.relocate(
      Effect.gen(function* () {
        const place = yield* Effect.mapError(placeOf(index, "read"), ({ reason }) => reason)
        const found = yield* find(place.path)
        if ((yield* find(path)) !== undefined) {
          return yield* Effect.fail(new FileExists({ path: folder.nameOf(path) }))
        }
        const target = { path: aside.has(index) ? [...AsideFolder.components, ...path] : path, isMade: false }
        const to = found?.stats.isFile() === true ? yield* move(found.place, target) : undefined
        renamed.set(index, path)
        return { from: found?.place, to }
      })
    )
  })

  const removeAt = Effect.fnUntraced(function* (path: ReadonlyArray<string>, keep: number) {
    const found = yield* find(path)
    if (found === undefined || !found.stats.isFile()) return
    yield* call(folder.nameOf(path), (done) => fs.unlink(found.place, done))
    folder.markChanged(Path.dirname(found.place))
    yield* clean(found.place)
    yield* removeEmpty(path.slice(0, -1), keep)
  })

  const remove = (index: number) => {
    const file = fileOf(index)
    return Effect.asVoid(
      file.relocate(
        Effect.gen(function* () {
          const place = yield* Effect.mapError(nameOn(index, "read"), ({ reason }) => reason)
          yield* removeAt(place.path, 0)
          yield* removeAt(asidePath(index), 1)
          file.change("was deleted")
          return { from: undefined, to: undefined }
        })
      )
    )
  }

  const claim = Effect.fnUntraced(function* (claim: FileClaim) {
    const index = claim.file
    // Where a skipped file lies is asked anew: somebody may have put one in its place.
    if (aside.has(index) && files.get(index)?.isHeld() !== true) {
      aside.delete(index)
      undecided.add(index)
    }
    if (undecided.has(index)) yield* decide(index)
    return yield* factsOf(index, yield* fileOf(index).claim(claim))
  })

  return {
    pathOf,
    pathsOf,
    nameOf,
    look: (index, parents) =>
      Effect.flatMap(look(index, parents), (stats) => (stats === undefined ? Effect.undefined : factsOf(index, stats))),
    claim,
    unclaim: (index) => files.get(index)?.unclaim(),
    isClaimed: (index) => files.get(index)?.isClaimed() === true,
    write: (index, part) => use(index, (file) => file.write(part)),
    read: (index, part) => use(index, (file) => file.read(part)),
    readAndLook: (index, part) =>
      use(index, (file) =>
        Effect.flatMap(file.readAndLook(part), ({ read, stats }) =>
          Effect.map(stats === undefined ? Effect.undefined : factsOf(index, stats), (facts) => ({ read, facts }))
        )
      ),
    sync: (index) => use(index, (file) => Effect.flatMap(file.sync, (stats) => factsOf(index, stats))),
    hasAside: Effect.suspend(() =>
      renamed.size > 0
        ? Effect.succeed(true)
        : Effect.match(find([...AsideFolder.components, layout.files[0]!.path[0]!]), {
            onSuccess: (found) => found !== undefined,
            // What cannot be reached is as good as not there: it is fetched again.
            onFailure: () => false
          })
    ),
    isSkipped: (index) => undecided.has(index) || aside.has(index),
    setAside: (index) => {
      if (!aside.has(index) && files.get(index)?.isClaimed() !== true) undecided.add(index)
    },
    bringBack: (index) => moving.withPermit(Effect.uninterruptible(bringBack(index))),
    rename: (index, path) => moving.withPermit(Effect.uninterruptible(rename(index, path))),
    remove: (index) => moving.withPermit(Effect.uninterruptible(remove(index))),
    isBelow: (index, folder) => files.get(index)?.path()?.startsWith(folder) === true,
    used: () => files.values()
  }
}
