/**
 * Where each file of an open torrent lies: in its place below the download folder, or, while nobody wants it, set aside in
 * a hidden folder beside the torrent.
 *
 * Pieces do not end where files do, so a wanted piece brings bytes of its neighbours. Those of a skipped file must not make
 * that file: a user would find a file that was not asked for, full of holes. They are kept, at the same offsets, in a file
 * of the same name below `AsideFolder`, from where peers are given them like any other. When the file is wanted it is moved
 * to its place as it is, and the hidden folders go with the last of them. A skipped file that exists is used where it is.
 */
import type * as NFS from "node:fs"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type * as FileLayout from "../metainfo/FileLayout.ts"
import * as AsideFolder from "./AsideFolder.ts"
import type * as DownloadFolder from "./DownloadFolder.ts"
import type * as FileHandles from "./FileHandles.ts"
import * as FileNames from "./FileNames.ts"
import * as FileSystemError from "./FileSystemError.ts"
import * as NodeFile from "./NodeFile.ts"
import type { StorageReason } from "./Storage.ts"
import * as TorrentFile from "./TorrentFile.ts"

/** Uses of files set aside at a time. One that is moved to its place takes all of them. */
const sharers = 4

/** The files of one torrent; an index is one in `layout.files`, of a file that is no padding. */
export interface FilePlaces {
  /** The path of a file as the user would name it. */
  readonly nameOf: (index: number) => string
  readonly write: (index: number, part: NodeFile.FilePart) => Effect.Effect<void, StorageReason>
  /** Tells how many bytes there were, as `TorrentFile.read`. */
  readonly read: (index: number, part: NodeFile.FilePart) => Effect.Effect<number, StorageReason>
  /** Makes a file in its place where there is none. */
  readonly create: (index: number) => Effect.Effect<void, StorageReason>
  /** As `TorrentFile.needsSync`. */
  readonly needsSync: (index: number) => boolean
  /** As `TorrentFile.syncFound`. */
  readonly syncFound: (index: number) => Effect.Effect<void, StorageReason>
  /** Whether a file is to be brought back once it is wanted, whatever earlier runs did. */
  readonly isSkipped: (index: number) => boolean
  /** Whether any file lies aside on the disk. */
  readonly hasAside: Effect.Effect<boolean>
  /** Sets a file aside from its next use on, unless it exists in its place then or was written there. */
  readonly setAside: (index: number) => void
  /**
   * Moves a file to its place where it was set aside, by an earlier run too. Where there is a file already that one is
   * used, and what was set aside is removed.
   */
  readonly bringBack: (index: number) => Effect.Effect<void, StorageReason>
  /** The files that were used, wherever they lie. */
  readonly used: () => ReadonlyArray<TorrentFile.TorrentFile>
}

/** A file set aside. */
interface Aside {
  readonly file: TorrentFile.TorrentFile
  isMoved: boolean
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
  const { folder, followLinks, fs, handles, isClosed, layout } = options
  const names = FileNames.make({ fs, folder, layout })
  const inPlace = new Map<number, TorrentFile.TorrentFile>()
  /** Files whose writes go to their place, where they exist therefore or are about to. */
  const written = new Set<number>()
  /** Files to set aside of which nobody knows yet whether they exist in their place: asked when one is used. */
  const undecided = new Set<number>()
  /** Files that are set aside; `undefined` until one is used. */
  const aside = new Map<number, Aside | undefined>()
  const gate = Semaphore.makeUnsafe(sharers)

  // Under the name that no file system takes for another file's: nobody looks there for the name itself.
  const asidePath = (index: number): ReadonlyArray<string> => {
    const { path, portable = path } = layout.files[index]!
    return [...AsideFolder.components, ...portable]
  }

  const placeOf = (index: number): TorrentFile.TorrentFile => {
    const known = inPlace.get(index)
    if (known !== undefined) return known
    const { length, path } = layout.files[index]!
    const place = (access: "read" | "create") => Effect.map(names.resolve(index, access), ({ path }) => path)
    const file = TorrentFile.make({ fs, handles, folder, path, place, length, followLinks, isClosed })
    inPlace.set(index, file)
    return file
  }

  const asideOf = (index: number): Aside => {
    const known = aside.get(index)
    if (known !== undefined) return known
    const { length } = layout.files[index]!
    const path = asidePath(index)
    const made: Aside = {
      file: TorrentFile.make({ fs, handles, folder, path, length, isClosed: () => isClosed() || made.isMoved }),
      isMoved: false
    }
    aside.set(index, made)
    return made
  }

  /** Uses a file where it lies, and keeps it there meanwhile. */
  const use = <A>(
    index: number,
    access: "read" | "write",
    effect: (file: TorrentFile.TorrentFile) => Effect.Effect<A, StorageReason>
  ): Effect.Effect<A, StorageReason> =>
    Effect.suspend(() => {
      if (undecided.has(index)) return Effect.andThen(decide(index), use(index, access, effect))
      if (!aside.has(index)) {
        if (access === "write") written.add(index)
        return effect(placeOf(index))
      }
      return gate.withPermit(
        // It may have been moved while this waited.
        Effect.suspend(() => effect(aside.has(index) ? asideOf(index).file : placeOf(index)))
      )
    })

  const nameOn = (index: number, access: "read" | "create") =>
    names.resolve(index, access).pipe(
      Effect.map(({ path }) => path),
      Effect.mapError(({ reason }) => reason)
    )

  const decide = (index: number): Effect.Effect<void, StorageReason> =>
    Effect.map(Effect.flatMap(nameOn(index, "read"), find), (found) => {
      // Somebody else may have been faster, or the file is wanted by now.
      if (undecided.delete(index) && found === undefined) aside.set(index, undefined)
    })

  /** The true path of what lies at `path`, and whether that is a file; `undefined` where nothing does. */
  const find = (
    path: ReadonlyArray<string>
  ): Effect.Effect<{ readonly place: string; readonly isFile: boolean } | undefined, StorageReason> =>
    folder.resolve(path.slice(0, -1), "read").pipe(
      Effect.flatMap((parent) => {
        const place = Path.join(parent, path[path.length - 1]!)
        return NodeFile.call<NFS.Stats>((done) => fs.lstat(place, done)).pipe(
          Effect.map((found) => ({ place, isFile: found.isFile() })),
          Effect.mapError((error) => ({
            reason: FileSystemError.reasonOf(error, folder.nameOf(path), "read"),
            missing: error.code === "ENOENT"
          }))
        )
      }),
      Effect.catchIf(
        ({ missing }) => missing,
        () => Effect.undefined
      ),
      Effect.mapError(({ reason }) => reason)
    )

  const call = (name: string, start: Parameters<typeof NodeFile.call<void>>[0]): Effect.Effect<void, StorageReason> =>
    Effect.mapError(NodeFile.call(start), (error) => FileSystemError.reasonOf(error, name, "write"))

  const move = Effect.fnUntraced(function* (index: number, from: string) {
    const { path: known } = layout.files[index]!
    const name = folder.nameOf(known)
    const isThere = (yield* Effect.flatMap(nameOn(index, "read"), find)) !== undefined
    const path = yield* nameOn(index, "create")
    if (isThere) {
      yield* call(name, (done) => fs.unlink(from, done))
    } else {
      const parent = yield* Effect.mapError(folder.resolve(path.slice(0, -1), "write"), ({ reason }) => reason)
      yield* call(name, (done) => fs.rename(from, Path.join(parent, path[path.length - 1]!), done))
      folder.markChanged(parent)
    }
    yield* removeEmpty(Path.dirname(from), path.length)
  })

  /** Removes the hidden folders that hold nothing any more, `depth` of them at most, from the innermost on. */
  const removeEmpty = Effect.fnUntraced(function* (innermost: string, depth: number) {
    let place = innermost
    for (let left = depth; left > 0; left--) {
      const removed = yield* Effect.result(NodeFile.call((done) => fs.rmdir(place, done)))
      if (removed._tag === "Failure") break
      folder.forget()
      place = Path.dirname(place)
    }
  })

  const bringBack = Effect.fnUntraced(function* (index: number) {
    const found = yield* find(asidePath(index))
    const known = aside.get(index)
    if (known !== undefined) {
      if (known.file.needsSync()) yield* known.file.sync
      known.isMoved = true
      yield* known.file.close
      aside.set(index, undefined)
    }
    // A folder there is of another torrent, with what was set aside of its files.
    if (found?.isFile === true) yield* move(index, found.place)
    // Only now: whoever uses the file meanwhile waits for the gate.
    undecided.delete(index)
    aside.delete(index)
  })

  return {
    nameOf: (index) => folder.nameOf(layout.files[index]!.path),
    write: (index, part) => use(index, "write", (file) => file.write(part)),
    read: (index, part) => use(index, "read", (file) => file.read(part)),
    create: (index) => placeOf(index).create,
    needsSync: (index) => (aside.has(index) ? aside.get(index)?.file : inPlace.get(index))?.needsSync() === true,
    syncFound: (index) => use(index, "read", (file) => file.syncFound),
    isSkipped: (index) => undecided.has(index) || aside.has(index),
    hasAside: Effect.match(find([...AsideFolder.components, layout.files[0]!.path[0]!]), {
      onSuccess: (found) => found !== undefined,
      // What cannot be reached is as good as not there: it is fetched again.
      onFailure: () => false
    }),
    setAside: (index) => {
      if (!aside.has(index) && !written.has(index)) undecided.add(index)
    },
    bringBack: (index) => Effect.uninterruptible(bringBack(index)).pipe(gate.withPermits(sharers)),
    used: () => [...inPlace.values(), ...[...aside.values()].flatMap((known) => known?.file ?? [])]
  }
}
