/**
 * Locks for writers in Node: precise within the process, by the topmost name across processes.
 *
 * Within the process every file is known by its folded true path, so that torrents in several download folders, or of
 * one name, conflict exactly if they share a file. Across processes, the topmost name below the true path of the
 * download folder is locked (`NodeLockFolders.ts`). Download folders may be inside each other, so the locks of every
 * folder on the way from the root of the file system to the files are looked at too: the second process meets the entry
 * of the first.
 */
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Column from "../../../../base/Column.ts"
import type { SystemError } from "../FileSystemError.ts"
import * as FilesByFolder from "./FilesByFolder.ts"
import * as LockNames from "./LockNames.ts"
import { WriterHeld } from "./LockNames.ts"
import * as NodeLockFolders from "./NodeLockFolders.ts"
import * as NodeLockSystem from "./NodeLockSystem.ts"

/** The right to write some files. */
export interface Writer {
  /**
   * Releases files that need no more writes: indices in the paths that were acquired. Others may then write them.
   * Idempotent.
   */
  readonly release: (files: Iterable<number>) => Effect.Effect<void>
}

/** The paths of files as components, by index. An array is one; a torrent of many files has its own. */
export interface Paths {
  readonly length: number
  /** The path with an index below `length`. */
  readonly at: (index: number) => ReadonlyArray<string> | undefined
}

/** The locks of one download folder. */
export interface WriterLocks {
  /**
   * Acquires the right to write files, given as components below the download folder, until the scope closes or they
   * are released. All of them or none. Other torrents of this process may have any other file; another process may have
   * files whose topmost name differs. Creates the download folder if it is missing.
   *
   * Retries for up to a third of a second by the `Clock` before it believes that another process holds a file, because
   * two that try at once both step back. Logs one warning for each folder that cannot have locks, and then succeeds.
   */
  readonly acquire: (
    paths: Paths,
    /** What writes, for people: the name of the torrent. */
    description: string,
    /** The writer: files that it already has do not conflict. Default: a new one. */
    by?: object | undefined
  ) => Effect.Effect<Writer, WriterHeld | SystemError, Scope.Scope>
}

/** Whose locks these are: all download folders of one process share it. */
export interface LockProcess {
  readonly system: NodeLockSystem.LockSystem
  readonly folders: NodeLockFolders.LockFolders
  /** Who writes in a folder of files, by the folder's folded true path. */
  readonly writers: Map<string, Writers>
}

/** By folded name: the owners that have or had files of that name in a folder, and the indices of these files. */
type Names = Map<string, Map<Owner, Array<number>>>

/** Who writes in one folder. */
interface Writers {
  readonly owners: Set<Owner>
  /**
   * Made for a second owner, so that no folder of one torrent has it, and that of thousands is not searched for each.
   */
  byName: Names | undefined
}

/** Files of one `acquire`; an index is one in `paths`. */
interface Owner {
  readonly directory: string
  readonly description: string
  readonly by: object | undefined
  readonly paths: Paths
  /** 1 for files that are still held. */
  readonly held: Column.Column
  /** The keys of files, and which of them each file has. */
  readonly keys: ReadonlyArray<string>
  readonly keyNumbers: Column.Column
  /** How many files are held under each key. */
  readonly counts: Column.Column
  readonly folders: FilesByFolder.FilesByFolder
}

/** A folder that holds files, or the download folder, which has no parent here. */
interface Place {
  readonly parent: Place | undefined
  /** The true path, also if the folder is not there yet. */
  readonly path: string
  readonly exists: boolean
}

/** Where the files of one `acquire` are. */
interface Places {
  readonly directory: string
  /** The folder of each file. */
  readonly folders: ReadonlyArray<Place>
  readonly distinct: ReadonlyArray<Place>
}

/** Attempts before another process is believed to hold a file: two that try at once both step back. */
const attempts = 5

/** The longest wait before the second attempt, in milliseconds; it doubles with each attempt. */
const firstPause = 20

/** Characters of what a holder says about itself. */
const maxTextLength = 200

/** A process that holds nothing. There is one in a process, except in tests that need several. */
export const makeProcess = (system: NodeLockSystem.LockSystem = NodeLockSystem.nodeLockSystem): LockProcess => ({
  system,
  folders: NodeLockFolders.make(system),
  writers: new Map()
})

const thisProcess = makeProcess()

/** Makes the locks of a download folder. Touches nothing. */
export const make = (options: {
  /** The download folder. May be a symbolic link. */
  readonly directory: string
  readonly process?: LockProcess | undefined
}): WriterLocks => {
  const owner = options.process ?? thisProcess
  return {
    acquire: Effect.fnUntraced(function* (paths, description, by) {
      if (paths.length === 0) return { release: () => Effect.void }
      const acquired = Effect.acquireRelease(
        Effect.suspend(() => acquireOnce(owner, options.directory, paths, description, by)),
        (taken) => release(owner, taken, indicesOf(paths))
      )
      for (let attempt = 1; ; attempt++) {
        const taken = yield* Effect.result(acquired)
        if (taken._tag === "Success") return { release: (files) => release(owner, taken.success, files) }
        if (!(taken.failure instanceof Contended)) return yield* Effect.fail(taken.failure)
        if (attempt === attempts) return yield* taken.failure.held
        yield* Effect.sleep(yield* Random.nextBetween(0, firstPause * 2 ** (attempt - 1)))
      }
    })
  }
}

/** Another process has an entry, perhaps only during its own attempt. */
class Contended {
  readonly held: WriterHeld
  constructor(held: WriterHeld) {
    this.held = held
  }
}

interface Taken {
  readonly owner: Owner
  readonly folder: NodeLockFolders.LockFolder
}

const acquireOnce = Effect.fnUntraced(function* (
  process: LockProcess,
  directory: string,
  paths: Paths,
  description: string,
  by: object | undefined
) {
  const places = yield* locate(process.system, Path.resolve(directory), paths)
  const keyOfTop = new Map<string, string>()
  const numbers = new Map<string, number>()
  const keyNumbers = Column.counts(paths.length)
  for (const index of indicesOf(paths)) {
    const top = topOf(places, paths.at(index)!, index)
    const key = keyOfTop.get(top) ?? keyOf(top)
    keyOfTop.set(top, key)
    const number = numbers.get(key) ?? numbers.size
    numbers.set(key, number)
    keyNumbers[index] = number
  }
  const keys = [...numbers.keys()]
  const counts = Column.counts(keys.length)
  for (const number of keyNumbers) counts[number]! += 1
  const owner: Owner = {
    directory,
    description,
    by,
    paths,
    held: Column.bytes(paths.length).fill(1),
    keys,
    keyNumbers,
    counts,
    folders: FilesByFolder.make(places.folders, ({ path }) => LockNames.fold(path))
  }
  yield* register(process, owner)
  const folder = process.folders.of(places.directory)
  const text = `${process.system.self}: ${plainText(description)}`
  const met = yield* process.folders
    .claim(folder, keys, text, (look) => findOther(process, look, places, paths, new Set(keys)))
    .pipe(Effect.onError(() => Effect.sync(() => unregister(process, owner))))
  if (met === undefined) return { owner, folder } satisfies Taken
  unregister(process, owner)
  const names = new Map([...keyOfTop].map(([top, key]) => [key, Path.join(directory, top)]))
  const held = new WriterHeld({
    path: names.get(met.key) ?? Path.join(directory, paths.at(0)![0]!),
    holder: yield* holderOf(process, met.entry),
    entry: met.isForeign ? met.entry : undefined
  })
  return yield* Effect.fail(met.isForeign ? held : new Contended(held))
})

const keyOf = (name: string): string => LockNames.keyOf(name, NodeLockSystem.sha256)

function* indicesOf({ length }: Paths): Generator<number, void> {
  for (let index = 0; index < length; index++) yield index
}

/** Finds the true path of every folder. Missing ones will be made under their names. */
const locate = Effect.fnUntraced(function* (system: NodeLockSystem.LockSystem, root: string, paths: Paths) {
  yield* system.mkdirs(root)
  const directory = yield* system.realpath(root)
  const top: Place = { parent: undefined, path: directory, exists: true }
  const known = new Map<string, Place>([["", top]])
  const folders: Array<Place> = []
  for (const index of indicesOf(paths)) {
    let place = top
    let key = ""
    for (const component of paths.at(index)!.slice(0, -1)) {
      key += `/${component}`
      place = known.get(key) ?? (yield* enter(system, place, component))
      known.set(key, place)
    }
    folders.push(place)
  }
  return { directory, folders, distinct: [...new Set(known.values())] } satisfies Places
})

const enter = (system: NodeLockSystem.LockSystem, parent: Place, component: string) => {
  const path = Path.join(parent.path, component)
  const missing: Place = { parent, path, exists: false }
  if (!parent.exists) return Effect.succeed(missing)
  return Effect.map(realIfThere(system, path), (real) =>
    real === undefined ? missing : { parent, path: real, exists: true }
  )
}

const realIfThere = (system: NodeLockSystem.LockSystem, path: string): Effect.Effect<string | undefined, SystemError> =>
  Effect.catchIf(
    system.realpath(path),
    (error) => error.code === "ENOENT" || error.code === "ENOTDIR",
    () => Effect.undefined
  )

/** The names that lead from a folder to a file below it; `undefined` if the file is elsewhere. */
const below = (folder: string, place: string): ReadonlyArray<string> | undefined => {
  if (place === folder) return []
  const start = folder.endsWith(Path.sep) ? folder : folder + Path.sep
  return place.startsWith(start) ? place.slice(start.length).split(Path.sep) : undefined
}

/**
 * The topmost name that a file is written below. Storage refuses links that lead out, so the given name works for
 * those.
 */
const topOf = ({ directory, folders }: Places, path: ReadonlyArray<string>, index: number): string => {
  const names = below(directory, folders[index]!.path)
  return names === undefined ? path[0]! : (names[0] ?? path[path.length - 1]!)
}

const nameOf = (owner: Owner, index: number): string => LockNames.fold(owner.paths.at(index)!.at(-1)!)

const addNames = (byName: Names, owner: Owner, folder: string): void => {
  for (const index of FilesByFolder.inFolder(owner.folders, folder)) {
    const name = nameOf(owner, index)
    const owners = byName.get(name) ?? new Map<Owner, Array<number>>()
    byName.set(name, owners)
    const indices = owners.get(owner)
    if (indices === undefined) owners.set(owner, [index])
    else indices.push(index)
  }
}

const namesIn = (writers: Writers, folder: string): Names => {
  if (writers.byName !== undefined) return writers.byName
  const byName: Names = new Map()
  for (const owner of writers.owners) addNames(byName, owner, folder)
  writers.byName = byName
  return byName
}

/** Notes that an owner writes its files, unless another owner of this process writes one of them. */
const register = (process: LockProcess, owner: Owner): Effect.Effect<void, WriterHeld> =>
  Effect.suspend(() => {
    for (const folder of owner.folders.ranges.keys()) {
      const known = process.writers.get(folder)
      if (known === undefined) continue
      const byName = namesIn(known, folder)
      for (const index of FilesByFolder.inFolder(owner.folders, folder)) {
        const name = nameOf(owner, index)
        for (const [other, others] of byName.get(name) ?? []) {
          if (owner.by !== undefined && other.by === owner.by) continue
          if (!others.some((one) => other.held[one] === 1)) continue
          const path = Path.join(owner.directory, ...owner.paths.at(index)!)
          return Effect.fail(new WriterHeld({ path, holder: `another torrent of this process, ${other.description}` }))
        }
      }
    }
    for (const folder of owner.folders.ranges.keys()) {
      const known = process.writers.get(folder)
      if (known === undefined) process.writers.set(folder, { owners: new Set([owner]), byName: undefined })
      else {
        addNames(namesIn(known, folder), owner, folder)
        known.owners.add(owner)
      }
    }
    return Effect.void
  })

const unregister = (process: LockProcess, owner: Owner): void => {
  for (const folder of owner.folders.ranges.keys()) {
    const known = process.writers.get(folder)
    if (known === undefined) continue
    known.owners.delete(owner)
    if (known.owners.size === 0) process.writers.delete(folder)
    if (known.byName === undefined) continue
    for (const index of FilesByFolder.inFolder(owner.folders, folder)) {
      const name = nameOf(owner, index)
      const owners = known.byName.get(name)
      owners?.delete(owner)
      if (owners?.size === 0) known.byName.delete(name)
    }
  }
}

const release = (process: LockProcess, { folder, owner }: Taken, files: Iterable<number>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const done: Array<string> = []
    for (const index of files) {
      if (owner.held[index] !== 1) continue
      owner.held[index] = 0
      const number = owner.keyNumbers[index]!
      owner.counts[number]! -= 1
      if (owner.counts[number] === 0) done.push(owner.keys[number]!)
    }
    if (done.length === 0) return Effect.void
    if (owner.counts.every((left) => left === 0)) unregister(process, owner)
    return process.folders.unclaim(folder, done)
  })

/** Looks for entries of other processes from the root of the file system down to the files. */
const findOther = Effect.fnUntraced(function* (
  process: LockProcess,
  { find, isUsed }: NodeLockFolders.Look,
  places: Places,
  paths: Paths,
  keys: ReadonlySet<string>
) {
  const { directory, distinct, folders } = places
  const own = yield* find(directory, (key) => keys.has(key))
  if (own !== undefined) return own
  for (let inner = directory; inner !== Path.dirname(inner); inner = Path.dirname(inner)) {
    const key = keyOf(Path.basename(inner))
    const outer = yield* find(Path.dirname(inner), (other) => other === key)
    if (outer !== undefined) return outer
  }
  const missing = new Set<Place>()
  for (const place of distinct) {
    const { exists, parent, path } = place
    if (parent === undefined) continue
    // Another process may have made the folder since, and locked something in it before it could meet our entry.
    if (missing.has(parent) || (!exists && (yield* realIfThere(process.system, path)) === undefined)) missing.add(place)
    if (missing.has(place) || !(yield* isUsed(path))) continue
    const names = new Set<string>()
    folders.forEach((folder, index) => {
      const way = below(path, folder.path)
      if (way !== undefined) names.add(way[0] ?? paths.at(index)!.at(-1)!)
    })
    const nested = new Set([...names].map(keyOf))
    const inner = yield* find(path, (key) => nested.has(key))
    if (inner !== undefined) return inner
  }
  return undefined
})

/** What a holder says about itself, in one line without control characters. */
const holderOf = (process: LockProcess, entry: string): Effect.Effect<string> =>
  process.system.read(entry).pipe(
    Effect.orElseSucceed(() => ""),
    Effect.map((text) => plainText(text) || "another process")
  )

const plainText = (text: string): string =>
  text
    .replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, " ")
    .trim()
    .slice(0, maxTextLength)
