/**
 * The program of a session: which of its torrents are in the engine, and what is saved of them.
 *
 * Whatever may change which torrents should be active sets `planning`. The plan then chooses them. It starts a fiber for
 * each torrent that is not in the state it should be in, which opens, closes, pauses or resumes it. `SessionHandle.ts`
 * has what users do.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as InfoHash from "../base/InfoHash.ts"
import * as Signal from "../base/Signal.ts"
import { Engine } from "../engine/Engine.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import { ResumeStore } from "../resume/ResumeStore.ts"
import { Storage } from "../storage/Storage.ts"
import * as Opening from "./Opening.ts"
import * as Revisions from "./Revisions.ts"
import type { SessionLimits, Unreadable } from "./SavedTorrent.ts"
import * as SessionAttention from "./SessionAttention.ts"
import * as SessionEntry from "./SessionEntry.ts"
import * as SessionEvents from "./SessionEvents.ts"
import * as SessionLooks from "./SessionLooks.ts"
import * as SessionQueue from "./SessionQueue.ts"
import * as SessionRecord from "./SessionRecord.ts"
import * as SessionStore from "./SessionStore.ts"
import { TorrentFolders } from "./TorrentFolders.ts"

/** How often the numbers of active torrents are saved: a kill loses what they counted since. */
export const saveEvery = "30 seconds"

/**
 * How long a torrent seeds without anything else to save until that is saved. To write a row for each of 5,000 idle seeds
 * every 30 seconds would be 4 GB a day.
 */
const seedingMillis = 600_000

/** How often seeding goals are looked at. */
const goalEvery = "1 second"

type Entry = SessionEntry.Entry
type Session = SessionRecord.SessionRecord

/** How many things that cannot be read are named in the log. */
const maxNamed = 20

const described = (unreadable: ReadonlyArray<Unreadable>) => [
  `${unreadable.length} entries of the session cannot be read. They are not used, and stay as they are`,
  ...unreadable.slice(0, maxNamed).map(({ key, what, why }) => ({ what, key, why }))
]

/** Starts a session with what its store has, until the scope closes. */
export const make = Effect.gen(function* () {
  const store = yield* SessionStore.SessionStore
  const { labels, limits, torrents, trackerGoals, unreadable } = yield* store.load
  if (unreadable.length > 0) yield* Effect.logError(...described(unreadable))
  const run = (yield* Random.nextIntBetween(0, 2 ** 31)).toString(36)
  const self: Session = {
    engine: yield* Engine,
    store,
    storage: yield* Storage,
    folders: yield* TorrentFolders,
    hasher: yield* PieceHasher,
    resume: yield* ResumeStore,
    clock: yield* Clock.Clock,
    scope: yield* Effect.scope,
    entries: new Map(torrents.map((saved) => [InfoHash.toHex(saved.infoHash), SessionEntry.make(saved)])),
    labels: new Map(labels.map((label) => [label.name, label])),
    trackerGoals: new Map(trackerGoals.map((goal) => [goal.host, goal])),
    limits,
    unreadable,
    completion: undefined,
    planning: Signal.make(),
    opening: Semaphore.makeUnsafe(Opening.atOnce),
    due: { downloads: [], seeds: [] },
    starters: 0,
    saving: Semaphore.makeUnsafe(1),
    events: SessionEvents.make(run),
    revisions: Revisions.make(run),
    seenAt: Number.NEGATIVE_INFINITY,
    isOver: false
  }
  for (const { infoHash, options } of torrents) self.folders.set(infoHash, options.folder)
  // If no rate was set, those of the options of the engine stay.
  if (hasRates(limits)) yield* self.engine.setLimits(limits)
  yield* Effect.addFinalizer(() => closeAll(self))
  yield* Signal.attend(self.planning, plan(self))
  const hearing = Stream.runForEach(self.engine.events, (event) => SessionAttention.hear(self, event))
  yield* Effect.forkScoped(hearing, { startImmediately: true })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(goalEvery), lookAtGoals(self))))
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(saveEvery), saveNumbers(self))))
  Signal.set(self.planning)
  return self
})

const hasRates = ({ downloadBytesPerSecond, uploadBytesPerSecond }: SessionLimits): boolean =>
  downloadBytesPerSecond !== undefined || uploadBytesPerSecond !== undefined

/** Chooses which torrents run, and starts a fiber for each that has to be settled. */
const plan = (self: Session) =>
  Effect.suspend(() => {
    const all = SessionRecord.queue(self).map((entry) => SessionRecord.queued(self, entry))
    const active = SessionQueue.active(all, self.limits)
    for (const torrent of all) torrent.entry.isChosen = active.has(torrent)
    const unsettled = all.filter(({ entry }) => !entry.isWaiting && !entry.isDue && !SessionEntry.isSettled(entry))
    // What those in the engine do is known from its events.
    for (const { entry } of all) if (entry.opened === undefined) SessionLooks.noteState(self, entry, undefined)
    const opened = unsettled.filter(({ entry }) => entry.opened !== undefined)
    for (const { entry, isComplete } of unsettled) {
      if (entry.opened !== undefined) continue
      entry.isDue = true
      ;(isComplete ? self.due.seeds : self.due.downloads).push(entry)
    }
    return Effect.andThen(
      Effect.forEach(opened, ({ entry }) => Effect.forkIn(settleOrFail(self, entry), self.scope), { discard: true }),
      startDue(self)
    )
  })

/**
 * How many torrents are started at once. What a torrent does when it starts takes a millisecond or two of this thread, in
 * many parts. If thousands do it at once, whoever asks the session for something waits for seconds.
 */
const startedAtOnce = 8

/** How long a torrent that is started is waited for, and how often it is looked at meanwhile (milliseconds). */
const startMillis = 1_000
const startLookMillis = 5

/** Starts the torrents that are due, of which more may come meanwhile. */
const startDue = (self: Session): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { downloads, seeds } = self.due
    const count = Math.min(startedAtOnce, downloads.length + seeds.length) - self.starters
    if (count <= 0) return Effect.void
    self.starters += count
    return Effect.forEach(Array(count), () => Effect.forkIn(starter(self), self.scope), { discard: true })
  })

const starter = (self: Session): Effect.Effect<void> =>
  Effect.gen(function* () {
    while (true) {
      // Somebody waits for downloads.
      const entry = self.due.downloads.shift() ?? self.due.seeds.shift()
      if (entry === undefined) return void self.starters--
      const settling = Effect.catchDefect(settleOrFail(self, entry), (defect) =>
        Effect.logError("a torrent could not be started", defect)
      )
      const settled = yield* Effect.forkIn(settling, self.scope, { startImmediately: true })
      // To move its files may take hours. Others are started meanwhile.
      yield* Effect.raceFirst(Fiber.await(settled), entry.moving.await)
      yield* untilStarted(entry)
    }
  })

/** Waits until a torrent has started, or takes long. */
const untilStarted = Effect.fnUntraced(function* (entry: Entry) {
  for (let waited = 0; waited < startMillis; waited += startLookMillis) {
    const { opened } = entry
    // Files that are verified may take hours.
    if (opened === undefined || opened.isPaused || opened.isBusy) return
    const { state } = yield* opened.torrent.status
    if (state._tag !== "Checking") return
    yield* Effect.sleep(startLookMillis)
  }
})

/**
 * Brings a torrent into the state that it should be in: in the engine or not, and running or paused there. Holds its lock
 * meanwhile, so nobody else opens, closes or removes it.
 */
export const settle = (self: Session, entry: Entry): Effect.Effect<void, Opening.OpenError> =>
  entry.lock.withPermit(
    Effect.gen(function* () {
      entry.isDue = false
      while (!SessionEntry.isSettled(entry)) {
        const { isChosen, opened } = entry
        if (opened === undefined) yield* Opening.open(self, entry, !isChosen)
        else if (!SessionEntry.needsEngine(entry)) yield* Opening.close(self, entry)
        else {
          opened.isPaused = !isChosen
          yield* isChosen ? opened.torrent.resume : opened.torrent.pause
        }
      }
      yield* SessionAttention.attend(self, entry)
    })
  )

/** After how many milliseconds a torrent is opened again when the store has failed, and the most of it. */
const firstRetryMillis = 1_000
const lastRetryMillis = 60_000

/**
 * Brings a torrent into the state that it should be in. If it cannot be opened, it is noted as failed, but if the store
 * is the reason, and that may pass, it waits and is tried again.
 */
const settleOrFail = (self: Session, entry: Entry): Effect.Effect<void> =>
  Effect.matchEffect(settle(self, entry), {
    onSuccess: () =>
      Effect.sync(() => {
        entry.failures = 0
      }),
    onFailure: (error) =>
      error._tag === "piecewise/SessionStoreError" && SessionStore.isPassing(error)
        ? retry(self, entry, error)
        : SessionAttention.fail(self, entry, error)
  })

const retry = Effect.fnUntraced(function* (self: Session, entry: Entry, error: SessionStore.SessionStoreError) {
  // Several fibers may have tried to settle it.
  if (entry.isWaiting) return
  entry.isWaiting = true
  const millis = Math.min(lastRetryMillis, firstRetryMillis * 2 ** entry.failures++)
  yield* Effect.logWarning(`a torrent could not be opened, and is tried again in ${millis / 1_000} s`, error)
  const again = Effect.sync(() => {
    entry.isWaiting = false
    Signal.set(self.planning)
  })
  // Others are opened meanwhile.
  yield* Effect.forkIn(Effect.delay(again, millis), self.scope)
})

const closeAll = (self: Session) =>
  Effect.suspend(() => {
    self.isOver = true
    const entries = [...self.entries.values()]
    const stopping = Effect.forEach(entries, (entry) => entry.lock.withPermit(Opening.stop(self, entry)), {
      concurrency: "unbounded",
      discard: true
    })
    return Effect.andThen(stopping, SessionRecord.save(self, entries, 0))
  })

const saveNumbers = (self: Session) =>
  Effect.suspend(() => {
    const entries = [...self.entries.values()]
    return Effect.andThen(
      Effect.forEach(entries, (entry) => SessionAttention.attend(self, entry), { discard: true }),
      Effect.suspend(() => SessionRecord.save(self, entries, seedingMillis))
    )
  })

const lookAtGoals = (self: Session) =>
  Effect.suspend(() => {
    const hasGoal = (entry: Entry) => entry.isChosen && SessionEntry.goalOf(entry, self) !== undefined
    return Effect.forEach(
      [...self.entries.values()].filter(hasGoal),
      (entry) =>
        Effect.map(SessionLooks.lookAt(self, entry), () => {
          if (SessionEntry.reachedGoal(entry, self) !== undefined) Signal.set(self.planning)
        }),
      { discard: true }
    )
  })
