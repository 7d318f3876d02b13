/**
 * The contract of a medium that keeps torrents: what can be asked of it and how it fails. A medium has its own file.
 *
 * Bytes that arrive here are verified, or arrive with their digest at a medium that verifies before it stores anything.
 * No other byte is ever stored. When a write returns, the medium has accepted all of it and reported every error: a
 * deferred error never becomes a success.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { InfoHash } from "../base/InfoHash.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { FileLayout } from "../metainfo/FileLayout.ts"

/** The medium has no room left (ENOSPC, EDQUOT, HTTP 507). May pass when space is freed. */
export class DiskFull extends Schema.TaggedClass<DiskFull>("piecewise/DiskFull")("DiskFull", {
  /** The file that could not grow, as the user would name it. */
  path: Schema.String
}) {
  get message() {
    return `the disk is full: ${this.path} cannot grow`
  }
}

/** The medium refuses: no permission, read only, a folder in the way. Lasts until a person changes something. */
export class StorageRefused extends Schema.TaggedClass<StorageRefused>("piecewise/StorageRefused")("StorageRefused", {
  path: Schema.String,
  /** What is wrong, as the end of a sentence: `permission denied`. */
  why: Schema.String
}) {
  get message() {
    return `${this.path}: ${this.why}`
  }
}

/** The medium failed or is away (EIO, EMFILE, a daemon that restarts). May pass by itself. */
export class StorageUnavailable extends Schema.TaggedClass<StorageUnavailable>("piecewise/StorageUnavailable")(
  "StorageUnavailable",
  {
    path: Schema.String,
    why: Schema.String
  }
) {
  get message() {
    return `${this.path}: ${this.why}`
  }
}

/** The requested bytes are not there: never written, deleted or cut off since. */
export class NotStored extends Schema.TaggedClass<NotStored>("piecewise/NotStored")("NotStored", {
  path: Schema.String
}) {
  get message() {
    return `${this.path} does not hold the bytes asked for`
  }
}

/** The bytes do not have the given digest; none of them was stored. Only media that verify fail with it. */
export class DigestMismatch extends Schema.TaggedClass<DigestMismatch>("piecewise/DigestMismatch")("DigestMismatch", {
  path: Schema.String
}) {
  get message() {
    return `${this.path}: a piece that came does not match its digest`
  }
}

/** Something exists at the path of a file that was to be made. It is left unchanged. */
export class FileExists extends Schema.TaggedClass<FileExists>("piecewise/FileExists")("FileExists", {
  path: Schema.String
}) {
  get message() {
    return `${this.path} exists already, and is not a file of this torrent`
  }
}

/**
 * A file is not what it was when it was claimed or looked at: deleted, cut off, replaced or changed by another program.
 * Nothing was written to it. Passes when the file is looked at and claimed again.
 */
export class FileChanged extends Schema.TaggedClass<FileChanged>("piecewise/FileChanged")("FileChanged", {
  path: Schema.String,
  /** What happened to it, as the end of a sentence: `was deleted`. */
  why: Schema.String
}) {
  get message() {
    return `${this.path} ${this.why} while the torrent was open`
  }
}

/** Another torrent, of this process or another one, writes to the path. Passes when that torrent releases the path. */
export class WriterConflict extends Schema.TaggedClass<WriterConflict>("piecewise/WriterConflict")("WriterConflict", {
  path: Schema.String,
  /** Who writes there, as the end of a sentence: `another torrent of this process`. */
  holder: Schema.String
}) {
  get message() {
    return `${this.path} is being written by ${this.holder}`
  }
}

/** The schema of why a medium did not do what it was asked to. */
export const StorageReason = Schema.Union([
  DiskFull,
  StorageRefused,
  FileExists,
  WriterConflict,
  FileChanged,
  StorageUnavailable,
  NotStored,
  DigestMismatch
])

/** Why a medium did not do what it was asked to; callers decide by the `_tag` whether to retry. */
export type StorageReason = typeof StorageReason.Type

/** Whether a failure lasts until a person changes something: it does not pass by itself. */
export const isLasting = ({ reason }: StorageError): boolean =>
  reason._tag === "StorageRefused" || reason._tag === "FileExists" || reason._tag === "WriterConflict"

// From what only a person can change to what passes by itself.
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

/** What went wrong in one operation. `message` is one sentence a user can read. */
export class StorageError extends Schema.TaggedError<StorageError>()("piecewise/StorageError", {
  operation: Schema.Literals([
    "open",
    "look",
    "reserve",
    "claim",
    "prepare",
    "write",
    "read",
    "digest",
    "flush",
    "rename",
    "move",
    "remove"
  ]),
  reason: StorageReason,
  /** Further failures of an operation over several files; `reason` is the one that lasts longest. */
  others: Schema.optional(Schema.Array(StorageReason))
}) {
  /** One error for all failures of one operation; the reason that lasts longest becomes `reason`. */
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

/** The SHA-1 of a stored piece; `undefined` if some of its bytes are not there. */
export interface StoredDigest {
  readonly piece: PieceIndex
  readonly sha1: Uint8Array | undefined
}

/** What exists at a file's place, as a medium sees it without reading it. */
export interface FileFacts {
  /** Index in `layout.files`. */
  readonly file: number
  /** `other` for a folder, a link, a pipe or a device: nothing is read from it or written to it. */
  readonly kind: "file" | "other"
  /** Bytes; 0 for `other`. */
  readonly length: number
  /** When its bytes were last changed, in nanoseconds since 1970. */
  readonly mtimeNs: bigint
  /**
   * Differs from that of every other file: on a disk device, inode and time of birth (nanoseconds since 1970), joined
   * by `:`. A new file may get the inode of one that was just deleted, so an identity without a time of birth (`:0` at
   * the end) cannot be compared between runs. At most 64 characters of ASCII.
   */
  readonly identity: string
  /** Whether no byte of the file was ever written: it is empty, or one hole. */
  readonly isHole: boolean
  /** Whether it is in the folder for skipped files, in which only piecewise puts files. */
  readonly isAside: boolean
  /** Further names of the file (hard links), whose bytes must not change with it. */
  readonly otherNames: number
}

/**
 * How a file becomes writable. `new`: it is made, and must not exist (O_EXCL). `found`: it is the file that was looked
 * at, and has not changed since; `afresh` replaces it by a copy that shares no block with it, because blocks whose
 * flush has failed may not keep later writes. `overwritten`: any regular file that exists there, cut to the torrent's
 * length, or a new one.
 */
export type FileClaim =
  | { readonly file: number; readonly as: "new" }
  | { readonly file: number; readonly as: "found"; readonly facts: FileFacts; readonly afresh?: true | undefined }
  | { readonly file: number; readonly as: "overwritten" }

/** Bytes that were read, and facts of the files they are from, taken right after the read. */
export interface StoredBytes {
  readonly bytes: Uint8Array
  /** In the order of the layout, by path and not by open descriptor. Files that are gone, and padding, are left out. */
  readonly files: ReadonlyArray<FileFacts>
}

/** How the flush of one file ended: its facts now, or why what was written to it may be lost. */
export type FlushedFile =
  | { readonly file: number; readonly facts: FileFacts }
  | { readonly file: number; readonly reason: StorageReason }

/**
 * One torrent's bytes on a medium.
 *
 * A file is read as it is found. Before the first write it is *reserved* (nobody else writes to its path) and *claimed*
 * (made, or adopted as it is). The medium decides nothing about who owns a file, and writes only to files that were
 * claimed. Files are named by their index in `layout.files`; padding is never passed.
 */
export interface TorrentStorage {
  /**
   * Whether the medium verifies: `writePiece` compares the whole piece with the given digest before it stores any byte,
   * and fails with `DigestMismatch`. The caller then need not verify. Default: it does not.
   */
  readonly verifies?: boolean | undefined
  /**
   * Bytes of memory of this process that one stream of `digests` takes while it runs; default 0. The caller bounds how
   * many run at once.
   */
  readonly digestBytes?: number | undefined
  /**
   * What exists at the places of these files, in their order; `undefined` for a file that is missing. The place of an
   * unwanted file is where it was set aside, unless the file exists in its own place. Opens and reads no file. Fails
   * with `StorageUnavailable` if the whole medium is away, because then nothing is known of any file.
   */
  readonly look: (files: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<FileFacts | undefined>, StorageError>
  /**
   * Becomes the only writer of these files, of all torrents and processes that use the medium, until `release` or the
   * end of the scope. All of them or none: fails with `WriterConflict` before it touches any file. Idempotent.
   */
  readonly reserve: (files: ReadonlyArray<number>) => Effect.Effect<void, StorageError>
  /**
   * Lets others write to these files; ignores those that are not reserved. They must be claimed again before a write.
   */
  readonly release: (files: ReadonlyArray<number>) => Effect.Effect<void>
  /**
   * Makes reserved files writable, and returns their facts after that, in the order given. Dies if a file is not
   * reserved. A file with other names, or one claimed `afresh`, is first replaced by a flushed copy with its mode and
   * times; if there is no room for that, it fails with `DiskFull` before anything is copied. Fails with `FileExists`
   * (`new`) or `FileChanged` (`found`) if a file is not what its claim says, and leaves that file unchanged; the others
   * may have been claimed. To claim a claimed file again is to look at it again; if that fails, writes to it fail with
   * `FileChanged`.
   */
  readonly claim: (claims: ReadonlyArray<FileClaim>) => Effect.Effect<ReadonlyArray<FileFacts>, StorageError>
  /**
   * Sets which files are wanted, until the next call; before the first, all are. Moves what was set aside of them to
   * its place, never over another file: a file that exists there is used, and what was set aside of it is removed.
   * Makes no file. A medium of files may set aside the bytes of unwanted files, which share pieces with wanted ones.
   * Idempotent.
   */
  readonly prepare: (files: ReadonlyArray<number>) => Effect.Effect<void, StorageError>
  /**
   * Stores a whole verified piece, over all its files, in one write. Dies if one of them is not claimed. `bytes` has
   * the length of the piece and may be reused once this returns, however it ends; interruption waits for what is in
   * flight. A write that fails or is interrupted may have stored a part of the piece, which counts as nothing.
   * Repeating a write is harmless, even while the first is in flight. Fails with `FileChanged` if the medium has
   * noticed that a claimed file was deleted, cut off or replaced, which it does at every flush at the latest; so does
   * every write to that file until it is claimed again.
   *
   * `sha1` is the digest that `bytes` should have, if the caller has it at hand. A medium that does not verify ignores
   * it; one that does takes bytes without it as right. `bytes` may lie in shared memory (`PieceMemory`), which some
   * interfaces of the web refuse.
   */
  readonly writePiece: (
    piece: PieceIndex,
    bytes: Uint8Array,
    sha1?: Uint8Array | undefined
  ) => Effect.Effect<void, StorageError>
  /**
   * Reads `length` bytes from `begin` in a stored piece (peers request 16 KiB, BEP 3) into fresh memory, or into the
   * beginning of `into`, at least as long, if the medium can. A read that fails or is interrupted may still write there
   * for a moment. Fails with `NotStored` if a file is missing or too short. A medium may remember nothing else about
   * what was written: a piece that was never written may read as zeros if a later one of the same file is stored.
   */
  readonly readBlock: (
    piece: PieceIndex,
    begin: number,
    length: number,
    into?: Uint8Array | undefined
  ) => Effect.Effect<StoredBytes, StorageError>
  /**
   * Digests stored pieces, in the order given, as they are read: a recheck moves no data past the medium. A piece that
   * is not stored has no digest, or that of the zeros `readBlock` would return; neither is an error. Costs little for
   * files that are missing or short, because a medium looks up the end of a file once; so a write during the recheck
   * may or may not be seen.
   */
  readonly digests: (pieces: Iterable<PieceIndex>) => Stream.Stream<StoredDigest, StorageError>
  /**
   * Makes what was written to these files survive a power cut, with the folders they were made in, and reports for each
   * file, in their order, how that ended. One failure does not stop the others; a missing file is a failure. After a
   * failure the system may take lost bytes for written, so whatever was written to that file since its last successful
   * flush must be written again. Fails only if nothing can be said about any file.
   *
   * The first successful flush of a file covers what earlier openings wrote and never flushed, so pass only files that
   * may have such bytes. After it, a file without new writes costs no more than a look.
   */
  readonly flush: (files: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<FlushedFile>, StorageError>
  /**
   * Moves a reserved file of the torrent to another path below the download folder, never over anything (`FileExists`),
   * and uses it there from then on. It stays reserved (`WriterConflict` if another torrent writes there) and claimed,
   * if it was. A file that does not exist is made there when it is claimed. The caller has made the path safe
   * (`SafePath`).
   */
  readonly rename: (file: number, path: ReadonlyArray<string>) => Effect.Effect<void, StorageError>
  /**
   * Deletes these files, which must be reserved, wherever they are, and then their empty folders below the download
   * folder. Deletes regular files only. A missing file is no error.
   */
  readonly remove: (files: ReadonlyArray<number>) => Effect.Effect<void, StorageError>
}

/** Which torrent is opened. */
export interface OpenOptions {
  readonly infoHash: InfoHash
  readonly layout: FileLayout
}

/** Which torrent is moved, and where. A folder is that of a download, as `undefined` is for that of the storage. */
export interface MoveOptions extends OpenOptions {
  readonly from: string | undefined
  readonly to: string | undefined
  /** Whether an earlier move of the same files between these folders may have been cut short. */
  readonly isBegun: boolean
  /** Whether to check only if a move that is not begun would fail, and to change nothing; default false. */
  readonly isTrial?: boolean | undefined
}

/** A file that is in the new folder. */
export interface MovedFile {
  /** Index in `layout.files`. */
  readonly file: number
  /** What it was in the old folder; absent if it has left it in an earlier move that was cut short. */
  readonly before: Pick<FileFacts, "length" | "mtimeNs" | "identity"> | undefined
  readonly after: Pick<FileFacts, "length" | "mtimeNs" | "identity">
}

/** A torrent that is in two folders. */
export interface Move {
  /** Whether both folders are one, whatever their names: then nothing is moved, and no file is named. */
  readonly isOneFolder: boolean
  /** Its files that exist, also those that are set aside. A file that is in its place and set aside is listed twice. */
  readonly files: ReadonlyArray<MovedFile>
  /** Removes its files and their empty folders from the old folder. Returns the paths that are left there. */
  readonly leave: Effect.Effect<ReadonlyArray<string>>
}

/** Keeps the bytes of torrents. */
export class Storage extends Context.Service<
  Storage,
  {
    /** Opens one torrent's files until the scope closes. Touches no file before `prepare`, `reserve` or `claim`. */
    readonly open: (options: OpenOptions) => Effect.Effect<TorrentStorage, StorageError, Scope.Scope>
    /**
     * Puts the files of a torrent, which must not be open, in another folder, flushed and without overwriting anything.
     * Until `leave` they are in the old folder too. The torrent is reserved in both until the scope closes.
     *
     * Fails with `FileExists` if something is at a new path, with `WriterConflict` if another torrent writes there, and
     * with `DiskFull` before anything is copied. If it fails, the new folder is as it was. If the move `isBegun`, that is
     * so only for `FileExists`: what was put there is taken back, because no file has left the old folder.
     * Interrupted or killed, it may be begun again. Absent if the medium has no folders.
     */
    readonly move?: (options: MoveOptions) => Effect.Effect<Move, StorageError, Scope.Scope>
  }
>()("piecewise/storage/Storage") {}
