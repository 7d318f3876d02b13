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
import * as Effect from "effect/Effect"
import * as Bitfield from "../../../base/Bitfield.ts"
import * as Turn from "../../../base/Turn.ts"
import * as FileLayout from "../../../metainfo/FileLayout.ts"
import * as AsideFolder from "../../AsideFolder.ts"
import type { FileClaim, FileFacts, StorageReason } from "../../Storage.ts"
import * as DownloadFolder from "./DownloadFolder.ts"
import type * as FileHandles from "./FileHandles.ts"
import * as FileNames from "./FileNames.ts"
import * as FilePaths from "./FilePaths.ts"
import * as FolderEntries from "./FolderEntries.ts"
import * as LocalDevices from "./LocalDevices.ts"
import * as NodeFile from "./NodeFile.ts"
import * as OwnCopy from "./OwnCopy.ts"
import * as ReadyFile from "./ReadyFile.ts"
import * as RestingFiles from "./RestingFiles.ts"
import * as TorrentFile from "./TorrentFile.ts"

/** A file that was used, and how many uses of it have not ended. */
interface Used {
  readonly file: TorrentFile.TorrentFile
  users: number
}

/**
 * The files of one torrent; an index is one in `layout.files`, of a file that is no padding. Made by `make`, changed
 * only here.
 */
export interface FilePlaces {
  readonly layout: FileLayout.FileLayout
  readonly folder: DownloadFolder.DownloadFolder
  readonly medium: TorrentFile.Medium
  readonly names: FileNames.FileNames
  readonly entries: FolderEntries.FolderEntries
  /** The files in use, and those with open descriptors. */
  readonly files: Map<number, Used>
  /** All others. */
  readonly resting: RestingFiles.RestingFiles
  readonly renamed: Map<number, ReadonlyArray<string>>
  /** Skipped files that may exist in their place: looked for when they are used. */
  readonly undecided: Bitfield.Bitfield
  /** Files that are set aside. */
  readonly aside: Bitfield.Bitfield
  /** One at a time: on some disks a free name and another file's name are one, which only the disk can show. */
  readonly moving: Turn.Turn
}

/**
 * How many files may be held with an open descriptor for reading that nobody uses. Each takes some hundred bytes, and
 * to open one again costs little beside what is read from it.
 */
const maxRemembered = 64

/** How many files may be held without one before they are put to rest. */
const maxIdle = 8

/** Every file in its place; touches nothing. */
export const make = (options: {
  readonly fs: NodeFile.NodeFileSystem
  readonly handles: FileHandles.FileHandles
  readonly folder: DownloadFolder.DownloadFolder
  readonly layout: FileLayout.FileLayout
  /** As in `NamedFile.Medium`. */
  readonly followLinks?: boolean | undefined
  /** Whether the torrent was closed; after that no file is opened. */
  readonly isClosed: () => boolean
}): FilePlaces => {
  const { folder, followLinks = false, fs, handles, isClosed, layout } = options
  const self: FilePlaces = {
    layout,
    folder,
    medium: {
      fs,
      handles,
      folder,
      followLinks,
      pathOf: (index) => currentPath(self, index),
      placeOf: (index, access) => placeOf(self, index, access),
      lengthOf: (index) => FileLayout.lengthOf(layout, index),
      isLocal: LocalDevices.make(fs),
      clean: OwnCopy.makeCleaner(fs, (path) => DownloadFolder.takeMade(folder, path)),
      isClosed
    },
    names: FileNames.make({ fs, folder, layout }),
    entries: FolderEntries.make(fs, folder),
    files: new Map(),
    resting: RestingFiles.make(layout),
    renamed: new Map(),
    undecided: Bitfield.make(layout.fileCount),
    aside: Bitfield.make(layout.fileCount),
    moving: Turn.make()
  }
  return self
}

/**
 * Where a file is while it is set aside: under the name that no file system confuses with another file's, because users
 * do not look for names there.
 */
export const asidePath = (self: FilePlaces, index: number): ReadonlyArray<string> => [
  ...AsideFolder.components,
  ...FilePaths.pathsOf(self, index).at(-1)!
]

const currentPath = (self: FilePlaces, index: number): ReadonlyArray<string> =>
  Bitfield.has(self.aside, index) ? asidePath(self, index) : FilePaths.pathOf(self, index)

/** The components at which a file is in its place on this disk, or is to be made. */
export const nameOn = (
  self: FilePlaces,
  index: number,
  access: "read" | "create"
): Effect.Effect<FileNames.FilePlace, FileHandles.OpenFailure> => {
  const own = self.renamed.get(index) ?? FileNames.nameNow(self.names, index)
  return own === undefined ? FileNames.resolve(self.names, index, access) : Effect.succeed({ path: own, isMade: false })
}

/** The same, or where it is set aside. */
export const placeOf = (
  self: FilePlaces,
  index: number,
  access: "read" | "create"
): Effect.Effect<FileNames.FilePlace, FileHandles.OpenFailure> =>
  Bitfield.has(self.aside, index)
    ? Effect.succeed({ path: asidePath(self, index), isMade: false })
    : nameOn(self, index, access)

/** The path of a file as the user would name it. */
export const nameOf = (self: FilePlaces, index: number): string =>
  DownloadFolder.nameOf(self.folder, FilePaths.pathOf(self, index))

const fileOf = (self: FilePlaces, index: number): Used => {
  const known = self.files.get(index)
  if (known !== undefined) return known
  const used: Used = { file: TorrentFile.make(self.medium, index, RestingFiles.take(self.resting, index)), users: 0 }
  self.files.set(index, used)
  return used
}

/**
 * Puts files to rest that were used long ago. Looks at two for each use, so that their number stays bounded. Returns
 * how to close those that are open.
 */
const restSome = ({ files, resting }: FilePlaces): Effect.Effect<void> | undefined => {
  let closing: Effect.Effect<void> | undefined
  for (let looks = 0; looks < 2 && files.size > maxIdle; looks++) {
    const [index, used] = files.entries().next().value!
    files.delete(index)
    const isOpen = TorrentFile.isOpen(used.file)
    const mayRest = used.users === 0 && (!isOpen || files.size >= maxRemembered)
    const rested = mayRest ? TorrentFile.rest(used.file) : undefined
    if (rested === undefined) files.set(index, used)
    else {
      RestingFiles.put(resting, index, rested)
      if (isOpen) closing = Effect.andThen(closing ?? Effect.void, TorrentFile.close(used.file))
    }
  }
  return closing
}

/** Runs an effect with a file, which is not put to rest meanwhile. */
export const withFile = <A>(
  self: FilePlaces,
  index: number,
  effect: (file: TorrentFile.TorrentFile) => Effect.Effect<A, StorageReason>
): Effect.Effect<A, StorageReason> =>
  Effect.uninterruptibleMask((restore) => {
    const used = fileOf(self, index)
    used.users++
    const using = Effect.suspend(() => effect(used.file))
    return Effect.onExitPrimitive(restore(using), () => {
      used.users--
      return restSome(self)
    })
  })

const withFacts = <A>(
  self: FilePlaces,
  index: number,
  stats: NFS.BigIntStats,
  use: (facts: FileFacts) => A
): Effect.Effect<A> => {
  const isFile = stats.isFile()
  const facts = (isHole: boolean): FileFacts => ({
    file: index,
    kind: isFile ? "file" : "other",
    length: isFile ? Number(stats.size) : 0,
    mtimeNs: stats.mtimeNs,
    identity: NodeFile.identityOf(stats),
    isHole,
    isAside: Bitfield.has(self.aside, index),
    otherNames: isFile ? Math.max(0, Number(stats.nlink) - 1) : 0
  })
  if (!isFile || stats.blocks > 0n || stats.size === 0n) return Effect.succeed(use(facts(isFile && stats.size === 0n)))
  return Effect.map(
    self.medium.isLocal(stats, DownloadFolder.nameOf(self.folder, currentPath(self, index))),
    (isLocal) => use(facts(isLocal))
  )
}

const factsOf = (self: FilePlaces, index: number, stats: NFS.BigIntStats): Effect.Effect<FileFacts> =>
  withFacts(self, index, stats, (facts) => facts)

/** Finds out whether a skipped file exists in its place. If not, it is set aside. */
export const decide = Effect.fnUntraced(function* (self: FilePlaces, index: number) {
  const found = yield* findInPlace(self, index)
  // Another use may have decided it meanwhile, or the file is wanted by now.
  if (Bitfield.remove(self.undecided, index) && found === undefined) Bitfield.add(self.aside, index)
})

/** Uses a file where it is. What this returns has to be run at once. */
const use = <A>(
  self: FilePlaces,
  index: number,
  effect: (file: TorrentFile.TorrentFile) => Effect.Effect<A, StorageReason>
): Effect.Effect<A, StorageReason> =>
  Bitfield.has(self.undecided, index)
    ? Effect.andThen(
        decide(self, index),
        Effect.suspend(() => use(self, index, effect))
      )
    : withFile(self, index, effect)

/** What exists in the place of a file, under its name on this disk. */
export const findInPlace = (
  self: FilePlaces,
  index: number,
  known?: FolderEntries.KnownParents,
  follows = false
): Effect.Effect<FolderEntries.Entry | undefined, StorageReason> =>
  Effect.suspend(() => {
    const path = self.renamed.get(index) ?? FileNames.nameNow(self.names, index)
    if (path !== undefined) return FolderEntries.find(self.entries, path, known, follows)
    const place = Effect.mapError(FileNames.resolve(self.names, index, "read"), ({ reason }) => reason)
    return Effect.flatMap(place, ({ path }) => FolderEntries.find(self.entries, path, known, follows))
  })

/** Whether a file is claimed. */
export const isClaimed = ({ files, resting }: FilePlaces, index: number): boolean =>
  files.get(index)?.file.held.isClaimed ?? RestingFiles.isClaimed(resting, index)

/** Whether a file was claimed, and is still the file that was. One that rests is, as far as is known. */
const isHeld = (self: FilePlaces, index: number): boolean =>
  isClaimed(self, index) && self.files.get(index)?.file.held.changed === undefined

/** What exists there; `parents` remembers true paths of folders, for looks that follow at once. */
export const look = (
  self: FilePlaces,
  index: number,
  parents: FolderEntries.KnownParents
): Effect.Effect<FileFacts | undefined, StorageReason> =>
  Effect.suspend(() => {
    const used = self.files.get(index)
    const now = used && ReadyFile.look(used.file)
    if (now !== undefined) return factsOf(self, index, now)
    return Effect.flatMap(statsOf(self, index, parents), (stats) =>
      stats === undefined ? Effect.undefined : factsOf(self, index, stats)
    )
  })

const statsOf = Effect.fnUntraced(function* (self: FilePlaces, index: number, parents: FolderEntries.KnownParents) {
  const { aside, entries, undecided } = self
  if (isHeld(self, index)) return yield* withFile(self, index, TorrentFile.look)
  const isSkipped = Bitfield.has(undecided, index) || Bitfield.has(aside, index)
  const found = yield* findInPlace(self, index, parents, self.medium.followLinks)
  if (!isSkipped) return found?.stats
  Bitfield.remove(undecided, index)
  if (found === undefined) {
    Bitfield.add(aside, index)
    return (yield* FolderEntries.find(entries, asidePath(self, index), parents))?.stats
  }
  const file = self.files.get(index)?.file
  if (Bitfield.remove(aside, index) && file !== undefined) yield* TorrentFile.reopen(file)
  // Looked for again when it is used, because it may be gone by then.
  Bitfield.add(undecided, index)
  return found.stats
})

/** Makes or adopts a file, as `TorrentStorage.claim` says. */
export const claim = Effect.fnUntraced(function* (self: FilePlaces, claim: FileClaim) {
  const { aside, undecided } = self
  const index = claim.file
  // A skipped file is looked for again: it may exist in its place by now.
  if (Bitfield.has(aside, index) && !isHeld(self, index)) {
    Bitfield.remove(aside, index)
    Bitfield.add(undecided, index)
  }
  if (Bitfield.has(undecided, index)) yield* decide(self, index)
  return yield* factsOf(self, index, yield* withFile(self, index, (file) => TorrentFile.claim(file, claim)))
})

/** Ends the claim of a file; what was written to it can still be synced. Returns how to close it, if it is open. */
export const unclaim = (self: FilePlaces, index: number): Effect.Effect<void> | undefined => {
  const file = self.files.get(index)?.file
  if (file !== undefined) return TorrentFile.unclaim(file)
  RestingFiles.unclaim(self.resting, index)
  return undefined
}

/** Uses a file at once, as one effect, if `begin` does (`ReadyFile.ts`), and as `otherwise` says if it does not. */
const useNow = <A>(
  self: FilePlaces,
  index: number,
  begin: (file: TorrentFile.TorrentFile, done: (outcome: Effect.Effect<A, StorageReason>) => void) => boolean,
  otherwise: () => Effect.Effect<A, StorageReason>
): Effect.Effect<A, StorageReason> =>
  // Uninterruptible, because memory that was passed is in use until the call has ended.
  Effect.uninterruptibleMask((restore) =>
    Effect.callback((resume) => {
      const used = Bitfield.has(self.undecided, index) ? undefined : self.files.get(index)
      const end = (outcome: Effect.Effect<A, StorageReason>): void => {
        used!.users--
        const closing = restSome(self)
        resume(closing === undefined ? outcome : Effect.andThen(closing, outcome))
      }
      if (used !== undefined && begin(used.file, end)) used.users++
      else resume(restore(otherwise()))
    })
  )

/** Writes a part of a claimed file. */
export const write = (self: FilePlaces, index: number, part: NodeFile.FilePart): Effect.Effect<void, StorageReason> =>
  useNow(
    self,
    index,
    (file, done) => ReadyFile.write(file, part, done),
    () => use(self, index, (file) => TorrentFile.write(file, part))
  )

/** Returns how many bytes there were, as `TorrentFile.read` does. */
export const read = (self: FilePlaces, index: number, part: NodeFile.FilePart): Effect.Effect<number, StorageReason> =>
  use(self, index, (file) => TorrentFile.read(file, part))

/** The same, and what is there after the read. */
export const readAndLook = (
  self: FilePlaces,
  index: number,
  part: NodeFile.FilePart
): Effect.Effect<{ readonly read: number; readonly facts: FileFacts | undefined }, StorageReason> =>
  use(self, index, (file) =>
    Effect.flatMap(TorrentFile.readAndLook(file, part), ({ read, stats }) =>
      Effect.map(stats === undefined ? Effect.undefined : factsOf(self, index, stats), (facts) => ({ read, facts }))
    )
  )

interface Synced {
  readonly facts: FileFacts
  readonly path: string | undefined
}

/** Returns the facts of the file, and its true path if it was claimed. */
export const sync = (self: FilePlaces, index: number): Effect.Effect<Synced, StorageReason> => {
  const synced = (file: TorrentFile.TorrentFile) => (stats: NFS.BigIntStats) =>
    withFacts(self, index, stats, (facts): Synced => ({ facts, path: file.held.file?.path }))
  return useNow(
    self,
    index,
    (file, done) => ReadyFile.sync(file, synced(file), done),
    () => use(self, index, (file) => Effect.flatMap(TorrentFile.sync(file), synced(file)))
  )
}

/** Whether any file is set aside on the disk. */
export const hasAside = ({ entries, layout, renamed }: FilePlaces): Effect.Effect<boolean> =>
  renamed.size > 0
    ? Effect.succeed(true)
    : Effect.match(FolderEntries.find(entries, [...AsideFolder.components, FileLayout.pathOf(layout, 0)[0]!]), {
        onSuccess: (found) => found !== undefined,
        // What cannot be reached counts as missing: it is fetched again.
        onFailure: () => false
      })

/** Whether a file is to be brought back once it is wanted, whatever earlier runs did. */
export const isSkipped = ({ aside, undecided }: FilePlaces, index: number): boolean =>
  Bitfield.has(undecided, index) || Bitfield.has(aside, index)

/** Sets a file aside from its next use on, unless it then exists in its place or was claimed there. */
export const setAside = (self: FilePlaces, index: number): void => {
  if (!Bitfield.has(self.aside, index) && !isClaimed(self, index)) Bitfield.add(self.undecided, index)
}

/** The files that are not at rest. */
export const used = ({ files }: FilePlaces): ReadonlyArray<TorrentFile.TorrentFile> =>
  Array.from(files.values(), ({ file }) => file)
