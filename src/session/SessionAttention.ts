/**
 * What follows from what the torrents of a session do: their metadata, their completion and their failure are saved and
 * reported.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as InfoHash from "../base/InfoHash.ts"
import * as Signal from "../base/Signal.ts"
import type { EngineEvent } from "../engine/Engine.ts"
import * as MagnetFetch from "../engine/MagnetFetch.ts"
import * as Magnet from "../metainfo/Magnet.ts"
import * as TorrentFile from "../metainfo/TorrentFile.ts"
import type { TorrentFailure } from "../torrent/TorrentStatus.ts"
import type * as Opening from "./Opening.ts"
import type { SavedTorrent } from "./SavedTorrent.ts"
import type * as SessionEntry from "./SessionEntry.ts"
import * as SessionEvents from "./SessionEvents.ts"
import * as SessionLooks from "./SessionLooks.ts"
import * as SessionRecord from "./SessionRecord.ts"
import type * as SessionStatus from "./SessionStatus.ts"
import * as SettledHint from "./SettledHint.ts"
import * as TrackerHosts from "./TrackerHosts.ts"

type Entry = SessionEntry.Entry
type Session = SessionRecord.SessionRecord

/** Looks at a torrent, and does what follows from what it does. */
export const attend = (self: Session, entry: Entry): Effect.Effect<void> =>
  Effect.flatMap(SessionLooks.lookAt(self, entry), (status) => {
    SessionLooks.noteState(self, entry, status)
    if (status === undefined) return Effect.void
    if (status.state._tag === "Failed") return fail(self, entry, status.state.error)
    const learning = status.totalBytes > 0 ? learn(self, entry) : Effect.void
    const completing = status.state._tag === "Complete" && !entry.hasCompleted ? complete(self, entry) : Effect.void
    const settling = SettledHint.is(entry, status) ? SettledHint.forget(self, entry) : Effect.void
    return learning.pipe(Effect.andThen(completing), Effect.andThen(settling))
  })

/** Events after which a torrent may be in another state, or have other pieces. */
const telling: ReadonlySet<EngineEvent["event"]["_tag"]> = new Set([
  "Checking",
  "Started",
  "StorageFailed",
  "StorageRecovered",
  "FilesMissing",
  "FilesChanged",
  "PiecesLost",
  "FlushFailed",
  "Flushing",
  "Completed",
  "Paused",
  "Resumed",
  "Failed"
])

/** Attends to the torrent of an event of the engine. */
export const hear = (self: Session, { event, infoHash }: EngineEvent): Effect.Effect<void> => {
  const entry = self.entries.get(InfoHash.toHex(infoHash))
  if (entry?.opened === undefined) return Effect.void
  if (event._tag === "MetadataFetched") return Effect.asVoid(Effect.forkIn(learn(self, entry), self.scope))
  if (event._tag === "Checking") entry.opened.isBusy = true
  return telling.has(event._tag) ? attend(self, entry) : Effect.void
}

/** Saves the metadata of a magnet link and which files the link selects, unless that was done. */
const learn = Effect.fnUntraced(
  function* (self: Session, entry: Entry) {
    const { infoHash, opened } = entry
    if (opened === undefined || opened.hasMetadata) return
    const metainfo = yield* opened.torrent.metainfo
    yield* self.saving.withPermit(
      Effect.gen(function* () {
        const content = yield* self.store.content(infoHash)
        if (content?.source._tag !== "Magnet" || opened.hasMetadata) return
        const link = yield* Effect.fromResult(Magnet.parse(content.source.link))
        const priorities = content.files.priorities ?? MagnetFetch.filesOf({ ...link, infoHash })?.(metainfo)
        const source = { _tag: "Metainfo", bytes: TorrentFile.encode(metainfo) } as const
        const trackerHosts = TrackerHosts.of(metainfo.trackers.flat())
        yield* SessionRecord.updateHeld(self, entry, (saved) => ({ ...saved, name: metainfo.name, trackerHosts }), [
          { _tag: "SetSource", infoHash, source },
          { _tag: "SetFiles", infoHash, files: { ...content.files, priorities } }
        ])
        opened.hasMetadata = true
      })
    )
  },
  // It is tried again with the next event, or when the numbers are saved.
  (effect) => Effect.catch(effect, (error) => Effect.logWarning("the metadata of a torrent could not be saved", error))
)

/** Notes that everything that is wanted is stored. */
const complete = Effect.fnUntraced(
  function* (self: Session, entry: Entry) {
    const { infoHash } = entry
    entry.hasCompleted = true
    const completedAtMillis = yield* Clock.currentTimeMillis
    const isCompletionDue = self.completion !== undefined || undefined
    yield* SessionRecord.update(self, entry, (saved) => ({ ...saved, completedAtMillis, isCompletionDue }))
    SessionEvents.report(self.events, { infoHash, event: { _tag: "Completed" } })
    yield* reportCompletion(self, entry)
  },
  (effect, _, entry) =>
    Effect.catch(effect, (error) => {
      entry.hasCompleted = false
      return Effect.logWarning("the completion of a torrent could not be saved", error)
    })
)

/** Reports the completion of a torrent to whoever waits for it, if that is due, and saves that it was reported. */
const reportCompletion = (self: Session, entry: Entry): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { completion } = self
    if (completion === undefined || entry.isGone || entry.saved.isCompletionDue !== true) return Effect.void
    const reporting = Effect.flatMap(SessionLooks.statusOf(self, entry), completion.use)
    const saving = SessionRecord.update(self, entry, (saved) => ({ ...saved, isCompletionDue: undefined }))
    // If that cannot be saved, or it is interrupted, the next run reports it again.
    const reported = Effect.andThen(
      Effect.catchDefect(reporting, (defect) => Effect.logError(defect)),
      saving
    )
    const logged = Effect.catch(reported, (error) =>
      Effect.logWarning("it could not be saved that the completion of a torrent was reported", error)
    )
    return Effect.asVoid(Effect.forkIn(logged, completion.scope))
  })

/** See `Session.onCompleted`. */
export const onCompleted = Effect.fnUntraced(function* (
  self: Session,
  use: (status: SessionStatus.SessionStatus) => Effect.Effect<void>
) {
  const completion = { use, scope: yield* Effect.scope }
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      self.completion = completion
    }),
    () =>
      Effect.sync(() => {
        if (self.completion === completion) self.completion = undefined
      })
  )
  yield* Effect.forEach([...self.entries.values()], (entry) => reportCompletion(self, entry), { discard: true })
})

/** Notes that an error has ended a torrent, or kept it from the engine. */
export const fail = (self: Session, entry: Entry, error: Opening.OpenError | TorrentFailure): Effect.Effect<void> => {
  const { _tag, message } = error
  const failed = { _tag: "Failed" as const, error: _tag, message }
  const { wanted } = entry.saved
  // It stays in the engine until the plan has it removed.
  if (wanted._tag === "Failed") return Effect.void
  if (wanted._tag !== "Running") return Effect.logWarning("a torrent could not be used", error)
  // Somebody may pause or remove it while that waits to be saved.
  const fails = (saved: SavedTorrent): SavedTorrent =>
    saved.wanted._tag === "Running" ? { ...saved, wanted: failed } : saved
  return SessionRecord.update(self, entry, fails).pipe(
    Effect.catch((cause) =>
      // It must not be tried again and again, whether or not that can be saved.
      Effect.andThen(
        Effect.sync(() => {
          entry.saved = fails(entry.saved)
        }),
        Effect.logWarning("the failure of a torrent could not be saved", cause)
      )
    ),
    Effect.andThen(Effect.sync(() => Signal.set(self.planning)))
  )
}
