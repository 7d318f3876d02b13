/**
 * What a program can see and do with a torrent that it has added to an engine.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { PiecePriority } from "../assembly/PiecePriority.ts"
import type { Bitfield } from "../base/Bitfield.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import type { Limits } from "../rate/RateLimits.ts"
import type { StorageError } from "../storage/Storage.ts"
import type { PeerStatus } from "../swarm/PeerStatus.ts"
import type { FileProgress } from "./FileProgress.ts"
import type { ReadError, ReadRange } from "./Readers.ts"
import type { SourceStatus } from "./SourceStatus.ts"
import type { TorrentChange } from "./TorrentChange.ts"
import type { TorrentEvent } from "./TorrentEvent.ts"
import type { Removed } from "./TorrentRecord.ts"
import type { TorrentError, TorrentStatus } from "./TorrentStatus.ts"
import type { RemovalFailed, TorrentStopped } from "./TorrentStopped.ts"

export type { Limits } from "../rate/RateLimits.ts"
export { PeerStatus } from "../swarm/PeerStatus.ts"
export { FileProgress } from "./FileProgress.ts"
export type { ReadError, ReadRange } from "./Readers.ts"
export { SourceStatus } from "./SourceStatus.ts"
export { TorrentChange } from "./TorrentChange.ts"
export type { Removed } from "./TorrentRecord.ts"
export type { RemovalFailed, TorrentStopped } from "./TorrentStopped.ts"

/**
 * A torrent of an engine. It stops when the scope in which it was added closes.
 *
 * An engine may have thousands of torrents, so most members are made when they are asked for. `{ ...torrent }` copies
 * none of them: to wrap a torrent, name its members.
 *
 * What waits for something fails with `TorrentError` if the torrent could not be started or had to end, and with
 * `TorrentStopped` if somebody stops it before. A bug in the engine is a defect.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect, Stream } from "effect"
 * import { Engine } from "piecewise"
 * import { KnownTorrent, PeerBehaviour, TestEngine } from "piecewise/testing"
 *
 * const files = ["film.mkv", "sample.mkv"].map((name) => ({ path: [name], length: 100_000 }))
 * const program = Effect.gen(function* () {
 *   const { during, join } = yield* TestEngine.TestEngine
 *   const known = yield* KnownTorrent.make({ files, pieceLength: 65_536 })
 *   yield* join(known, PeerBehaviour.honest)
 *   const engine = yield* Engine.Engine
 *   const torrent = yield* engine.add(known.metainfo, { files: ["high", "skip"] })
 *   // The end of the film, before the rest of it is there.
 *   const end = yield* during(Stream.runCollect(torrent.read(0, { begin: 99_990 })))
 *   assert.deepEqual(end, [known.fileContent(0).subarray(99_990)])
 *   yield* during(torrent.completed)
 *   const progress = yield* torrent.files
 *   assert.deepEqual(progress.map(({ isComplete }) => isComplete), [true, false])
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(TestEngine.layer())))
 * ```
 */
export interface Torrent {
  readonly infoHash: InfoHash
  /** Waits for the metadata of a torrent that was added by a magnet link. That of any other is there at once. */
  readonly metainfo: Effect.Effect<Metainfo, TorrentError | TorrentStopped>
  /** The best name that is known now: `TorrentStatus.name`. */
  readonly name: Effect.Effect<string>
  /**
   * What happens, beginning with the last 1,024 events. A reader that lags by 8,192 events misses the oldest. Never
   * fails; ends with the torrent.
   */
  readonly events: Stream.Stream<TorrentEvent>
  /** A snapshot of its state and counters, as of now. */
  readonly status: Effect.Effect<TorrentStatus>
  /** Its status now and after each `every`. The last one is that of its end. */
  readonly statuses: (every: Duration.Input) => Stream.Stream<TorrentStatus>
  /**
   * Completes when every wanted piece is stored and flushed for the first time; `Completed` events report later
   * completions.
   */
  readonly completed: Effect.Effect<void, TorrentError | TorrentStopped>
  /**
   * Waits until the storage refuses what the torrent needs, for a reason that only a person can change
   * (`StorageRefused`, `FileExists`, `WriterConflict`), and succeeds with that. Meanwhile the torrent keeps trying.
   */
  readonly refused: Effect.Effect<StorageError, TorrentError | TorrentStopped>
  /**
   * The pieces that are stored, and that a kill would not lose, as a copy: one bit a piece. Empty while the files are
   * checked. Pieces that have to be verified again are left out.
   */
  readonly stored: Effect.Effect<Bitfield>
  /**
   * Its state, the stored pieces and the wanted ones: the current value first, and then what changes. A reader that is
   * late or slow is never wrong: it is given what is different from what it was given before. Ends with the torrent.
   */
  readonly changes: Stream.Stream<TorrentChange>
  /** Its files, except padding, and how far each is. Empty until the metadata is known. */
  readonly files: Effect.Effect<ReadonlyArray<FileProgress>>
  /** The connected peers. */
  readonly peers: Effect.Effect<ReadonlyArray<PeerStatus>>
  /**
   * How each source of peers is doing that has reported something, also while none runs. Trackers are named by their
   * URLs.
   */
  readonly sources: Effect.Effect<ReadonlyArray<SourceStatus>>
  /**
   * Pauses it, and returns once nothing is exchanged any more. Complete pieces are stored and flushed before, unless
   * the storage takes no writes or cannot flush; what is incomplete has to be fetched again. Then it has no peer and
   * runs no source, trackers were told that it has stopped, and it holds no connection and no buffer. Nothing is
   * downloaded or uploaded. A flush that fails is tried again all the while, and its state is `StorageFailing` until
   * then. Its files stay reserved, changes that others make to them are noticed, and whatever reads its stored bytes in
   * this process still may. A check goes on, because it exchanges nothing. Does nothing if it is paused.
   */
  readonly pause: Effect.Effect<void>
  /** Lets it go on after `pause`. Its peers are soon dialled again. Does nothing if it is not paused. */
  readonly resume: Effect.Effect<void>
  /**
   * Verifies everything that is on the medium again, whatever is remembered of it, also while the torrent downloads or
   * is paused. Returns when it is known what is stored. Pieces that are wrong are fetched again, those that somebody
   * put there count, and files of others are left alone, as at the start. Its peers are disconnected meanwhile.
   */
  readonly recheck: Effect.Effect<void, TorrentError | TorrentStopped>
  /**
   * Stops it for good, also if the scope in which it was added is still open; to close that later does nothing more.
   * Deletes what is remembered of it and, if `data`, its files: those that piecewise made or adopted on proof, also
   * what was set aside of skipped files, and then their empty folders. Files of others stay, and are named in the
   * result. What is being written is waited for. What was deleted does not count as stored any more. Afterwards its
   * info hash can be added again. Fails with `RemovalFailed` if something could not be deleted, and with
   * `TorrentStopped` if it has stopped already. Of a read-only torrent nothing is deleted. Nor is anything if `data`
   * and the metadata is not known yet: which files an earlier run left is only known with it. The result says so
   * (`isRemembered`). If several remove it at once, all are told the same, and its files are deleted if any of them
   * wants that; one that comes too late for it fails with `TorrentStopped`. Cannot be interrupted once it has begun.
   */
  readonly remove: (options: { readonly data: boolean }) => Effect.Effect<Removed, RemovalFailed | TorrentStopped>
  /** Adds addresses of peers to dial. */
  readonly addPeers: (addresses: ReadonlyArray<PeerAddress>) => Effect.Effect<void>
  /**
   * Sets how much each file is wanted, as `TorrentOptions.files` does. Fails with `StorageError` if the storage cannot
   * take the files that are wanted now. Then the selection stays as it was, but files may already have been moved.
   */
  readonly setPriorities: (files: ReadonlyArray<PiecePriority>) => Effect.Effect<void, StorageError>
  /**
   * Requests these pieces before all others, the most urgent first. `within` counts from now. The pieces replace those
   * of the last call. A piece that lies only in skipped files is not fetched. `read` sets deadlines of its own, which
   * come in between.
   */
  readonly setDeadlines: (
    deadlines: ReadonlyArray<{ readonly piece: PieceIndex; readonly within: Duration.Input }>
  ) => Effect.Effect<void>
  /**
   * Reads a part of a file of `metainfo.layout.files`, by its index, also while it is fetched: waits for each piece until
   * it is verified and stored, and has the pieces that come next fetched before all others, the further ahead the faster
   * the stream is consumed. Any number of streams may run at once, each with deadlines of its own. A slow consumer holds
   * its stream back. Chunks have at most 256 KiB, and belong to the consumer.
   *
   * A skipped file is wanted for as long as it is read, so a complete torrent may download and complete again. A piece
   * that is lost from the disk meanwhile is waited for until it is fetched again, and missing files until they are back.
   * Fails with `TorrentStopped` when the torrent stops, with the error of the torrent if it fails, and with
   * `StorageError` if the bytes cannot be read, or if the storage cannot take the skipped file. Dies with a `RangeError`
   * if there is no such file, if it is padding, or if the range is not inside it.
   */
  readonly read: (file: number, range?: ReadRange) => Stream.Stream<Uint8Array, ReadError>
  /** Sets the limits of all its peers together and removes those that are absent. The engine's limits apply as well. */
  readonly setLimits: (limits: Limits) => Effect.Effect<void>
  /** Sets the limits that apply to each of its peers and removes those that are absent. */
  readonly setPeerLimits: (limits: Limits) => Effect.Effect<void>
}
