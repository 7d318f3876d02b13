/**
 * Puts torrents of a session into the engine, and takes them out. Whoever does that holds the lock of the torrent.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Signal from "../base/Signal.ts"
import type { AlreadyAdded, OnlyV2 } from "../engine/Engine.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import * as Magnet from "../metainfo/Magnet.ts"
import * as Metainfo from "../metainfo/Metainfo.ts"
import type { StorageError } from "../storage/Storage.ts"
import * as FileRenaming from "./FileRenaming.ts"
import * as FolderMoving from "./FolderMoving.ts"
import type { SavedContent } from "./SavedTorrent.ts"
import * as SessionEntry from "./SessionEntry.ts"
import * as SessionRecord from "./SessionRecord.ts"
import type { SessionStoreError } from "./SessionStore.ts"
import { NotInSession } from "./SessionTorrent.ts"

/** Torrents that are opened at once. Each one's metainfo is read meanwhile. */
export const atOnce = 8

type Entry = SessionEntry.Entry
type Session = SessionRecord.SessionRecord

/** Why a torrent could not be added to the engine. */
export type OpenError =
  | SessionStoreError
  | NotInSession
  | Metainfo.MetainfoError
  | Magnet.MagnetError
  | AlreadyAdded
  | OnlyV2
  | StorageError

/**
 * Reads the magnet link or the metainfo of a torrent. A metainfo has the paths that the files have now, and a renaming or
 * a move that was interrupted is finished first.
 */
export const sourceOf = Effect.fnUntraced(function* (
  self: Session,
  entry: Entry,
  { files, source }: SavedContent
): Effect.fn.Return<Metainfo.Metainfo | Magnet.Magnet, OpenError> {
  if (source._tag === "Magnet") return yield* Effect.fromResult(Magnet.parse(source.link))
  const metainfo = yield* Effect.provideService(Metainfo.fromBytes(source.bytes), PieceHasher, self.hasher)
  const { infoHash } = entry
  const { moving, renaming } = files
  if (moving !== undefined) {
    const found = FileRenaming.apply(metainfo, files)
    yield* Effect.catchIf(
      FolderMoving.run(self, entry, found, files, { to: moving.to, isBegun: true }),
      (error) => error._tag === "piecewise/StorageError" && error.reason._tag === "FileExists",
      (error) =>
        // Everything is in the old folder.
        Effect.andThen(
          Effect.logWarning("a move to another folder cannot be finished, and is taken back", error),
          SessionRecord.updateFiles(self, entry, FolderMoving.cleared)
        )
    )
    return found
  }
  if (renaming === undefined) return FileRenaming.apply(metainfo, files)
  const finished = yield* FileRenaming.finish(self, metainfo, files, renaming)
  yield* self.store.commit([{ _tag: "SetFiles", infoHash, files: finished }])
  return FileRenaming.apply(metainfo, finished)
})

/** Adds a torrent to the engine. A move that was interrupted is finished first: others are opened meanwhile. */
export const open = (self: Session, entry: Entry, isPaused: boolean): Effect.Effect<void, OpenError> =>
  Effect.flatMap(openUnlessMoving(self, entry, isPaused), (content) =>
    content === undefined
      ? Effect.void
      : Effect.andThen(
          sourceOf(self, entry, content),
          Effect.suspend(() => open(self, entry, isPaused))
        )
  )

/** Adds a torrent to the engine, unless its files are still to be moved: then it returns its content. */
const openUnlessMoving = (
  self: Session,
  entry: Entry,
  isPaused: boolean
): Effect.Effect<SavedContent | undefined, OpenError> =>
  self.opening.withPermit(
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        if (self.isOver) return yield* Effect.interrupt
        const content = yield* self.store.content(entry.infoHash)
        if (content === undefined) return yield* new NotInSession({ infoHash: entry.infoHash })
        if (content.files.moving !== undefined && content.source._tag === "Metainfo") return content
        const source = yield* restore(sourceOf(self, entry, content))
        SessionEntry.learnHosts(entry, source.trackers.flat())
        const { folder: _, goal: __, ...options } = entry.saved.options
        // Not in the scope of the session, which would close them one after the other.
        const scope = yield* Scope.make()
        const adding = self.engine.add(source, {
          ...options,
          ...entry.once,
          files: content.files.priorities,
          hintedPieces: content.files.hintedPieces,
          // The session ends it, because goals count all runs.
          seed: true,
          isPaused
        })
        const torrent = yield* Effect.onError(Scope.provide(adding, scope), (cause) =>
          Scope.close(scope, Exit.failCause(cause))
        )
        entry.opened = {
          torrent,
          scope,
          hasMetadata: "layout" in source,
          isPaused,
          isBusy: false,
          before: entry.saved.statistics,
          seedingSince: undefined
        }
        entry.once = {}
        return undefined
      })
    )
  )

/** Pauses a torrent in the engine, if it is there, and returns when it exchanges nothing any more. */
export const quiet = ({ opened }: Entry): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (opened === undefined || opened.isPaused) return Effect.void
    opened.isPaused = true
    return opened.torrent.pause
  })

/** Takes a torrent out of the engine. The caller saves its numbers. */
export const stop = (self: Session, entry: Entry): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { opened } = entry
    if (opened === undefined) return Effect.void
    const { scope, torrent } = opened
    const look = Effect.map(torrent.status, (status) =>
      SessionEntry.look(entry, opened, status, SessionRecord.now(self))
    )
    // What it does while it stops still counts.
    return look.pipe(
      Effect.andThen(Scope.close(scope, Exit.void)),
      Effect.andThen(look),
      Effect.andThen(
        Effect.sync(() => {
          entry.opened = undefined
          entry.hasChanged = true
        })
      )
    )
  }).pipe(Effect.uninterruptible)

/** Takes a torrent out of the engine, and saves what it has done. The plan then decides whether it goes back there. */
export const close = (self: Session, entry: Entry): Effect.Effect<void> =>
  stop(self, entry).pipe(
    Effect.andThen(SessionRecord.save(self, [entry], 0)),
    Effect.andThen(Effect.sync(() => Signal.set(self.planning))),
    Effect.uninterruptible
  )
