/**
 * The status of a torrent: a snapshot of its state and counters.
 */
import * as Data from "effect/Data"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { MetainfoError } from "../metainfo/Metainfo.ts"
import type { ResumeError } from "../resume/ResumeStore.ts"
import type { StorageError } from "../storage/Storage.ts"
import type { Bottleneck } from "./Bottleneck.ts"
import type { ContentExists } from "./ContentExists.ts"

export type { ContentExists } from "./ContentExists.ts"

/** A bug in the engine, or in a layer that it runs on: an unexpected exception. */
export class TorrentDefect extends Data.TaggedError("piecewise/TorrentDefect")<{ readonly cause: unknown }> {
  override get message() {
    return `the torrent stopped for an internal error: ${this.cause instanceof Error ? this.cause.message : this.cause}`
  }
}

/**
 * Why a torrent could not be started, or had to end. `message` is a sentence that a user can read. A `MetainfoError` is
 * an info dict that has the info hash of a magnet link and is invalid.
 */
export type TorrentError = StorageError | ResumeError | ContentExists | MetainfoError

/** What a torrent is doing. */
export type TorrentState =
  /**
   * It was added by a magnet link, and its metadata is being fetched (BEP 9). Counts of pieces and bytes are 0, because
   * nothing is known of them.
   */
  | { readonly _tag: "FetchingMetadata" }
  /** Existing files are being verified. It is not known yet which pieces are stored. */
  | { readonly _tag: "Checking" }
  /**
   * Every file with stored bytes is gone, for example because a disk is not mounted. Nothing is fetched. The torrent
   * goes on by itself when one of them is back. Add the torrent with `startOver` to fetch everything again.
   */
  | { readonly _tag: "FilesMissing" }
  /** Wanted pieces are missing. */
  | { readonly _tag: "Downloading" }
  /**
   * The storage does not take writes. Verified pieces wait in memory, and the torrent goes on by itself when writes
   * succeed. A `StorageRefused` lasts until somebody changes something. If somebody deleted or cut a file during the
   * run, the torrent cannot know what is left: stop it and add it again, which verifies what is there.
   */
  | { readonly _tag: "StorageFailing"; readonly error: StorageError }
  /** Every wanted piece is stored. The last ones are being flushed, and changed files are being verified. */
  | { readonly _tag: "Flushing" }
  /** Every wanted piece is stored, verified and flushed. */
  | { readonly _tag: "Complete" }
  /**
   * It was paused: it exchanges nothing, and holds no connection and no buffer. What was verified before is stored. Its
   * files stay reserved, and changes that others make to them are noticed. `missingBytes` says whether it is complete.
   */
  | { readonly _tag: "Paused" }
  /** It was stopped or removed. Counters say what was so at its end. */
  | { readonly _tag: "Stopped" }
  /** It could not be started, or had to end. No part of it runs. */
  | { readonly _tag: "Failed"; readonly error: TorrentError | TorrentDefect }

/** A snapshot. Bytes are payload bytes; rates are bytes a second over the last few seconds. */
export interface TorrentStatus {
  readonly state: TorrentState
  /** The name in the metainfo. Until that is known, the name that the magnet link says, or the info hash in hex. */
  readonly name: string
  /** Whether somebody paused it. Its state is not `Paused` yet while it is still being checked or ends its work. */
  readonly isPaused: boolean
  /** Why the torrent is not faster. */
  readonly bottleneck: Bottleneck
  /** Pieces of the whole torrent, wanted or not. */
  readonly totalPieces: number
  /** Stored pieces, except those that changed since and are not verified again yet. */
  readonly storedPieces: number
  /** Bytes of the whole torrent, wanted or not, including padding. */
  readonly totalBytes: number
  /** Bytes of the pieces in `storedPieces`. */
  readonly storedBytes: number
  /** Pieces that are wanted, and their bytes. All pieces until it is known what is stored. */
  readonly wantedPieces: number
  readonly wantedBytes: number
  /** Bytes of wanted pieces that are not stored. */
  readonly missingBytes: number
  /** Bytes that were stored before this run began. */
  readonly resumedBytes: number
  /** Bytes received since it was added, including wasted ones. */
  readonly downloadedBytes: number
  /** Received bytes that were of no use: late, duplicate, or of a piece with the wrong digest. */
  readonly wastedBytes: number
  readonly downloadBytesPerSecond: number
  /** Bytes uploaded since it was added. */
  readonly uploadedBytes: number
  readonly uploadBytesPerSecond: number
  /** Uploaded bytes divided by wanted bytes. */
  readonly shareRatio: number
  /** Whether it uploads after everything that is wanted is stored. False once a seeding goal was reached. */
  readonly isSeeding: boolean
  /** Stored pieces that peers have requested and that could not be read, because the storage has lost them. */
  readonly unreadablePieces: number
  /** Bytes of piece buffers in use. */
  readonly bufferedBytes: number
  /**
   * Missing wanted pieces of which a damaged copy was received, and no connected peer has a better one; ascending. They
   * are requested again at growing intervals of at most ten minutes, and arrive once a peer repairs its copy.
   */
  readonly damagedPieces: ReadonlyArray<PieceIndex>
  /** How many pieces had the wrong digest, counted each time. */
  readonly rejectedPieces: number
  readonly connectedPeers: number
  /** Connected peers that may request blocks from us. */
  readonly unchokedPeers: number
  /** Addresses of peers, connected or not. */
  readonly knownPeers: number
  /** Addresses whose ban has not ended. */
  readonly bannedPeers: number
}
