/**
 * What a session says of its torrents: a snapshot of each, and what has changed since an earlier one.
 */
import * as Schema from "effect/Schema"
import { InfoHash } from "../base/InfoHash.ts"
import { TorrentState } from "../torrent/TorrentStatus.ts"
import { SavedTorrent, Unreadable } from "./SavedTorrent.ts"

/** The schema of what a torrent of a session is doing. Only an active one is in the engine. */
export const SessionState = Schema.TaggedUnion({
  /** It runs, and is in the state that its status in the engine says. */
  Active: { state: TorrentState },
  /** It waits until the queue has a place for it. */
  Queued: {},
  /** Its files are being moved to another folder. */
  Moving: {},
  Paused: {},
  /** An error ended it: `error` is its tag, and `message` a sentence for users. It is tried again when it is resumed. */
  Failed: { error: Schema.String, message: Schema.String },
  /** A seeding goal was reached. It goes on if the goal is lifted or raised. */
  GoalReached: { reached: Schema.Literals(["ratio", "time"]) },
  /** It is being removed. */
  Removing: {}
})

/** What a torrent of a session is doing. */
export type SessionState = typeof SessionState.Type

const { wanted: _, isCompletionDue: __, ...saved } = SavedTorrent.fields

/**
 * The schema of a snapshot: what is saved, and what the torrent is doing in place of what it should do. Times are
 * milliseconds since 1970, and statistics those of all runs. What is not read from the engine is as it was when the
 * torrent was last active.
 */
export const SessionStatus = Schema.Struct({
  ...saved,
  state: SessionState,
  /** Uploaded bytes divided by wanted bytes, in all runs. */
  shareRatio: Schema.Finite,
  /** Bytes a second over the last few seconds; 0 unless it is active. */
  downloadBytesPerSecond: Schema.Finite,
  uploadBytesPerSecond: Schema.Finite,
  connectedPeers: Schema.Natural
})

/** A snapshot of a torrent of a session. */
export type SessionStatus = typeof SessionStatus.Type

/**
 * The schema of a moment in the life of a session, as an opaque text. It ends with the process: a session that was opened
 * again does not know it.
 */
export const Revision = Schema.String

/** A moment in the life of a session. */
export type Revision = typeof Revision.Type

/** The schema of all torrents of a session at one moment. */
export const SessionList = Schema.Struct({
  revision: Revision,
  /** In the order of their positions. */
  torrents: Schema.Array(SessionStatus),
  /** What was saved and cannot be read. It is not used, and stays as it is. */
  unreadable: Schema.Array(Unreadable)
})

/** All torrents of a session at one moment. */
export type SessionList = typeof SessionList.Type

/** The schema of what is different from an earlier moment. */
export const SessionChanges = Schema.Struct({
  /** What to ask with the next time. */
  revision: Revision,
  /** Whether the earlier moment is not known any more. Then `torrents` are all that there are. */
  isAll: Schema.Boolean,
  /** Torrents that are new or look different, in the order of their positions. */
  torrents: Schema.Array(SessionStatus),
  /** Torrents that are gone. */
  removed: Schema.Array(InfoHash)
})

/** What is different from an earlier moment. */
export type SessionChanges = typeof SessionChanges.Type

/**
 * The schema of which event it is, as an opaque text. It ends with the process: a session that was opened again does not
 * know it.
 */
export const EventId = Schema.String

/** Which event it is. */
export type EventId = typeof EventId.Type

/** The schema of something that happened to a torrent of a session. The engine's events say more of active ones. */
export const SessionEvent = Schema.Struct({
  id: EventId,
  infoHash: InfoHash,
  event: Schema.TaggedUnion({
    Added: { name: Schema.String },
    /** It is not in the session any more. */
    Removed: {},
    /** It does something else than before. The same state with other numbers in it is not reported. */
    StateChanged: { state: SessionState },
    /** Everything that is wanted is stored, for the first time. */
    Completed: {}
  })
})

/** Something that happened to a torrent of a session. */
export type SessionEvent = typeof SessionEvent.Type

/**
 * The schema of a gap: events before this place are not kept any more. `Session.list` says what they have led to. The id
 * is that of the last of them, so whoever goes on from it does not hear of the gap again.
 */
export const EventsMissed = Schema.Struct({ id: EventId, event: Schema.TaggedStruct("Missed", {}) })

/** A gap in the events. */
export type EventsMissed = typeof EventsMissed.Type

/** Whether two states are the same, whatever numbers they carry. */
export const isSameState = (one: SessionState, other: SessionState): boolean => {
  if (one._tag !== other._tag) return false
  return one._tag !== "Active" || other._tag !== "Active" || one.state._tag === other.state._tag
}
