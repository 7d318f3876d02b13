/**
 * Which of its names (`SafePath.Names`) a file of a torrent has on this disk, or is to get.
 *
 * Whether two names are one depends on the file system, and may differ from folder to folder, so the file system is
 * asked. Rivals are files of the torrent whose names differ only by case, composition or what Windows drops. A name
 * that leads to the file or folder (device and inode) of a rival is not this file's. An existing file is found by any
 * of its names, `path` first. A new file is made as `path`, or as `portable` if the file system cannot hold `path`, or
 * if a rival's name leads to what was just made.
 *
 * Rivals are made one at a time; otherwise one could find what another is only trying. So `create` makes a file that
 * has a rival or a portable name, empty. For every other file it only answers, and nothing here touches the disk.
 */
import * as NFS from "node:fs"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type * as FileLayout from "../../../metainfo/FileLayout.ts"
import * as NameRivals from "../../../metainfo/NameRivals.ts"
import * as DownloadFolder from "./DownloadFolder.ts"
import type { OpenFailure } from "./FileHandles.ts"
import * as NodeFile from "./NodeFile.ts"

type Components = ReadonlyArray<string>

/** Where a file is on this disk, or is to be made. */
export interface FilePlace {
  /** Components below the download folder. */
  readonly path: Components
  /** Whether the file was made just now, exclusively and empty. */
  readonly isMade: boolean
}

/** The names of one torrent's files on a disk; an index is one in `layout.files`, of a file that is no padding. */
export interface FileNames {
  /**
   * Where to read a file: where it exists, else where nothing does, so that opening it reports why. For `create`: where
   * to make or write it; from then on the file keeps that name while the torrent is open. Uninterruptible.
   */
  readonly resolve: (index: number, access: "read" | "create") => Effect.Effect<FilePlace, OpenFailure>
}

/** What exists at a name. */
interface Found {
  /** Device and inode. */
  readonly identity: string
  /** Whether the file may rightly have other names: hard links. */
  readonly isLinked: boolean
  /** The true path of its folder. */
  readonly parent: string
  readonly name: string
}

/** The names of the files of `layout` below `folder`. Touches nothing. */
export const make = (options: {
  readonly fs: NodeFile.NodeFileSystem
  readonly folder: DownloadFolder.DownloadFolder
  readonly layout: FileLayout.FileLayout
}): FileNames => {
  const { folder, fs, layout } = options
  const groups = NameRivals.groupsOf(layout)
  const settled = new Map<number, Components>()
  // No file is looked for while a rival is tried out.
  const turn = Semaphore.makeUnsafe(1)

  /** What exists at a path. An error counts as nothing: whoever opens the path reports it. */
  const find = (path: Components): Effect.Effect<Found | undefined> =>
    folder.resolve(path.slice(0, -1), "read").pipe(
      Effect.flatMap((parent) => {
        const name = path.at(-1)!
        return Effect.map(
          NodeFile.call<NFS.BigIntStats>((done) => fs.lstatExact(Path.join(parent, name), done)),
          ({ dev, ino, nlink }): Found => ({ identity: `${dev}:${ino}`, isLinked: nlink > 1n, parent, name })
        )
      }),
      Effect.orElseSucceed(() => undefined)
    )

  const identityOf = (place: string): Effect.Effect<string | undefined> =>
    NodeFile.call<NFS.BigIntStats>((done) => fs.lstatExact(place, done)).pipe(
      Effect.map(({ dev, ino }) => `${dev}:${ino}`),
      Effect.orElseSucceed(() => undefined)
    )

  const isListed = ({ name, parent }: Found): Effect.Effect<boolean> =>
    NodeFile.call<Array<string>>((done) => fs.readdir(parent, done)).pipe(
      Effect.map((names) => names.includes(name)),
      Effect.orElseSucceed(() => false)
    )

  /** Whether two names are one on this file system. Two hard links are two names: their folders list both. */
  const isSame = (a: Found, b: Found) =>
    Effect.gen(function* () {
      if (a.identity !== b.identity) return false
      if (!a.isLinked) return true
      if (a.name === b.name && (yield* identityOf(a.parent)) === (yield* identityOf(b.parent))) return true
      return !((yield* isListed(a)) && (yield* isListed(b)))
    })

  const isTaken = (found: Found, taken: Iterable<Found>) =>
    Effect.gen(function* () {
      for (const other of taken) if (yield* isSame(found, other)) return true
      return false
    })

  const lookOnce = (index: number, group: ReadonlyArray<NameRivals.Claimant>) =>
    Effect.gen(function* () {
      const taken: Array<Found> = []
      let vacant: Components | undefined
      let isAnyAbsent = false
      for (const claimant of group) {
        const takenBefore = taken.length
        for (const path of claimant.names) {
          const found = yield* find(path)
          if (found === undefined) {
            if (claimant.index === index) vacant ??= path
            continue
          }
          if (yield* isTaken(found, taken)) continue
          if (claimant.index === index) return { existing: path, vacant, isAnyAbsent }
          taken.push(found)
          break
        }
        if (claimant.index === index) break
        if (taken.length === takenBefore) isAnyAbsent = true
      }
      return { existing: undefined, vacant, isAnyAbsent }
    })

  /**
   * Where a file is, after all that come before it in its group have theirs, and the first of its names that is free.
   * Whoever makes a folder that comes before it does not wait for this, so an existing file counts only if it is found
   * twice in the same way.
   */
  const look = (index: number, group: ReadonlyArray<NameRivals.Claimant>) =>
    Effect.gen(function* () {
      let looked = yield* lookOnce(index, group)
      while (looked.existing !== undefined && looked.isAnyAbsent) {
        const again = yield* lookOnce(index, group)
        if (again.existing === looked.existing) break
        looked = again
      }
      return looked
    })

  /** Makes an empty file, and returns its true path; `undefined` if the name is in use. */
  const makeEmpty = (path: Components) =>
    Effect.gen(function* () {
      const place = Path.join(yield* folder.resolve(path.slice(0, -1), "write"), path.at(-1)!)
      const flags = NFS.constants.O_WRONLY | NFS.constants.O_CREAT | NFS.constants.O_EXCL
      const made = yield* Effect.result(NodeFile.call<number>((done) => fs.open(place, flags, done)))
      if (made._tag === "Failure") {
        if (made.failure.code === "EEXIST") return undefined
        return yield* Effect.fail(DownloadFolder.openFailure(made.failure, folder.nameOf(path), "write"))
      }
      yield* Effect.ignore(NodeFile.call((done) => fs.close(made.success, done)))
      folder.markChanged(Path.dirname(place))
      return place
    })

  /** Makes a file as `path` if no rival has that name here. */
  const tryPath = (index: number, path: Components, group: ReadonlyArray<NameRivals.Claimant>) =>
    Effect.gen(function* () {
      const rivals = group.filter((claimant) => claimant.index !== index)
      // A missing folder could not be made later beside a file that has its name.
      for (const { index, names } of rivals) if (index === undefined) yield* folder.resolve(names[0]!, "write")
      const place = yield* makeEmpty(path)
      if (place === undefined) return false
      const made = yield* find(path)
      for (const rival of rivals.flatMap(({ names }) => names)) {
        const found = yield* find(rival)
        if (found === undefined || made === undefined || !(yield* isSame(found, made))) continue
        // It was made a moment ago, and nothing else of this torrent can have used it.
        yield* Effect.ignore(NodeFile.call((done) => fs.unlink(place, done)))
        return false
      }
      return true
    })

  const create = (index: number, group: ReadonlyArray<NameRivals.Claimant>) =>
    Effect.gen(function* () {
      // Another file of the group may have settled it during the wait.
      const existing = settled.get(index) ?? (yield* look(index, group)).existing
      if (existing !== undefined) return { path: existing, isMade: false }
      const { path, portable } = layout.files[index]!
      if (portable !== undefined) {
        const isOwn = yield* Effect.catchIf(
          tryPath(index, path, group),
          (failure) => failure.unnameable === true,
          () => Effect.succeed(false)
        )
        if (isOwn) return { path, isMade: true }
      }
      const name = portable ?? path
      return { path: name, isMade: (yield* makeEmpty(name)) !== undefined }
    })

  return {
    resolve: (index, access) =>
      Effect.suspend(() => {
        const { path } = layout.files[index]!
        const group = groups.get(index)
        const known = group === undefined ? path : settled.get(index)
        if (group === undefined || known !== undefined) return Effect.succeed({ path: known ?? path, isMade: false })
        const resolved =
          access === "create"
            ? Effect.tap(create(index, group), (place) => Effect.sync(() => void settled.set(index, place.path)))
            : Effect.map(look(index, group), ({ existing, vacant = path }) => ({
                path: existing ?? vacant,
                isMade: false
              }))
        return Effect.uninterruptible(turn.withPermit(resolved))
      })
  }
}
