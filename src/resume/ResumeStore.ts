/**
 * The contract of what remembers, from one run to the next, which pieces of a torrent are stored.
 *
 * A snapshot is replaced as a whole, or not at all. Between snapshots each stored piece is appended, which costs a few
 * bytes however large the torrent is, so a process that is killed loses at most the pieces in flight.
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

/** What is known of a torrent's stored pieces. */
export interface ResumeData {
  /** Pieces whose write the storage confirmed. */
  readonly stored: Bitfield
  /**
   * Whether `stored` can be believed as it is. It cannot after a power cut: the medium confirms a write before the disk
   * has it, so what was not flushed before the machine went down must be verified again.
   */
  readonly trusted: boolean
}

/** The resume data of one torrent, owned by one program at a time. */
export interface TorrentResume {
  /** What was saved before; `undefined` where there is none or it is damaged or for another number of pieces. */
  readonly load: Effect.Effect<ResumeData | undefined, ResumeError>
  /** Replaces the snapshot. `flushed` says that all of `stored` was flushed by the storage, and so survives a power cut. */
  readonly save: (stored: Bitfield, options: { readonly flushed: boolean }) => Effect.Effect<void, ResumeError>
  /** Adds pieces to the snapshot, after at least one `save`. */
  readonly append: (pieces: ReadonlyArray<PieceIndex>) => Effect.Effect<void, ResumeError>
  /** Forgets the torrent. */
  readonly remove: Effect.Effect<void, ResumeError>
}

/** Remembers stored pieces between runs. */
export class ResumeStore extends Context.Service<
  ResumeStore,
  {
    /** Opens the resume data of a torrent of `pieceCount` pieces until the scope closes. */
    readonly open: (infoHash: InfoHash, pieceCount: number) => Effect.Effect<TorrentResume, ResumeError, Scope.Scope>
  }
>()("piecewise/resume/ResumeStore") {}
