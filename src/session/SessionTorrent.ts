/**
 * What a program can see and do with a torrent of a session, and how that fails.
 */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { PiecePriority } from "../assembly/PiecePriority.ts"
import type { Bitfield } from "../base/Bitfield.ts"
import * as InfoHash from "../base/InfoHash.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import type { StorageError } from "../storage/Storage.ts"
import type { FileProgress } from "../torrent/FileProgress.ts"
import type { Removed, Torrent } from "../torrent/Torrent.ts"
import type { TorrentOptions } from "../torrent/TorrentOptions.ts"
import type { RemovalFailed } from "../torrent/TorrentStopped.ts"
import type { SavedOptions } from "./SavedTorrent.ts"
import type { OptionRefused } from "./SessionInput.ts"
import type { SessionStatus } from "./SessionStatus.ts"
import type { SessionStoreError } from "./SessionStore.ts"

/** The session has no torrent with this info hash, or not any more. */
export class NotInSession extends Schema.TaggedError<NotInSession>()("piecewise/NotInSession", {
  infoHash: InfoHash.InfoHash
}) {
  override get message() {
    return `torrent ${InfoHash.toHex(this.infoHash)} is not in the session`
  }
}

/** The session has a torrent with this info hash already. */
export class AlreadyInSession extends Schema.TaggedError<AlreadyInSession>()("piecewise/AlreadyInSession", {
  infoHash: InfoHash.InfoHash
}) {
  override get message() {
    return `torrent ${InfoHash.toHex(this.infoHash)} is in the session already`
  }
}

/** The torrent could not be added to the engine for an operation, or ended before that was done. `why` is a clause. */
export class NotOpened extends Schema.TaggedError<NotOpened>()("piecewise/NotOpened", {
  infoHash: InfoHash.InfoHash,
  why: Schema.String
}) {
  override get message() {
    return `torrent ${InfoHash.toHex(this.infoHash)} cannot be used: ${this.why}`
  }
}

/** A file of a torrent cannot have this path. `why` is a sentence. Nothing was changed. */
export class PathRefused extends Schema.TaggedError<PathRefused>()("piecewise/PathRefused", {
  path: Schema.Array(Schema.String),
  why: Schema.String
}) {
  override get message() {
    return `${this.path.join("/")}: ${this.why}`
  }
}

/** What a torrent may do about files that it finds, or does not find. */
export type ResumeOptions = Pick<TorrentOptions, "overwrite" | "startOver">

/** Where a torrent is put in the queue: at an end of it, or before another torrent. */
export type Place = "first" | "last" | { readonly before: InfoHash.InfoHash }

/**
 * How much each file is wanted, in the order of the metainfo, or a function that says so of the files as they are, without
 * padding.
 */
export type FileChoice<E = never> =
  | ReadonlyArray<PiecePriority>
  | ((files: ReadonlyArray<FileProgress>) => Effect.Effect<ReadonlyArray<PiecePriority>, E>)

/**
 * A torrent of a session. Whatever changes it returns once that is saved, so that a kill does not undo it. Fails with
 * `NotInSession` if the torrent was removed meanwhile, and with `OptionRefused` if a value is not of its schema.
 */
export interface SessionTorrent {
  readonly infoHash: InfoHash.InfoHash
  /** A snapshot of its state and counters, as of now. */
  readonly status: Effect.Effect<SessionStatus, NotInSession>
  /**
   * The torrent in the engine, with its peers, files and events, while it is there. It is there while its state is
   * `Active`. What changes it there, as `pause` does, is not saved.
   */
  readonly torrent: Effect.Effect<Option.Option<Torrent>, NotInSession>
  /**
   * Its metainfo, with the paths that its files have; none while the metadata of a magnet link is not known. Read from
   * the store while the torrent is not in the engine. `NotOpened` says that it cannot be read.
   */
  readonly metainfo: Effect.Effect<Option.Option<Metainfo>, NotInSession | NotOpened | SessionStoreError>
  /**
   * Its files, except padding, and how far each is, as `Torrent.files`: empty until the metadata is known. While the
   * torrent is not in the engine, as far as resume data says: what others did to the files since is not known.
   */
  readonly files: Effect.Effect<ReadonlyArray<FileProgress>, NotInSession | NotOpened | SessionStoreError>
  /** The pieces that are stored, one bit a piece, from where `files` knows them; of no length without metadata. */
  readonly stored: Effect.Effect<Bitfield, NotInSession | NotOpened | SessionStoreError>
  /**
   * Takes it out of the engine, and returns once it is. If an operation such as `recheck` needs it there, it is paused
   * there until that ends. Does nothing if it is paused.
   */
  readonly pause: Effect.Effect<void, NotInSession | SessionStoreError>
  /**
   * Lets it run as soon as the queue has a place for it, also after an error. Does nothing if it should run already, unless
   * an option is set: then it is out of the engine for a moment. The options count once, and are not saved.
   */
  readonly resume: (options?: ResumeOptions) => Effect.Effect<void, NotInSession | SessionStoreError>
  /**
   * Verifies everything that is on the medium again, as `Torrent.recheck`. A torrent that does not run is in the engine
   * meanwhile, and exchanges nothing.
   */
  readonly recheck: Effect.Effect<void, NotInSession | NotOpened>
  /**
   * Removes it from the session and, if `data`, deletes its files, as `Torrent.remove`. It is removed also if the
   * process is killed meanwhile: the next run goes on with it. If something could not be deleted, it is paused.
   */
  readonly remove: (options: {
    readonly data: boolean
  }) => Effect.Effect<Removed, NotInSession | NotOpened | RemovalFailed | SessionStoreError>
  /**
   * Moves a file of `metainfo.layout.files`, by its index, to another path below the download folder, and uses it there
   * from then on. The path has the torrent's own folder in it, if it should stay there. An active torrent is out of the
   * engine meanwhile. Fails with `PathRefused` if the path is not safe on every platform or belongs to another file of
   * the torrent, and with `StorageError` if something exists there or the file cannot be moved. A kill leaves the file in
   * one of its places, and the next run finds it.
   */
  readonly renameFile: (
    file: number,
    path: ReadonlyArray<string>
  ) => Effect.Effect<void, NotInSession | NotOpened | PathRefused | StorageError | SessionStoreError>
  /**
   * Moves its files to another download folder, as `SavedOptions.folder` names one, also on another file system; without
   * a folder to that of the storage. An active torrent is out of the engine meanwhile, and its state is `Moving`. Its
   * pieces need not be verified again. Whoever waits for this may stop waiting: the move goes on.
   *
   * Nothing is overwritten. If something exists at a new path, if there is no room, if the old folder is away, or if the
   * storage has no folders, it fails with `StorageError`, and everything is where it was. A kill, or a `SessionStoreError`,
   * leaves each file in one folder or in both, and the move is finished when the torrent is opened the next time.
   */
  readonly moveTo: (
    folder: string | undefined
  ) => Effect.Effect<void, OptionRefused | NotInSession | NotOpened | StorageError | SessionStoreError>
  /**
   * Sets how much each file is wanted, as `Torrent.setPriorities`. A torrent that does not run is in the engine
   * meanwhile. Changes at the same time are made one after the other, so a function sees what the one before has set.
   */
  readonly setFiles: <E = never>(
    choice: FileChoice<E>
  ) => Effect.Effect<void, E | OptionRefused | NotInSession | NotOpened | StorageError | SessionStoreError>
  /**
   * Replaces the options that are given; `undefined` for the default. The folder stays. An active torrent whose options
   * the engine cannot change is out of the engine for a moment: all options except limits and the goal.
   */
  readonly setOptions: (
    options: Partial<Omit<SavedOptions, "folder">>
  ) => Effect.Effect<void, OptionRefused | NotInSession | SessionStoreError>
  /** Replaces its labels. Its folder stays. */
  readonly setLabels: (
    labels: ReadonlyArray<string>
  ) => Effect.Effect<void, OptionRefused | NotInSession | SessionStoreError>
  /** Moves it in the queue. A place before a torrent that is not there is the last one. */
  readonly move: (place: Place) => Effect.Effect<void, NotInSession | SessionStoreError>
}
