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
import type { InfoHash } from "../base/InfoHash.ts"
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

/** Something lies at the path of a file that was to be made. It is left as it is. */
export class FileExists extends Data.TaggedClass("FileExists")<{ readonly path: string }> {
  get message() {
    return `${this.path} exists already, and is not a file of this torrent`
  }
}

/**
 * A file is not what it was when it was claimed or looked at: deleted, cut off, replaced or changed by somebody else. Nothing
 * was written to it. Passes when the file is looked at and claimed again.
 */
export class FileChanged extends Data.TaggedClass("FileChanged")<{
  readonly path: string
  /** What happened to it, as the end of a sentence: `was deleted`. */
  readonly why: string
}> {
  get message() {
    return `${this.path} ${this.why} while the torrent was open`
  }
}

/** Another torrent, of this process or another one, writes to the path. Passes when that one needs no more writes there. */
export class WriterConflict extends Data.TaggedClass("WriterConflict")<{
  readonly path: string
  /** Who writes there, as the end of a sentence: `another torrent of this process`. */
  readonly holder: string
}> {
  get message() {
    return `${this.path} is being written by ${this.holder}`
  }
}

/** Why a medium did not do what was asked; who retries decides by its `_tag`. */
export type StorageReason =
  | DiskFull
  | StorageRefused
  | FileExists
  | WriterConflict
  | FileChanged
  | StorageUnavailable
  | NotStored
  | DigestMismatch

// What only a person can change comes before what passes.
const lasting: ReadonlyArray<StorageReason["_tag"]> = [
  "StorageRefused",
  "FileExists",
  "WriterConflict",
  "DiskFull",
  "FileChanged",
  "StorageUnavailable",
  "NotStored",
  "DigestMismatch"
]

/** What went wrong while a medium did what was asked. `message` is one sentence a user can read. */
export class StorageError extends Data.TaggedError("StorageError")<{
  readonly operation:
    | "open"
    | "look"
    | "reserve"
    | "claim"
    | "prepare"
    | "write"
    | "read"
    | "digest"
    | "flush"
    | "rename"
    | "remove"
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

/** What lies at a file's place, as a medium sees it without reading it. */
export interface FileFacts {
  /** Index in `layout.files`. */
  readonly file: number
  /** `other` for a folder, a link, a pipe or a device: nothing is read from it or written to it. */
  readonly kind: "file" | "other"
  /** Bytes; 0 for `other`. */
  readonly length: number
  /** When its bytes changed last, in nanoseconds since 1970. */
  readonly mtimeNs: bigint
  /**
   * Tells it from every other file: on a disk device, inode and time of birth (nanoseconds since 1970), joined by `:`. A new
   * file may get the inode of one that was deleted just now, so one whose time of birth is not known (`:0` at the end) says
   * nothing from one run to the next. At most 64 characters of ASCII.
   */
  readonly identity: string
  /** Whether no byte of it was ever written: it is empty, or one hole. */
  readonly isHole: boolean
  /** Whether it lies in the folder for skipped files, where nobody but this engine puts any. */
  readonly isAside: boolean
  /** Further names of the file (hard links), whose bytes must not change with it. */
  readonly otherNames: number
}

/**
 * How a file becomes one that may be written. `new`: it is made, and must not exist (O_EXCL). `found`: it is the one that was
 * looked at, and nothing of it has changed since; `afresh` puts a copy in its place that shares no block with it, as blocks
 * whose flush has failed may keep nothing that is written to them later. `overwritten`: whatever regular file lies there,
 * cut to the torrent's length; made where there is none.
 */
export type FileClaim =
  | { readonly file: number; readonly as: "new" }
  | { readonly file: number; readonly as: "found"; readonly facts: FileFacts; readonly afresh?: true | undefined }
  | { readonly file: number; readonly as: "overwritten" }

/** Bytes that were read, and what the files they came from looked like right after that. */
export interface StoredBytes {
  readonly bytes: Uint8Array
  /** In the order of the layout, by path and not by open descriptor; files that are gone, and padding, are not among them. */
  readonly files: ReadonlyArray<FileFacts>
}

/** How the flush of one file ended: what it looks like now, or why what was written to it may be lost. */
export type FlushedFile =
  | { readonly file: number; readonly facts: FileFacts }
  | { readonly file: number; readonly reason: StorageReason }

/**
 * One torrent's bytes on a medium.
 *
 * A file is read as it is found. Before the first write it is *reserved* (nobody else writes to its path) and *claimed* (made,
 * or adopted as it is): the medium decides nothing about whose a file is, and writes to none that was not claimed. Files are
 * named by their index in `layout.files`; padding is never asked for.
 */
export interface TorrentStorage {
  /**
   * Whether the medium verifies: `writePiece` compares the whole piece with the digest it is given before it stores any of
   * it, and fails with `DigestMismatch`. Then nobody needs to do so before. Default: it does not.
   */
  readonly verifies?: boolean | undefined
  /**
   * What lies at the places of these files, in their order; `undefined` for one that is missing. The place of a file that is
   * not wanted is where it was set aside, unless it exists in its own. Reads and opens none. Fails with `StorageUnavailable`
   * where the whole medium went away, as then nothing can be said of any file.
   */
  readonly look: (files: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<FileFacts | undefined>, StorageError>
  /**
   * Becomes the only writer of these files, of all torrents and processes that use the medium, until `release` or the end of the
   * scope. All of them or none: fails with `WriterConflict` before it touches any file. Idempotent.
   */
  readonly reserve: (files: ReadonlyArray<number>) => Effect.Effect<void, StorageError>
  /** Lets others write to these files; those that are not reserved do not matter. They must be claimed again before a write. */
  readonly release: (files: ReadonlyArray<number>) => Effect.Effect<void>
  /**
   * Makes reserved files writable (it dies of one that is not reserved), and returns what they look like then, in the order
   * given. A file with other names, or one claimed `afresh`, is replaced by a copy of its own first, flushed, with its mode
   * and times; where there is no room for that it fails with `DiskFull` before anything is copied. Fails with `FileExists` (`new`) or `FileChanged`
   * (`found`) where the file is not what the claim says, and leaves that one as it is; the others may have been claimed.
   * Claiming a claimed file again looks at it anew; where that fails, writes to it fail with `FileChanged`.
   */
  readonly claim: (claims: ReadonlyArray<FileClaim>) => Effect.Effect<ReadonlyArray<FileFacts>, StorageError>
  /**
   * Says which files are wanted, until it is said again; before, all are. Moves what was set aside of them to its place, never
   * over another file: one that lies there already is used, and what was set aside of it is removed. Makes no file. Bytes of
   * the others, which come with pieces that they share, a medium of files may keep aside. Idempotent.
   */
  readonly prepare: (files: ReadonlyArray<number>) => Effect.Effect<void, StorageError>
  /**
   * Stores a whole verified piece, over all its files, in one write; all of them are claimed (else it dies). `bytes` is as long as
   * the piece and may be reused once this returns, however it ends; interruption waits for what is in flight. A write that
   * fails or is interrupted may have stored a part of the piece, which is as good as nothing. Repeating a write is harmless,
   * also at once. Fails with `FileChanged` where a claimed file was deleted, cut off or replaced, as far as the medium has
   * noticed, which it does at every flush at the latest; so does every write to it until it is claimed again.
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
  ) => Effect.Effect<StoredBytes, StorageError>
  /**
   * Digests stored pieces, in the order given, as they are read: a recheck moves no data past the medium. What is not
   * stored has no digest, or that of the zeros `readBlock` would give; neither is an error. Costs little where nothing
   * is stored, as a medium asks once where a file ends; so a write that comes meanwhile may or may not be seen.
   */
  readonly digests: (pieces: Iterable<PieceIndex>) => Stream.Stream<StoredDigest, StorageError>
  /**
   * Makes what was written to these files survive a power cut, with the folders they were made in, and says of each how that
   * ended, in their order: one that failed does not keep the others from it, and one that is missing has failed. After a
   * failure the system may hold lost bytes for written, so whatever was written to that file since its last good flush is to
   * be written again. Fails only where nothing can be said of any file.
   *
   * The first good flush of a file covers what earlier openings wrote and never flushed, so only files that may have such
   * bytes should be named; after it, one without writes costs no more than a look.
   */
  readonly flush: (files: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<FlushedFile>, StorageError>
  /**
   * Moves a reserved file of the torrent to another path below the download folder, never over anything (`FileExists`), and
   * uses it there from then on, reserved as before (`WriterConflict` where somebody else writes there). A claimed one stays
   * claimed. One that does not exist is made there when it is claimed. The caller has made the path safe (`SafePath`).
   */
  readonly rename: (file: number, path: ReadonlyArray<string>) => Effect.Effect<void, StorageError>
  /**
   * Deletes these files, which must be reserved, wherever they lie, regular files only, and the folders of theirs below the
   * download folder that are empty then. A file that is not there is no error.
   */
  readonly remove: (files: ReadonlyArray<number>) => Effect.Effect<void, StorageError>
}

/** Which torrent is opened. */
export interface OpenOptions {
  readonly infoHash: InfoHash
  readonly layout: FileLayout
}

/** Keeps the bytes of torrents. */
export class Storage extends Context.Service<
  Storage,
  {
    /** Opens one torrent's files until the scope closes. Touches no file before `prepare`, `reserve` or `claim`. */
    readonly open: (options: OpenOptions) => Effect.Effect<TorrentStorage, StorageError, Scope.Scope>
  }
>()("piecewise/storage/Storage") {}
