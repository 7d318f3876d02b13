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
import * as Column from "../../../base/Column.ts"
import * as Turn from "../../../base/Turn.ts"
import * as FileLayout from "../../../metainfo/FileLayout.ts"
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

/**
 * The names of one torrent's files on a disk; an index is one in `layout.files`, of a file that is no padding. Made by
 * `make`, changed only here.
 */
export interface FileNames {
  readonly fs: NodeFile.NodeFileSystem
  readonly folder: DownloadFolder.DownloadFolder
  readonly layout: FileLayout.FileLayout
  /** The files that have rivals, as in `NameRivals.groupsOf`. */
  readonly groups: ReadonlyMap<number, ReadonlyArray<NameRivals.Claimant>>
  /** Which of its names a file with several names or rivals keeps, from 1; 0 if that is not known yet. */
  readonly settled: Column.Column
  /** No file is looked for while a rival is tried out. */
  readonly turn: Turn.Turn
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
export const make = (options: Pick<FileNames, "fs" | "folder" | "layout">): FileNames => ({
  ...options,
  groups: new Map([...NameRivals.groupsOf(options.layout)].filter(([, group]) => group.length > 1)),
  settled: Column.bytes(options.layout.fileCount),
  turn: Turn.make()
})

/** The claimants of the names of a file; `undefined` if it has one name and no rival. */
const groupOf = ({ groups, layout }: FileNames, index: number): ReadonlyArray<NameRivals.Claimant> | undefined => {
  const group = groups.get(index)
  if (group !== undefined) return group
  if (!FileLayout.hasPortable(layout, index) && layout.rare.get(index)?.original === undefined) return undefined
  return [{ index, names: NameRivals.namesOf(FileLayout.namesOf(layout, index)) }]
}

/** The name that a file with several names or rivals keeps, if that is known. */
const settledName = ({ layout, settled }: FileNames, index: number): Components | undefined =>
  settled[index] === 0 ? undefined : NameRivals.namesOf(FileLayout.namesOf(layout, index))[settled[index]! - 1]

/** Makes a file keep one of its names. */
const settle = ({ layout, settled }: FileNames, index: number, path: Components): void => {
  const joined = path.join("/")
  const names = NameRivals.namesOf(FileLayout.namesOf(layout, index))
  settled[index] = names.findIndex((name) => name.join("/") === joined) + 1
}

/** What exists at a path. An error counts as nothing: whoever opens the path reports it. */
const find = ({ folder, fs }: FileNames, path: Components): Effect.Effect<Found | undefined> =>
  DownloadFolder.resolve(folder, path.slice(0, -1), "read").pipe(
    Effect.flatMap((parent) => {
      const name = path.at(-1)!
      return Effect.map(
        NodeFile.call<NFS.BigIntStats>((done) => fs.lstatExact(Path.join(parent, name), done)),
        ({ dev, ino, nlink }): Found => ({ identity: `${dev}:${ino}`, isLinked: nlink > 1n, parent, name })
      )
    }),
    Effect.orElseSucceed(() => undefined)
  )

const identityOf = ({ fs }: FileNames, place: string): Effect.Effect<string | undefined> =>
  NodeFile.call<NFS.BigIntStats>((done) => fs.lstatExact(place, done)).pipe(
    Effect.map(({ dev, ino }) => `${dev}:${ino}`),
    Effect.orElseSucceed(() => undefined)
  )

const isListed = ({ fs }: FileNames, { name, parent }: Found): Effect.Effect<boolean> =>
  NodeFile.call<Array<string>>((done) => fs.readdir(parent, done)).pipe(
    Effect.map((names) => names.includes(name)),
    Effect.orElseSucceed(() => false)
  )

/** Whether two names are one on this file system. Two hard links are two names: their folders list both. */
const isSame = Effect.fnUntraced(function* (self: FileNames, a: Found, b: Found) {
  if (a.identity !== b.identity) return false
  if (!a.isLinked) return true
  if (a.name === b.name && (yield* identityOf(self, a.parent)) === (yield* identityOf(self, b.parent))) return true
  return !((yield* isListed(self, a)) && (yield* isListed(self, b)))
})

const isTaken = Effect.fnUntraced(function* (self: FileNames, found: Found, taken: Iterable<Found>) {
  for (const other of taken) if (yield* isSame(self, found, other)) return true
  return false
})

const lookOnce = Effect.fnUntraced(function* (
  self: FileNames,
  index: number,
  group: ReadonlyArray<NameRivals.Claimant>
) {
  const taken: Array<Found> = []
  let vacant: Components | undefined
  let isAnyAbsent = false
  for (const claimant of group) {
    const takenBefore = taken.length
    for (const path of claimant.names) {
      const found = yield* find(self, path)
      if (found === undefined) {
        if (claimant.index === index) vacant ??= path
        continue
      }
      if (yield* isTaken(self, found, taken)) continue
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
const look = Effect.fnUntraced(function* (self: FileNames, index: number, group: ReadonlyArray<NameRivals.Claimant>) {
  let looked = yield* lookOnce(self, index, group)
  while (looked.existing !== undefined && looked.isAnyAbsent) {
    const again = yield* lookOnce(self, index, group)
    if (again.existing === looked.existing) break
    looked = again
  }
  return looked
})

/** Makes an empty file, and returns its true path; `undefined` if the name is in use. */
const makeEmpty = Effect.fnUntraced(function* ({ folder, fs }: FileNames, path: Components) {
  const place = Path.join(yield* DownloadFolder.resolve(folder, path.slice(0, -1), "write"), path.at(-1)!)
  const flags = NFS.constants.O_WRONLY | NFS.constants.O_CREAT | NFS.constants.O_EXCL
  const made = yield* Effect.result(NodeFile.call<number>((done) => fs.open(place, flags, done)))
  if (made._tag === "Failure") {
    if (made.failure.code === "EEXIST") return undefined
    return yield* Effect.fail(DownloadFolder.openFailure(made.failure, DownloadFolder.nameOf(folder, path), "write"))
  }
  yield* Effect.ignore(NodeFile.call((done) => fs.close(made.success, done)))
  DownloadFolder.markChanged(folder, Path.dirname(place))
  return place
})

/** Makes a file as `path` if no rival has that name here. */
const tryPath = Effect.fnUntraced(function* (
  self: FileNames,
  index: number,
  path: Components,
  group: ReadonlyArray<NameRivals.Claimant>
) {
  const rivals = group.filter((claimant) => claimant.index !== index)
  // A missing folder could not be made later beside a file that has its name.
  for (const { index, names } of rivals)
    if (index === undefined) yield* DownloadFolder.resolve(self.folder, names[0]!, "write")
  const place = yield* makeEmpty(self, path)
  if (place === undefined) return false
  const made = yield* find(self, path)
  for (const rival of rivals.flatMap(({ names }) => names)) {
    const found = yield* find(self, rival)
    if (found === undefined || made === undefined || !(yield* isSame(self, found, made))) continue
    // It was made a moment ago, and nothing else of this torrent can have used it.
    yield* Effect.ignore(NodeFile.call((done) => self.fs.unlink(place, done)))
    return false
  }
  return true
})

const create = Effect.fnUntraced(function* (self: FileNames, index: number, group: ReadonlyArray<NameRivals.Claimant>) {
  // Another file of the group may have settled it during the wait.
  const existing = settledName(self, index) ?? (yield* look(self, index, group)).existing
  if (existing !== undefined) return { path: existing, isMade: false }
  const { path, portable } = FileLayout.namesOf(self.layout, index)
  if (portable !== undefined) {
    const isOwn = yield* Effect.catchIf(
      tryPath(self, index, path, group),
      (failure) => failure.unnameable === true,
      () => Effect.succeed(false)
    )
    if (isOwn) return { path, isMade: true }
  }
  const name = portable ?? path
  return { path: name, isMade: (yield* makeEmpty(self, name)) !== undefined }
})

/** The name of a file, if it is known without a look at the disk. */
export const nameNow = (self: FileNames, index: number): Components | undefined =>
  groupOf(self, index) === undefined ? FileLayout.pathOf(self.layout, index) : settledName(self, index)

/**
 * Where to read a file. If it exists nowhere, a place without a file, so that opening it reports why. For `create`: where
 * to make or write it; from then on the file keeps that name while the torrent is open. Uninterruptible.
 */
export const resolve = (
  self: FileNames,
  index: number,
  access: "read" | "create"
): Effect.Effect<FilePlace, OpenFailure> =>
  Effect.suspend(() => {
    const known = nameNow(self, index)
    if (known !== undefined) return Effect.succeed({ path: known, isMade: false })
    const group = groupOf(self, index)!
    const resolved =
      access === "create"
        ? Effect.tap(create(self, index, group), (place) => Effect.sync(() => settle(self, index, place.path)))
        : Effect.map(look(self, index, group), ({ existing, vacant }) => ({
            path: existing ?? vacant ?? FileLayout.pathOf(self.layout, index),
            isMade: false
          }))
    return Effect.uninterruptible(Turn.take(self.turn, resolved))
  })
