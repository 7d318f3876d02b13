/**
 * The contract of what keeps a session from one run to the next: its torrents, labels, goals of trackers
 * and limits.
 *
 * A session starts with one `load`, which reads no metainfo, and reads that of a torrent when it needs it. Changes are
 * small: a `commit` is kept as a whole or not at all, and once it has returned, neither a kill nor a power cut undoes
 * it. A store has one owner at a time.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { InfoHash } from "../base/InfoHash.ts"
import type {
  Progress,
  SavedContent,
  SavedFiles,
  SavedLabel,
  SavedTorrent,
  SessionLimits,
  Source,
  Statistics,
  TrackerGoal,
  Unreadable
} from "./SavedTorrent.ts"

/** Another process has the store. Passes when that process ends. */
export class StoreInUse extends Schema.TaggedClass<StoreInUse>("piecewise/StoreInUse")("StoreInUse", {
  path: Schema.String
}) {
  get message() {
    return `${this.path} is in use by another process`
  }
}

/** A newer version of piecewise has written the store. It was not changed. */
export class StoreTooNew extends Schema.TaggedClass<StoreTooNew>("piecewise/StoreTooNew")("StoreTooNew", {
  path: Schema.String,
  /** The version of the store, and the latest one that can be read. */
  version: Schema.Natural,
  latest: Schema.Natural
}) {
  get message() {
    return `${this.path} has version ${this.version}, and this version of piecewise reads up to ${this.latest}: use a newer one`
  }
}

/** What is at the path is no store of a session. It was not changed. */
export class StoreForeign extends Schema.TaggedClass<StoreForeign>("piecewise/StoreForeign")("StoreForeign", {
  path: Schema.String
}) {
  get message() {
    return `${this.path} exists already, and is not a session of piecewise`
  }
}

/** The store is damaged. `why` is the end of a sentence. */
export class StoreDamaged extends Schema.TaggedClass<StoreDamaged>("piecewise/StoreDamaged")("StoreDamaged", {
  path: Schema.String,
  why: Schema.String
}) {
  get message() {
    return `${this.path} is damaged: ${this.why}`
  }
}

/** The medium has no room left. May pass when space is freed. */
export class StoreFull extends Schema.TaggedClass<StoreFull>("piecewise/StoreFull")("StoreFull", {
  path: Schema.String
}) {
  get message() {
    return `${this.path} cannot grow: the disk is full`
  }
}

/** The medium refuses or fails. `why` is the end of a sentence. */
export class StoreUnavailable extends Schema.TaggedClass<StoreUnavailable>("piecewise/StoreUnavailable")(
  "StoreUnavailable",
  {
    path: Schema.String,
    why: Schema.String
  }
) {
  get message() {
    return `${this.path}: ${this.why}`
  }
}

/** The schema of why a store did not do what it was asked to. */
export const StoreReason = Schema.Union([
  StoreInUse,
  StoreTooNew,
  StoreForeign,
  StoreDamaged,
  StoreFull,
  StoreUnavailable
])

/** Why a store did not do what it was asked to. */
export type StoreReason = typeof StoreReason.Type

/** A session could not be read or written. `message` is a sentence a user can read. */
export class SessionStoreError extends Schema.TaggedError<SessionStoreError>()("piecewise/SessionStoreError", {
  operation: Schema.Literals(["open", "load", "content", "commit", "copy"]),
  reason: StoreReason
}) {
  override get message() {
    return this.reason.message
  }
}

/** Whether an error may pass by itself. */
export const isPassing = ({ reason }: SessionStoreError): boolean =>
  reason._tag === "StoreInUse" || reason._tag === "StoreFull" || reason._tag === "StoreUnavailable"

/** What is kept, without the contents of the torrents. */
export interface SavedSession {
  /** In the order of their positions, and then of their info hashes. */
  readonly torrents: ReadonlyArray<SavedTorrent>
  /** In any order. */
  readonly labels: ReadonlyArray<SavedLabel>
  /** In any order. */
  readonly trackerGoals: ReadonlyArray<TrackerGoal>
  readonly limits: SessionLimits
  /** What cannot be read of all that, and is left out of it. A change of one of these replaces it. */
  readonly unreadable: ReadonlyArray<Unreadable>
}

/** One change of what is kept. A change of a torrent or label that is not there does nothing, except to add it. */
export type StoreChange =
  /** Adds a torrent, or replaces the one with its info hash. */
  | { readonly _tag: "AddTorrent"; readonly torrent: SavedTorrent; readonly content: SavedContent }
  /** Replaces what is known of a torrent, except its content. */
  | { readonly _tag: "SetTorrent"; readonly torrent: SavedTorrent }
  /** Replaces the numbers that change while a torrent is active. */
  | {
      readonly _tag: "SetStatistics"
      readonly infoHash: InfoHash
      readonly statistics: Statistics
      readonly progress: Progress | undefined
    }
  /** Replaces the hosts of the trackers of a torrent. */
  | { readonly _tag: "SetTrackerHosts"; readonly infoHash: InfoHash; readonly hosts: ReadonlyArray<string> }
  | { readonly _tag: "SetSource"; readonly infoHash: InfoHash; readonly source: Source }
  | { readonly _tag: "SetFiles"; readonly infoHash: InfoHash; readonly files: SavedFiles }
  | { readonly _tag: "RemoveTorrent"; readonly infoHash: InfoHash }
  /** Adds a label, or replaces the one with its name. */
  | { readonly _tag: "SetLabel"; readonly label: SavedLabel }
  | { readonly _tag: "RemoveLabel"; readonly name: string }
  /** Adds a goal, or replaces that of its host. */
  | { readonly _tag: "SetTrackerGoal"; readonly goal: TrackerGoal }
  | { readonly _tag: "RemoveTrackerGoal"; readonly host: string }
  | { readonly _tag: "SetLimits"; readonly limits: SessionLimits }

/** Keeps a session. */
export class SessionStore extends Context.Service<
  SessionStore,
  {
    /** Reads everything except the contents of the torrents. */
    readonly load: Effect.Effect<SavedSession, SessionStoreError>
    /** Reads the content of a torrent; `undefined` if there is no such torrent. The caller owns the bytes. */
    readonly content: (infoHash: InfoHash) => Effect.Effect<SavedContent | undefined, SessionStoreError>
    /**
     * Makes changes in their order: all of them or, if it fails or is interrupted, none. Once it returns, they survive
     * a kill and a power cut. Commits of several fibers come one after the other.
     */
    readonly commit: (changes: ReadonlyArray<StoreChange>) => Effect.Effect<void, SessionStoreError>
  }
>()("piecewise/session/SessionStore") {}
