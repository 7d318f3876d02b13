/**
 * An engine: torrents that share one memory budget, one limit of connections and the layers they run on. Any of those
 * layers (storage, sockets, hashing, resume data, trackers) can be swapped for another.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as InfoHash from "../base/InfoHash.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import * as PeerId from "../base/PeerId.ts"
import * as Prng from "../base/Prng.ts"
import * as PeerSource from "../discovery/PeerSource.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import * as BufferBudget from "../piece/BufferBudget.ts"
import { PieceHasher } from "../piece/PieceHasher.ts"
import { ResumeStore } from "../resume/ResumeStore.ts"
import { Storage } from "../storage/Storage.ts"
import * as ConnectionLimit from "../swarm/ConnectionLimit.ts"
import * as Torrent from "../torrent/Torrent.ts"
import { Tracker } from "../tracker/Tracker.ts"
import * as TrackerSource from "../tracker/TrackerSource.ts"
import { Dialer } from "../transport/Transport.ts"

/** The torrent is in the engine already. */
export class AlreadyAdded extends Data.TaggedError("AlreadyAdded")<{ readonly infoHash: InfoHash.InfoHash }> {
  override get message() {
    return `torrent ${InfoHash.toHex(this.infoHash)} is running already`
  }
}

/** How an engine is set up. */
export interface Config {
  /**
   * Bytes that the piece buffers of all torrents may take together; default 64 MiB. A quarter is kept for torrents that
   * have no buffer yet (`BufferBudget`), so two pieces of 32 MiB at once need 86 MiB.
   */
  readonly bufferBytes?: number | undefined
  /** Connections of all torrents together, shared evenly where they are short; default 200. More rarely bring more. */
  readonly maxConnections?: number | undefined
}

/** Default of `Config.maxConnections`. */
export const defaultMaxConnections = 200

/** How a torrent is added. */
export interface AddOptions {
  /** Addresses to try beside those the sources find. */
  readonly peers?: ReadonlyArray<PeerAddress> | undefined
  /** Where peers come from beside the torrent's trackers. */
  readonly sources?: ReadonlyArray<PeerSource.PeerSource> | undefined
  /** Pieces under way at once; default 20, or more where pieces are small. */
  readonly maxActivePieces?: number | undefined
  /** Connections of this torrent; default 50. */
  readonly maxConnections?: number | undefined
}

/** What an engine runs on. */
export type Requirements = Storage | Dialer | PieceHasher | ResumeStore | Tracker

/** Runs torrents. */
export class Engine extends Context.Service<
  Engine,
  {
    /**
     * Starts a torrent, until the scope closes; it then says goodbye to trackers, which takes 2 seconds at most. Returns
     * at once; what comes of it is told by the torrent's events.
     */
    readonly add: (
      metainfo: Metainfo,
      options?: AddOptions
    ) => Effect.Effect<Torrent.Torrent, AlreadyAdded, Scope.Scope>
    /** Bytes that the piece buffers of all torrents take now, lent and idle; at most `Config.bufferBytes`. */
    readonly heldBytes: Effect.Effect<number>
  }
>()("piecewise/engine/Engine") {}

/** Makes an engine from the services in the context. */
export const make = Effect.fnUntraced(function* (config: Config = {}) {
  // Those and nothing else: the context here has the scope of the engine, and a torrent belongs to its caller's.
  const services = Context.pick(
    Storage,
    Dialer,
    PieceHasher,
    ResumeStore,
    Tracker
  )(yield* Effect.context<Requirements>())
  const budget = BufferBudget.make(config.bufferBytes ?? BufferBudget.defaultBufferBytes)
  const connections = ConnectionLimit.make(config.maxConnections ?? defaultMaxConnections)
  const running = new Set<string>()

  const claim = (infoHash: InfoHash.InfoHash) => {
    const hex = InfoHash.toHex(infoHash)
    return Effect.acquireRelease(
      Effect.suspend(() => {
        if (running.has(hex)) return Effect.fail(new AlreadyAdded({ infoHash }))
        running.add(hex)
        return Effect.void
      }),
      () => Effect.sync(() => running.delete(hex))
    )
  }

  const add = Effect.fnUntraced(
    function* (metainfo: Metainfo, options: AddOptions = {}) {
      const { infoHash } = metainfo
      yield* claim(infoHash)
      const random = Prng.make(yield* Random.nextInt)
      const peerId = PeerId.make((bytes) => {
        for (let index = 0; index < bytes.length; index++) bytes[index] = Prng.integer(random, 256)
      })
      return yield* Torrent.make({
        metainfo,
        peerId,
        sources: [
          PeerSource.fromAddresses(options.peers ?? []),
          yield* TrackerSource.make({ tiers: metainfo.trackers, infoHash, peerId }),
          ...(options.sources ?? [])
        ],
        maxActivePieces: options.maxActivePieces,
        maxConnections: options.maxConnections,
        connections
      })
    },
    Effect.provideService(BufferBudget.BufferBudget, budget),
    Effect.provideContext(services)
  )
  return Engine.of({ add, heldBytes: Effect.sync(() => budget.heldBytes) })
})

/** An engine over the layers it is given. */
export const layer = (config?: Config): Layer.Layer<Engine, never, Requirements> => Layer.effect(Engine, make(config))
