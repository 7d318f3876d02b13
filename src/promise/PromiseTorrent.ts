/**
 * A torrent for programs that write promises. Each function runs what `piecewise` calls by the same name.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { PiecePriority } from "../assembly/PiecePriority.ts"
import type { Bitfield } from "../base/Bitfield.ts"
import * as InfoHash from "../base/InfoHash.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import type { ReadRange } from "../torrent/Readers.ts"
import type * as Effectful from "../torrent/Torrent.ts"
import type { TorrentEvent } from "../torrent/TorrentEvent.ts"
import type { TorrentStatus } from "../torrent/TorrentStatus.ts"
import type { Waiting } from "./Running.ts"
import * as Running from "./Running.ts"

/**
 * A torrent of an engine. It runs until it is stopped or removed, or its engine is closed; `await using` stops it at
 * the end of the block. What waits for something rejects with `TorrentStopped` if the torrent is stopped first, and
 * with the torrent's error if it fails.
 */
export interface Torrent extends AsyncDisposable {
  /** In hex. */
  readonly infoHash: string
  /** The same torrent, for effects. */
  readonly effectful: Effectful.Torrent
  /** Waits for the metadata of a torrent that was added by a magnet link. */
  readonly metainfo: (waiting?: Waiting) => Promise<Metainfo>
  /** Waits until every wanted piece is stored and flushed. */
  readonly completed: (waiting?: Waiting) => Promise<void>
  /** A snapshot of its state and counters. */
  readonly status: () => Promise<TorrentStatus>
  /** Its status now and every so many milliseconds, until it ends. */
  readonly statuses: (milliseconds: number, waiting?: Waiting) => AsyncIterable<TorrentStatus>
  /** What happens, beginning with the last 1,024 events. */
  readonly events: (waiting?: Waiting) => AsyncIterable<TorrentEvent>
  /** The current state and what changes. A late reader is never wrong. */
  readonly changes: (waiting?: Waiting) => AsyncIterable<Effectful.TorrentChange>
  /** Reads a part of a file by its index, also while it is fetched. Waits for what is missing. */
  readonly read: (file: number, options?: ReadRange & Waiting) => AsyncIterable<Uint8Array>
  /** The stored pieces, one bit each. */
  readonly stored: () => Promise<Bitfield>
  /** Its files, and how far each is. */
  readonly files: () => Promise<ReadonlyArray<Effectful.FileProgress>>
  /** The connected peers. */
  readonly peers: () => Promise<ReadonlyArray<Effectful.PeerStatus>>
  /** How its sources of peers are doing. */
  readonly sources: () => Promise<ReadonlyArray<Effectful.SourceStatus>>
  /** Ends every exchange, and returns once nothing is exchanged any more. */
  readonly pause: () => Promise<void>
  /** Lets it go on. */
  readonly resume: () => Promise<void>
  /** Verifies everything that is on the medium again. */
  readonly recheck: (waiting?: Waiting) => Promise<void>
  /** Stops it, and deletes what is remembered of it and, if `data`, its files. */
  readonly remove: (options: { readonly data: boolean }) => Promise<Effectful.Removed>
  /** Stops it. What it has stored stays, and is found when it is added again. */
  readonly stop: () => Promise<void>
  /** Adds addresses of peers to dial. */
  readonly addPeers: (addresses: ReadonlyArray<PeerAddress>) => Promise<void>
  /** Sets how much each file is wanted. */
  readonly setPriorities: (files: ReadonlyArray<PiecePriority>) => Promise<void>
  /** Sets the limits of all its peers together. */
  readonly setLimits: (limits: Effectful.Limits) => Promise<void>
}

/** A torrent that was added in a scope, which `stop` closes. `track` is told what ends it. */
export const make = (
  torrent: Effectful.Torrent,
  scope: Scope.Closeable,
  track: <A>(ending: Promise<A>) => Promise<A>
): Torrent => {
  const empty = Context.empty()
  const run = <A, E>(effect: Effect.Effect<A, E>, waiting?: Waiting) => Running.promise(empty, effect, waiting)
  let stopping: Promise<void> | undefined
  const stop = () => {
    stopping ??= track(run(Scope.close(scope, Exit.void)))
    return stopping
  }
  return {
    infoHash: InfoHash.toHex(torrent.infoHash),
    effectful: torrent,
    metainfo: (waiting) => run(torrent.metainfo, waiting),
    completed: (waiting) => run(torrent.completed, waiting),
    status: () => run(torrent.status),
    statuses: (milliseconds, waiting) => Running.iterable(empty, torrent.statuses(milliseconds), waiting),
    events: (waiting) => Running.iterable(empty, torrent.events, waiting),
    changes: (waiting) => Running.iterable(empty, torrent.changes, waiting),
    read: (file, options) => Running.iterable(empty, torrent.read(file, options), options),
    stored: () => run(torrent.stored),
    files: () => run(torrent.files),
    peers: () => run(torrent.peers),
    sources: () => run(torrent.sources),
    pause: () => run(torrent.pause),
    resume: () => run(torrent.resume),
    recheck: (waiting) => run(torrent.recheck, waiting),
    remove: (options) => track(run(Effect.ensuring(torrent.remove(options), Scope.close(scope, Exit.void)))),
    stop,
    addPeers: (addresses) => run(torrent.addPeers(addresses)),
    setPriorities: (files) => run(torrent.setPriorities(files)),
    setLimits: (limits) => run(torrent.setLimits(limits)),
    [Symbol.asyncDispose]: stop
  }
}
