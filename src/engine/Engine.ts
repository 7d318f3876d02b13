/**
 * An engine: torrents that share one memory budget, one limit of connections, and the layers they run on. Each of these
 * layers (storage, sockets, hashing, resume data, peer sources) can be replaced.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as BufferBudget from "../assembly/BufferBudget.ts"
import { SupplierSources } from "../assembly/SupplierSource.ts"
import * as Descriptors from "../base/Descriptors.ts"
import * as InfoHash from "../base/InfoHash.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import * as PeerId from "../base/PeerId.ts"
import * as Prng from "../base/Prng.ts"
import * as Ticker from "../base/Ticker.ts"
import * as Callers from "../connect/Callers.ts"
import { Encryption } from "../connect/Encryption.ts"
import * as Incoming from "../connect/Incoming.ts"
import * as Places from "../connect/Places.ts"
import { MetadataSources } from "../discovery/MetadataSource.ts"
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
import * as SharedWork from "./SharedWork.ts"

export type { Limits } from "../rate/RateLimits.ts"
export type { Progress as MetadataProgress } from "../torrent/MetadataFetch.ts"
export type { TorrentOptions } from "../torrent/TorrentOptions.ts"

/** The torrent was already added to the engine, and has not stopped. */
export class AlreadyAdded extends Data.TaggedError("AlreadyAdded")<{ readonly infoHash: InfoHash.InfoHash }> {
  override get message() {
    return `torrent ${InfoHash.toHex(this.infoHash)} is already running`
  }
}

/** How an engine is set up. */
export interface Config {
  /**
   * Most bytes that the piece buffers of all torrents may take together; default 64 MiB. A quarter is reserved for
   * torrents that have no buffer yet (`BufferBudget`), so two pieces of 32 MiB at once need 86 MiB.
   */
  readonly bufferBytes?: number | undefined
  /** Bytes of stored pieces that are cached for uploads, over all torrents; default 16 MiB. */
  readonly readCacheBytes?: number | undefined
  /**
   * Most connections to peers of all torrents together, incoming ones included; default 200. If torrents want more,
   * they share them evenly, and take turns if there are more torrents. Up to 40 more may be opening. More connections
   * rarely make downloads faster.
   */
  readonly maxConnections?: number | undefined
  /**
   * The most bytes of metadata that are fetched for a magnet link; default 64 MiB. While its peers contradict each
   * other, a fetch may hold that much and 48 MiB more.
   */
  readonly maxMetadataBytes?: number | undefined
  /** Rate limits for all torrents together, shared evenly among them; default no limits. */
  readonly limits?: RateLimits.Limits | undefined
  /**
   * Where peers may connect to us. If absent, the engine does not listen, and reaches only peers that listen
   * themselves.
   */
  readonly listen?: ListenOptions | undefined
}

/** The address and port to listen on for peers. */
export interface ListenOptions {
  /** A local address; default all of them, over IPv6 and IPv4. */
  readonly host?: string | undefined
  /**
   * 0 chooses any free port, and of several the first free one is taken. Trackers are told the port that was chosen.
   */
  readonly port: number | ReadonlyArray<number>
}

/** The configuration of an engine that does not listen. */
type WithoutListener = Config & { readonly listen?: undefined }

/** Default of `Config.maxConnections`. */
export const defaultMaxConnections = 200

/** How a torrent is added. */
export interface AddOptions extends TorrentOptions {
  /** Addresses to try besides those that the sources find. */
  readonly peers?: ReadonlyArray<PeerAddress> | undefined
  /** Peer sources besides those that every torrent asks (`PeerSources`). */
  readonly sources?: ReadonlyArray<PeerSource.PeerSource> | undefined
}

/** The magnet link cannot be fetched, because it only has an info hash of version 2 (BEP 52). */
export class OnlyV2 extends Data.TaggedError("OnlyV2")<{}> {
  override get message() {
    return "the magnet link names a version 2 torrent (BEP 52), which is not supported yet"
  }
}

/** How the info dict of a magnet link is fetched. */
export interface MetadataOptions extends Pick<AddOptions, "peers" | "sources"> {
  /** The platform whose rules file names must follow; default as in `Metainfo.decodeInfo`. */
  readonly platform?: Metainfo.Options["platform"]
  /** Called with the progress of the fetch, and with the events of its sources. */
  readonly report?: MetadataFetch.Options["report"]
}

/** The result of fetching a magnet link. */
export interface Metadata {
  readonly metainfo: Metainfo.Metainfo
  /** Addresses that were found during the fetch, to pass to `add`. */
  readonly peers: ReadonlyArray<PeerAddress>
}

/** The services that an engine needs. */
export type Requirements = Storage | Dialer | PieceHasher | ResumeStore | PeerSources

/** Runs torrents. */
export class Engine extends Context.Service<
  Engine,
  {
    /**
     * Starts a torrent that runs until the scope closes. Closing then announces `stopped` to the trackers, which takes
     * 2 seconds at most. Returns at once; the torrent's events report its progress and failures. Fails with
     * `AlreadyAdded` if the torrent is running in this engine.
     */
    readonly add: (
      metainfo: Metainfo.Metainfo,
      options?: AddOptions
    ) => Effect.Effect<Torrent, AlreadyAdded, Scope.Scope>
    /**
     * Fetches the metainfo of a magnet link from the peers of its torrent (BEP 9), also from those that connect to us,
     * and, if `MetadataSources` are provided, from those, whichever is first. Retries until a peer has sent it. The
     * trackers and web seeds of a torrent file that was found are added to those of the link. Fails with `OnlyV2` if
     * the link is of version 2 only, or with `MetainfoError` if the info dict is invalid although its digest matches.
     */
    readonly metadata: (
      link: Magnet,
      options?: MetadataOptions
    ) => Effect.Effect<Metadata, OnlyV2 | Metainfo.MetainfoError>
    /** Replaces the rate limits for all torrents together. A limit that is absent is lifted. */
    readonly setLimits: (limits: RateLimits.Limits) => Effect.Effect<void>
    /**
     * Bytes that the piece buffers of all torrents take now, in use and idle. At most `Config.bufferBytes`, unless one
     * larger piece is held alone, or one is read to be repaired after a failed flush.
     */
    readonly heldBytes: Effect.Effect<number>
    /** The address that the engine listens on; `undefined` if it does not listen. */
    readonly listening: PeerAddress | undefined
    /** The port that peers and sources are told: that of `listening`, until a port mapping sets another. */
    readonly port: ListeningPort.ListeningPort
  }
>()("piecewise/engine/Engine") {}

/**
 * Makes an engine from the services in the context. If `listen` is set, it listens until the scope closes, and fails
 * with `ConnectionError` if the port is not available.
 */
export function make(config?: WithoutListener): Effect.Effect<Engine["Service"], never, Requirements>
export function make(
  config: Config
): Effect.Effect<Engine["Service"], ConnectionError, Requirements | Listener | Scope.Scope>
export function make(config: Config = {}) {
  const { listen } = config
  if (listen === undefined) return Effect.map(makeParts(config, undefined), ({ engine }) => engine)
  return Effect.gen(function* () {
    const listening = yield* listenOn(listen)
    const { accept, callers, engine } = yield* makeParts(config, listening)
    yield* Effect.forkScoped(Incoming.run({ listening, find: accept, callers }))
    return engine
  })
}

/**
 * Listens at the first port that is free, on all addresses of the machine unless `host` names one: over IPv6 and IPv4
 * if it has both, else over IPv4. A port that only IPv4 has free is the last choice, because peers are told one port
 * for both, and over IPv6 it is another program's.
 */
const listenOn = Effect.fnUntraced(function* ({ host, port }: ListenOptions) {
  const listener = yield* Listener
  const hosts = host === undefined ? ["::", "0.0.0.0"] : [host]
  const ports = typeof port === "number" ? [port] : port
  return yield* Effect.firstSuccessOf(hosts.flatMap((host) => ports.map((port) => listener.listen({ host, port }))))
})

const makeParts = Effect.fnUntraced(function* (config: Config, listening: Listening | undefined) {
  // Only these services: the context also holds the engine's scope, but a torrent must belong to its caller's scope.
  const services = Context.pick(
    Storage,
    Dialer,
    PieceHasher,
    ResumeStore,
    PeerSources,
    Encryption,
    SupplierSources,
    MetadataSources
  )(yield* Effect.context<Requirements>())
  const budget = BufferBudget.make(config.bufferBytes ?? BufferBudget.defaultBufferBytes)
  const readCache = ReadCache.make(config.readCacheBytes)
  const limits = RateLimits.makeEngine(config.limits ?? {}, yield* Monotonic.now)
  const callers = Callers.make()
  const places = Places.make(config.maxConnections ?? defaultMaxConnections)
  /** Torrents by info hash in hex. The value is `undefined` until the torrent has been made. */
  const torrents = new Map<string, TorrentProgram.TorrentProgram | undefined>()
  /** What lets peers join the fetch of a magnet link, by its info hash in hex. */
  const fetches = new Map<string, Incoming.Accept>()

  const noteShortage = Effect.map(Monotonic.now, (now) => Places.noteShortage(places, now))
  const giveUp = Effect.map(Monotonic.now, (now) => Places.giveUp(places, now))
  const ticker = Ticker.make()
  const whileUsed = SharedWork.make(
    Effect.gen(function* () {
      yield* RateLimits.run(limits)
      yield* Ticker.run(ticker)
      // Places are given up for files.
      yield* Descriptors.register("connections", giveUp)
      yield* Descriptors.onAcceptFailed(noteShortage)
    })
  )

  const claim = (infoHash: InfoHash.InfoHash) => {
    const hex = InfoHash.toHex(infoHash)
    return Effect.acquireRelease(
      Effect.suspend(() => {
        if (torrents.has(hex)) return Effect.fail(new AlreadyAdded({ infoHash }))
        torrents.set(hex, undefined)
        return Effect.void
      }),
      () => Effect.sync(() => torrents.delete(hex))
    )
  }

  /** Our identity in one swarm. Each torrent has its own peer id, so that observers cannot link them. */
  const makeIdentity = Effect.map(Random.nextInt, (seed) => {
    const random = Prng.make(seed)
    const peerId = PeerId.make((bytes) => {
      for (let index = 0; index < bytes.length; index++) bytes[index] = Prng.integer(random, 256)
    })
    return { peerId, random }
  })

  const port = yield* ListeningPort.make(listening?.address.port)
  const shared = Context.get(services, PeerSources)
  const sourcesOf = ({ peers = [], sources = [] }: Pick<AddOptions, "peers" | "sources">) => [
    ...(peers.length === 0 ? [] : [PeerSource.fromAddresses(peers)]),
    ...shared,
    ...sources
  ]

  const add = Effect.fnUntraced(
    function* (metainfo: Metainfo.Metainfo, options: AddOptions = {}) {
      const { infoHash } = metainfo
      yield* claim(infoHash)
      yield* SharedWork.use(whileUsed)
      const { peerId } = yield* makeIdentity
      const program = yield* TorrentProgram.make({
        ...options,
        metainfo,
        peerId,
        port,
        sources: sourcesOf(options),
        engineLimits: limits,
        ticker,
        callers,
        places,
        readCache
      })
      torrents.set(InfoHash.toHex(infoHash), program)
      return program.torrent
    },
    Effect.provideService(BufferBudget.BufferBudget, budget),
    Effect.provideContext(services)
  )
  const listenFor = (infoHash: InfoHash.InfoHash) => (accept: Incoming.Accept) => {
    const hex = InfoHash.toHex(infoHash)
    return Effect.asVoid(
      Effect.acquireRelease(
        Effect.sync(() => fetches.set(hex, accept)),
        () => Effect.sync(() => fetches.get(hex) === accept && fetches.delete(hex))
      )
    )
  }
  const metadata = Effect.fnUntraced(function* (link: Magnet, options: MetadataOptions = {}) {
    const { infoHash } = link
    if (infoHash === undefined) return yield* new OnlyV2()
    const { peerId, random } = yield* makeIdentity
    // The trackers of a magnet link have no order and are often dead, so each one is a tier.
    const trackers = link.trackers.map((url) => [url])
    const fetching = MetadataFetch.run({
      infoHash,
      peerId,
      port,
      trackers,
      urls: [...link.exactSources, ...link.acceptableSources],
      maxBytes: config.maxMetadataBytes,
      sources: sourcesOf({ peers: [...link.peers, ...(options.peers ?? [])], sources: options.sources }),
      random,
      places,
      listen: listenFor(infoHash),
      report: options.report
    })
    const fetched = yield* Effect.scoped(Effect.andThen(SharedWork.use(whileUsed), fetching))
    const metainfo = yield* Metainfo.fromInfoBytes(fetched.info, {
      trackers: [...trackers, ...(fetched.file?.trackers ?? [])],
      webSeeds: [...link.webSeeds, ...(fetched.file?.webSeeds ?? [])],
      platform: options.platform,
      maxBytes: config.maxMetadataBytes
    })
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
  const accept = (infoHash: InfoHash.InfoHash) => {
    const hex = InfoHash.toHex(infoHash)
    return torrents.get(hex)?.accept ?? fetches.get(hex)
  }
  return { engine, accept, callers }
})

/** An engine over the layers that are provided. It needs a `Listener` only if `listen` is set. */
export function layer(config?: WithoutListener): Layer.Layer<Engine, never, Requirements>
export function layer(config: Config): Layer.Layer<Engine, ConnectionError, Requirements | Listener>
export function layer(config: Config = {}) {
  return Layer.effect(Engine, make(config))
}
