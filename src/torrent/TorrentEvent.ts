/**
 * What a torrent reports: facts, in the order in which they happened.
 */
import * as Schema from "effect/Schema"
import { PeerAddress } from "../base/PeerAddress.ts"
import { PieceIndex } from "../base/PieceGeometry.ts"
import { Policy } from "../connect/Encryption.ts"
import { StorageError } from "../storage/Storage.ts"
import { TorrentFailure } from "./TorrentStatus.ts"

/**
 * The schema of a fact about a torrent. `why` fields are the end of a sentence that a user can read. The engine makes
 * events as plain objects; only whoever sends or receives them pays for encoding and decoding:
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Schema } from "effect"
 * import { TorrentEvent } from "piecewise"
 *
 * const json = Schema.fromJsonString(Schema.toCodecJson(TorrentEvent.TorrentEvent))
 * const address = { host: "192.0.2.1", port: 6881 }
 * const event: TorrentEvent.TorrentEvent = { _tag: "PeerConnected", address }
 * const text = Schema.encodeSync(json)(event)
 * assert.equal(text, '{"_tag":"PeerConnected","address":"192.0.2.1:6881"}')
 * assert.deepEqual(Schema.decodeUnknownSync(json)(text), event)
 * ```
 */
export const TorrentEvent = Schema.TaggedUnion({
  /** The metadata of a torrent that was added by a magnet link is known. The check of its files begins. */
  MetadataFetched: { name: Schema.String, totalBytes: Schema.Natural },
  /** Stored bytes are being verified. Reported once at the start, and then with the progress. */
  Checking: { checkedPieces: Schema.Natural, totalPieces: Schema.Natural },
  /**
   * It is known which pieces are stored, and the download of the missing ones begins. `missingPieces` counts wanted
   * ones.
   */
  Started: { storedPieces: Schema.Natural, missingPieces: Schema.Natural, totalPieces: Schema.Natural },
  /** The handshake with a peer succeeded, whichever side connected. */
  PeerConnected: { address: PeerAddress },
  /** A connected peer is gone, because it left or because we ended the session. */
  PeerDisconnected: { address: PeerAddress, why: Schema.String },
  /**
   * Nobody answered at the address, or the handshake failed. The peer was never connected; it is dialled again later.
   */
  PeerUnreachable: { address: PeerAddress, why: Schema.String },
  /**
   * The peer sent wrong bytes for a piece that another peer sent right. It is not contacted for a while: ten minutes at
   * first, and twice as long each time, up to a day.
   */
  PeerBanned: { address: PeerAddress, why: Schema.String },
  /**
   * `peers` ended a connection before the handshake, or called us repeatedly within an hour without one that we accept.
   * `encryption` may be the reason: they may require it if it is `off`, and not have it if it is `require`. With
   * `prefer`, each of them was dialled in both ways. Reported once there is one, and then each time that there are ten
   * times as many. A caller may have asked for another torrent of the engine.
   */
  PeersHungUp: { peers: Schema.Natural, encryption: Policy },
  /**
   * The piece is verified, the storage has confirmed its write, and resume data contains it. `storedPieces` includes
   * it.
   */
  PieceStored: { piece: PieceIndex, storedPieces: Schema.Natural },
  /**
   * The piece did not match its digest. Nothing was written, and it is requested again. `contributors` sent its blocks.
   */
  PieceRejected: { piece: PieceIndex, contributors: Schema.Array(PeerAddress) },
  /**
   * The peer sent wrong bytes for the piece, and no other connected peer has a better copy. It is asked for that piece
   * again later, because its copy may be repaired. `address` is `undefined` for a peer that left long ago.
   */
  PieceDamaged: { piece: PieceIndex, address: Schema.UndefinedOr(PeerAddress) },
  /** A write failed. The verified piece is kept and written again later. Reported once until a write succeeds. */
  StorageFailed: { piece: PieceIndex, error: StorageError },
  /** What had failed succeeds again: writing pieces, flushing, or making an empty file. */
  StorageRecovered: {},
  /**
   * A stored piece that a peer requested could not be read, and the request was refused. If the piece is gone, this is
   * reported once, and the piece is not announced to new peers until `ReadRecovered`. If the failure may pass, each one
   * is reported.
   */
  ReadFailed: { piece: PieceIndex, error: StorageError },
  /** A piece that was gone is right again, and is announced to peers again. */
  ReadRecovered: { piece: PieceIndex },
  /** A supplier that is no peer sends blocks, such as a web seed. `supplier` is its name, without secrets. */
  SupplierJoined: { supplier: Schema.String },
  /** A supplier that is no peer cannot be used now. It is tried again later. */
  SupplierFailed: { supplier: Schema.String, why: Schema.String },
  /** A source returned `peers` addresses, known ones included. */
  SourceAnswered: { source: Schema.String, peers: Schema.Natural },
  /**
   * `source` named so many `addresses` up to now that are not used, because of `why`: nobody may name an address in a
   * local network from elsewhere, and the policy about peers refuses some. Peers that name others have one name,
   * `peer exchange`. Reported once there is one, and then each time that there are ten times as many.
   */
  AddressesRefused: { source: Schema.String, addresses: Schema.Natural, why: Schema.String },
  /** A source failed. It retries by itself. */
  SourceFailed: { source: Schema.String, why: Schema.String },
  /**
   * Every tracker refused the torrent for good, and no source has found an address. `source` is the last of them, and
   * `why` what it said. They are still asked now and then, at least once a day.
   */
  TrackersRefused: { trackers: Schema.Natural, source: Schema.String, why: Schema.String },
  /** Resume data could not be read or written. The download goes on, and a later run verifies more pieces. */
  ResumeFailed: { why: Schema.String },
  /**
   * Every file with stored bytes is gone, for example because a disk is not mounted. Nothing is fetched until one is
   * back. `paths` are the first ten of them, components joined by `/`.
   */
  FilesMissing: { paths: Schema.Array(Schema.String), missingFiles: Schema.Natural },
  /** Somebody changed, replaced or touched files. Their pieces are verified before they are uploaded or counted. */
  FilesChanged: { paths: Schema.Array(Schema.String) },
  /**
   * Stored pieces are gone from the disk or wrong there, also hinted ones, and count as missing from now on. `paths` are
   * their files.
   */
  PiecesLost: { pieces: Schema.Array(PieceIndex), paths: Schema.Array(Schema.String) },
  /**
   * A flush failed, or an empty file that the torrent needs to be complete could not be made. Pieces that a failed
   * flush may have lost are verified and written again. Reported once until it succeeds (`StorageRecovered`).
   */
  FlushFailed: { error: StorageError },
  /** Every wanted piece is stored as far as is known, and the last ones are being flushed or verified. */
  Flushing: {},
  /**
   * Every wanted piece is stored, verified and flushed. Reported again after more files were wanted and are stored as
   * well.
   */
  Completed: {},
  /**
   * The seeding goal was reached (`SeedingGoal`), and uploads ended. They begin again when more files are wanted and
   * stored.
   */
  SeedingEnded: { reached: Schema.Literals(["ratio", "time"]) },
  /** It was paused, and exchanges nothing any more. What was verified before is stored. */
  Paused: {},
  /** It goes on after it was paused. */
  Resumed: {},
  /** The torrent could not be started, or had to end. No part of it runs any more. */
  Failed: { error: TorrentFailure }
})

/** A fact about a torrent. */
export type TorrentEvent = typeof TorrentEvent.Type
