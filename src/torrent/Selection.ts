/**
 * Which files of a torrent are wanted, and which pieces are urgent: what a user asks for before and during a run.
 *
 * Files are moved to their places before their pieces are requested, so selections are applied one at a time.
 */
import * as Effect from "effect/Effect"
import * as Assembly from "../assembly/Assembly.ts"
import type * as PieceOrder from "../assembly/PieceOrder.ts"
import * as PiecePriority from "../assembly/PiecePriority.ts"
import type * as Bitfield from "../base/Bitfield.ts"
import * as Turn from "../base/Turn.ts"
import type { FileLayout } from "../metainfo/FileLayout.ts"
import type { StorageError, TorrentStorage } from "../storage/Storage.ts"

/** What a user wants of one torrent. */
export interface Selection {
  readonly layout: FileLayout
  /** As in `PiecePriority.ofFiles`; empty if all files are wanted alike. */
  files: ReadonlyArray<PiecePriority.PiecePriority>
  deadlines: ReadonlyArray<PieceOrder.Deadline>
  readonly changing: Turn.Turn
}

/** The parts of a run that a selection changes. */
export interface Running {
  readonly assembly: Assembly.Assembly
  /**
   * Moves the wanted files (by index) to their places, and reserves what is to be written. `pieces` are the wanted
   * pieces.
   */
  readonly select: (files: ReadonlyArray<number>, pieces: Bitfield.Bitfield) => Effect.Effect<void, StorageError>
  /** Called after the wanted files have changed. */
  readonly onChange: () => void
}

/** Makes a selection without urgent pieces. */
export const make = (layout: FileLayout, files: ReadonlyArray<PiecePriority.PiecePriority>): Selection => ({
  layout,
  files,
  deadlines: [],
  changing: Turn.make()
})

/** Moves the wanted files to their places. Returns their priorities, for `begin`. */
export const prepare = (self: Selection, storage: TorrentStorage): Effect.Effect<Selection["files"], StorageError> =>
  Effect.suspend(() => {
    const { files } = self
    return Effect.as(storage.prepare(PiecePriority.wantedFiles(self.layout, files)), files)
  })

/** Applies the selection that was prepared to a download that begins. */
export const begin = (self: Selection, assembly: Assembly.Assembly, prepared: Selection["files"]): void => {
  if (prepared.length > 0) Assembly.setPriorities(assembly, PiecePriority.ofFiles(self.layout, prepared))
  Assembly.setDeadlines(assembly, self, self.deadlines)
}

/** Applies what was asked for since `prepare`, now that the download runs. */
export const catchUp = (
  self: Selection,
  running: Running,
  prepared: Selection["files"]
): Effect.Effect<void, StorageError> =>
  Effect.suspend(() => (self.files === prepared ? Effect.void : setFiles(self, () => running, self.files)))

/**
 * Sets how much each file is wanted, in the current run and in those that follow. Fails if the storage cannot take the
 * files; then only their places may have changed.
 */
export const setFiles = (
  self: Selection,
  current: () => Running | undefined,
  files: Selection["files"]
): Effect.Effect<void, StorageError> => Turn.take(self.changing, apply(self, current, files))

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

/** Sets which pieces come before all others, instead of those that were set before. */
export const setDeadlines = (
  self: Selection,
  assembly: Assembly.Assembly | undefined,
  deadlines: ReadonlyArray<PieceOrder.Deadline>
): void => {
  self.deadlines = deadlines
  if (assembly !== undefined) Assembly.setDeadlines(assembly, self, deadlines)
}
