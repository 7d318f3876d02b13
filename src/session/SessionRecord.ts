/**
 * What a session consists of, and how it saves what changes.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Semaphore from "effect/Semaphore"
import * as Monotonic from "../base/Monotonic.ts"
import type * as Signal from "../base/Signal.ts"
import type { Engine } from "../engine/Engine.ts"
import type { PieceHasher } from "../hash/PieceHasher.ts"
import type { ResumeStore } from "../resume/ResumeStore.ts"
import type { Storage } from "../storage/Storage.ts"
import type * as Revisions from "./Revisions.ts"
import type { SavedFiles, SavedLabel, SavedTorrent, SessionLimits, TrackerGoal, Unreadable } from "./SavedTorrent.ts"
import * as SessionEntry from "./SessionEntry.ts"
import type * as SessionEvents from "./SessionEvents.ts"
import * as SessionQueue from "./SessionQueue.ts"
import type { SessionStatus } from "./SessionStatus.ts"
import type { SessionStore, SessionStoreError, StoreChange } from "./SessionStore.ts"
import type { TorrentFolders } from "./TorrentFolders.ts"

type Entry = SessionEntry.Entry

/** A session. */
export interface SessionRecord {
  readonly engine: Engine["Service"]
  readonly store: SessionStore["Service"]
  readonly storage: Storage["Service"]
  readonly folders: TorrentFolders["Service"]
  readonly hasher: PieceHasher["Service"]
  readonly resume: ResumeStore["Service"]
  readonly clock: Clock.Clock
  /** Lasts as long as the session. */
  readonly scope: Scope.Scope
  /** By info hash in hex. */
  readonly entries: Map<string, SessionEntry.Entry>
  readonly labels: Map<string, SavedLabel>
  readonly trackerGoals: Map<string, TrackerGoal>
  limits: SessionLimits
  /** What is done when a torrent is complete for the first time. */
  completion: { readonly use: (status: SessionStatus) => Effect.Effect<void>; readonly scope: Scope.Scope } | undefined
  /** What was saved and cannot be read. */
  unreadable: ReadonlyArray<Unreadable>
  readonly planning: Signal.Signal
  readonly opening: Semaphore.Semaphore
  /** Torrents that wait to be opened, in the order in which they will be: downloads, and then seeds. */
  readonly due: { readonly downloads: Array<Entry>; readonly seeds: Array<Entry> }
  /** How many fibers open them. */
  starters: number
  /**
   * Held while something other than numbers is saved. There is one for all torrents, because some changes are made of
   * many: what was read for one change must not be saved after another one.
   */
  readonly saving: Semaphore.Semaphore
  readonly events: SessionEvents.SessionEvents
  readonly revisions: Revisions.Revisions
  /** When the last snapshots were made, in milliseconds of elapsed time. */
  seenAt: number
  /** Whether it has ended, so that no torrent is opened any more. */
  isOver: boolean
}

/** Milliseconds of elapsed time. */
export const now = ({ clock }: SessionRecord): number => Monotonic.nowUnsafe(clock)

/** The torrents in the order of the queue. */
export const queue = ({ entries }: SessionRecord): Array<Entry> =>
  [...entries.values()].sort((one, other) => SessionQueue.byPosition(one.saved, other.saved))

/** What the queue must know of a torrent. */
export const queued = (self: SessionRecord, entry: Entry): SessionQueue.Queued & { readonly entry: Entry } => ({
  entry,
  position: entry.saved.position,
  isWilling: SessionEntry.isWilling(entry, self),
  isComplete: SessionEntry.isComplete(entry)
})

/**
 * Changes what is saved of a torrent, by a pure function that may be called twice: its numbers may change while the rest
 * is saved.
 */
export const update = (
  self: SessionRecord,
  entry: Entry,
  change: (saved: SavedTorrent) => SavedTorrent
): Effect.Effect<void, SessionStoreError> => self.saving.withPermit(updateHeld(self, entry, change))

/** The same for whoever holds `saving`, together with changes that come before it. */
export const updateHeld = (
  self: SessionRecord,
  entry: Entry,
  change: (saved: SavedTorrent) => SavedTorrent,
  before: ReadonlyArray<StoreChange> = []
): Effect.Effect<void, SessionStoreError> => updateAllHeld(self, [entry], change, before)

/** The same for several torrents at once. `change` is also given the index of the torrent in `entries`. */
export const updateAllHeld = (
  { store }: SessionRecord,
  entries: ReadonlyArray<Entry>,
  change: (saved: SavedTorrent, index: number) => SavedTorrent,
  before: ReadonlyArray<StoreChange> = []
): Effect.Effect<void, SessionStoreError> =>
  Effect.uninterruptible(
    Effect.suspend(() => {
      // A torrent that was removed may have been added again, as another one.
      if (entries.every(({ isGone }) => isGone)) return Effect.void
      const changes = entries.flatMap(({ isGone, saved }, index) =>
        isGone ? [] : [{ _tag: "SetTorrent" as const, torrent: change(saved, index) }]
      )
      return Effect.map(store.commit([...before, ...changes]), () => {
        for (const [index, entry] of entries.entries()) {
          entry.saved = change(entry.saved, index)
          entry.hasChanged = true
        }
      })
    })
  )

/** Changes what is saved about the files of a torrent, unless it was removed: it may have been added again. */
export const updateFiles = (
  { saving, store }: SessionRecord,
  entry: Entry,
  change: (files: SavedFiles) => SavedFiles
): Effect.Effect<void, SessionStoreError> => {
  const { infoHash } = entry
  return saving.withPermit(
    Effect.flatMap(store.content(infoHash), (content) =>
      content === undefined || entry.isGone
        ? Effect.void
        : store.commit([{ _tag: "SetFiles", infoHash, files: change(content.files) }])
    )
  )
}

const isUnsaved = (
  { hasNewHosts, isGone, isUnsaved, keptSeedingMillis, saved }: Entry,
  seedingMillis: number
): boolean =>
  !isGone && (isUnsaved || hasNewHosts || saved.statistics.seedingMillis - keptSeedingMillis > seedingMillis)

/**
 * Saves the numbers of torrents that the store does not have, and the hosts of their trackers. A torrent that has only
 * seeded since is left out, unless that was for more than `seedingMillis`. If it fails, the next save tries it again.
 */
export const save = (
  { store }: SessionRecord,
  entries: ReadonlyArray<Entry>,
  seedingMillis: number
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const unsaved = entries.filter((entry) => isUnsaved(entry, seedingMillis))
    if (unsaved.length === 0) return Effect.void
    const learnt = unsaved.filter(({ hasNewHosts }) => hasNewHosts)
    const hosts = learnt.map(({ infoHash, saved: { trackerHosts = [] } }) => ({
      _tag: "SetTrackerHosts" as const,
      infoHash,
      hosts: trackerHosts
    }))
    for (const entry of unsaved) {
      entry.hasNewHosts = false
      entry.isUnsaved = false
      entry.keptSeedingMillis = entry.saved.statistics.seedingMillis
    }
    const changes = unsaved.map(({ infoHash, saved: { progress, statistics } }) => ({
      _tag: "SetStatistics" as const,
      infoHash,
      progress,
      statistics
    }))
    return Effect.catch(store.commit([...hosts, ...changes]), (error) => {
      for (const entry of learnt) entry.hasNewHosts = true
      for (const entry of unsaved) entry.isUnsaved = true
      return Effect.logWarning("the statistics of torrents could not be saved", error)
    })
  }).pipe(Effect.uninterruptible)
