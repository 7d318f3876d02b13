/** What simulated worlds and the downloads in them are: the types of `Swarms.ts`. */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Dht } from "../discovery/dht/Dht.ts"
import type * as Engine from "../engine/Engine.ts"
import type { Dialer } from "../network/Transport.ts"
import type * as MemoryResumeStore from "../resume/provider/MemoryResumeStore.ts"
import type * as MemoryStorage from "../storage/provider/memory/MemoryStorage.ts"
import type { Storage } from "../storage/Storage.ts"
import type { Torrent } from "../torrent/Torrent.ts"
import type { TorrentEvent } from "../torrent/TorrentEvent.ts"
import type { TorrentStatus } from "../torrent/TorrentStatus.ts"
import type * as FaultyStorage from "./FaultyStorage.ts"
import type { KnownTorrent } from "./KnownTorrent.ts"
import type * as MemoryNetwork from "./MemoryNetwork.ts"
import type { PeerBehaviour } from "./PeerBehaviour.ts"
import type * as ScriptedPeer from "./ScriptedPeer.ts"
import type * as Simulation from "./Simulation.ts"
import type { Snapshot } from "./SwarmSnapshot.ts"

export type { Snapshot } from "./SwarmSnapshot.ts"

/** A torrent of the engine, with the peers that were made for it. */
export interface Download {
  readonly known: KnownTorrent
  readonly torrent: Torrent
  readonly peers: ReadonlyArray<ScriptedPeer.Serving>
  /** Everything it has emitted so far. */
  readonly events: ReadonlyArray<TorrentEvent>
  readonly isComplete: () => boolean
  /** Stops the torrent, and moves the clock as long as that takes. Its peers continue. */
  readonly stop: Effect.Effect<void>
  /** Stops the torrent as `stop` does, but takes the time that others move. */
  readonly halt: Effect.Effect<void>
}

/** How a torrent is added. */
export interface DownloadOptions extends Engine.AddOptions {
  /** Peers to make for it, whose addresses it gets. */
  readonly behaviours?: ReadonlyArray<PeerBehaviour> | undefined
  /** What an earlier run left. */
  readonly from?: Snapshot | undefined
  /** The machine was restarted since: what was not flushed then is wrong on the medium. */
  readonly cutsPower?: boolean | undefined
}

/** The result of a download. */
export interface Summary {
  readonly isComplete: boolean
  /** Whether the medium holds every byte of every file, all of them right. */
  readonly isRight: boolean
  /** Simulated milliseconds since the world began. */
  readonly millis: number
  readonly events: ReadonlyArray<TorrentEvent>
  readonly status: TorrentStatus
  /** What each peer saw. */
  readonly counters: ReadonlyArray<ScriptedPeer.Counters>
  /** How often the storage confirmed the write of each piece. */
  readonly writes: ReadonlyArray<number>
  /** The most bytes that buffers of all torrents took at once, as far as inspections saw. */
  readonly mostBufferedBytes: number
}

/** What a swarm runs in. */
export interface World {
  readonly simulation: Simulation.Simulation["Service"]
  readonly engine: Engine.Engine["Service"]
  readonly network: MemoryNetwork.MemoryNetwork["Service"]
  readonly faults: FaultyStorage.StorageFaults["Service"]
  readonly medium: MemoryStorage.MemoryMedium["Service"]
  readonly resume: MemoryResumeStore.MemoryResumeStore["Service"]
  /** The host of its engine: the engine dials from there. */
  readonly host: string
  /**
   * Another engine on a host of its own, with a medium of its own, in the same network. All engines share the time and
   * the laws: whichever clock is moved, the laws of every engine are inspected.
   */
  readonly beside: (options?: NeighbourOptions) => Effect.Effect<World, never, Scope.Scope>
  /** Starts a peer on a host of its own. */
  readonly join: (
    known: KnownTorrent,
    behaviour: PeerBehaviour
  ) => Effect.Effect<ScriptedPeer.Serving, never, Scope.Scope>
  /** Adds a torrent to the engine, until the scope closes or it is stopped. */
  readonly download: (
    known: KnownTorrent,
    options?: DownloadOptions
  ) => Effect.Effect<Download, Engine.AlreadyAdded, Scope.Scope>
  /** Moves the clock, and inspects the laws after every step. */
  readonly advance: (duration: Duration.Input) => Effect.Effect<void>
  /**
   * Runs a program, moves the clock until it ends, and inspects the laws after every step. Dies with the seed if it has
   * not ended after `limit` (default an hour), and then ends it.
   */
  readonly during: <A, E, R>(effect: Effect.Effect<A, E, R>, limit?: Duration.Input) => Effect.Effect<A, E, R>
  /** Moves the clock until `isDone`, for `limit` at most; returns whether it is. */
  readonly until: (isDone: () => boolean, limit: Duration.Input) => Effect.Effect<boolean>
  /** What the medium and the resume data hold now: the remains of a process that is killed. */
  readonly snapshot: (known: KnownTorrent) => Snapshot
  readonly summary: (download: Download) => Effect.Effect<Summary>
}

/** How a world is made. */
export interface Options {
  /** Determines all chance. Default 1. */
  readonly seed?: number | undefined
  /** Whether torrents find the peers that join, as through a tracker. Default: no, they are given addresses. */
  readonly findsPeers?: boolean | undefined
  readonly engine?: Engine.EngineOptions | undefined
  /** What links between hosts are like. Default: bytes take no time. */
  readonly link?: Partial<MemoryNetwork.LinkOptions> | undefined
  /**
   * What else the network is like. On a slow link the default window takes most of a minute to send, and all other
   * messages wait behind it: real ones have `windowBytes` and `sendBufferBytes` of a second or two.
   */
  readonly network?: Omit<MemoryNetwork.Options, "seed" | "link"> | undefined
  /** Wraps the storage, below the check of its writes: to harm one torrent and not the others. */
  readonly storage?: ((storage: Storage["Service"]) => Storage["Service"]) | undefined
  /** Bytes that fit on the medium. Default: no limit. */
  readonly capacity?: number | undefined
  /** Whether the medium verifies pieces itself, as the io-daemon does. Default: no. */
  readonly verifies?: boolean | undefined
  /** How the engine dials, instead of over the network from its host. */
  readonly dialer?: Dialer["Service"] | undefined
  /** Makes the engine's node of the DHT, on the given host; default: it has none. */
  readonly dht?: ((host: string) => Effect.Effect<Dht["Service"], never, Scope.Scope>) | undefined
}

/** How another engine of a world is made. */
export type NeighbourOptions = Pick<Options, "engine" | "storage" | "capacity" | "verifies" | "dialer" | "dht">
