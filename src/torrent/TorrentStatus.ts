/**
 * The status of a torrent: a snapshot of its state and counters.
 */
import * as Schema from "effect/Schema"
import { PieceIndex } from "../base/PieceGeometry.ts"
import { MetainfoError } from "../metainfo/Metainfo.ts"
import { ResumeError } from "../resume/ResumeStore.ts"
import { StorageError } from "../storage/Storage.ts"
import { Bottleneck } from "./Bottleneck.ts"
import { ContentExists } from "./ContentExists.ts"

export type { ContentExists } from "./ContentExists.ts"

/** A bug in the engine, or in a layer that it runs on: an unexpected exception. */
export class TorrentDefect extends Schema.TaggedError<TorrentDefect>()("piecewise/TorrentDefect", {
  cause: Schema.Defect()
}) {
  override get message() {
    return `the torrent stopped for an internal error: ${this.cause instanceof Error ? this.cause.message : this.cause}`
  }
}

/**
 * The schema of why a torrent could not be started, or had to end. `message` is a sentence for users. A `MetainfoError`
 * is an info dict that has the info hash of a magnet link and is invalid.
 */
export const TorrentError = Schema.Union([StorageError, ResumeError, ContentExists, MetainfoError])

/** Why a torrent could not be started, or had to end. */
export type TorrentError = typeof TorrentError.Type

/** The schema of why a torrent has failed, with a bug in the engine as one reason. */
export const TorrentFailure = Schema.Union([TorrentError, TorrentDefect])

/** Why a torrent has failed. */
export type TorrentFailure = typeof TorrentFailure.Type

/** The schema of what a torrent is doing. */
export const TorrentState = Schema.TaggedUnion({
  /**
   * It was added by a magnet link, and its metadata is being fetched (BEP 9). Counts of pieces and bytes are 0, because
   * nothing is known of them.
   */
  FetchingMetadata: {},
  /** Existing files are being verified. It is not known yet which pieces are stored. */
  Checking: {},
  /**
   * Every file with stored bytes is gone, for example because a disk is not mounted. Nothing is fetched. The torrent
   * goes on by itself when one of them is back. Add the torrent with `startOver` to fetch everything again.
   */
  FilesMissing: {},
  /** Wanted pieces are missing. */
  Downloading: {},
  /**
   * The storage does not take writes. Verified pieces wait in memory, and the torrent goes on by itself when writes
   * succeed. A `StorageRefused` lasts until somebody changes something. If somebody deleted or cut a file during the
   * run, the torrent cannot know what is left: stop it and add it again, which verifies what is there.
   */
  StorageFailing: { error: StorageError },
  /**
   * Every wanted piece is stored, as far as is known. The last ones are being flushed, and changed files and hinted pieces
   * are being verified.
   */
  Flushing: {},
  /** Every wanted piece is stored, verified and flushed. */
  Complete: {},
  /**
   * It was paused: it exchanges nothing, and holds no connection and no buffer. What was verified before is stored. Its
   * files stay reserved, and changes that others make to them are noticed. `missingBytes` says whether it is complete.
   */
  Paused: {},
  /** It was stopped or removed. Counters say what was so at its end. */
  Stopped: {},
  /** It could not be started, or had to end. No part of it runs. */
  Failed: { error: TorrentFailure }
})

/** What a torrent is doing. */
export type TorrentState = typeof TorrentState.Type

/**
 * The schema of a snapshot. Bytes are payload bytes; rates are bytes a second over the last few seconds.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect, Schema } from "effect"
 * import { Engine, TorrentStatus } from "piecewise"
 * import { KnownTorrent, TestEngine } from "piecewise/testing"
 *
 * const json = Schema.fromJsonString(Schema.toCodecJson(TorrentStatus.TorrentStatus))
 * const program = Effect.gen(function* () {
 *   const { advance } = yield* TestEngine.TestEngine
 *   const known = yield* KnownTorrent.make({ files: [{ path: [], length: 300_000 }], pieceLength: 65_536 })
 *   const torrent = yield* Engine.Engine.use((engine) => engine.add(known.metainfo, { isPaused: true }))
 *   yield* advance("1 second")
 *   const status = yield* torrent.status
 *   assert.deepEqual([status.state._tag, status.missingBytes], ["Paused", 300_000])
 *   const received = Schema.decodeUnknownSync(json)(Schema.encodeSync(json)(status))
 *   assert.deepEqual(received, status)
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(TestEngine.layer())))
 * ```
 */
export const TorrentStatus = Schema.Struct({
  state: TorrentState,
  /** The name in the metainfo. Until that is known, the name that the magnet link says, or the info hash in hex. */
  name: Schema.String,
  /** Whether somebody paused it. Its state is not `Paused` yet while it is still being checked or ends its work. */
  isPaused: Schema.Boolean,
  /** Why the torrent is not faster. */
  bottleneck: Bottleneck,
  /** Pieces of the whole torrent, wanted or not. */
  totalPieces: Schema.Natural,
  /** Stored pieces, except those that changed since and are not verified again yet. */
  storedPieces: Schema.Natural,
  /** Bytes of the whole torrent, wanted or not, including padding. */
  totalBytes: Schema.Natural,
  /** Bytes of the pieces in `storedPieces`. */
  storedBytes: Schema.Natural,
  /** Pieces that are wanted, and their bytes. All pieces until it is known what is stored. */
  wantedPieces: Schema.Natural,
  wantedBytes: Schema.Natural,
  /** Bytes of wanted pieces that are not stored, and of those in `unverifiedBytes`. */
  missingBytes: Schema.Natural,
  /**
   * Pieces that are on the medium as far as is known, and that have to be verified before they count: another client has
   * hinted at them (`TorrentOptions.hintedPieces`), or their files have changed. Peers may request them.
   */
  unverifiedPieces: Schema.Natural,
  /** Bytes of those of them that are wanted. */
  unverifiedBytes: Schema.Natural,
  /** Bytes that were stored before this run began. */
  resumedBytes: Schema.Natural,
  /** Bytes received since it was added, including wasted ones. */
  downloadedBytes: Schema.Natural,
  /**
   * Received bytes that were of no use: late, duplicate, of a piece with the wrong digest, or of one that gave up its
   * buffer.
   */
  wastedBytes: Schema.Natural,
  downloadBytesPerSecond: Schema.Finite,
  /** Bytes uploaded since it was added. */
  uploadedBytes: Schema.Natural,
  uploadBytesPerSecond: Schema.Finite,
  /** Uploaded bytes divided by wanted bytes. */
  shareRatio: Schema.Finite,
  /** Whether it uploads after everything that is wanted is stored. False once a seeding goal was reached. */
  isSeeding: Schema.Boolean,
  /** Stored pieces that peers have requested and that could not be read, because the storage has lost them. */
  unreadablePieces: Schema.Natural,
  /** Bytes of piece buffers in use. */
  bufferedBytes: Schema.Natural,
  /**
   * Missing wanted pieces of which a damaged copy was received, and no connected peer has a better one; ascending. They
   * are requested again at growing intervals of at most ten minutes, and arrive once a peer repairs its copy.
   */
  damagedPieces: Schema.Array(PieceIndex),
  /** How many pieces had the wrong digest, counted each time. */
  rejectedPieces: Schema.Natural,
  connectedPeers: Schema.Natural,
  /** Web seeds, and other suppliers that are no peers, that are used now. */
  webSeeds: Schema.Natural,
  /** Connected peers that may request blocks from us. */
  unchokedPeers: Schema.Natural,
  /** Addresses of peers, connected or not. */
  knownPeers: Schema.Natural,
  /** Addresses whose ban has not ended. */
  bannedPeers: Schema.Natural
})

/** A snapshot of a torrent. */
export type TorrentStatus = typeof TorrentStatus.Type
