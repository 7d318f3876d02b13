/**
 * Which files of a torrent are wanted, and which pieces are urgent: what a user asks for before and during a run. A file
 * that the user skips is wanted all the same while somebody reads it.
 *
 * Files are moved to their places before their pieces are requested, so selections are applied one at a time.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Assembly from "../assembly/Assembly.ts"
import type * as PieceOrder from "../assembly/PieceOrder.ts"
import * as PiecePriority from "../assembly/PiecePriority.ts"
import type * as Bitfield from "../base/Bitfield.ts"
import * as Signal from "../base/Signal.ts"
import * as Turn from "../base/Turn.ts"
import type { FileLayout } from "../metainfo/FileLayout.ts"
import type { StorageError, TorrentStorage } from "../storage/Storage.ts"

/** What is wanted of one torrent. */
export interface Selection {
  readonly layout: FileLayout
  /** What the user wants, as in `PiecePriority.ofFiles`; empty if all files are wanted alike. */
  files: ReadonlyArray<PiecePriority.PiecePriority>
  /** How many readers each file has, if it has any. Present once there was one. */
  readers: Map<number, number> | undefined
  /** What the user and the readers want, of which the current run knows, or the next one will. */
  wanted: ReadonlyArray<PiecePriority.PiecePriority>
  /** Increases with every reader that comes or goes, which may be while a selection is applied. */
  version: number
  deadlines: ReadonlyArray<PieceOrder.Deadline>
  readonly changing: Turn.Turn
  /** Set when a skipped file has lost its last reader. */
  readonly unread: Signal.Signal
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

/** Makes a selection without urgent pieces and readers. */
export const make = (layout: FileLayout, files: Selection["files"]): Selection => ({
  layout,
  files,
  readers: undefined,
  wanted: files,
  version: 0,
  deadlines: [],
  changing: Turn.make(),
  unread: Signal.make()
})

/** Moves the wanted files to their places. Returns their priorities, for `begin`. */
export const prepare = (self: Selection, storage: TorrentStorage): Effect.Effect<Selection["wanted"], StorageError> =>
  Effect.suspend(() => {
    const { wanted } = self
    return Effect.as(storage.prepare(PiecePriority.wantedFiles(self.layout, wanted)), wanted)
  })

/** Applies the selection that was prepared to a download that begins. */
export const begin = (self: Selection, assembly: Assembly.Assembly, prepared: Selection["wanted"]): void => {
  if (prepared.length > 0) Assembly.setPriorities(assembly, PiecePriority.ofFiles(self.layout, prepared))
  Assembly.setDeadlines(assembly, self, self.deadlines)
}

/** Applies what was asked for since `prepare`, now that the download runs. */
export const catchUp = (
  self: Selection,
  running: Running,
  prepared: Selection["wanted"]
): Effect.Effect<void, StorageError> =>
  Effect.suspend(() => (self.wanted === prepared ? Effect.void : reapply(self, () => running)))

/**
 * Sets how much the user wants each file, in the current run and in those that follow. Fails if the storage cannot take
 * the files; then only their places may have changed.
 */
export const setFiles = (
  self: Selection,
  current: () => Running | undefined,
  files: Selection["files"]
): Effect.Effect<void, StorageError> =>
  Turn.take(
    self.changing,
    apply(self, current, () => files)
  )

const isSkipped = ({ files }: Selection, file: number): boolean => files[file] === "skip"

/**
 * Wants a file until the scope closes, even if the user skips it. Fails if the storage cannot take the file. It is not
 * wanted any more soon after the scope has closed (`run`).
 */
export const want = (
  self: Selection,
  current: () => Running | undefined,
  file: number
): Effect.Effect<void, StorageError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      self.version++
      self.readers ??= new Map()
      self.readers.set(file, (self.readers.get(file) ?? 0) + 1)
      return self.readers
    }),
    (readers) =>
      Effect.sync(() => {
        self.version++
        const others = readers.get(file)! - 1
        if (others > 0) readers.set(file, others)
        else readers.delete(file)
        if (others === 0 && isSkipped(self, file)) Signal.set(self.unread)
      })
  ).pipe(Effect.andThen(Effect.suspend(() => (isSkipped(self, file) ? reapply(self, current) : Effect.void))))

/** Stops wanting skipped files that nobody reads any more, until the scope closes. */
export const run = (self: Selection, current: () => Running | undefined): Effect.Effect<void, never, Scope.Scope> =>
  Signal.attend(
    self.unread,
    Effect.catch(reapply(self, current), () =>
      // What is not fetched needs no place.
      Effect.sync(() => {
        const running = current()
        if (running !== undefined) settle(self, running, withReaders(self, self.files))
      })
    )
  )

const reapply = (self: Selection, current: () => Running | undefined): Effect.Effect<void, StorageError> =>
  Turn.take(
    self.changing,
    apply(self, current, () => self.files)
  )

/** What is wanted if the user wants these files. */
const withReaders = (self: Selection, files: Selection["files"]): Selection["wanted"] => {
  const skipped = [...(self.readers?.keys() ?? [])].filter((file) => files[file] === "skip")
  if (skipped.length === 0) return files
  const wanted = [...files]
  for (const file of skipped) wanted[file] = "normal"
  return wanted
}

const settle = (self: Selection, running: Running, wanted: Selection["wanted"]): void => {
  self.wanted = wanted
  Assembly.setPriorities(running.assembly, PiecePriority.ofFiles(self.layout, wanted))
  running.onChange()
}

const apply = (
  self: Selection,
  current: () => Running | undefined,
  ask: () => Selection["files"]
): Effect.Effect<void, StorageError> =>
  Effect.suspend(() => {
    const files = ask()
    const wanted = withReaders(self, files)
    const { version } = self
    const running = current()
    if (running === undefined) {
      self.files = files
      self.wanted = wanted
      return Effect.void
    }
    const pieces = PiecePriority.wanted(PiecePriority.ofFiles(self.layout, wanted))
    return Effect.matchEffect(running.select(PiecePriority.wantedFiles(self.layout, wanted), pieces), {
      // A run that has ended meanwhile says nothing of the one that follows.
      onFailure: (error) => (current() === running ? Effect.fail(error) : apply(self, current, ask)),
      onSuccess: () => {
        if (current() !== running || self.version !== version) return apply(self, current, ask)
        self.files = files
        settle(self, running, wanted)
        return Effect.void
      }
    })
  })

/** Sets which pieces the user wants before all others, instead of those that were set before. */
export const setDeadlines = (
  self: Selection,
  assembly: Assembly.Assembly | undefined,
  deadlines: ReadonlyArray<PieceOrder.Deadline>
): void => {
  self.deadlines = deadlines
  if (assembly !== undefined) Assembly.setDeadlines(assembly, self, deadlines)
}
