/**
 * The contract of a medium that keeps torrents: what can be asked of it and how it fails. A medium has its own file.
 *
 * Bytes that come in here are verified, or come with their digest to a medium that verifies before it stores anything; no
 * other byte is ever stored. A write that returns has been accepted by the medium in full, and every error has been
 * reported: a deferred one never becomes a success.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { FileLayout } from "../metainfo/FileLayout.ts"

/** The medium has no room left (ENOSPC, EDQUOT, HTTP 507). Passes when somebody frees space. */
export class DiskFull extends Data.TaggedClass("DiskFull")<{
  /** The file that could not grow, as the user would name it. */
  readonly path: string
}> {
  get message() {
    return `the disk is full: ${this.path} cannot grow`
  }
}

/** The medium refuses: no permission, read only, a folder in the way. Stays so until somebody changes something. */
export class StorageRefused extends Data.TaggedClass("StorageRefused")<{
  readonly path: string
  /** What is wrong, as the end of a sentence: `permission denied`. */
  readonly why: string
}> {
  get message() {
    return `${this.path}: ${this.why}`
  }
}

/** The medium failed or is away (EIO, EMFILE, a daemon that restarts). May pass by itself. */
export class StorageUnavailable extends Data.TaggedClass("StorageUnavailable")<{
  readonly path: string
  readonly why: string
}> {
  get message() {
    return `${this.path}: ${this.why}`
  }
}

/** The bytes asked for are not there: never written, deleted or cut off since. */
export class NotStored extends Data.TaggedClass("NotStored")<{ readonly path: string }> {
  get message() {
    return `${this.path} does not hold the bytes asked for`
  }
}

/** What came was not what its digest says; nothing of it was stored. Only of media that verify. */
export class DigestMismatch extends Data.TaggedClass("DigestMismatch")<{ readonly path: string }> {
  get message() {
    return `${this.path}: a piece that came does not match its digest`
  }
}

/** Why a medium did not do what was asked; who retries decides by its `_tag`. */
export type StorageReason = DiskFull | StorageRefused | StorageUnavailable | NotStored | DigestMismatch

// What only a person can change comes before what passes.
const lasting: ReadonlyArray<StorageReason["_tag"]> = [
  "StorageRefused",
  "DiskFull",
  "StorageUnavailable",
  "NotStored",
  "DigestMismatch"
]

/** What went wrong while a medium did what was asked. `message` is one sentence a user can read. */
export class StorageError extends Data.TaggedError("StorageError")<{
  readonly operation: "open" | "prepare" | "write" | "read" | "digest" | "flush"
  readonly reason: StorageReason
  /** What else went wrong, where an operation over several files failed in more than one; `reason` lasts longest. */
  readonly others?: ReadonlyArray<StorageReason> | undefined
}> {
  /** One error of everything that went wrong in one operation; the reason that lasts longest becomes `reason`. */
  static of(
    operation: StorageError["operation"],
    reasons: readonly [StorageReason, ...ReadonlyArray<StorageReason>]
  ): StorageError {
    const [reason, ...others] = [...reasons].sort((a, b) => lasting.indexOf(a._tag) - lasting.indexOf(b._tag))
    return new StorageError({ operation, reason: reason!, others: others.length > 0 ? others : undefined })
  }

  override get message() {
    const more = this.others?.length ?? 0
    if (more === 0) return this.reason.message
    return `${this.reason.message}, and ${more === 1 ? "another file" : `${more} other files`} failed as well`
  }
}

/** The SHA-1 of a stored piece, or `undefined` where its bytes are not all there. */
export interface StoredDigest {
  readonly piece: PieceIndex
  readonly sha1: Uint8Array | undefined
}

/** One torrent's bytes on a medium. */
export interface TorrentStorage {
  /**
   * Whether the medium verifies: `writePiece` compares the whole piece with the digest it is given before it stores any of
   * it, and fails with `DigestMismatch`. Then nobody needs to do so before. Default: it does not.
   */
  readonly verifies?: boolean | undefined
  /**
   * Says which files are wanted (indices in `layout.files`), until it is said again; before, all are. Makes what no write
   * would make: the empty ones among them and their folders. Makes nothing of a file that is not listed; its bytes, which
   * come with pieces that it shares with others, a medium of files may keep aside until it is. Idempotent.
   */
  readonly prepare: (files: ReadonlyArray<number>) => Effect.Effect<void, StorageError>
  /**
   * Stores a whole verified piece, over all its files, in one write. `bytes` is as long as the piece and may be reused
   * once this returns, however it ends; interruption waits for what is in flight. A write that fails or is interrupted
   * may have stored a part of the piece, which is as good as nothing. Repeating a write is harmless, also at once.
   *
   * `sha1` is what the digest of `bytes` should be, where the caller has it at hand. A medium that does not verify ignores
   * it; one that does takes bytes without it for right.
   */
  readonly writePiece: (
    piece: PieceIndex,
    bytes: Uint8Array,
    sha1?: Uint8Array | undefined
  ) => Effect.Effect<void, StorageError>
  /**
   * Reads `length` bytes from `begin` in a stored piece (peers ask for 16 KiB, BEP 3) into fresh memory, or, where a
   * medium reads into memory that it is given, into the beginning of `into`, which is at least as long. A read that fails
   * or is interrupted may go on writing there for a moment. Fails with
   * `NotStored` where a file is missing or too short. A medium may have no other memory of what was written: a piece
   * that was not may read as zeros where a later one of the same file is stored.
   */
  readonly readBlock: (
    piece: PieceIndex,
    begin: number,
    length: number,
    into?: Uint8Array | undefined
  ) => Effect.Effect<Uint8Array, StorageError>
  /**
   * Digests stored pieces, in the order given, as they are read: a recheck moves no data past the medium. What is not
   * stored has no digest, or that of the zeros `readBlock` would give; neither is an error. Costs little where nothing
   * is stored, as a medium asks once where a file ends; so a write that comes meanwhile may or may not be seen.
   */
  readonly digests: (pieces: Iterable<PieceIndex>) => Stream.Stream<StoredDigest, StorageError>
  /** Makes what was written survive a power cut. */
  readonly flush: Effect.Effect<void, StorageError>
}

/** Keeps the bytes of torrents. */
export class Storage extends Context.Service<
  Storage,
  {
    /** Opens one torrent's files until the scope closes. Touches no file before `prepare` or the first write. */
    readonly open: (layout: FileLayout) => Effect.Effect<TorrentStorage, StorageError, Scope.Scope>
  }
>()("piecewise/storage/Storage") {}
