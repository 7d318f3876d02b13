/**
 * Whole swarms in memory: engines, scripted peers and storages that can fail, in simulated time and from one seed.
 *
 * Some laws hold in every swarm (`SwarmLaws.ts`), and a run dies if one is broken. Tests look at everything else.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect } from "effect"
 * import { WebCryptoPieceHasher } from "piecewise"
 * import { KnownTorrent, PeerBehaviour, Swarms } from "piecewise/testing"
 *
 * const program = Effect.gen(function* () {
 *   const torrent = yield* KnownTorrent.make({ files: [{ path: [], length: 300_000 }], pieceLength: 65_536 })
 *   return yield* Swarms.run({ torrent, peers: [PeerBehaviour.honest, { corrupts: "every block" }] })
 * })
 * const summary = await Effect.runPromise(Effect.provide(program, WebCryptoPieceHasher.layer))
 * assert(summary.isComplete && summary.isRight)
 * assert.equal(summary.status.bannedPeers, 1)
 * ```
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as BufferBudget from "../assembly/BufferBudget.ts"
import * as Bitfield from "../base/Bitfield.ts"
import * as Bytes from "../base/Bytes.ts"
import * as InfoHash from "../base/InfoHash.ts"
import * as Prng from "../base/Prng.ts"
import * as Size from "../base/Size.ts"
import { RandomBytes } from "../connect/mse/DiffieHellman.ts"
import { Dht } from "../discovery/dht/Dht.ts"
import * as DhtSource from "../discovery/dht/DhtSource.ts"
import type { PeerSource } from "../discovery/PeerSource.ts"
import { PeerSources } from "../discovery/PeerSources.ts"
import * as Engine from "../engine/Engine.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import type { Magnet } from "../metainfo/Magnet.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import { Dialer, Listener } from "../network/Transport.ts"
import * as MemoryResumeStore from "../resume/provider/MemoryResumeStore.ts"
import { ResumeStore } from "../resume/ResumeStore.ts"
import * as MemoryStorage from "../storage/provider/memory/MemoryStorage.ts"
import { Storage } from "../storage/Storage.ts"
import * as Choker from "../swarm/Choker.ts"
import type { TorrentEvent } from "../torrent/TorrentEvent.ts"
import * as CheckedStorage from "./CheckedStorage.ts"
import * as FaultyStorage from "./FaultyStorage.ts"
import * as JoinedPeers from "./JoinedPeers.ts"
import type { KnownTorrent } from "./KnownTorrent.ts"
import * as KnownTorrents from "./KnownTorrents.ts"
import * as MemoryNetwork from "./MemoryNetwork.ts"
import type { PeerBehaviour } from "./PeerBehaviour.ts"
import * as ScriptedPeer from "./ScriptedPeer.ts"
import * as Simulation from "./Simulation.ts"
import * as SwarmLaws from "./SwarmLaws.ts"
import * as SwarmSnapshot from "./SwarmSnapshot.ts"
import type { Download, DownloadOptions, NeighbourOptions, Options, Summary, World } from "./SwarmWorld.ts"

export type { JoinedPeers } from "./JoinedPeers.ts"
export type {
  Download,
  DownloadOptions,
  NeighbourOptions,
  Options,
  Snapshot,
  Summary,
  World
} from "./SwarmWorld.ts"

/** The services that the engine of a world runs on. */
export type Services = Engine.Requirements | Listener | MemoryNetwork.MemoryNetwork

/** What the engines of a world have in common. */
interface Shared {
  readonly peers: JoinedPeers.JoinedPeers
  readonly sources: ReadonlyArray<PeerSource>
  readonly simulation: Simulation.Simulation["Service"]
  readonly hasher: PieceHasher["Service"]
  readonly network: Context.Context<MemoryNetwork.MemoryNetwork | Dialer | Listener>
  /** Inspects the laws of one engine each. */
  readonly inspections: Array<Effect.Effect<void>>
  engines: number
  /** Hosts of scripted peers. */
  hosts: number
  /** Events of all torrents. */
  emitted: number
}

/** Builds a world and runs a program in it. The program's scope ends with it. */
export const use = <A, E, R>(options: Options, program: (world: World) => Effect.Effect<A, E, R>) =>
  Simulation.run(
    options.seed ?? 1,
    Effect.flatMap(makeFirst(options), ({ world }) => program(world))
  )

/** Builds a world in a simulation, until the scope closes, and returns what else is in it. */
export const makeFirst = Effect.fnUntraced(function* (options: Options) {
  const simulation = yield* Simulation.Simulation
  const network = yield* Layer.build(
    MemoryNetwork.layer({ ...options.network, seed: simulation.seed, link: options.link })
  )
  const peers = yield* JoinedPeers.make
  const shared: Shared = {
    peers,
    sources: options.findsPeers === true ? [JoinedPeers.source(peers)] : [],
    simulation,
    hasher: yield* PieceHasher,
    network,
    inspections: [],
    engines: 0,
    hosts: 0,
    emitted: 0
  }
  return { peers, ...(yield* make(options, shared)) }
})

interface Made {
  readonly world: World
  readonly services: Context.Context<Services>
}

const make: (options: NeighbourOptions, shared: Shared) => Effect.Effect<Made, never, Scope.Scope> = Effect.fnUntraced(
  function* (options, shared) {
    const { hasher, network, simulation } = shared
    const { seed } = simulation
    const number = shared.engines++
    const host = number === 0 ? MemoryNetwork.defaultHost : `10.128.0.${number}`
    const torrents = KnownTorrents.make(hasher)
    const subjects = new Set<SwarmLaws.Subject>()
    /** Pieces that an earlier run has stored, by info hash in hex. */
    const before = new Map<string, Bitfield.Bitfield>()
    const engineLimits = options.engine?.limits

    const { capacity, verifies } = options
    const memory = yield* Effect.provideService(MemoryStorage.make({ capacity, verifies }), PieceHasher, hasher)
    const faulty = FaultyStorage.make(memory.storage, seed + number)
    const checked = CheckedStorage.make(
      options.storage?.(faulty.storage) ?? faulty.storage,
      ({ infoHash }) => KnownTorrents.of(torrents, infoHash)?.judge
    )
    const { inside: resume, store } = MemoryResumeStore.make()
    const inside: SwarmSnapshot.Memory = { ...memory, store, resume }
    const dht = yield* options.dht?.(host) ?? Effect.undefined
    const services = Context.make(Storage, checked.storage).pipe(
      Context.add(ResumeStore, store),
      Context.add(PieceHasher, hasher),
      Context.merge(Context.omit(Dialer, Listener)(network)),
      Context.merge(yield* Layer.build(Layer.provide(MemoryNetwork.host(host), Layer.succeedContext(network)))),
      Context.add(PeerSources, [...shared.sources, ...(dht === undefined ? [] : [DhtSource.of(dht)])]),
      (services) => (dht === undefined ? services : Context.add(services, Dht, dht)),
      Context.add(RandomBytes, Prng.bytesOf(Prng.fork(seed, number))),
      (services) => (options.dialer === undefined ? services : Context.add(services, Dialer, options.dialer))
    )
    const bare = yield* Effect.provideContext(Effect.orDie(Engine.make(options.engine ?? {})), services)
    const laws = SwarmLaws.make({
      simulation,
      engine: bare,
      bufferBytes: Size.bytesOf(options.engine?.bufferBytes) ?? BufferBudget.defaultBufferBytes,
      checked,
      medium: memory.medium,
      resume,
      subjects: () => subjects,
      storedBefore: (infoHash) => before.get(InfoHash.toHex(infoHash)) ?? Bitfield.make(0)
    })
    /** The scopes of all torrents: they end with the world, while its clock still moves. */
    const running = new Set<Scope.Closeable>()
    yield* Effect.addFinalizer((exit) =>
      Effect.forEach([...running], (scope) => Scope.close(scope, exit), { concurrency: "unbounded", discard: true })
    )

    /** Adds a torrent in a scope of its own, and holds it to the laws. */
    const start = Effect.fnUntraced(function* <R>(
      source: Metainfo | Magnet,
      options: Engine.AddOptions<R>,
      {
        onEvent,
        ...subject
      }: Pick<SwarmLaws.Subject, "peers" | "slots"> & {
        readonly onEvent?: ((event: TorrentEvent) => void) | undefined
      }
    ) {
      const scope = yield* Scope.fork(yield* Effect.scope)
      let watched: SwarmLaws.Subject | undefined
      // Added first, so that it runs last: a torrent that ends has its buffers until its writes have ended.
      yield* Scope.addFinalizer(
        scope,
        Effect.sync(() => {
          if (watched !== undefined) subjects.delete(watched)
          running.delete(scope)
        })
      )
      if ("layout" in source) KnownTorrents.note(torrents, source)
      const hadFiles = "layout" in source && memory.medium.torrent(source.layout).paths.length > 0
      const torrent = yield* bare.add(source, options).pipe(
        Scope.provide(scope),
        Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
      )
      const { infoHash } = torrent
      const known = () => KnownTorrents.of(torrents, infoHash)
      const hint = Bitfield.fitted(options.hintedPieces ?? new Uint8Array(), 8 * (options.hintedPieces?.length ?? 0))
      watched = { ...subject, torrent, infoHash, known, hadFiles, hinted: hint.count }
      subjects.add(watched)
      running.add(scope)
      const note = Effect.map(torrent.metainfo, (metainfo) => KnownTorrents.note(torrents, metainfo))
      if (!("layout" in source)) yield* Effect.forkIn(Effect.ignore(note), scope)
      yield* Effect.forkIn(
        Stream.runForEach(torrent.events, (event) =>
          Effect.suspend(() => {
            onEvent?.(event)
            shared.emitted++
            return laws.inspectBuffers
          })
        ),
        scope
      )
      return { torrent, scope }
    })

    const engine = Engine.Engine.of({
      ...bare,
      add: <R = never>(source: Metainfo | Magnet, options: Engine.AddOptions<R> = {}) =>
        Effect.map(
          start(source, options, {
            // The limits of a user's program may change.
            slots: options.uploadSlots ?? Choker.mostSlotsFor(undefined),
            peers: () => (shared.engines === 1 ? JoinedPeers.of(shared.peers, source.infoHash!) : [])
          }),
          ({ torrent }) => torrent
        )
    })
    const control = Context.get(network, MemoryNetwork.MemoryNetwork)

    const join: World["join"] = Effect.fnUntraced(function* (known: KnownTorrent, behaviour) {
      KnownTorrents.add(torrents, known)
      const { content, metainfo } = known
      const host = `10.0.${shared.hosts >>> 8}.${shared.hosts++ & 255}`
      const { layout, infoHash } = metainfo
      const peer = yield* Effect.orDie(
        ScriptedPeer.serve({
          infoHash,
          geometry: layout.geometry,
          content,
          info: metainfo.infoBytes,
          behaviour: { ...behaviour, seed: (behaviour.seed ?? 1) + 1_000 * shared.hosts },
          listen: { host, port: 6_881 }
        })
      ).pipe(Effect.provide(MemoryNetwork.host(host)), Effect.provideContext(network))
      yield* JoinedPeers.add(shared.peers, infoHash, peer)
      return peer
    })

    const download: World["download"] = Effect.fnUntraced(function* (known, options = {}) {
      KnownTorrents.add(torrents, known)
      const { metainfo } = known
      if (options.from !== undefined) {
        before.set(InfoHash.toHex(metainfo.infoHash), options.from.stored)
        yield* Effect.orDie(SwarmSnapshot.restore(inside, known, options.from))
        if (options.cutsPower === true) yield* SwarmSnapshot.cutPower(inside, known, options.from)
      }
      const peers = yield* Effect.forEach(options.behaviours ?? [], (behaviour) => join(known, behaviour))
      const events: Array<TorrentEvent> = []
      const limits = [engineLimits, options.limits].flatMap(
        (limits) => Size.bytesOf(limits?.uploadBytesPerSecond) ?? []
      )
      const addresses = [...(options.peers ?? []), ...peers.map(({ address }) => address)]
      const { scope, torrent } = yield* start(
        metainfo,
        { ...options, peers: addresses },
        {
          slots: options.uploadSlots ?? Choker.mostSlotsFor(limits.length > 0 ? Math.min(...limits) : undefined),
          peers: () => peers,
          onEvent: (event) => events.push(event)
        }
      ).pipe(Effect.catchTag("piecewise/OnlyV2", Effect.die))
      const halt = Scope.close(scope, Exit.void)
      const self: Download = {
        known,
        torrent,
        peers,
        events,
        isComplete: () => events.some(({ _tag }) => _tag === "Completed"),
        stop: simulation.during(halt),
        halt
      }
      return self
    })

    shared.inspections.push(laws.inspect)
    const inspectAll = Effect.suspend(() => Effect.forEach(shared.inspections, (one) => one, { discard: true }))

    const world: World = {
      simulation,
      engine,
      host,
      beside: (options = {}) => Effect.map(make(options, shared), ({ world }) => world),
      network: control,
      faults: faulty.faults,
      medium: memory.medium,
      resume,
      join,
      download,
      advance: (duration) => simulation.advance(duration, inspectAll),
      during: Effect.fnUntraced(function* (effect, limit = "1 hour") {
        const millis = Duration.toMillis(limit)
        const late = Effect.andThen(
          Effect.sleep(limit),
          Effect.die(new Error(`seed ${seed}: the program has not ended after ${millis} ms of simulated time`))
        )
        const watched = Effect.tap(Effect.raceFirst(effect, late), () => inspectAll)
        return yield* simulation.during(watched, inspectAll)
      }),
      until: Effect.fnUntraced(function* (isDone, limit) {
        const end = simulation.nowUnsafe() + Duration.toMillis(limit)
        yield* simulation.settle
        yield* inspectAll
        let step = Simulation.shortStep
        while (!isDone() && simulation.nowUnsafe() < end) {
          const before = shared.emitted
          yield* simulation.advance(Math.min(step, end - simulation.nowUnsafe()), inspectAll)
          step = shared.emitted > before ? Simulation.shortStep : Math.min(Simulation.longStep, step * 2)
        }
        return isDone()
      }),
      snapshot: (known) => SwarmSnapshot.take(inside, known),
      summary: Effect.fnUntraced(function* ({ events, isComplete, known, peers, torrent }) {
        const { layout } = known.metainfo
        const { confirmed } = checked.writes(known.metainfo.infoHash)
        const medium = memory.medium.torrent(layout)
        return {
          isComplete: isComplete(),
          isRight: layout.files.every(({ padding, path }, file) => {
            const stored = medium.file(path.join("/"))
            return padding || (stored !== undefined && Bytes.equals(stored, known.fileContent(file)))
          }),
          millis: simulation.nowUnsafe(),
          events,
          status: yield* torrent.status,
          counters: peers.map(({ counters }) => counters),
          writes: Array.from({ length: layout.geometry.pieceCount }, (_, piece) => confirmed.get(piece) ?? 0),
          mostBufferedBytes: laws.mostBufferedBytes()
        }
      })
    }
    return { world, services }
  }
)

/** A swarm of one download. */
export interface RunOptions extends Options {
  readonly torrent: KnownTorrent
  readonly peers: ReadonlyArray<PeerBehaviour>
  /** How the torrent is added. */
  readonly add?: DownloadOptions | undefined
  /** Runs before the download starts: sets faults of the storage, and schedules later events. */
  readonly script?: ((world: World) => Effect.Effect<unknown, never, Scope.Scope>) | undefined
  /** Simulated time the download may take. Default: 30 minutes. */
  readonly limit?: Duration.Input | undefined
}

/** Downloads a torrent from peers, and returns the result. Time is simulated: it ends when the download does. */
export const run = (options: RunOptions): Effect.Effect<Summary> =>
  use(
    options,
    Effect.fnUntraced(function* (world) {
      if (options.script !== undefined) yield* Effect.forkScoped(options.script(world))
      yield* world.simulation.settle
      const download = yield* Effect.orDie(
        world.download(options.torrent, {
          ...options.add,
          behaviours: [...(options.add?.behaviours ?? []), ...options.peers]
        })
      )
      yield* world.until(download.isComplete, options.limit ?? "30 minutes")
      return yield* world.summary(download)
    })
  )
