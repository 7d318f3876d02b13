/**
 * What of a torrent is wanted, and how soon: what a user says before it runs and while it does.
 *
 * Only what has its place on the medium is asked for, so files change their places one selection after the other.
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as Assembly from "../assembly/Assembly.ts"
import type * as PieceOrder from "../assembly/PieceOrder.ts"
import * as PiecePriority from "../assembly/PiecePriority.ts"
import type * as Bitfield from "../base/Bitfield.ts"
import type { FileLayout } from "../metainfo/FileLayout.ts"
import type { StorageError, TorrentStorage } from "../storage/Storage.ts"

/** The wishes for one torrent. */
export interface Selection {
  readonly layout: FileLayout
  /** As in `PiecePriority.ofFiles`; empty where all are wanted alike. */
  files: ReadonlyArray<PiecePriority.PiecePriority>
  deadlines: ReadonlyArray<PieceOrder.Deadline>
  readonly changing: Semaphore.Semaphore
}

/** What runs already. */
export interface Running {
  readonly assembly: Assembly.Assembly
  /** Brings files that are wanted now, as indices, to their places; `pieces` are those that are wanted with them. */
  readonly select: (files: ReadonlyArray<number>, pieces: Bitfield.Bitfield) => Effect.Effect<void, StorageError>
  /** Hears when something else is wanted. */
  readonly onChange: () => void
}

/** Nothing is urgent. */
export const make = (layout: FileLayout, files: ReadonlyArray<PiecePriority.PiecePriority>): Selection => ({
  layout,
  files,
  deadlines: [],
  changing: Semaphore.makeUnsafe(1)
})

/** Gives the files that are wanted now their places; gives these files, for `begin`. */
export const prepare = (self: Selection, storage: TorrentStorage): Effect.Effect<Selection["files"], StorageError> =>
  Effect.suspend(() => {
    const { files } = self
    return Effect.as(storage.prepare(PiecePriority.wantedFiles(self.layout, files)), files)
  })

/** A download begins, of the files that were prepared. */
export const begin = (self: Selection, assembly: Assembly.Assembly, prepared: Selection["files"]): void => {
  if (prepared.length > 0) Assembly.setPriorities(assembly, PiecePriority.ofFiles(self.layout, prepared))
  Assembly.setDeadlines(assembly, self.deadlines)
}

/** Does what was said since the files were prepared, now that the download runs. */
export const catchUp = (
  self: Selection,
  running: Running,
  prepared: Selection["files"]
): Effect.Effect<void, StorageError> =>
  Effect.suspend(() => (self.files === prepared ? Effect.void : setFiles(self, () => running, self.files)))

/**
 * Sets how much each file is wanted, in the run of that moment (`current`) and in those to come. If the storage cannot take
 * the files, it fails and changes nothing except where bytes lie.
 */
export const setFiles = (
  self: Selection,
  current: () => Running | undefined,
  files: Selection["files"]
): Effect.Effect<void, StorageError> => apply(self, current, files).pipe(self.changing.withPermit)

const apply = (
  self: Selection,
  current: () => Running | undefined,
  files: Selection["files"]
): Effect.Effect<void, StorageError> =>
  Effect.suspend(() => {
    const running = current()
    if (running === undefined) {
      self.files = files
      return Effect.void
    }
    const priorities = PiecePriority.ofFiles(self.layout, files)
    const wanted = PiecePriority.wantedFiles(self.layout, files)
    return Effect.matchEffect(running.select(wanted, PiecePriority.wanted(priorities)), {
      // A run that has ended meanwhile says nothing of the one that follows.
      onFailure: (error) => (current() === running ? Effect.fail(error) : apply(self, current, files)),
      onSuccess: () => {
        if (current() !== running) return apply(self, current, files)
        self.files = files
        Assembly.setPriorities(running.assembly, priorities)
        running.onChange()
        return Effect.void
      }
    })
  })

/** Says which pieces come before all others, instead of those that did. */
export const setDeadlines = (
  self: Selection,
  assembly: Assembly.Assembly | undefined,
  deadlines: ReadonlyArray<PieceOrder.Deadline>
): void => {
  self.deadlines = deadlines
  if (assembly !== undefined) Assembly.setDeadlines(assembly, deadlines)
}
