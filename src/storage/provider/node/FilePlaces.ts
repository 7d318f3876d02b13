/**
 * Where each file of an open torrent is: in its place below the download folder, or, while it is unwanted, set aside in
 * a hidden folder.
 *
 * Pieces do not end where files do, so a wanted piece brings bytes of neighbouring files. Those of a skipped file must
 * not make that file: the user would find a file that was not wanted, full of holes. They are kept at the same offsets
 * in a file of the same name below `AsideFolder`, and uploaded from there like any other. When the file is wanted, it
 * is moved to its place as it is, and the hidden folders are removed with the last file. A skipped file that exists is
 * used in its place.
 */
import type * as NFS from "node:fs"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as Bitfield from "../../../base/Bitfield.ts"
import type * as FileLayout from "../../../metainfo/FileLayout.ts"
import * as AsideFolder from "../../AsideFolder.ts"
import { type FileClaim, FileExists, type FileFacts, type StorageReason } from "../../Storage.ts"
import type * as DownloadFolder from "./DownloadFolder.ts"
import type * as FileHandles from "./FileHandles.ts"
import * as FileNames from "./FileNames.ts"
import * as FolderEntries from "./FolderEntries.ts"
import * as HeldFile from "./HeldFile.ts"
import * as LocalDevices from "./LocalDevices.ts"
import * as NodeFile from "./NodeFile.ts"
import * as OwnCopy from "./OwnCopy.ts"
import * as TorrentFile from "./TorrentFile.ts"

/** The files of one torrent; an index is one in `layout.files`, of a file that is no padding. */
export interface FilePlaces {
  /** Components of a file in its place, as users know it. */
  readonly pathOf: (index: number) => ReadonlyArray<string>
  /** All components at which a file may be in its place on this disk, those of `pathOf` first. */
  readonly pathsOf: (index: number) => ReadonlyArray<ReadonlyArray<string>>
  /** The path of a file as the user would name it. */
  readonly nameOf: (index: number) => string
  /** What exists there; `parents` remembers true paths of folders, for looks that follow at once. */
  readonly look: (
    index: number,
    parents: FolderEntries.KnownParents
  ) => Effect.Effect<FileFacts | undefined, StorageReason>
  readonly claim: (claim: FileClaim) => Effect.Effect<FileFacts, StorageReason>
  readonly unclaim: (index: number) => void
  readonly isClaimed: (index: number) => boolean
  readonly write: (index: number, part: NodeFile.FilePart) => Effect.Effect<void, StorageReason>
  /** Returns how many bytes there were, as `TorrentFile.read` does. */
  readonly read: (index: number, part: NodeFile.FilePart) => Effect.Effect<number, StorageReason>
  /** The same, and what is there after the read. */
  readonly readAndLook: (
    index: number,
    part: NodeFile.FilePart
  ) => Effect.Effect<{ readonly read: number; readonly facts: FileFacts | undefined }, StorageReason>
  /** Returns the facts of the file, and its true path if it was claimed. */
  readonly sync: (
    index: number
  ) => Effect.Effect<{ readonly facts: FileFacts; readonly path: string | undefined }, StorageReason>
  /** Whether any file is set aside on the disk. */
  readonly hasAside: Effect.Effect<boolean>
  /** Whether a file is to be brought back once it is wanted, whatever earlier runs did. */
  readonly isSkipped: (index: number) => boolean
  /** Sets a file aside from its next use on, unless it then exists in its place or was claimed there. */
  readonly setAside: (index: number) => void
  /**
   * Moves a file that was set aside, by an earlier run too, to its place. If a file exists there, that one is used, and
   * what was set aside is removed.
   */
  readonly bringBack: (index: number) => Effect.Effect<void, StorageReason>
  /** Moves a file to another path, where nothing may exist. */
  readonly rename: (index: number, path: ReadonlyArray<string>) => Effect.Effect<void, StorageReason>
  /** Deletes a file wherever it is, and then its empty folders. */
  readonly remove: (index: number) => Effect.Effect<void, StorageReason>
  /** The files that were used so far, without those that are forgotten. */
  readonly used: () => Iterable<TorrentFile.TorrentFile>
}

/**
 * How many files that were used are remembered although nothing but their names is to be known of them: twice as many as
 * are open by default. A torrent may have hundreds of thousands.
 */
const maxRemembered = 64

/** A file that was used, and how many uses of it have not ended. */
interface Used {
  readonly file: TorrentFile.TorrentFile
  users: number
}

/** Every file in its place; touches nothing. */
export const make = (options: {
  readonly fs: NodeFile.NodeFileSystem
  readonly handles: FileHandles.FileHandles
  readonly folder: DownloadFolder.DownloadFolder
  readonly layout: FileLayout.FileLayout
  /** As `TorrentFile.make`. */
  readonly followLinks?: boolean | undefined
  /** Whether the torrent was closed; after that no file is opened. */
  readonly isClosed: () => boolean
}): FilePlaces => {
  const { folder, followLinks = false, fs, handles, isClosed, layout } = options
  const names = FileNames.make({ fs, folder, layout })
  const entries = FolderEntries.make(fs, folder)
  const isLocal = LocalDevices.make(fs)
  const clean = OwnCopy.makeCleaner(fs)
  const files = new Map<number, Used>()
  /** Forgotten files that were synced. */
  const synced = Bitfield.make(layout.files.length)
  const renamed = new Map<number, ReadonlyArray<string>>()
  /** Skipped files that may exist in their place: looked for when they are used. */
  const undecided = new Set<number>()
  /** Files that are set aside. */
  const aside = new Set<number>()
  // One at a time: on some disks a free name and another file's name are one, which only the disk can show.
  const moving = Semaphore.makeUnsafe(1)

  const pathOf = (index: number): ReadonlyArray<string> => renamed.get(index) ?? layout.files[index]!.path
  const pathsOf = (index: number): ReadonlyArray<ReadonlyArray<string>> => {
    const { path, portable } = layout.files[index]!
    const own = renamed.get(index)
    return own !== undefined ? [own] : portable === undefined ? [path] : [path, portable]
  }
  // Under the name that no file system confuses with another file's: users do not look for names there.
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

  const fileOf = (index: number): Used => {
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
      isSynced: Bitfield.has(synced, index),
      isLocal,
      clean,
      isClosed
    })
    const used: Used = { file, users: 0 }
    files.set(index, used)
    return used
  }

  /** Forgets files that were used long ago. Looks at two for each use, so that their number stays bounded. */
  const forgetSome = Effect.suspend(() => {
    const forgotten: Array<TorrentFile.TorrentFile> = []
    for (let looks = 0; looks < 2 && files.size > maxRemembered; looks++) {
      const [index, used] = files.entries().next().value!
      files.delete(index)
      if (used.users === 0 && used.file.isForgettable()) {
        if (used.file.isSynced()) Bitfield.add(synced, index)
        forgotten.push(used.file)
      } else files.set(index, used)
    }
    return Effect.forEach(forgotten, (file) => file.close, { discard: true })
  })

  /** Runs an effect with a file, which is not forgotten meanwhile. */
  const withFile = <A>(
    index: number,
    effect: (file: TorrentFile.TorrentFile) => Effect.Effect<A, StorageReason>
  ): Effect.Effect<A, StorageReason> =>
    Effect.suspend(() => {
      const used = fileOf(index)
      used.users++
      return Effect.ensuring(
        effect(used.file),
        Effect.suspend(() => {
          used.users--
          return files.size > maxRemembered ? forgetSome : Effect.void
        })
      )
    })

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

  const decide = (index: number) =>
    Effect.gen(function* () {
      const found = yield* findInPlace(index)
      // Another use may have decided it meanwhile, or the file is wanted by now.
      if (undecided.delete(index) && found === undefined) aside.add(index)
    })

  /** Uses a file where it is. */
  const use = <A>(
    index: number,
    effect: (file: TorrentFile.TorrentFile) => Effect.Effect<A, StorageReason>
  ): Effect.Effect<A, StorageReason> =>
    Effect.suspend(() =>
      undecided.has(index) ? Effect.andThen(decide(index), use(index, effect)) : withFile(index, effect)
    )

  /** What exists in the place of a file, under its name on this disk. */
  const findInPlace = (index: number, known?: FolderEntries.KnownParents, follows = false) =>
    Effect.gen(function* () {
      const { path } = yield* Effect.mapError(nameOn(index, "read"), ({ reason }) => reason)
      return yield* entries.find(path, known, follows)
    })

  const look = (index: number, parents: FolderEntries.KnownParents) =>
    Effect.gen(function* () {
      const file = files.get(index)?.file
      if (file?.isHeld() === true) return yield* file.look
      const isSkipped = undecided.has(index) || aside.has(index)
      const found = yield* findInPlace(index, parents, followLinks)
      if (!isSkipped) return found?.stats
      undecided.delete(index)
      if (found === undefined) {
        aside.add(index)
        return (yield* entries.find(asidePath(index), parents))?.stats
      }
      if (aside.delete(index) && file !== undefined) yield* file.reopen
      // Looked for again when it is used, because it may be gone by then.
      undecided.add(index)
      return found.stats
    })

  const bringBack = (index: number, file: TorrentFile.TorrentFile) =>
    Effect.gen(function* () {
      const found = yield* entries.find(asidePath(index))
      // A folder there holds what was set aside of another torrent.
      if (found?.stats.isFile() !== true) {
        undecided.delete(index)
        if (aside.delete(index)) yield* file.reopen
        return
      }
      const isThere = (yield* findInPlace(index)) !== undefined
      yield* file.relocate(
        Effect.gen(function* () {
          const place = isThere ? undefined : yield* Effect.mapError(nameOn(index, "create"), ({ reason }) => reason)
          const to = place && (yield* entries.move(found.place, place))
          undecided.delete(index)
          aside.delete(index)
          if (isThere) {
            file.change(HeldFile.replaced)
            yield* entries.unlink(found.place, nameOf(index))
          }
          return { from: found.place, to }
        })
      )
      yield* entries.removeEmpty(asidePath(index).slice(0, -1), 1)
    })

  const rename = (index: number, path: ReadonlyArray<string>, file: TorrentFile.TorrentFile) =>
    Effect.gen(function* () {
      if (undecided.has(index)) yield* decide(index)
      yield* file.relocate(
        Effect.gen(function* () {
          const place = yield* Effect.mapError(placeOf(index, "read"), ({ reason }) => reason)
          const found = yield* entries.find(place.path)
          if ((yield* entries.find(path)) !== undefined) {
            return yield* Effect.fail(new FileExists({ path: folder.nameOf(path) }))
          }
          const target = { path: aside.has(index) ? [...AsideFolder.components, ...path] : path, isMade: false }
          const to = found?.stats.isFile() === true ? yield* entries.move(found.place, target) : undefined
          renamed.set(index, path)
          return { from: found?.place, to }
        })
      )
    })

  const removeAt = (path: ReadonlyArray<string>, keep: number) =>
    Effect.gen(function* () {
      const found = yield* entries.find(path)
      if (found === undefined || !found.stats.isFile()) return
      yield* entries.unlink(found.place, folder.nameOf(path))
      folder.markChanged(Path.dirname(found.place))
      yield* clean(found.place)
      yield* entries.removeEmpty(path.slice(0, -1), keep)
    })

  const remove = (index: number, file: TorrentFile.TorrentFile) => {
    return Effect.asVoid(
      file.relocate(
        Effect.gen(function* () {
          const place = yield* Effect.mapError(nameOn(index, "read"), ({ reason }) => reason)
          yield* removeAt(place.path, 0)
          yield* removeAt(asidePath(index), 1)
          file.change(HeldFile.deleted)
          return { from: undefined, to: undefined }
        })
      )
    )
  }

  const claim = (claim: FileClaim) =>
    Effect.gen(function* () {
      const index = claim.file
      // A skipped file is looked for again: it may exist in its place by now.
      if (aside.has(index) && files.get(index)?.file.isHeld() !== true) {
        aside.delete(index)
        undecided.add(index)
      }
      if (undecided.has(index)) yield* decide(index)
      return yield* factsOf(index, yield* withFile(index, (file) => file.claim(claim)))
    })

  return {
    pathOf,
    pathsOf,
    nameOf,
    look: (index, parents) =>
      Effect.flatMap(look(index, parents), (stats) => (stats === undefined ? Effect.undefined : factsOf(index, stats))),
    claim,
    unclaim: (index) => files.get(index)?.file.unclaim(),
    isClaimed: (index) => files.get(index)?.file.isClaimed() === true,
    write: (index, part) => use(index, (file) => file.write(part)),
    read: (index, part) => use(index, (file) => file.read(part)),
    readAndLook: (index, part) =>
      use(index, (file) =>
        Effect.flatMap(file.readAndLook(part), ({ read, stats }) =>
          Effect.map(stats === undefined ? Effect.undefined : factsOf(index, stats), (facts) => ({ read, facts }))
        )
      ),
    sync: (index) =>
      use(index, (file) =>
        Effect.flatMap(file.sync, (stats) =>
          Effect.map(factsOf(index, stats), (facts) => ({ facts, path: file.path() }))
        )
      ),
    hasAside: Effect.suspend(() =>
      renamed.size > 0
        ? Effect.succeed(true)
        : Effect.match(entries.find([...AsideFolder.components, layout.files[0]!.path[0]!]), {
            onSuccess: (found) => found !== undefined,
            // What cannot be reached counts as missing: it is fetched again.
            onFailure: () => false
          })
    ),
    isSkipped: (index) => undecided.has(index) || aside.has(index),
    setAside: (index) => {
      if (!aside.has(index) && files.get(index)?.file.isClaimed() !== true) undecided.add(index)
    },
    bringBack: (index) => moving.withPermit(Effect.uninterruptible(withFile(index, (file) => bringBack(index, file)))),
    rename: (index, path) =>
      moving.withPermit(Effect.uninterruptible(withFile(index, (file) => rename(index, path, file)))),
    remove: (index) => moving.withPermit(Effect.uninterruptible(withFile(index, (file) => remove(index, file)))),
    used: () => Array.from(files.values(), ({ file }) => file)
  }
}
