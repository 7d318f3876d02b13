/**
 * The locks that one process holds in the folders of locks, and the beacon that shows that it runs.
 *
 * To lock a key, a process publishes its entry and only then looks for those of others. So of two processes at least
 * one sees the other, and a process that sees another steps back. An entry is removed by its process, or by any process
 * that found its beacon silent. Ids are never used again, so a removed entry can only be of a process that has ended,
 * or has released it.
 *
 * A beacon has its name only while it listens: it is made under another name, and renamed. The process listens on one
 * socket; further folders of the same file system get a hard link to it, each under an id of its own. A folder is
 * removed with its last lock, by `rmdir`, which fails while the folder is in use; a process that finds it gone makes it
 * again.
 */
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Semaphore from "effect/Semaphore"
import type { SystemError } from "../FileSystemError.ts"
import * as LockNames from "./LockNames.ts"
import type { Listening, LockSystem } from "./NodeLockSystem.ts"
import * as NodeLockSystem from "./NodeLockSystem.ts"

/** An entry of another process that runs, or may run on another machine. */
export interface Found {
  readonly key: string
  /** The true path of the entry. */
  readonly entry: string
  readonly isForeign: boolean
}

/** What this process holds in one download folder. */
export interface LockFolder {
  /** The true path of the download folder. */
  readonly directory: string
  readonly place: string
  /** The keys that writers of this process hold. */
  readonly held: Map<string, Held>
  /** Claims that wait for their turn, and are settled together. */
  waiting: Array<Claim>
  /** One change at a time. */
  readonly turn: Semaphore.Semaphore
  opened: Opened | undefined
  hasWarned: boolean
}

interface Held {
  /** How many writers hold the key. */
  writers: number
  /** What the first of them says about itself, for people. */
  readonly text: string
}

/** Looks for entries of other processes. Lists each folder once. */
export interface Look {
  /**
   * The first entry of another process in a download folder whose key is wanted. Removes those of processes that ended.
   */
  readonly find: (
    directory: string,
    isWanted: (key: string) => boolean
  ) => Effect.Effect<Found | undefined, SystemError>
  /** Whether another process has locks in a folder, or had. */
  readonly isUsed: (directory: string) => Effect.Effect<boolean, SystemError>
}

interface Claim {
  readonly keys: ReadonlyArray<string>
  readonly text: string
  readonly others: (look: Look) => Effect.Effect<Found | undefined, SystemError>
  outcome: Exit.Exit<Found | undefined, SystemError> | undefined
}

interface Opened {
  readonly id: string
  readonly beacon: Beacon
  /** Keys whose entries are published. */
  readonly published: Set<string>
}

/** A socket, and the names that lead to it. */
interface Beacon {
  readonly listening: Listening
  readonly names: Set<string>
  /** Folders that use it, or are about to. */
  users: number
}

/** All that one process holds, and what is known of other processes that run. */
export interface LockFolders {
  /** What is held in a download folder, given by its true path. */
  readonly of: (directory: string) => LockFolder
  /**
   * Counts keys as held and publishes them; afterwards `others` looks at this and other folders. Returns the entry of
   * another process that it met, if any; then, and if it fails, it holds nothing. Claims that wait for their turn are
   * published together, and look at the same lists.
   */
  readonly claim: (
    folder: LockFolder,
    keys: ReadonlyArray<string>,
    text: string,
    others: Claim["others"]
  ) => Effect.Effect<Found | undefined, SystemError>
  /** Releases keys, each once. */
  readonly unclaim: (folder: LockFolder, keys: ReadonlyArray<string>) => Effect.Effect<void>
}

/**
 * Attempts at something in a folder that others may remove. They remove it once for a lock, so this many in a row are
 * no chance.
 */
const attempts = 8

/** Calls in flight, as many as libuv has threads. */
const concurrency = 4

const vanished: SystemError = { code: "ENOENT", message: "ENOENT: the folder of locks was removed" }

const deaf: SystemError = { code: "EOPNOTSUPP", message: "EOPNOTSUPP: a socket in this folder does not answer" }

const placeOf = (directory: string): string => Path.join(directory, ...LockNames.folder)

/** Holds nothing yet. */
export const make = (system: LockSystem): LockFolders => {
  const folders = new Map<string, LockFolder>()
  const beacons = new Set<Beacon>()
  const ownIds = new Set<string>()
  /** One socket is bound at a time, so that two folders do not both bind one. */
  const binding = Semaphore.makeUnsafe(1)
  let knownMarks: LockNames.Marks | undefined

  const marks = Effect.gen(function* () {
    knownMarks ??= yield* system.marks
    return knownMarks
  })

  const of = (directory: string): LockFolder => {
    const known = folders.get(directory)
    if (known !== undefined) return known
    const folder: LockFolder = {
      directory,
      place: placeOf(directory),
      held: new Map(),
      waiting: [],
      turn: Semaphore.makeUnsafe(1),
      opened: undefined,
      hasWarned: false
    }
    folders.set(directory, folder)
    return folder
  }

  const list = (place: string): Effect.Effect<ReadonlyArray<string>, SystemError> =>
    Effect.catchIf(
      system.list(place),
      (error) => NodeLockSystem.unseen.has(error.code),
      () => Effect.succeed([])
    )

  // What is there belongs to a process that has ended. Another process may be faster, or the only one with permission.
  const remove = (place: string, name: string) => Effect.ignore(system.unlink(Path.join(place, name)))

  /**
   * Removes what ended processes have left, so that the folder can be removed some day. What cannot be checked stays.
   */
  const sweep = Effect.fnUntraced(
    function* (place: string) {
      const own = yield* marks
      const answers = new Map<string, boolean>()
      for (const name of yield* list(place)) {
        const parsed = LockNames.parse(name)
        if (parsed === undefined || ownIds.has(parsed.id) || LockNames.isForeign(parsed.id, own)) continue
        const beacon = parsed._tag === "Entry" ? parsed.id + LockNames.beaconEnd : name
        if (!answers.has(beacon)) answers.set(beacon, yield* system.answers(place, beacon))
        if (answers.get(beacon) === false) yield* remove(place, name)
      }
    },
    (sweeping) => Effect.ignore(sweeping)
  )

  const leave = (beacon: Beacon): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (--beacon.users > 0) return Effect.void
      beacons.delete(beacon)
      return beacon.listening.close
    })

  /** Links the name of a socket that this process already has; `undefined` if none can have it. */
  const share = Effect.fnUntraced(function* (place: string, id: string) {
    const name = id + LockNames.beaconEnd
    const path = Path.join(place, name)
    for (const beacon of [...beacons]) {
      if (!beacons.has(beacon)) continue
      beacon.users++
      for (const known of [...beacon.names]) {
        const linked = yield* Effect.result(system.link(known, path))
        if (linked._tag === "Failure") continue
        // Not every file system finds a socket by its second name.
        const answers = yield* Effect.orElseSucceed(system.answers(place, name), () => false)
        if (answers) return beacon
        yield* remove(place, name)
      }
      yield* leave(beacon)
    }
    return undefined
  })

  const bind = Effect.fnUntraced(function* (place: string, id: string) {
    const [name, newName] = [id + LockNames.beaconEnd, id + LockNames.newBeaconEnd]
    const listening = yield* Effect.onError(system.listen(place, newName), () => remove(place, newName))
    const beacon: Beacon = { listening, names: new Set(), users: 1 }
    beacons.add(beacon)
    const show = Effect.andThen(
      system.rename(Path.join(place, newName), Path.join(place, name)),
      Effect.filterOrFail(
        system.answers(place, name),
        (answers) => answers,
        () => deaf
      )
    )
    yield* Effect.onError(show, () =>
      Effect.andThen(
        Effect.forEach([newName, name], (one) => remove(place, one), { discard: true }),
        leave(beacon)
      )
    )
    return beacon
  })

  const shareOrBind = Effect.fnUntraced(function* (place: string, id: string) {
    return (yield* share(place, id)) ?? (yield* bind(place, id))
  })

  const open = Effect.fnUntraced(function* (folder: LockFolder) {
    const { place } = folder
    yield* system.mkdirs(place)
    yield* sweep(place)
    const id = system.newId(yield* marks)
    // Before anything has that id, so that no sweep of this process takes it for another's.
    ownIds.add(id)
    const beacon = yield* binding
      .withPermit(shareOrBind(place, id))
      .pipe(Effect.onError(() => Effect.sync(() => void ownIds.delete(id))))
    beacon.names.add(Path.join(place, id + LockNames.beaconEnd))
    return { id, beacon, published: new Set<string>() } satisfies Opened
  })

  /** Removes everything of this process from a folder, entries first: an entry without a beacon counts for nothing. */
  const close = Effect.fnUntraced(function* (folder: LockFolder) {
    const { directory, opened, place } = folder
    folder.opened = undefined
    if (opened !== undefined) {
      const { beacon, id, published } = opened
      const name = id + LockNames.beaconEnd
      yield* Effect.forEach(published, (key) => remove(place, `${key}.${id}`), { discard: true })
      yield* remove(place, name)
      beacon.names.delete(Path.join(place, name))
      ownIds.delete(id)
      yield* leave(beacon)
    }
    yield* sweep(place)
    // Others may use the folder, or may have been faster.
    yield* Effect.ignore(Effect.andThen(system.rmdir(place), system.rmdir(Path.join(directory, LockNames.folder[0]))))
  })

  const publishOnce = Effect.fnUntraced(function* (folder: LockFolder) {
    folder.opened ??= yield* open(folder)
    const { id, published } = folder.opened
    const create = ([key, { text }]: readonly [string, Held]) => {
      published.add(key)
      return Effect.onError(system.create(Path.join(folder.place, `${key}.${id}`), text), () => {
        published.delete(key)
        return remove(folder.place, `${key}.${id}`)
      })
    }
    const unpublished = [...folder.held].filter(([key]) => !published.has(key))
    yield* Effect.forEach(unpublished, create, { concurrency, discard: true })
    // There are as many names as torrents, and as many of these lists.
    let left = published.size + 1
    for (const name of yield* system.list(folder.place)) {
      if (name === id + LockNames.beaconEnd || published.has(LockNames.keyOfEntry(name, id) ?? "")) left--
    }
    if (left > 0) return yield* Effect.fail(vanished)
  })

  /** Publishes every key that is held. Starts again if the folder, or what was published before, was removed. */
  const publish = Effect.fnUntraced(function* (folder: LockFolder) {
    for (let left = attempts; ; left--) {
      const done = yield* Effect.result(publishOnce(folder))
      if (done._tag === "Success") return
      if (done.failure.code !== "ENOENT" || left === 1) return yield* Effect.fail(done.failure)
      yield* close(folder)
    }
  })

  const warn = (folder: LockFolder, error: SystemError): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (folder.hasWarned) return Effect.void
      folder.hasWarned = true
      return Effect.logWarning(
        `${folder.directory} cannot have locks (${error.code}): nothing keeps another process from writing the same files`
      )
    })

  const publishIfPossible = (folder: LockFolder) =>
    Effect.catchIf(
      publish(folder),
      (error) => NodeLockSystem.impossible.has(error.code),
      (error) => warn(folder, error)
    )

  const giveUp = Effect.fnUntraced(function* (folder: LockFolder, keys: ReadonlyArray<string>) {
    for (const key of keys) {
      const held = folder.held.get(key)!
      held.writers--
      if (held.writers > 0) continue
      folder.held.delete(key)
      if (folder.opened?.published.delete(key) === true) yield* remove(folder.place, `${key}.${folder.opened.id}`)
    }
    if (folder.held.size === 0) yield* close(folder)
  })

  const makeLook = (): Look => {
    const listed = new Map<string, ReadonlyArray<string>>()
    const foreignNames = (directory: string) =>
      Effect.suspend(() => {
        const known = listed.get(directory)
        if (known !== undefined) return Effect.succeed(known)
        return Effect.map(list(placeOf(directory)), (names) => {
          const foreign = names.filter((name) => !ownIds.has(LockNames.idOfEntry(name)))
          listed.set(directory, foreign)
          return foreign
        })
      })
    return {
      find: Effect.fnUntraced(function* (directory, isWanted) {
        const own = yield* marks
        const place = placeOf(directory)
        for (const name of yield* foreignNames(directory)) {
          const parsed = LockNames.parse(name)
          if (parsed?._tag !== "Entry" || !isWanted(parsed.key)) continue
          const found = { key: parsed.key, entry: Path.join(place, name) }
          if (yield* system.answers(place, parsed.id + LockNames.beaconEnd)) return { ...found, isForeign: false }
          if (LockNames.isForeign(parsed.id, own)) return { ...found, isForeign: true }
          yield* remove(place, name)
        }
        return undefined
      }),
      isUsed: (directory) => Effect.map(foreignNames(directory), (names) => names.length > 0)
    }
  }

  const settle = Effect.fnUntraced(function* (folder: LockFolder, claims: ReadonlyArray<Claim>) {
    // A process that came later has met the entries of keys that were held before.
    const fresh = claims.filter(({ keys }) => keys.some((key) => !folder.held.has(key)))
    for (const claim of claims) {
      for (const key of claim.keys) {
        const held = folder.held.get(key)
        if (held === undefined) folder.held.set(key, { writers: 1, text: claim.text })
        else held.writers++
      }
      claim.outcome = Exit.succeed(undefined)
    }
    if (fresh.length === 0) return
    const published = yield* Effect.exit(publishIfPossible(folder))
    // Made after the entries, so that of two processes at least one sees the other's.
    const look = makeLook()
    const decide = (claim: Claim) =>
      Effect.map(Effect.exit(Effect.andThen(published, claim.others(look))), (outcome) => {
        claim.outcome = outcome
      })
    yield* Effect.forEach(fresh, decide, { concurrency, discard: true })
    for (const { keys, outcome } of fresh) {
      if (outcome?._tag === "Failure" || outcome?.value !== undefined) yield* giveUp(folder, keys)
    }
  })

  const claim: LockFolders["claim"] = (folder, keys, text, others) =>
    Effect.suspend(() => {
      const asked: Claim = { keys, text, others, outcome: undefined }
      folder.waiting.push(asked)
      const settleAll = Effect.suspend(() =>
        asked.outcome === undefined ? settle(folder, folder.waiting.splice(0)) : Effect.void
      )
      return Effect.andThen(
        folder.turn.withPermit(settleAll),
        Effect.suspend(() => asked.outcome!)
      )
    }).pipe(Effect.uninterruptible)

  return {
    of,
    claim,
    unclaim: (folder, keys) => giveUp(folder, keys).pipe(folder.turn.withPermit, Effect.uninterruptible)
  }
}
