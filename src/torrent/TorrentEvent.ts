/**
 * What a running torrent tells: facts, in the order they happened.
 */
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { StorageError } from "../storage/Storage.ts"
import type { TorrentDefect, TorrentError } from "./TorrentStatus.ts"

/** A fact about a torrent. `why` fields are the end of a sentence a user can read. */
export type TorrentEvent =
  /** Stored bytes are being verified; told once at the start and then as it goes on. */
  | { readonly _tag: "Checking"; readonly checkedPieces: number; readonly totalPieces: number }
  /** The stored pieces are known and the download begins, of the wanted ones that are missing. */
  | {
      readonly _tag: "Started"
      readonly storedPieces: number
      readonly missingPieces: number
      readonly totalPieces: number
    }
  | { readonly _tag: "PeerConnected"; readonly address: PeerAddress }
  | { readonly _tag: "PeerDisconnected"; readonly address: PeerAddress; readonly why: string }
  /** Nobody answered at the address, or no handshake came about; it is tried again. The peer was never connected. */
  | { readonly _tag: "PeerUnreachable"; readonly address: PeerAddress; readonly why: string }
  /**
   * The peer sent wrong bytes that another one has right. It is not talked to for a while: ten minutes at first, and twice
   * as long each time, up to a day.
   */
  | { readonly _tag: "PeerBanned"; readonly address: PeerAddress; readonly why: string }
  /** The piece is verified and the storage confirmed its write. */
  | { readonly _tag: "PieceStored"; readonly piece: PieceIndex; readonly storedPieces: number }
  /** The piece did not match its digest. Nothing was written; it is requested again. */
  | { readonly _tag: "PieceRejected"; readonly piece: PieceIndex; readonly contributors: ReadonlyArray<PeerAddress> }
  /**
   * The peer sent wrong bytes for the piece, and no other connected peer has a better copy. It is asked for that piece
   * again later, as it may be mended; `address` is unknown for a peer that is long gone.
   */
  | { readonly _tag: "PieceDamaged"; readonly piece: PieceIndex; readonly address: PeerAddress | undefined }
  /** A write failed. The verified piece is kept and written again later; told once until it is stored. */
  | { readonly _tag: "StorageFailed"; readonly piece: PieceIndex; readonly error: StorageError }
  /** The storage took a piece again that it had failed to take, or flushed what it had failed to. */
  | { readonly _tag: "StorageRecovered" }
  /**
   * A stored piece that a peer asked for could not be read, and the peer was refused it. Told once where the piece is gone:
   * no new peer hears of it until it is back (`ReadRecovered`). Told each time where that may pass.
   */
  | { readonly _tag: "ReadFailed"; readonly piece: PieceIndex; readonly error: StorageError }
  /** A piece that was gone is there again and right, and peers are told of it again. */
  | { readonly _tag: "ReadRecovered"; readonly piece: PieceIndex }
  | { readonly _tag: "SourceAnswered"; readonly source: string; readonly peers: number }
  | { readonly _tag: "SourceFailed"; readonly source: string; readonly why: string }
  /** Resume data could not be written; the download goes on, and a later run verifies what it must. */
  | { readonly _tag: "ResumeFailed"; readonly why: string }
  /**
   * Every file with stored bytes is gone, as when a disk is not mounted: nothing is fetched before one is back. `paths` are
   * the first of them, components joined by `/`.
   */
  | { readonly _tag: "FilesMissing"; readonly paths: ReadonlyArray<string>; readonly missingFiles: number }
  /** Somebody changed, replaced or touched files; their pieces are verified before they are given or counted. */
  | { readonly _tag: "FilesChanged"; readonly paths: ReadonlyArray<string> }
  /** Stored pieces are gone or wrong on the disk, and count as missing from now on. */
  | { readonly _tag: "PiecesLost"; readonly pieces: ReadonlyArray<PieceIndex>; readonly paths: ReadonlyArray<string> }
  /**
   * A flush failed, or something else without which the torrent cannot be complete: an empty file that cannot be made. What
   * a flush may have lost is verified and written again. Reported once until it succeeds (`StorageRecovered`).
   */
  | { readonly _tag: "FlushFailed"; readonly error: StorageError }
  /** Every wanted piece is stored, and what is not on the disk yet is being flushed. */
  | { readonly _tag: "Flushing" }
  /** Every wanted piece is stored, verified and flushed. Reported again when more was wanted later, and is stored as well. */
  | { readonly _tag: "Completed" }
  /**
   * As much, or for as long, was given to others as was to be (`SeedingGoal`). Nothing more is given, until more is wanted
   * and stored as well.
   */
  | { readonly _tag: "SeedingEnded"; readonly reached: "ratio" | "time" }
  /** The torrent could not be started, or broke; nothing of it runs any more. */
  | { readonly _tag: "Failed"; readonly error: TorrentError | TorrentDefect }
