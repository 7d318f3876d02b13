/**
 * An engine: torrents that share one memory budget, one limit of connections, and the layers they run on. Each of these
 * layers (storage, sockets, hashing, resume data, peer sources) can be replaced.
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as BufferBudget from "../assembly/BufferBudget.ts"
import { SupplierSources } from "../assembly/SupplierSource.ts"
import * as Descriptors from "../base/Descriptors.ts"
import * as InfoHash from "../base/InfoHash.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import * as PeerId from "../base/PeerId.ts"
import * as Prng from "../base/Prng.ts"
import * as Size from "../base/Size.ts"
import * as Ticker from "../base/Ticker.ts"
import * as Turn from "../base/Turn.ts"
import * as Callers from "../connect/Callers.ts"
import { Encryption } from "../connect/Encryption.ts"
import * as Incoming from "../connect/Incoming.ts"
import * as OwnAddresses from "../connect/OwnAddresses.ts"
import * as Places from "../connect/Places.ts"
import { Dht } from "../discovery/dht/Dht.ts"
import { MetadataSources } from "../discovery/MetadataSource.ts"
import * as PeerSource from "../discovery/PeerSource.ts"
import * as PeerSources from "../discovery/PeerSources.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import type { Magnet } from "../metainfo/Magnet.ts"
import type { Metainfo, MetainfoError } from "../metainfo/Metainfo.ts"
import * as ListeningPort from "../network/ListeningPort.ts"
import type { ConnectionError, Listening } from "../network/Transport.ts"
import { Dialer, Listener } from "../network/Transport.ts"
import { UdpHub } from "../network/UdpHub.ts"
import * as RateLimits from "../rate/RateLimits.ts"
import { ResumeStore } from "../resume/ResumeStore.ts"
import * as ReadCache from "../storage/ReadCache.ts"
import { Storage } from "../storage/Storage.ts"
import * as Candidate from "../swarm/Candidate.ts"
import * as PeerPolicy from "../swarm/PeerPolicy.ts"
import * as Telemetry from "../telemetry/Telemetry.ts"
import type { Torrent } from "../torrent/Torrent.ts"
import * as TorrentHandle from "../torrent/TorrentHandle.ts"
import * as TorrentProgram from "../torrent/TorrentProgram.ts"
import type * as TorrentRecord from "../torrent/TorrentRecord.ts"
import * as EngineConfig from "./EngineConfig.ts"
import * as EngineEncryption from "./EngineEncryption.ts"
import type { EngineEvent } from "./EngineEvent.ts"
import type { AddOptions, EngineOptions, ListenOptions, Metadata, MetadataOptions } from "./EngineOptions.ts"
import * as EngineOptionsOf from "./EngineOptions.ts"
import type { EngineStatus } from "./EngineStatus.ts"
import * as MagnetFetch from "./MagnetFetch.ts"
import * as PeerNodes from "./PeerNodes.ts"
import * as Registry from "./Registry.ts"
import * as SharedWork from "./SharedWork.ts"

export type { Limits } from "../rate/RateLimits.ts"
export type { TelemetryOptions } from "../telemetry/Telemetry.ts"
export type { Progress as MetadataProgress } from "../torrent/MetadataFetch.ts"
export type { TorrentOptions } from "../torrent/TorrentOptions.ts"
export { EngineEvent } from "./EngineEvent.ts"
export type { AddOptions, EngineOptions, ListenOptions, Metadata, MetadataOptions } from "./EngineOptions.ts"
export { EngineStatus } from "./EngineStatus.ts"

/** The torrent was already added to the engine, and has not stopped. */
export class AlreadyAdded extends Schema.TaggedError<AlreadyAdded>()("piecewise/AlreadyAdded", {
  infoHash: InfoHash.InfoHash
}) {
  override get message() {
    return `torrent ${InfoHash.toHex(this.infoHash)} is already running`
  }
}

/** The options of an engine that does not listen. */
export type WithoutListener = EngineOptions & { readonly listen?: undefined }

/** The magnet link cannot be fetched, because it only has an info hash of version 2 (BEP 52). */
export class OnlyV2 extends Schema.TaggedError<OnlyV2>()("piecewise/OnlyV2", {}) {
  override get message() {
    return "the magnet link names a version 2 torrent (BEP 52), which is not supported yet"
  }
}

/** The services that an engine needs. */
export type Requirements = Storage | Dialer | PieceHasher | ResumeStore | PeerSources.PeerSources

/**
 * Runs torrents.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect } from "effect"
 * import { Engine } from "piecewise"
 * import { KnownTorrent, PeerBehaviour, TestEngine } from "piecewise/testing"
 *
 * // It runs with `NodeEngine.layer` as well.
 * const download = (known: KnownTorrent.KnownTorrent) =>
 *   Effect.gen(function* () {
 *     const engine = yield* Engine.Engine
 *     const torrent = yield* engine.add(known.metainfo)
 *     yield* torrent.completed
 *     return yield* engine.status
 *   }).pipe(Effect.scoped)
 * const program = Effect.gen(function* () {
 *   const { during, join } = yield* TestEngine.TestEngine
 *   const known = yield* KnownTorrent.make({ files: [{ path: [], length: 300_000 }], pieceLength: 65_536 })
 *   yield* join(known, PeerBehaviour.honest)
 *   const { states, storedBytes } = yield* during(download(known))
 *   assert.deepEqual([storedBytes, states.Complete], [300_000, 1])
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(TestEngine.layer())))
 * ```
 */
export class Engine extends Context.Service<
  Engine,
  {
    /**
     * Adds a torrent, which runs until the scope closes. Closing then announces `stopped` to the trackers, which takes
     * 1.5 seconds at most. Returns at once: the metadata of a magnet link is fetched, the files are checked and the pieces
     * downloaded by themselves; the torrent's events report the progress and failures. Fails with `AlreadyAdded` if a
     * torrent with the info hash is in this engine, or with `OnlyV2` if the link is of version 2 only.
     */
    readonly add: <R = never>(
      source: Metainfo | Magnet,
      options?: AddOptions<R>
    ) => Effect.Effect<Torrent, AlreadyAdded | OnlyV2, Scope.Scope | R>
    /** The torrents that there are, in the order in which they were added. */
    readonly torrents: Effect.Effect<ReadonlyArray<Torrent>>
    /** The torrent with an info hash, if it is there. */
    readonly get: (infoHash: InfoHash.InfoHash) => Effect.Effect<Option.Option<Torrent>>
    /**
     * What happens to all torrents, beginning with `Added` for each that there is. A reader that lags by 8,192 events
     * misses the oldest. Never ends.
     */
    readonly events: Stream.Stream<EngineEvent>
    /** What its torrents do and have together, as of now. */
    readonly status: Effect.Effect<EngineStatus>
    /**
     * Fetches the metainfo of a magnet link from the peers of its torrent (BEP 9), also from those that connect to us,
     * and, if `MetadataSources` are provided, from those, whichever is first. Retries until a peer has sent it. The
     * trackers and web seeds of a torrent file that was found are added to those of the link. Fails with `OnlyV2` if
     * the link is of version 2 only, or with `MetainfoError` if the info dict is invalid although its digest matches.
     */
    readonly metadata: <R = never>(
      link: Magnet,
      options?: MetadataOptions<R>
    ) => Effect.Effect<Metadata, OnlyV2 | MetainfoError, R>
    /** Replaces the rate limits for all torrents together. A limit that is absent is lifted. */
    readonly setLimits: (limits: RateLimits.Limits) => Effect.Effect<void>
    /**
     * Bytes that the piece buffers of all torrents take now, in use and idle. At most `EngineOptions.bufferBytes`, unless one
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
 * with `ConnectionError` if the port is not available. A `UdpHub` in the context then takes the same number for UDP
 * (`follow`).
 */
export function make(options?: WithoutListener): Effect.Effect<Engine["Service"], never, Requirements>
export function make(
  options: EngineOptions
): Effect.Effect<Engine["Service"], ConnectionError, Requirements | Listener | Scope.Scope>
export function make(options: EngineOptions = {}) {
  const { listen } = options
  if (listen === undefined) return Effect.map(makeParts(options, undefined), ({ engine }) => engine)
  return Effect.gen(function* () {
    const listening = yield* listenOn(listen)
    const hub = Option.getOrUndefined(yield* Effect.serviceOption(UdpHub))
    if (hub !== undefined) yield* hub.follow(listening.address.port)
    const { accept, callers, encryption, engine } = yield* makeParts(options, listening)
    const policy = yield* PeerPolicy.PeerPolicy
    const admits = (address: PeerAddress) => policy.admits(Candidate.ofCaller(address))
    const accepting = Incoming.run({ listening, find: accept, callers, admits })
    yield* Effect.forkScoped(Effect.provideService(accepting, Encryption, encryption))
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

/** The source, if it has an info hash of version 1. */
const withHash = (source: Metainfo | Magnet): Metainfo | MagnetFetch.Link | undefined => {
  const { infoHash } = source
  return infoHash === undefined ? undefined : { ...source, infoHash }
}

/** The sources of one torrent. */
type Sources = ReadonlyArray<PeerSource.PeerSource<unknown>>

/** Our identity in one swarm. */
type Identity = Pick<MagnetFetch.Options, "peerId" | "random">

const makeParts = Effect.fnUntraced(function* (options: EngineOptions, listening: Listening | undefined) {
  const { encryption, serve } = yield* EngineEncryption.make(options.encryption)
  // Only these services: the context also holds the engine's scope, but a torrent must belong to its caller's scope.
  const services = Context.pick(
    Storage,
    Dialer,
    PieceHasher,
    ResumeStore,
    PeerSources.PeerSources,
    SupplierSources,
    MetadataSources,
    PeerPolicy.PeerPolicy
  )(yield* Effect.context<Requirements>()).pipe(Context.add(Encryption, encryption))
  const budget = BufferBudget.make(Size.bytesOf(options.bufferBytes) ?? BufferBudget.defaultBufferBytes)
  const readCache = ReadCache.make(Size.bytesOf(options.readCacheBytes))
  const limits = RateLimits.makeEngine(options.limits ?? {}, yield* Monotonic.now)
  const callers = Callers.make()
  const ourAddresses = OwnAddresses.make(listening?.address)
  const places = Places.make(options.maxConnections ?? EngineOptionsOf.defaultMaxConnections)
  const registry = Registry.make()
  const dht = Option.getOrUndefined(yield* Effect.serviceOption(Dht))
  const nodes = dht && (yield* PeerNodes.make(dht))
  /** What lets peers join the fetch of a magnet link, by its info hash in hex. */
  const fetches = new Map<string, Incoming.Accept>()

  const noteShortage = Effect.map(Monotonic.now, (now) => Places.noteShortage(places, now))
  const giveUp = Effect.map(Monotonic.now, (now) => Places.giveUp(places, now))
  const ticker = Ticker.make()
  const background = Turn.make()
  const telemetry = yield* Telemetry.make(options.telemetry)
  const whileUsed = SharedWork.make(
    Effect.gen(function* () {
      yield* RateLimits.run(limits)
      yield* Ticker.run(ticker)
      // Places are given up for files.
      yield* Descriptors.register("connections", giveUp)
      yield* Descriptors.onAcceptFailed(noteShortage)
      if (nodes !== undefined) yield* Effect.forkScoped(PeerNodes.run(nodes))
      yield* Telemetry.run(telemetry, { torrents: () => Registry.programs(registry), budget })
    }),
    yield* Effect.context<never>()
  )

  /** Our identity in one swarm. Each torrent has its own peer id, so that observers cannot link them. */
  const makeIdentity = Effect.map(Random.nextInt, (seed) => {
    const random = Prng.make(seed)
    const peerId = PeerId.make((bytes) => {
      for (let index = 0; index < bytes.length; index++) bytes[index] = Prng.integer(random, 256)
    })
    return { peerId, random }
  })

  const port = yield* ListeningPort.make(listening?.address.port)
  const shared = Context.get(services, PeerSources.PeerSources)
  const sourcesOf = (peers: ReadonlyArray<PeerAddress> = [], own: Sources): Sources => [
    ...(peers.length === 0 ? [] : [PeerSource.fromAddresses(peers)]),
    ...shared,
    ...own
  ]

  const fetchOf = (
    link: MagnetFetch.Link,
    asked: Pick<AddOptions<unknown>, "peers" | "platform">,
    own: Sources,
    { peerId, random }: Identity
  ): MagnetFetch.Options => ({
    link,
    peerId,
    random,
    port,
    own: ourAddresses,
    places,
    sources: sourcesOf([...link.peers, ...(asked.peers ?? [])], own),
    dht: nodes?.ours,
    platform: asked.platform,
    maxBytes: Size.bytesOf(options.maxMetadataBytes)
  })
  const sourceOf = (
    source: Metainfo | MagnetFetch.Link,
    asked: AddOptions<unknown>,
    own: Sources,
    identity: Identity
  ): Pick<TorrentRecord.ProgramOptions, "source" | "files"> =>
    "layout" in source
      ? { source: { _tag: "Metainfo", metainfo: source }, files: asked.files }
      : {
          source: {
            _tag: "Magnet",
            name: MagnetFetch.nameOf(source),
            trackers: MagnetFetch.trackersOf(source),
            fetch: (meanwhile) =>
              Telemetry.metadata(
                Effect.provideContext(MagnetFetch.run(fetchOf(source, asked, own, identity), meanwhile), services),
                source
              )
          },
          files: asked.files ?? MagnetFetch.filesOf(source)
        }

  const start = Effect.fnUntraced(
    function* (
      source: Metainfo | MagnetFetch.Link,
      asked: AddOptions<unknown>,
      own: Sources,
      stop: Effect.Effect<void>
    ) {
      const { infoHash } = source
      if (!(yield* Registry.claim(registry, infoHash))) return yield* new AlreadyAdded({ infoHash })
      yield* SharedWork.use(whileUsed)
      yield* serve(infoHash)
      const identity = yield* makeIdentity
      const making = TorrentProgram.make({
        ...asked,
        ...sourceOf(source, asked, own, identity),
        infoHash,
        peerId: identity.peerId,
        port,
        sources: sourcesOf(asked.peers, own),
        dht: nodes?.ours,
        engineLimits: limits,
        ticker,
        callers,
        own: ourAddresses,
        places,
        readCache,
        background,
        tally: telemetry.tally,
        tracesPieces: options.telemetry?.pieces,
        onEvent: (event) => Registry.report(registry, infoHash, event),
        stop
      })
      const program = yield* Telemetry.torrent(telemetry, source, making)
      const torrent = TorrentHandle.make(program)
      Registry.put(registry, { program, torrent })
      return torrent
    },
    Effect.provideService(BufferBudget.BufferBudget, budget),
    Effect.provideContext(services),
    Telemetry.annotate
  )
  const add = Effect.fnUntraced(function* <R = never>(source: Metainfo | Magnet, asked: AddOptions<R> = {}) {
    const link = withHash(source)
    if (link === undefined) return yield* new OnlyV2()
    // A torrent that is removed ends before the scope of its caller.
    const scope = yield* Scope.fork(yield* Effect.scope)
    const own = yield* PeerSources.provide(asked.sources ?? [])
    const started = Scope.provide(start(link, asked, own, Scope.close(scope, Exit.void)), scope)
    return yield* Effect.onError(started, (cause) => Scope.close(scope, Exit.failCause(cause)))
  })
  const listenFor = (infoHash: InfoHash.InfoHash) => (accept: Incoming.Accept) => {
    const hex = InfoHash.toHex(infoHash)
    return Effect.andThen(
      serve(infoHash),
      Effect.acquireRelease(
        Effect.sync(() => void fetches.set(hex, accept)),
        () => Effect.sync(() => fetches.get(hex) === accept && fetches.delete(hex))
      )
    )
  }
  const fetchMetadata = Effect.fnUntraced(function* <R = never>(link: Magnet, asked: MetadataOptions<R> = {}) {
    const { infoHash } = link
    if (infoHash === undefined) return yield* new OnlyV2()
    const own = yield* PeerSources.provide(asked.sources ?? [])
    const fetching = fetchOf({ ...link, infoHash }, asked, own, yield* makeIdentity)
    const fetched = MagnetFetch.run(fetching, { listen: listenFor(infoHash), report: asked.report })
    return yield* Effect.scoped(Effect.andThen(SharedWork.use(whileUsed), fetched)).pipe(
      Effect.provideContext(services)
    )
  })
  const metadata = <R = never>(link: Magnet, asked?: MetadataOptions<R>) =>
    Telemetry.metadata(fetchMetadata(link, asked), link)

  const engine = Engine.of({
    add,
    torrents: Registry.torrents(registry),
    get: (infoHash) => Effect.sync(() => Option.map(Registry.get(registry, infoHash), ({ torrent }) => torrent)),
    events: Registry.events(registry),
    status: Registry.status(registry, () => ({ connections: places.held.size, bufferBytes: budget.heldBytes })),
    metadata,
    setLimits: (asked) => Effect.map(Monotonic.now, (now) => RateLimits.set(limits, asked, now)),
    heldBytes: Effect.sync(() => budget.heldBytes),
    listening: listening?.address,
    port
  })
  const accept = (infoHash: InfoHash.InfoHash) => {
    const entry = Option.getOrUndefined(Registry.get(registry, infoHash))
    if (entry === undefined) return fetches.get(InfoHash.toHex(infoHash))
    return (...call: Parameters<Incoming.Accept>) => TorrentProgram.accept(entry.program, ...call)
  }
  return { engine, accept, callers, encryption }
})

/** An engine over the layers that are provided. It needs a `Listener` only if `listen` is set. */
export function layer(options?: WithoutListener): Layer.Layer<Engine, never, Requirements>
export function layer(options: EngineOptions): Layer.Layer<Engine, ConnectionError, Requirements | Listener>
export function layer(options: EngineOptions = {}) {
  return Layer.effect(Engine, make(options))
}

/**
 * An engine whose options are read when it is made: from the variables that `EngineConfig.fromEnvironment` lists, or as
 * the given `Config`s say. Fails with `ConfigError` if a value is bad.
 */
export const layerConfig = (
  config: Config.Wrap<EngineOptions> = EngineConfig.fromEnvironment()
): Layer.Layer<Engine, ConnectionError | Config.ConfigError, Requirements | Listener> =>
  Layer.unwrap(Effect.map(Config.unwrap<EngineOptions>(config), (options) => layer(options)))
