/**
 * The contract of what remembers, from one run to the next, which pieces of a torrent are stored.
 *
 * A snapshot is replaced as a whole, or not at all. Between snapshots each stored piece is appended, which costs a few
 * bytes however large the torrent is, so a process that is killed loses at most the pieces in flight.
 *
 * A medium confirms a write before the disk has it. Such a write survives the death of the process, but not a power cut;
 * so it is remembered apart which pieces were flushed, and after a restart of the machine only those are trusted.
 *
 * Leaves to others whether the files are still there and untouched: that is `Storage`'s to tell.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Bitfield } from "../base/Bitfield.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"

/** Resume data could not be read or written. `why` ends a sentence. */
export class ResumeError extends Data.TaggedError("ResumeError")<{
  readonly operation: "load" | "save" | "append" | "remove"
  readonly path: string
  readonly why: string
}> {
  override get message() {
    return `${this.path}: ${this.why}`
  }
}

/** What is remembered of a torrent's stored pieces. Every set has one bit a piece; the reader owns them. */
export interface ResumeData {
  /** Pieces whose write the storage confirmed. */
  readonly stored: Bitfield
  /** Those of `stored` that survive a power cut. What a `save` that changes nothing is given as `flushed`. */
  readonly flushed: Bitfield
  /**
   * Those of `stored` that need no verification now: all of them while the machine has not been restarted since they
   * were written, and `flushed` after that. The others are probably there, but must be verified first.
   */
  readonly trusted: Bitfield
}

/** The resume data of one torrent, owned by one program at a time. Its operations run one after another. */
export interface TorrentResume {
  /** What was saved before; `undefined` where there is nothing, or it is damaged or of another torrent (logged). */
  readonly load: Effect.Effect<ResumeData | undefined, ResumeError>
  /**
   * Replaces the snapshot, durably: when this returns a power cut does not undo it; when it fails or is cut short, the
   * previous one is still valid. Both sets are copied when this starts.
   *
   * `flushed` are the pieces that were stored before a flush of the storage began which has succeeded since: copy
   * `stored` first, flush, then save the `stored` of now with that copy. What is not in `stored` as well is left out.
   * Only what is trusted or was verified since belongs in `stored`: saving makes it trusted until the next restart. A
   * piece that turned out to be wrong is to be saved away before it is written again.
   */
  readonly save: (pieces: { readonly stored: Bitfield; readonly flushed: Bitfield }) => Effect.Effect<void, ResumeError>
  /**
   * Adds pieces that were stored just now, none of them flushed; where nothing was saved yet, to the empty set. One
   * write for all of them. Survives the death of the process, but not a power cut.
   */
  readonly append: (pieces: ReadonlyArray<PieceIndex>) => Effect.Effect<void, ResumeError>
  /** Forgets the torrent. */
  readonly remove: Effect.Effect<void, ResumeError>
}

/** Remembers stored pieces between runs. */
export class ResumeStore extends Context.Service<
  ResumeStore,
  {
    /**
     * Opens the resume data of a torrent of `pieceCount` pieces until the scope closes, which waits for an operation
     * under way. Writes nothing by itself.
     */
    readonly open: (infoHash: InfoHash, pieceCount: number) => Effect.Effect<TorrentResume, ResumeError, Scope.Scope>
  }
>()("piecewise/resume/ResumeStore") {}
