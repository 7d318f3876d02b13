/**
 * Whole swarms in memory: engines, scripted peers and storages that can fail, in simulated time and from one seed.
 *
 * ```ts
 * const torrent = yield* KnownTorrent.make({ files: [{ path: [], length: 1_000_000 }], pieceLength: 65_536 })
 * const summary = yield* Swarms.run({ torrent, peers: [PeerBehaviour.honest, { corrupts: "every block" }] })
 * assert.isTrue(summary.isComplete)
 * ```
 *
 * Some laws hold in every swarm (`SwarmLaws.ts`), and a run dies if one is broken. Tests look at everything else.
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
import { PeerSources } from "../discovery/PeerSources.ts"
import * as Engine from "../engine/Engine.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import { Dialer, Listener } from "../network/Transport.ts"
import * as MemoryResumeStore from "../resume/provider/MemoryResumeStore.ts"
import { ResumeStore } from "../resume/ResumeStore.ts"
import * as MemoryStorage from "../storage/provider/memory/MemoryStorage.ts"
import { Storage } from "../storage/Storage.ts"
import * as Choker from "../swarm/Choker.ts"
import type { TorrentEvent } from "../torrent/TorrentEvent.ts"
import type { TorrentStatus } from "../torrent/TorrentStatus.ts"
import * as CheckedStorage from "./CheckedStorage.ts"
import * as FaultyStorage from "./FaultyStorage.ts"
import type { KnownTorrent } from "./KnownTorrent.ts"
import * as MemoryNetwork from "./MemoryNetwork.ts"
import type { PeerBehaviour } from "./PeerBehaviour.ts"
import * as ScriptedPeer from "./ScriptedPeer.ts"
import * as Simulation from "./Simulation.ts"
import * as SwarmLaws from "./SwarmLaws.ts"
import * as SwarmSnapshot from "./SwarmSnapshot.ts"

/** What was on the medium and in the resume data at some moment. */
export type Snapshot = SwarmSnapshot.Snapshot

/** A torrent of the engine, with the peers that were made for it. */
export interface Download extends SwarmLaws.Subject {
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
}

/** How another engine of a world is made. */
export type NeighbourOptions = Pick<Options, "engine" | "storage" | "capacity" | "verifies" | "dialer">

/** What the engines of a world have in common. */
interface Shared {
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
  Simulation.run(options.seed ?? 1, Effect.flatMap(makeFirst(options), program))

const makeFirst = Effect.fnUntraced(function* (options: Options) {
  const simulation = yield* Simulation.Simulation
  const network = yield* Layer.build(
    MemoryNetwork.layer({ ...options.network, seed: simulation.seed, link: options.link })
  )
  const shared: Shared = {
    simulation,
    hasher: yield* PieceHasher,
    network,
    inspections: [],
    engines: 0,
    hosts: 0,
    emitted: 0
  }
  return yield* make(options, shared)
})

/** The layout of a torrent whose metadata was fetched is another object. */
const isSameLayout = (one: FileLayout.FileLayout, other: FileLayout.FileLayout): boolean =>
  one.geometry.totalLength === other.geometry.totalLength &&
  FileLayout.pathOf(one, 0).join("/") === FileLayout.pathOf(other, 0).join("/")

const make: (options: NeighbourOptions, shared: Shared) => Effect.Effect<World, never, Scope.Scope> = Effect.fnUntraced(
  function* (options, shared) {
    const { hasher, network, simulation } = shared
    const { seed } = simulation
    const number = shared.engines++
    const host = number === 0 ? MemoryNetwork.defaultHost : `10.128.0.${number}`
    const torrents: Array<KnownTorrent> = []
    /** With the upload slots of each. */
    const downloads = new Map<Download, number>()
    const before = new Map<KnownTorrent, Bitfield.Bitfield>()
    const engineLimits = options.engine?.limits

    const { capacity, verifies } = options
    const memory = yield* Effect.provideService(MemoryStorage.make({ capacity, verifies }), PieceHasher, hasher)
    const faulty = FaultyStorage.make(memory.storage, seed + number)
    const checked = CheckedStorage.make(
      options.storage?.(faulty.storage) ?? faulty.storage,
      (layout) => torrents.find(({ metainfo }) => isSameLayout(metainfo.layout, layout))!.content
    )
    const { inside: resume, store } = MemoryResumeStore.make()
    const inside: SwarmSnapshot.Memory = { ...memory, store, resume }
    const services = Context.make(Storage, checked.storage).pipe(
      Context.add(ResumeStore, store),
      Context.add(PieceHasher, hasher),
      Context.merge(Context.omit(Dialer, Listener)(network)),
      Context.merge(yield* Layer.build(Layer.provide(MemoryNetwork.host(host), Layer.succeedContext(network)))),
      Context.add(PeerSources, []),
      (services) => (options.dialer === undefined ? services : Context.add(services, Dialer, options.dialer))
    )
    const engine = yield* Effect.provideContext(Effect.orDie(Engine.make(options.engine ?? {})), services)
    const laws = SwarmLaws.make({
      simulation,
      engine,
      bufferBytes: options.engine?.bufferBytes ?? BufferBudget.defaultBufferBytes,
      checked,
      medium: memory.medium,
      resume,
      subjects: () => downloads,
      storedBefore: (known) => before.get(known) ?? Bitfield.make(0)
    })
    const control = Context.get(network, MemoryNetwork.MemoryNetwork)

    const join: World["join"] = Effect.fnUntraced(function* ({ content, metainfo }: KnownTorrent, behaviour) {
      const host = `10.0.${shared.hosts >>> 8}.${shared.hosts++ & 255}`
      const { layout, infoHash } = metainfo
      return yield* Effect.orDie(
        ScriptedPeer.serve({
          infoHash,
          geometry: layout.geometry,
          content,
          behaviour: { ...behaviour, seed: (behaviour.seed ?? 1) + 1_000 * shared.hosts },
          listen: { host, port: 6_881 }
        })
      ).pipe(Effect.provide(MemoryNetwork.host(host)), Effect.provideContext(network))
    })

    const download: World["download"] = Effect.fnUntraced(function* (known, options = {}) {
      torrents.push(known)
      if (options.from !== undefined) {
        before.set(known, options.from.stored)
        yield* Effect.orDie(SwarmSnapshot.restore(inside, known, options.from))
        if (options.cutsPower === true) yield* SwarmSnapshot.cutPower(inside, known, options.from)
      }
      const peers = yield* Effect.forEach(options.behaviours ?? [], (behaviour) => join(known, behaviour))
      const scope = yield* Scope.fork(yield* Effect.scope)
      const torrent = yield* engine
        .add(known.metainfo, { ...options, peers: [...(options.peers ?? []), ...peers.map(({ address }) => address)] })
        .pipe(Effect.catchTag("OnlyV2", Effect.die), Scope.provide(scope))
      const events: Array<TorrentEvent> = []
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
      const limits = [engineLimits, options.limits].flatMap((limits) => limits?.uploadBytesPerSecond ?? [])
      downloads.set(
        self,
        options.uploadSlots ?? Choker.mostSlotsFor(limits.length > 0 ? Math.min(...limits) : undefined)
      )
      yield* Scope.addFinalizer(
        scope,
        Effect.sync(() => downloads.delete(self))
      )
      yield* Effect.forkIn(
        Stream.runForEach(torrent.events, (event) =>
          Effect.suspend(() => {
            events.push(event)
            shared.emitted++
            return laws.inspectBuffers
          })
        ),
        scope
      )
      return self
    })

    shared.inspections.push(laws.inspect)
    const inspectAll = Effect.suspend(() => Effect.forEach(shared.inspections, (one) => one, { discard: true }))

    const world: World = {
      simulation,
      engine,
      host,
      beside: (options = {}) => make(options, shared),
      network: control,
      faults: faulty.faults,
      medium: memory.medium,
      resume,
      join,
      download,
      advance: (duration) => simulation.advance(duration, inspectAll),
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
        const { confirmed } = checked.writes(layout)
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
    return world
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
