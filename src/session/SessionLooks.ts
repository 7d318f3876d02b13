/**
 * Looks at the torrents of a session: what the engine says of those that are there, which states are new, and snapshots
 * for whoever lists them.
 */
import * as Effect from "effect/Effect"
import * as Signal from "../base/Signal.ts"
import type { TorrentStatus } from "../torrent/TorrentStatus.ts"
import * as Revisions from "./Revisions.ts"
import * as SessionEntry from "./SessionEntry.ts"
import * as SessionEvents from "./SessionEvents.ts"
import * as SessionRecord from "./SessionRecord.ts"
import * as SessionStatus from "./SessionStatus.ts"

/** Snapshots that are younger than this many milliseconds are not made again, however many ask. */
const snapshotMillis = 500

type Entry = SessionEntry.Entry
type Session = SessionRecord.SessionRecord

/** Notes what the engine says of a torrent, and returns it; `undefined` if it is not there. */
export const lookAt = (self: Session, entry: Entry): Effect.Effect<TorrentStatus | undefined> =>
  Effect.suspend(() => {
    const { opened } = entry
    if (opened === undefined) return Effect.undefined
    return Effect.map(opened.torrent.status, (status) => {
      const wasComplete = SessionEntry.isComplete(entry)
      SessionEntry.look(entry, opened, status, SessionRecord.now(self))
      if (SessionEntry.isComplete(entry) !== wasComplete) Signal.set(self.planning)
      return status
    })
  })

/** Reports the state of a torrent if it is another one than before. */
export const noteState = (self: Session, entry: Entry, status: TorrentStatus | undefined): void => {
  const { infoHash, isGone, reported } = entry
  if (isGone) return
  const state = SessionEntry.stateOf(entry, self, status)
  if (reported !== undefined && SessionStatus.isSameState(reported, state)) return
  entry.reported = state
  entry.hasChanged = true
  if (reported !== undefined) SessionEvents.report(self.events, { infoHash, event: { _tag: "StateChanged", state } })
}

/** Takes snapshots of all torrents, unless there are young ones. */
export const refresh = (self: Session): Effect.Effect<void> =>
  Effect.suspend(() => {
    const at = SessionRecord.now(self)
    const isYoung = at - self.seenAt < snapshotMillis
    if (!isYoung) self.seenAt = at
    return Effect.forEach(
      self.entries.values(),
      (entry) => {
        const isDue = entry.hasChanged || (entry.opened !== undefined && !isYoung)
        if (!isDue) return Effect.void
        entry.hasChanged = false
        return Effect.map(lookAt(self, entry), (status) =>
          Revisions.note(self.revisions, SessionEntry.statusOf(entry, self, status))
        )
      },
      { discard: true }
    )
  })

/** A snapshot of one torrent, as of now. */
export const statusOf = (self: Session, entry: Entry): Effect.Effect<SessionStatus.SessionStatus> =>
  Effect.map(lookAt(self, entry), (status) => SessionEntry.statusOf(entry, self, status))
