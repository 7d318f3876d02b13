/**
 * What a session knows of one torrent: what is saved of it, and that it is in the engine if it is. Plain code.
 */

import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type * as InfoHash from "../base/InfoHash.ts"
import * as SeedingGoal from "../torrent/SeedingGoal.ts"
import type { Torrent } from "../torrent/Torrent.ts"
import type { TorrentOptions } from "../torrent/TorrentOptions.ts"
import type { TorrentStatus } from "../torrent/TorrentStatus.ts"
import * as Revisions from "./Revisions.ts"
import type { SavedLabel, SavedTorrent, Statistics, TrackerGoal } from "./SavedTorrent.ts"
import type { SessionState, SessionStatus } from "./SessionStatus.ts"
import * as TrackerHosts from "./TrackerHosts.ts"

/** A torrent that is in the engine. */
export interface Opened {
  readonly torrent: Torrent
  /** Closing it removes the torrent from the engine. */
  readonly scope: Scope.Closeable
  /** Whether its metadata is saved. */
  hasMetadata: boolean
  /** What it had done before it was opened. */
  readonly before: Statistics
  /** Whether it is paused in the engine: it is open for an operation, and not because it runs. */
  isPaused: boolean
  /** Whether its files are being verified, or were. */
  isBusy: boolean
  /** When it began to seed, in milliseconds of elapsed time; `undefined` while it does not. */
  seedingSince: number | undefined
}

/** A torrent of a session. */
export interface Entry {
  readonly infoHash: InfoHash.InfoHash
  /** What is saved. Its numbers may be newer than the store's. */
  saved: SavedTorrent
  /** Whether the store does not have the hosts of its trackers. */
  hasNewHosts: boolean
  /** Whether the store does not have the numbers, besides the time of seeding. */
  isUnsaved: boolean
  /** The time of seeding that the store has. */
  keptSeedingMillis: number
  /** Held by whoever opens, closes or removes it, or moves its files. */
  readonly lock: Semaphore.Semaphore
  /** Held while it is changed how much its files are wanted, so that the engine and the store agree. */
  readonly choosing: Semaphore.Semaphore
  /** Whether the queue has a place for it. */
  isChosen: boolean
  /** How often it could not be opened, one time after the other, because of the store. */
  failures: number
  /** Whether it waits to be opened again after such a failure. */
  isWaiting: boolean
  /** Whether the plan has started a fiber that will settle it, and has not begun to. */
  isDue: boolean
  /** How many operations need it in the engine. */
  needs: number
  opened: Opened | undefined
  /** Open while its files are being moved to another folder. */
  readonly moving: Latch.Latch
  /** Bytes of wanted pieces that are on the medium as far as is known, and have to be verified before they count. */
  unverifiedBytes: number
  /** What the engine is told once, when it is added there the next time. */
  once: Pick<TorrentOptions, "overwrite" | "startOver">
  /** The state that was reported last. */
  reported: SessionState | undefined
  /** Whether something other than numbers has changed since the last snapshot. */
  hasChanged: boolean
  /** Whether everything that is wanted was stored at some time. */
  hasCompleted: boolean
  /** Whether it was removed from the session. */
  isGone: boolean
}

/** Makes a torrent that is not in the engine. */
export const make = (saved: SavedTorrent): Entry => ({
  infoHash: saved.infoHash,
  saved,
  hasNewHosts: false,
  isUnsaved: false,
  keptSeedingMillis: saved.statistics.seedingMillis,
  lock: Semaphore.makeUnsafe(1),
  choosing: Semaphore.makeUnsafe(1),
  isChosen: false,
  failures: 0,
  isWaiting: false,
  isDue: false,
  needs: 0,
  opened: undefined,
  moving: Latch.makeUnsafe(),
  unverifiedBytes: saved.hintedBytes ?? 0,
  once: {},
  reported: undefined,
  hasChanged: true,
  hasCompleted: saved.completedAtMillis !== undefined,
  isGone: false
})

/** Whether everything that is wanted is stored, as far as is known: nothing has to be fetched. */
export const isComplete = ({ saved: { progress }, unverifiedBytes }: Entry): boolean =>
  progress !== undefined && progress.missingBytes <= unverifiedBytes

/** What holds for torrents that do not say otherwise. */
export interface Defaults {
  /** By their names. */
  readonly labels: ReadonlyMap<string, SavedLabel>
  /** By their hosts. */
  readonly trackerGoals: ReadonlyMap<string, TrackerGoal>
}

/** Its seeding goal, or that of the first of its labels that has one, or that of the first of its trackers that has one. */
export const goalOf = ({ saved }: Entry, { labels, trackerGoals }: Defaults): SeedingGoal.SeedingGoal | undefined => {
  if (saved.options.goal !== undefined) return saved.options.goal
  for (const label of saved.labels) {
    const goal = labels.get(label)?.goal
    if (goal !== undefined) return goal
  }
  for (const host of saved.trackerHosts ?? []) {
    const goal = trackerGoals.get(host)?.goal
    if (goal !== undefined) return goal
  }
  return undefined
}

/** Which part of its seeding goal is reached. */
export const reachedGoal = (self: Entry, defaults: Defaults): "ratio" | "time" | undefined => {
  const { progress, statistics } = self.saved
  const goal = goalOf(self, defaults)
  if (goal === undefined || progress === undefined || progress.missingBytes > 0) return undefined
  const { seedingMillis, uploadedBytes } = statistics
  return SeedingGoal.reached(goal, { uploadedBytes, seedingMillis, wantedBytes: progress.wantedBytes })
}

/** Notes the hosts of its trackers, if they are not known. */
export const learnHosts = (self: Entry, trackers: Iterable<string>): void => {
  if (self.saved.trackerHosts !== undefined) return
  self.saved = { ...self.saved, trackerHosts: TrackerHosts.of(trackers) }
  self.hasNewHosts = true
  self.hasChanged = true
}

/** Whether it should run as soon as the queue has a place for it. */
export const isWilling = (self: Entry, defaults: Defaults): boolean =>
  self.saved.wanted._tag === "Running" && reachedGoal(self, defaults) === undefined

/** Whether it should be in the engine. */
export const needsEngine = ({ isChosen, isGone, needs }: Entry): boolean => !isGone && (isChosen || needs > 0)

/** Whether it is in the engine if it should be, and runs there if it should. */
export const isSettled = (self: Entry): boolean => {
  const { isChosen, opened } = self
  if (opened === undefined) return !needsEngine(self)
  return needsEngine(self) && opened.isPaused === !isChosen
}

/** States in which it is not known how much is missing. */
export const unknown: ReadonlySet<string> = new Set([
  "FetchingMetadata",
  "Checking",
  "FilesMissing",
  "Stopped",
  "Failed"
])

const isSeeding = ({ isPaused }: Opened, { state }: TorrentStatus): boolean => !isPaused && state._tag === "Complete"

/** Notes what the engine says of it. `now` is in milliseconds of elapsed time. */
export const look = (self: Entry, opened: Opened, status: TorrentStatus, now: number): void => {
  const { saved } = self
  const { before } = opened
  const seeded = opened.seedingSince === undefined ? 0 : Math.max(0, now - opened.seedingSince)
  opened.seedingSince = isSeeding(opened, status) ? now : undefined
  const statistics: Statistics = {
    downloadedBytes: before.downloadedBytes + status.downloadedBytes,
    uploadedBytes: before.uploadedBytes + status.uploadedBytes,
    seedingMillis: saved.statistics.seedingMillis + seeded
  }
  const { missingBytes, totalBytes, wantedBytes } = status
  // Nothing has no bytes, but that is said of a torrent whose metadata is not known.
  const isUnknown = unknown.has(status.state._tag) || totalBytes === 0
  const progress = isUnknown ? saved.progress : { totalBytes, wantedBytes, missingBytes }
  if (!isUnknown) self.unverifiedBytes = status.unverifiedBytes
  const { seedingMillis } = statistics
  const isSameBesides =
    Revisions.isSame({ ...saved.statistics, seedingMillis }, statistics) && Revisions.isSame(saved.progress, progress)
  if (isSameBesides && seedingMillis === saved.statistics.seedingMillis) return
  self.saved = { ...saved, statistics, progress }
  if (!isSameBesides) self.isUnsaved = true
}

/** What it is doing. `status` is what the engine says of it, if it is there. */
export const stateOf = (self: Entry, defaults: Defaults, status: TorrentStatus | undefined): SessionState => {
  const { opened, saved } = self
  const { wanted } = saved
  if (wanted._tag === "Removing") return { _tag: "Removing" }
  if (self.moving.isOpen()) return { _tag: "Moving" }
  const isActive = opened?.isPaused === false || status?.state._tag === "Checking"
  if (isActive && status !== undefined) return { _tag: "Active", state: status.state }
  if (wanted._tag === "Failed") return wanted
  if (wanted._tag === "Paused") return { _tag: "Paused" }
  const reached = reachedGoal(self, defaults)
  return reached === undefined ? { _tag: "Queued" } : { _tag: "GoalReached", reached }
}

/** A snapshot. */
export const statusOf = (self: Entry, defaults: Defaults, status: TorrentStatus | undefined): SessionStatus => {
  const { wanted: _, isCompletionDue: __, ...saved } = self.saved
  return {
    ...saved,
    state: stateOf(self, defaults, status),
    shareRatio: SeedingGoal.ratioOf(saved.statistics.uploadedBytes, saved.progress?.wantedBytes ?? 0),
    downloadBytesPerSecond: status?.downloadBytesPerSecond ?? 0,
    uploadBytesPerSecond: status?.uploadBytesPerSecond ?? 0,
    connectedPeers: status?.connectedPeers ?? 0
  }
}
