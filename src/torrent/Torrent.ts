/**
 * What a program sees of a torrent that it has added to an engine.
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

/** A torrent of an engine. It stops when the scope closes that it was added in. */
export interface Torrent {
  readonly metainfo: Metainfo
  /** What happens, beginning with the last 1,024 events. A reader that lags by 8,192 events misses the oldest. */
  readonly events: Stream.Stream<TorrentEvent>
  /** How it stands now. */
  readonly status: Effect.Effect<TorrentStatus>
  /**
   * Completes when every wanted piece is stored and flushed for the first time; events report later completions. Fails if
   * the torrent could not be started, or met a file of somebody else's. Interrupts whoever waits if the torrent is stopped
   * before, and dies of a bug of ours.
   */
  readonly completed: Effect.Effect<void, TorrentError>
  /** Adds addresses to try. */
  readonly addPeers: (addresses: ReadonlyArray<PeerAddress>) => Effect.Effect<void>
  /**
   * Sets how much each file is wanted, as `TorrentOptions.files` does. If the storage cannot take the files that are wanted
   * now, it fails and changes nothing except where bytes lie.
   */
  readonly setPriorities: (files: ReadonlyArray<PiecePriority>) => Effect.Effect<void, StorageError>
  /**
   * Requests these pieces before all others, the most urgent first, as for somebody who watches during the download;
   * `within` counts from now. They replace the pieces of the last call. A piece that lies in skipped files alone is not
   * fetched for it.
   */
  readonly setDeadlines: (
    deadlines: ReadonlyArray<{ readonly piece: PieceIndex; readonly within: Duration.Input }>
  ) => Effect.Effect<void>
  /** Sets the limits of all its peers together and lifts those that are absent. The engine's limits hold as well. */
  readonly setLimits: (limits: Limits) => Effect.Effect<void>
  /** Sets the limits of each of its peers. */
  readonly setPeerLimits: (limits: Limits) => Effect.Effect<void>
}
