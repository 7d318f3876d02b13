/**
 * How a torrent stands: a snapshot of counters and of the state it is in.
 */
import * as Data from "effect/Data"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { ResumeError } from "../resume/ResumeStore.ts"
import type { StorageError } from "../storage/Storage.ts"
import type { Bottleneck } from "./Bottleneck.ts"
import type { ContentExists } from "./ContentExists.ts"

export type { ContentExists } from "./ContentExists.ts"

/** The engine, or a layer it runs on, has a bug: what should never be thrown was. */
export class TorrentDefect extends Data.TaggedError("TorrentDefect")<{ readonly cause: unknown }> {
  override get message() {
    return `the torrent stopped for an internal error: ${this.cause instanceof Error ? this.cause.message : this.cause}`
  }
}

/** Why a torrent could not be started, or had to end. `message` is a sentence a user can read. */
export type TorrentError = StorageError | ResumeError | ContentExists

/** What a torrent is doing. */
export type TorrentState =
  | { readonly _tag: "Checking" }
  /**
   * Every file with stored bytes is gone, as when a disk is not mounted. Nothing is fetched; it goes on by itself when one is
   * back. Add the torrent with `startOver` to fetch everything again.
   */
  | { readonly _tag: "FilesMissing" }
  | { readonly _tag: "Downloading" }
  /**
   * The storage does not take writes; the verified pieces wait in memory, and the torrent goes on by itself once it does.
   * A `StorageRefused` lasts until somebody changes something. Where that was a file deleted or cut off under us, the
   * torrent cannot know what is left: stop it and add it again, which verifies what is there.
   */
  | { readonly _tag: "StorageFailing"; readonly error: StorageError }
  /** Every wanted piece is stored; what was written is being flushed, and files that have changed are verified. */
  | { readonly _tag: "Flushing" }
  /** Every wanted piece is stored, verified and flushed. */
  | { readonly _tag: "Complete" }
  /** It could not be started, or broke; nothing of it runs. */
  | { readonly _tag: "Failed"; readonly error: TorrentError | TorrentDefect }

/** A snapshot. Bytes are payload bytes; rates are bytes a second over the last few seconds. */
export interface TorrentStatus {
  readonly state: TorrentState
  /** Why it is not faster. */
  readonly bottleneck: Bottleneck
  readonly totalPieces: number
  /** Stored pieces, those left out that somebody may have changed since and that are not verified again yet. */
  readonly storedPieces: number
  readonly totalBytes: number
  readonly storedBytes: number
  /** Pieces that are wanted, and their bytes; all of them until it is known what is stored. */
  readonly wantedPieces: number
  readonly wantedBytes: number
  /** Of these bytes, those of pieces that are not stored. */
  readonly missingBytes: number
  /** Bytes stored before this run began. */
  readonly resumedBytes: number
  readonly downloadedBytes: number
  /** Bytes received that were of no use: late, duplicate or of a piece that failed its digest. */
  readonly wastedBytes: number
  readonly downloadBytesPerSecond: number
  readonly uploadedBytes: number
  readonly uploadBytesPerSecond: number
  /** Uploaded bytes as a multiple of the wanted ones, both of this run. */
  readonly shareRatio: number
  /** Whether it gives to others once everything that is wanted is stored. */
  readonly isSeeding: boolean
  /** Stored pieces that the storage has lost since, as far as peers have asked for them. */
  readonly unreadablePieces: number
  /** Bytes of piece buffers lent out now. */
  readonly bufferedBytes: number
  /**
   * Wanted pieces that are not there, of which a damaged copy came and no connected peer has another; ascending. They are
   * asked for again, ever more rarely but at least every ten minutes, and come once a source is mended.
   */
  readonly damagedPieces: ReadonlyArray<PieceIndex>
  /** Pieces that failed their digest, each time counted. */
  readonly rejectedPieces: number
  readonly connectedPeers: number
  /** Connected peers that we give to. */
  readonly unchokedPeers: number
  readonly knownPeers: number
  /** Addresses whose ban has not ended. */
  readonly bannedPeers: number
}
