/**
 * The contract of resume data: which pieces of a torrent are stored, and what its files looked like when the torrent
 * last changed them, remembered from one run to the next.
 *
 * A snapshot is replaced as a whole, or not at all. Between snapshots changes are appended, which costs a few bytes
 * each, however large the torrent is. So a process that is killed loses at most the pieces in flight.
 *
 * A medium confirms a write before the disk has it. Such a write survives the death of the process, but not a power
 * cut. So flushed pieces are remembered apart, and after a restart of the machine only those are trusted.
 *
 * Nothing here is believed by itself: a piece counts only if its files are still as recorded. So resume data that was
 * planted, or that is beside other files than those it describes, has no effect.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Bitfield } from "../base/Bitfield.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"

/** Resume data could not be read or written. `why` ends a sentence. */
export class ResumeError extends Schema.TaggedError<ResumeError>()("piecewise/ResumeError", {
  operation: Schema.Literals(["load", "save", "append", "remove"]),
  path: Schema.String,
  why: Schema.String
}) {
  override get message() {
    return `${this.path}: ${this.why}`
  }
}

/** What is remembered of a file of the torrent: one that it made, or adopted on proof. */
export interface FileRecord {
  /**
   * Whether it was being written: set before the first write to it, and cleared when the file needs no more writes or
   * the torrent stops. After a kill its size and time prove nothing.
   */
  readonly isWriting: boolean
  /**
   * Whether a flush of it has failed and it still has the same blocks: they may lose later writes, although a later
   * flush succeeds.
   */
  readonly isStale: boolean
  /** What it looked like then, as `FileFacts` of `storage/Storage.ts`. */
  readonly length: number
  readonly mtimeNs: bigint
  readonly identity: string
}

/** What is remembered of a torrent. Every set of pieces has one bit a piece; the reader owns all of it. */
export interface ResumeData {
  /** Pieces whose write the storage confirmed. */
  readonly stored: Bitfield
  /** Those of `stored` that survive a power cut. */
  readonly flushed: Bitfield
  /** The torrent's own files, by their index in `layout.files`. Empty in data of the first format. */
  readonly files: ReadonlyMap<number, FileRecord>
  /** Whether the machine has not been restarted since: then what was written but not flushed is there too. */
  readonly isSameBoot: boolean
}

/** The contents of a snapshot; copied when `save` starts. */
export type Snapshot = Pick<ResumeData, "stored" | "flushed" | "files">

/** What has changed. It is appended in this order: whatever of it a kill leaves behind is true. */
export interface ResumeChange {
  /** Pieces that are not stored any more: another program deleted or changed them. */
  readonly dropped?: ReadonlyArray<PieceIndex> | undefined
  /** Files that became the torrent's own, or look different now. */
  readonly files?: ReadonlyMap<number, FileRecord> | undefined
  /** Pieces that were just stored, none of them flushed. */
  readonly stored?: ReadonlyArray<PieceIndex> | undefined
  /** Stored pieces that now survive a power cut. */
  readonly flushed?: ReadonlyArray<PieceIndex> | undefined
}

/** The resume data of one torrent, owned by one program at a time. Its operations run one after another. */
export interface TorrentResume {
  /** What was saved before; `undefined` if there is nothing, or it is damaged or of another torrent (logged). */
  readonly load: Effect.Effect<ResumeData | undefined, ResumeError>
  /**
   * Replaces the snapshot, durably: once this returns, a power cut does not undo it; if it fails or is interrupted, the
   * previous one is still valid.
   *
   * `flushed` are the pieces that were stored before the start of a successful flush of the storage; those that are not
   * in `stored` are left out. `stored` must only have pieces that are trusted or were verified since: saving makes them
   * trusted until the next restart. Remove a piece that turned out to be wrong from the saved data before it is written
   * again.
   */
  readonly save: (snapshot: Snapshot) => Effect.Effect<void, ResumeError>
  /**
   * Appends to what was saved; if nothing was saved yet, to nothing. Survives the death of the process, and with
   * `durably` a power cut.
   */
  readonly append: (
    change: ResumeChange,
    options?: { readonly durably?: boolean | undefined } | undefined
  ) => Effect.Effect<void, ResumeError>
  /** Forgets the torrent. */
  readonly remove: Effect.Effect<void, ResumeError>
}

/** Which torrent is opened, with what its data must fit. */
export interface OpenOptions {
  readonly infoHash: InfoHash
  readonly pieceCount: number
  /** Files in `layout.files`, including padding. */
  readonly fileCount: number
}

/** Remembers stored pieces between runs. */
export class ResumeStore extends Context.Service<
  ResumeStore,
  {
    /**
     * Opens the resume data of a torrent until the scope closes, which waits for an operation under way. Writes nothing
     * by itself.
     */
    readonly open: (options: OpenOptions) => Effect.Effect<TorrentResume, ResumeError, Scope.Scope>
  }
>()("piecewise/resume/ResumeStore") {}
