/**
 * What a torrent reports: facts, in the order in which they happened.
 */
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { StorageError } from "../storage/Storage.ts"
import type { TorrentDefect, TorrentError } from "./TorrentStatus.ts"

/** A fact about a torrent. `why` fields are the end of a sentence that a user can read. */
export type TorrentEvent =
  /** The metadata of a torrent that was added by a magnet link is known. The check of its files begins. */
  | { readonly _tag: "MetadataFetched"; readonly name: string; readonly totalBytes: number }
  /** Stored bytes are being verified. Reported once at the start, and then with the progress. */
  | { readonly _tag: "Checking"; readonly checkedPieces: number; readonly totalPieces: number }
  /**
   * It is known which pieces are stored, and the download of the missing ones begins. `missingPieces` counts wanted
   * ones.
   */
  | {
      readonly _tag: "Started"
      readonly storedPieces: number
      readonly missingPieces: number
      readonly totalPieces: number
    }
  /** The handshake with a peer succeeded, whichever side connected. */
  | { readonly _tag: "PeerConnected"; readonly address: PeerAddress }
  /** A connected peer is gone, because it left or because we ended the session. */
  | { readonly _tag: "PeerDisconnected"; readonly address: PeerAddress; readonly why: string }
  /**
   * Nobody answered at the address, or the handshake failed. The peer was never connected; it is dialled again later.
   */
  | { readonly _tag: "PeerUnreachable"; readonly address: PeerAddress; readonly why: string }
  /**
   * The peer sent wrong bytes for a piece that another peer sent right. It is not contacted for a while: ten minutes at
   * first, and twice as long each time, up to a day.
   */
  | { readonly _tag: "PeerBanned"; readonly address: PeerAddress; readonly why: string }
  /**
   * `peers` ended a connection before the handshake, or called us repeatedly without one within an hour, so they may
   * require encryption. Reported once there is one, and then each time that there are ten times as many. A caller
   * without a handshake may have asked for another torrent of the engine.
   */
  | { readonly _tag: "PeersHungUp"; readonly peers: number }
  /**
   * The piece is verified, the storage has confirmed its write, and resume data contains it. `storedPieces` includes
   * it.
   */
  | { readonly _tag: "PieceStored"; readonly piece: PieceIndex; readonly storedPieces: number }
  /**
   * The piece did not match its digest. Nothing was written, and it is requested again. `contributors` sent its blocks.
   */
  | { readonly _tag: "PieceRejected"; readonly piece: PieceIndex; readonly contributors: ReadonlyArray<PeerAddress> }
  /**
   * The peer sent wrong bytes for the piece, and no other connected peer has a better copy. It is asked for that piece
   * again later, because its copy may be repaired. `address` is `undefined` for a peer that left long ago.
   */
  | { readonly _tag: "PieceDamaged"; readonly piece: PieceIndex; readonly address: PeerAddress | undefined }
  /** A write failed. The verified piece is kept and written again later. Reported once until a write succeeds. */
  | { readonly _tag: "StorageFailed"; readonly piece: PieceIndex; readonly error: StorageError }
  /** What had failed succeeds again: writing pieces, flushing, or making an empty file. */
  | { readonly _tag: "StorageRecovered" }
  /**
   * A stored piece that a peer requested could not be read, and the request was refused. If the piece is gone, this is
   * reported once, and the piece is not announced to new peers until `ReadRecovered`. If the failure may pass, each one
   * is reported.
   */
  | { readonly _tag: "ReadFailed"; readonly piece: PieceIndex; readonly error: StorageError }
  /** A piece that was gone is right again, and is announced to peers again. */
  | { readonly _tag: "ReadRecovered"; readonly piece: PieceIndex }
  /** A source returned `peers` addresses, known ones included. */
  | { readonly _tag: "SourceAnswered"; readonly source: string; readonly peers: number }
  /** A source failed. It retries by itself. */
  | { readonly _tag: "SourceFailed"; readonly source: string; readonly why: string }
  /**
   * Every tracker refused the torrent for good, and no source has found an address. `source` is the last of them, and
   * `why` what it said. They are still asked now and then, at least once a day.
   */
  | { readonly _tag: "TrackersRefused"; readonly trackers: number; readonly source: string; readonly why: string }
  /** Resume data could not be read or written. The download goes on, and a later run verifies more pieces. */
  | { readonly _tag: "ResumeFailed"; readonly why: string }
  /**
   * Every file with stored bytes is gone, for example because a disk is not mounted. Nothing is fetched until one is
   * back. `paths` are the first ten of them, components joined by `/`.
   */
  | { readonly _tag: "FilesMissing"; readonly paths: ReadonlyArray<string>; readonly missingFiles: number }
  /** Somebody changed, replaced or touched files. Their pieces are verified before they are uploaded or counted. */
  | { readonly _tag: "FilesChanged"; readonly paths: ReadonlyArray<string> }
  /** Stored pieces are gone from the disk or wrong there, and count as missing from now on. `paths` are their files. */
  | { readonly _tag: "PiecesLost"; readonly pieces: ReadonlyArray<PieceIndex>; readonly paths: ReadonlyArray<string> }
  /**
   * A flush failed, or an empty file that the torrent needs to be complete could not be made. Pieces that a failed
   * flush may have lost are verified and written again. Reported once until it succeeds (`StorageRecovered`).
   */
  | { readonly _tag: "FlushFailed"; readonly error: StorageError }
  /** Every wanted piece is stored, and the last ones are being flushed. */
  | { readonly _tag: "Flushing" }
  /**
   * Every wanted piece is stored, verified and flushed. Reported again after more files were wanted and are stored as
   * well.
   */
  | { readonly _tag: "Completed" }
  /**
   * The seeding goal was reached (`SeedingGoal`), and uploads ended. They begin again when more files are wanted and
   * stored.
   */
  | { readonly _tag: "SeedingEnded"; readonly reached: "ratio" | "time" }
  /** It was paused, and exchanges nothing any more. What was verified before is stored. */
  | { readonly _tag: "Paused" }
  /** It goes on after it was paused. */
  | { readonly _tag: "Resumed" }
  /** The torrent could not be started, or had to end. No part of it runs any more. */
  | { readonly _tag: "Failed"; readonly error: TorrentError | TorrentDefect }
