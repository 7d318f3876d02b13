/**
 * What a program can do with a torrent of a session (`SessionTorrent.ts`), over the program of the session.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as InfoHash from "../base/InfoHash.ts"
import * as Signal from "../base/Signal.ts"
import type { Removed, Torrent } from "../torrent/Torrent.ts"
import * as FileRenaming from "./FileRenaming.ts"
import * as FolderMoving from "./FolderMoving.ts"
import * as Opening from "./Opening.ts"
import * as Revisions from "./Revisions.ts"
import type { SavedOptions, SavedTorrent, Wanted } from "./SavedTorrent.ts"
import * as SessionAttention from "./SessionAttention.ts"
import * as SessionContent from "./SessionContent.ts"
import type { Entry } from "./SessionEntry.ts"
import * as SessionEvents from "./SessionEvents.ts"
import * as SessionInput from "./SessionInput.ts"
import * as SessionLooks from "./SessionLooks.ts"
import * as SessionProgram from "./SessionProgram.ts"
import * as SessionQueue from "./SessionQueue.ts"
import * as SessionRecord from "./SessionRecord.ts"
import type { SessionStoreError } from "./SessionStore.ts"
import {
  type FileChoice,
  NotInSession,
  NotOpened,
  PathRefused,
  type Place,
  type ResumeOptions,
  type SessionTorrent
} from "./SessionTorrent.ts"

type Program = SessionRecord.SessionRecord

const here = (entry: Entry): Effect.Effect<void, NotInSession> =>
  Effect.suspend(() => (entry.isGone ? Effect.fail(new NotInSession({ infoHash: entry.infoHash })) : Effect.void))

/** Runs while nobody else opens, closes or removes the torrent, or moves its files. */
const alone = <A, E, R>(entry: Entry, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | NotInSession, R> =>
  entry.lock.withPermit(Effect.andThen(here(entry), effect))

const notOpened =
  ({ infoHash }: Entry) =>
  ({ message }: { readonly message: string }) =>
    new NotOpened({ infoHash, why: message })

const change = (
  self: Program,
  entry: Entry,
  update: (saved: SavedTorrent) => SavedTorrent
): Effect.Effect<void, SessionStoreError | NotInSession> =>
  Effect.andThen(
    here(entry),
    Effect.map(SessionRecord.update(self, entry, update), () => Signal.set(self.planning))
  )

const want = (self: Program, entry: Entry, wanted: Wanted) => change(self, entry, (saved) => ({ ...saved, wanted }))

const pause = (self: Program, entry: Entry) =>
  alone(
    entry,
    Effect.suspend(() => {
      if (entry.saved.wanted._tag === "Paused") return Effect.void
      return Effect.andThen(
        want(self, entry, { _tag: "Paused" }),
        Effect.suspend(() => {
          entry.isChosen = false
          // An operation that needs it there goes on.
          const closing = entry.needs > 0 ? Opening.quiet(entry) : Opening.close(self, entry)
          return Effect.andThen(closing, SessionAttention.attend(self, entry))
        })
      )
    })
  )

const resume = (self: Program, entry: Entry, once: ResumeOptions = {}) =>
  alone(
    entry,
    Effect.suspend(() => {
      const { _tag } = entry.saved.wanted
      const isAnew = Object.values(once).includes(true)
      if (_tag === "Running" && !isAnew) return Effect.void
      entry.once = once
      // A torrent that has failed may still be in the engine.
      const closing = _tag === "Failed" || isAnew ? Opening.close(self, entry) : Effect.void
      return Effect.andThen(closing, want(self, entry, { _tag: "Running" }))
    })
  )

/** Calls `use` with a torrent in the engine. If it is not there, it is added for that, paused. */
const withTorrent = <A, E>(
  self: Program,
  entry: Entry,
  use: (torrent: Torrent) => Effect.Effect<A, E>
): Effect.Effect<A, E | NotInSession | NotOpened> => {
  const opening = Effect.mapError(SessionProgram.settle(self, entry), notOpened(entry))
  const using = Effect.suspend((): Effect.Effect<A, E | NotOpened> => {
    const torrent = entry.opened?.torrent
    return torrent === undefined
      ? Effect.fail(new NotOpened({ infoHash: entry.infoHash, why: "it was stopped meanwhile" }))
      : use(torrent)
  })
  return Effect.acquireUseRelease(
    Effect.sync(() => void entry.needs++),
    () => here(entry).pipe(Effect.andThen(opening), Effect.andThen(here(entry)), Effect.andThen(using)),
    () =>
      Effect.andThen(
        SessionAttention.attend(self, entry),
        Effect.sync(() => {
          entry.needs--
          Signal.set(self.planning)
        })
      )
  )
}

/** Waits until it is known what is stored. */
const untilKnown = (torrent: Torrent): Effect.Effect<void> =>
  torrent.changes.pipe(
    Stream.mapEffect(() => torrent.status),
    Stream.filter(({ state }) => state._tag !== "Checking"),
    Stream.take(1),
    Stream.runDrain
  )

const withoutMetadata = ({ infoHash }: Entry) => new NotOpened({ infoHash, why: "its metadata is not known yet" })

const recheck = (self: Program, entry: Entry) =>
  withTorrent(self, entry, (torrent) =>
    entry.saved.progress === undefined
      ? Effect.fail(withoutMetadata(entry))
      : Effect.mapError(torrent.recheck, notOpened(entry))
  )

const setFiles = <E>(self: Program, entry: Entry, choice: FileChoice<E>) =>
  withTorrent(self, entry, (torrent) => {
    const choosing = Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const chosen = typeof choice === "function" ? choiceOf(self, entry, choice) : Effect.succeed(choice)
        const priorities = yield* restore(Effect.flatMap(chosen, SessionInput.priorities))
        yield* restore(torrent.setPriorities(priorities))
        // Whoever asked may be gone meanwhile: the engine has it, so it is saved.
        yield* SessionRecord.updateFiles(self, entry, (files) => ({ ...files, priorities }))
      })
    )
    return Effect.andThen(entry.choosing.withPermit(choosing), untilKnown(torrent))
  })

const choiceOf = <E>(self: Program, entry: Entry, choose: Extract<FileChoice<E>, (...args: never) => unknown>) =>
  Effect.flatMap(SessionContent.files(self, entry), choose)

/** Options that the engine can change, or that it does not have. */
const changeable: ReadonlySet<string> = new Set(["goal", "limits", "peerLimits"])

const setOptions = (self: Program, entry: Entry, options: Partial<Omit<SavedOptions, "folder">>) =>
  alone(
    entry,
    Effect.gen(function* () {
      yield* change(self, entry, (saved) => {
        const { folder } = saved.options
        return { ...saved, options: { ...saved.options, ...options, folder } }
      })
      if (entry.opened === undefined) return
      if (Object.keys(options).some((key) => !changeable.has(key))) return yield* Opening.close(self, entry)
      const { limits = {}, peerLimits = {} } = entry.saved.options
      yield* entry.opened.torrent.setLimits(limits)
      yield* entry.opened.torrent.setPeerLimits(peerLimits)
    })
  )

const move = (self: Program, entry: Entry, place: Place): Effect.Effect<void, SessionStoreError | NotInSession> => {
  const moving = Effect.suspend(() => {
    const others = SessionRecord.queue(self)
      .filter((other) => other !== entry)
      .map((other) => SessionRecord.queued(self, other))
    const isNext = (other: (typeof others)[number]) =>
      typeof place !== "string" && InfoHash.equals(other.entry.infoHash, place.before)
    const next = others.find(isNext)
    const to = typeof place === "string" ? place : next === undefined ? "last" : { before: next }
    const position = SessionQueue.between(others, to)
    if (position !== undefined) return SessionRecord.updateHeld(self, entry, (saved) => ({ ...saved, position }))
    // There is no number left between its new neighbours, so all get new ones.
    const entries = others.map((other) => other.entry)
    const inOrder = entries.toSpliced(others.findIndex(isNext), 0, entry)
    return SessionRecord.updateAllHeld(self, inOrder, (saved, index) => ({ ...saved, position: index + 1 }))
  })
  return self.saving.withPermit(
    here(entry).pipe(Effect.andThen(moving), Effect.andThen(Effect.sync(() => Signal.set(self.planning))))
  )
}

/** Forgets a torrent that is in the engine no more. */
const forget = (self: Program, entry: Entry): void => {
  const { infoHash } = entry
  entry.isGone = true
  self.entries.delete(InfoHash.toHex(infoHash))
  self.folders.set(infoHash, undefined)
  Revisions.remove(self.revisions, infoHash)
  SessionEvents.report(self.events, { infoHash, event: { _tag: "Removed" } })
  Signal.set(self.planning)
}

/** Deletes what the engine knows of a torrent and, if `data`, its files. */
const removeFromEngine = Effect.fnUntraced(function* (self: Program, entry: Entry, data: boolean) {
  // Paused, it is removed before anything of it is read.
  const opening = entry.opened === undefined ? Opening.open(self, entry, true) : Effect.void
  const opened = yield* Effect.result(opening)
  if (Result.isFailure(opened)) {
    if (data) return yield* notOpened(entry)(opened.failure)
    return { keptPaths: [], isRemembered: true }
  }
  const { scope, torrent } = entry.opened!
  const removed = yield* Effect.exit(torrent.remove({ data }))
  entry.opened = undefined
  yield* Scope.close(scope, Exit.void)
  return yield* removed
})

/** Removes a torrent that is marked as being removed. The caller holds its lock. */
export const finishRemoval = Effect.fnUntraced(function* (self: Program, entry: Entry, data: boolean) {
  const removed = yield* removeFromEngine(self, entry, data).pipe(
    // Somebody else has removed it from the engine.
    Effect.catchTag("piecewise/TorrentStopped", () => Effect.succeed<Removed>({ keptPaths: [], isRemembered: false })),
    Effect.tapError(() => Effect.ignore(want(self, entry, { _tag: "Paused" })))
  )
  yield* self.store.commit([{ _tag: "RemoveTorrent", infoHash: entry.infoHash }])
  forget(self, entry)
  return removed
}, Effect.uninterruptible)

const remove = (self: Program, entry: Entry, { data }: { readonly data: boolean }) =>
  alone(
    entry,
    Effect.uninterruptible(
      Effect.andThen(
        want(self, entry, { _tag: "Removing", data }),
        Effect.suspend(() => {
          entry.isChosen = false
          return finishRemoval(self, entry, data)
        })
      )
    )
  )

const renameFile = (self: Program, entry: Entry, file: number, path: ReadonlyArray<string>) =>
  alone(
    entry,
    Effect.gen(function* () {
      const { infoHash } = entry
      const [first, ...rest] = path
      if (first === undefined) return yield* new PathRefused({ path, why: "It is empty." })
      const renaming = { file, path: [first, ...rest] as const }
      const content = yield* self.store.content(infoHash)
      // If a renaming is still to be finished, the torrent is not in the engine, and it is finished by this.
      const found = content && (yield* Effect.mapError(Opening.sourceOf(self, entry, content), notOpened(entry)))
      if (found === undefined || !("layout" in found)) return yield* withoutMetadata(entry)
      if (FileRenaming.isThere(found.layout, renaming)) return
      const why = FileRenaming.refusal(found.layout, renaming)
      if (why !== undefined) return yield* new PathRefused({ path, why })
      yield* Effect.uninterruptible(
        Effect.gen(function* () {
          yield* Opening.close(self, entry)
          yield* SessionRecord.updateFiles(self, entry, (files) => ({ ...files, renaming }))
          const moved = yield* Effect.exit(FileRenaming.move(self.storage, found, renaming))
          yield* SessionRecord.updateFiles(self, entry, (files) =>
            Exit.isSuccess(moved) ? FileRenaming.added(files, renaming) : FileRenaming.cleared(files)
          )
          yield* moved
        })
      )
    })
  )

/**
 * Saves the metadata of a magnet link, if the engine has fetched it: it may have stored files since. Pauses the torrent for
 * that.
 */
const saveMetadata = Effect.fnUntraced(function* (self: Program, entry: Entry) {
  const { infoHash, opened } = entry
  if (opened === undefined || opened.hasMetadata) return
  yield* Opening.quiet(entry)
  yield* SessionAttention.attend(self, entry)
  const { totalBytes } = yield* opened.torrent.status
  if (totalBytes > 0 && !opened.hasMetadata) {
    return yield* new NotOpened({ infoHash, why: "its metadata could not be saved" })
  }
})

const moveTo = (self: Program, entry: Entry, to: string | undefined) => {
  const moving = Effect.gen(function* () {
    const { infoHash } = entry
    yield* saveMetadata(self, entry)
    const content = yield* self.store.content(infoHash)
    // A move or a renaming that is still to be finished is finished by this.
    const found = content && (yield* Effect.mapError(Opening.sourceOf(self, entry, content), notOpened(entry)))
    if (found === undefined || entry.saved.options.folder === to) return
    yield* Effect.uninterruptible(Opening.close(self, entry))
    if (!("layout" in found)) {
      // There are no files yet.
      yield* change(self, entry, (saved) => ({ ...saved, options: { ...saved.options, folder: to } }))
      return self.folders.set(infoHash, to)
    }
    yield* FolderMoving.check(self, entry, found, to)
    yield* SessionRecord.updateFiles(self, entry, (files) => ({ ...files, moving: { to } }))
    const after = (yield* self.store.content(infoHash))!
    // After any other failure the files may have left the old folder, so the move is finished when it is opened.
    yield* Effect.tapErrorTag(
      FolderMoving.run(self, entry, found, after.files, { to, isBegun: false }),
      "piecewise/StorageError",
      () => Effect.ignore(SessionRecord.updateFiles(self, entry, FolderMoving.cleared))
    )
  })
  const work = alone(
    entry,
    Effect.ensuring(
      moving,
      Effect.sync(() => Signal.set(self.planning))
    )
  )
  // Whoever asked for it may be gone before it ends.
  return Effect.flatMap(Effect.forkIn(work, self.scope), Fiber.join)
}

/** Makes the handle of a torrent. */
export const make = (self: Program, entry: Entry): SessionTorrent => ({
  infoHash: entry.infoHash,
  status: Effect.andThen(here(entry), SessionLooks.statusOf(self, entry)),
  torrent: Effect.map(here(entry), () => Option.fromUndefinedOr(entry.opened?.torrent)),
  metainfo: Effect.andThen(here(entry), SessionContent.metainfo(self, entry)),
  files: Effect.andThen(here(entry), SessionContent.files(self, entry)),
  stored: Effect.andThen(here(entry), SessionContent.stored(self, entry)),
  pause: pause(self, entry),
  resume: (once) => resume(self, entry, once),
  recheck: recheck(self, entry),
  remove: (options) => remove(self, entry, options),
  renameFile: (file, path) => renameFile(self, entry, file, path),
  moveTo: (given) => Effect.flatMap(SessionInput.folder(given), (folder) => moveTo(self, entry, folder)),
  setFiles: (choice) => setFiles(self, entry, choice),
  setOptions: (given) => Effect.flatMap(SessionInput.options(given), (options) => setOptions(self, entry, options)),
  setLabels: (given) =>
    Effect.flatMap(SessionInput.labels(given), (labels) =>
      change(self, entry, (saved) => ({ ...saved, labels: [...new Set(labels)] }))
    ),
  move: (place) => move(self, entry, place)
})
