/**
 * What a program can see and do with a torrent that it has added to an engine.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { PiecePriority } from "../assembly/PiecePriority.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import type { Limits } from "../rate/RateLimits.ts"
import type { StorageError } from "../storage/Storage.ts"
import type { TorrentEvent } from "./TorrentEvent.ts"
import type { TorrentError, TorrentStatus } from "./TorrentStatus.ts"

export type { Limits } from "../rate/RateLimits.ts"

/** A torrent of an engine. It stops when the scope in which it was added closes. */
export interface Torrent {
  readonly metainfo: Metainfo
  /**
   * What happens, beginning with the last 1,024 events. A reader that lags by 8,192 events misses the oldest. Never
   * fails.
   */
  readonly events: Stream.Stream<TorrentEvent>
  /** A snapshot of its state and counters, as of now. */
  readonly status: Effect.Effect<TorrentStatus>
  /**
   * Completes when every wanted piece is stored and flushed for the first time; `Completed` events report later
   * completions. Fails with `TorrentError` if the torrent could not be started, or met a file of somebody else's.
   * Whoever waits is interrupted if the torrent stops first. A bug in the engine is a defect.
   */
  readonly completed: Effect.Effect<void, TorrentError>
  /** Adds addresses of peers to dial. */
  readonly addPeers: (addresses: ReadonlyArray<PeerAddress>) => Effect.Effect<void>
  /**
   * Sets how much each file is wanted, as `TorrentOptions.files` does. Fails with `StorageError` if the storage cannot
   * take the files that are wanted now. Then the selection stays as it was, but files may already have been moved.
   */
  readonly setPriorities: (files: ReadonlyArray<PiecePriority>) => Effect.Effect<void, StorageError>
  /**
   * Requests these pieces before all others, the most urgent first, for example for a player that reads the files
   * during the download. `within` counts from now. The pieces replace those of the last call. A piece that lies only in
   * skipped files is not fetched.
   */
  readonly setDeadlines: (
    deadlines: ReadonlyArray<{ readonly piece: PieceIndex; readonly within: Duration.Input }>
  ) => Effect.Effect<void>
  /** Sets the limits of all its peers together and removes those that are absent. The engine's limits apply as well. */
  readonly setLimits: (limits: Limits) => Effect.Effect<void>
  /** Sets the limits that apply to each of its peers and removes those that are absent. */
  readonly setPeerLimits: (limits: Limits) => Effect.Effect<void>
}
