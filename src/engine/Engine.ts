/**
 * An engine: torrents that share one memory budget, one limit of connections and the layers they run on. Any of those
 * layers (storage, sockets, hashing, resume data, sources of peers) can be swapped for another.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as BufferBudget from "../assembly/BufferBudget.ts"
import { SupplierSources } from "../assembly/SupplierSource.ts"
import * as InfoHash from "../base/InfoHash.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import * as PeerId from "../base/PeerId.ts"
import * as Prng from "../base/Prng.ts"
import * as ConnectionLimit from "../connect/ConnectionLimit.ts"
import { Encryption } from "../connect/Encryption.ts"
import * as Incoming from "../connect/Incoming.ts"
import * as PeerSource from "../discovery/PeerSource.ts"
import { PeerSources } from "../discovery/PeerSources.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import type { Magnet } from "../metainfo/Magnet.ts"
import * as Metainfo from "../metainfo/Metainfo.ts"
import * as ListeningPort from "../network/ListeningPort.ts"
import type { ConnectionError, Listening } from "../network/Transport.ts"
import { Dialer, Listener } from "../network/Transport.ts"
import * as RateLimits from "../rate/RateLimits.ts"
import { ResumeStore } from "../resume/ResumeStore.ts"
import * as ReadCache from "../storage/ReadCache.ts"
import { Storage } from "../storage/Storage.ts"
import * as MetadataFetch from "../torrent/MetadataFetch.ts"
import type { Torrent } from "../torrent/Torrent.ts"
import type { TorrentOptions } from "../torrent/TorrentOptions.ts"
import * as TorrentProgram from "../torrent/TorrentProgram.ts"

export type { Limits } from "../rate/RateLimits.ts"
export type { Progress as MetadataProgress } from "../torrent/MetadataFetch.ts"
export type { TorrentOptions } from "../torrent/TorrentOptions.ts"

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
  /** Bytes of stored pieces that are kept for peers which ask for them, over all torrents; default 16 MiB. */
  readonly readCacheBytes?: number | undefined
  /**
   * Connections of all torrents together, incoming ones included, shared evenly where they are short; default 200. More
   * rarely bring more.
   */
  readonly maxConnections?: number | undefined
  /** What all peers of all torrents may send and be sent together, shared evenly among torrents; default no limits. */
  readonly limits?: RateLimits.Limits | undefined
  /** Where peers may connect to us; absent: nowhere, so that only peers which listen themselves are met. */
  readonly listen?: ListenOptions | undefined
}

/** A port for peers. */
export interface ListenOptions {
  /** An address of this machine; default all of them, over IPv6 and IPv4. */
  readonly host?: string | undefined
  /** 0 takes any that is free. Trackers are told of it. */
  readonly port: number
}

/** An engine that does not listen. */
type Silent = Config & { readonly listen?: undefined }

/** Default of `Config.maxConnections`. */
export const defaultMaxConnections = 200

/** How a torrent is added. */
export interface AddOptions extends TorrentOptions {
  /** Addresses to try beside those the sources find. */
  readonly peers?: ReadonlyArray<PeerAddress> | undefined
  /** Where peers come from beside the sources that every torrent asks (`PeerSources`). */
  readonly sources?: ReadonlyArray<PeerSource.PeerSource> | undefined
}

/** The link names no torrent that can be fetched: it has a hash of version 2 alone (BEP 52). */
export class OnlyV2 extends Data.TaggedError("OnlyV2")<{}> {
  override get message() {
    return "the magnet link names a torrent of version 2 alone (BEP 52), which is not supported yet"
  }
}

/** How the info dict of a magnet link is fetched. */
export interface MetadataOptions extends Pick<AddOptions, "peers" | "sources"> {
  /** Whose rules file names must follow; default those of `Metainfo.decodeInfo`. */
  readonly platform?: Metainfo.Options["platform"]
  /** Hears how it stands, and what sources say. */
  readonly report?: MetadataFetch.Options["report"]
}

/** What a magnet link stands for. */
export interface Metadata {
  readonly metainfo: Metainfo.Metainfo
  /** Addresses that were found meanwhile, to add the torrent with. */
  readonly peers: ReadonlyArray<PeerAddress>
}

/** What an engine runs on. */
export type Requirements = Storage | Dialer | PieceHasher | ResumeStore | PeerSources

/** Runs torrents. */
export class Engine extends Context.Service<
  Engine,
  {
    /**
     * Starts a torrent, until the scope closes; it then says goodbye to trackers, which takes 2 seconds at most. Returns
     * at once; what comes of it is told by the torrent's events.
     */
    readonly add: (
      metainfo: Metainfo.Metainfo,
      options?: AddOptions
    ) => Effect.Effect<Torrent, AlreadyAdded, Scope.Scope>
    /**
     * Fetches what a magnet link stands for from the peers of the torrent (BEP 9), and goes on until one of them has given
     * it. Fails where the link is of version 2 alone, or the info dict is of no use although its digest is right.
     */
    readonly metadata: (
      link: Magnet,
      options?: MetadataOptions
    ) => Effect.Effect<Metadata, OnlyV2 | Metainfo.MetainfoError>
    /** Sets other limits for all torrents together; those that are absent are lifted. */
    readonly setLimits: (limits: RateLimits.Limits) => Effect.Effect<void>
    /** Bytes that the piece buffers of all torrents take now, lent and idle; at most `Config.bufferBytes`. */
    readonly heldBytes: Effect.Effect<number>
    /** The address that it listens on; `undefined` if it does not listen. */
    readonly listening: PeerAddress | undefined
    /** The port that peers and sources are told to connect to: that of `listening`, until a port mapping sets another. */
    readonly port: ListeningPort.ListeningPort
  }
>()("piecewise/engine/Engine") {}

/**
 * Makes an engine from the services in the context; one that listens does so until the scope closes, and fails where the
 * port cannot be had.
 */
export function make(config?: Silent): Effect.Effect<Engine["Service"], never, Requirements>
export function make(
  config: Config
): Effect.Effect<Engine["Service"], ConnectionError, Requirements | Listener | Scope.Scope>
export function make(config: Config = {}) {
  const { listen } = config
  if (listen === undefined) return Effect.map(run(config, undefined), ({ engine }) => engine)
  return Effect.gen(function* () {
    const listening = yield* open(listen)
    const { accept, engine } = yield* run(config, listening)
    yield* Effect.forkScoped(Incoming.run({ listening, find: accept }))
    return engine
  })
}

/** Every address of the machine, where it has IPv6 and where it has not. */
const open = Effect.fnUntraced(function* ({ host, port }: ListenOptions) {
  const listener = yield* Listener
  if (host !== undefined) return yield* listener.listen({ host, port })
  return yield* Effect.catch(listener.listen({ host: "::", port }), () => listener.listen({ host: "0.0.0.0", port }))
})

const run = Effect.fnUntraced(function* (config: Config, listening: Listening | undefined) {
  // Those and nothing else: the context here has the scope of the engine, and a torrent belongs to its caller's.
  const services = Context.pick(
    Storage,
    Dialer,
    PieceHasher,
    ResumeStore,
    PeerSources,
    Encryption,
    SupplierSources
  )(yield* Effect.context<Requirements>())
  const budget = BufferBudget.make(config.bufferBytes ?? BufferBudget.defaultBufferBytes)
  const readCache = ReadCache.make(config.readCacheBytes)
  const limits = RateLimits.makeEngine(config.limits ?? {}, yield* Monotonic.now)
  const connections = ConnectionLimit.make(config.maxConnections ?? defaultMaxConnections)
  /** By info hash in hex; `undefined` for a moment, until the torrent is made. */
  const running = new Map<string, TorrentProgram.TorrentProgram | undefined>()

  const claim = (infoHash: InfoHash.InfoHash) => {
    const hex = InfoHash.toHex(infoHash)
    return Effect.acquireRelease(
      Effect.suspend(() => {
        if (running.has(hex)) return Effect.fail(new AlreadyAdded({ infoHash }))
        running.set(hex, undefined)
        return Effect.void
      }),
      () => Effect.sync(() => running.delete(hex))
    )
  }

  /** Who we are in one swarm: a torrent cannot be told by the peer id of another. */
  const ourselves = Effect.map(Random.nextInt, (seed) => {
    const random = Prng.make(seed)
    const peerId = PeerId.make((bytes) => {
      for (let index = 0; index < bytes.length; index++) bytes[index] = Prng.integer(random, 256)
    })
    return { peerId, random }
  })

  const port = yield* ListeningPort.make(listening?.address.port)
  const shared = Context.get(services, PeerSources)
  const sourcesOf = ({ peers = [], sources = [] }: Pick<AddOptions, "peers" | "sources">) => [
    PeerSource.fromAddresses(peers),
    ...shared,
    ...sources
  ]

  const add = Effect.fnUntraced(
    function* (metainfo: Metainfo.Metainfo, options: AddOptions = {}) {
      const { infoHash } = metainfo
      yield* claim(infoHash)
      const { peerId } = yield* ourselves
      const program = yield* TorrentProgram.make({
        ...options,
        metainfo,
        peerId,
        port,
        sources: sourcesOf(options),
        engineLimits: limits,
        connections,
        readCache
      })
      running.set(InfoHash.toHex(infoHash), program)
      return program.torrent
    },
    Effect.provideService(BufferBudget.BufferBudget, budget),
    Effect.provideContext(services)
  )
  const metadata = Effect.fnUntraced(function* (link: Magnet, options: MetadataOptions = {}) {
    const { infoHash } = link
    if (infoHash === undefined) return yield* new OnlyV2()
    const { peerId, random } = yield* ourselves
    // A magnet link knows no tiers, and many of its trackers are dead.
    const trackers = link.trackers.map((url) => [url])
    const fetched = yield* MetadataFetch.run({
      infoHash,
      peerId,
      port,
      trackers,
      sources: sourcesOf({ peers: [...link.peers, ...(options.peers ?? [])], sources: options.sources }),
      random,
      connections,
      report: options.report
    })
    const { platform } = options
    const metainfo = yield* Metainfo.fromInfoBytes(fetched.info, { trackers, webSeeds: link.webSeeds, platform })
    return { metainfo, peers: fetched.addresses }
  }, Effect.provideContext(services))

  const engine = Engine.of({
    add,
    metadata,
    setLimits: (asked) => Effect.map(Monotonic.now, (now) => RateLimits.set(limits, asked, now)),
    heldBytes: Effect.sync(() => budget.heldBytes),
    listening: listening?.address,
    port
  })
  const accept = (infoHash: InfoHash.InfoHash) => running.get(InfoHash.toHex(infoHash))?.accept
  return { engine, accept }
})

/** An engine over the layers it is given; a `Listener` is among them only where it listens. */
export function layer(config?: Silent): Layer.Layer<Engine, never, Requirements>
export function layer(config: Config): Layer.Layer<Engine, ConnectionError, Requirements | Listener>
export function layer(config: Config = {}) {
  return Layer.effect(Engine, make(config))
}
