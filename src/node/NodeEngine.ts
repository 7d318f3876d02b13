/**
 * The engine as it runs on Node: files on disk, TCP, hashing on a thread beside the event loop, HTTP and UDP trackers,
 * the DHT.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Environment from "../base/Environment.ts"
import * as NodeDiffieHellman from "../connect/provider/node/NodeDiffieHellman.ts"
import { Dht } from "../discovery/dht/Dht.ts"
import * as DhtSource from "../discovery/dht/DhtSource.ts"
import * as PeerSources from "../discovery/PeerSources.ts"
import * as TrackerSource from "../discovery/tracker/TrackerSource.ts"
import * as Engine from "../engine/Engine.ts"
import * as ThreadedPieceHasher from "../hash/provider/node/ThreadedPieceHasher.ts"
import * as TcpTransport from "../network/provider/node/TcpTransport.ts"
import type { UdpHubOptions } from "../network/UdpHub.ts"
import * as FileResumeStore from "../resume/provider/node/FileResumeStore.ts"
import * as FileSystemStorage from "../storage/provider/node/FileSystemStorage.ts"
import * as NodeDht from "./NodeDht.ts"
import * as NodeMetadataSource from "./NodeMetadataSource.ts"
import * as NodeTracker from "./NodeTracker.ts"
import * as NodeUdpHub from "./NodeUdpHub.ts"
import * as NodeWebSeeds from "./NodeWebSeeds.ts"

/** How an engine is set up on Node. */
export interface Options extends Engine.EngineOptions {
  /** The folder that torrents are stored in; created by the first write. */
  readonly directory: string
  /** The folder of a torrent, if it is another one; see `FileSystemStorage`. Default none. */
  readonly directoryOf?: FileSystemStorage.FileSystemStorageOptions["directoryOf"]
  /** The folder for resume data; default `.piecewise` in `directory`. */
  readonly resumeDirectory?: string | undefined
  /** The local address of connections to peers, trackers and web seeds; default the system's choice for each. */
  readonly from?: string | undefined
  /**
   * Whether torrents that are not private find peers through the DHT (BEP 5), and how; default `true`. It remembers its
   * nodes beside the resume data.
   */
  readonly dht?: boolean | NodeDht.Options | undefined
  /**
   * The port and the local addresses of UDP, for trackers and the DHT, which has a node at each of several addresses (BEP
   * 45); default the number of the TCP port, and `from`. Peers must be able to connect to each of the addresses.
   */
  readonly udp?: UdpHubOptions | undefined
}

/** What finds peers for torrents on Node, and how. */
export interface NetworkOptions {
  /** The local address of connections to peers and trackers; default the system's choice for each. */
  readonly from?: string | undefined
  /** The options of the DHT; `false` for none. */
  readonly dht: NodeDht.Options | false
  /** The port and the local addresses of UDP; default `from`. */
  readonly udp?: UdpHubOptions | undefined
}

/** The sources of torrents over the UDP hub at hand: trackers, and the DHT if there is one. */
const sources = <E, R, E2, R2>(trackers: Layer.Layer<PeerSources.PeerSources, E, R>, dht: Layer.Layer<never, E2, R2>) =>
  Layer.provideMerge(
    PeerSources.merge(
      trackers,
      Layer.effect(
        PeerSources.PeerSources,
        Effect.map(Effect.serviceOption(Dht), (found) => Option.toArray(Option.map(found, DhtSource.of)))
      )
    ),
    dht
  )

/** Connections over TCP, what encrypts them, trackers, and the DHT. */
export const layerNetwork = ({ dht, from, udp }: NetworkOptions) =>
  Layer.mergeAll(
    TcpTransport.layerDialerFrom(from),
    TcpTransport.layerListener,
    NodeDiffieHellman.layer,
    sources(TrackerSource.layer, dht === false ? Layer.empty : NodeDht.layerHub(dht)).pipe(
      Layer.provideMerge(NodeTracker.layerHub(undefined, from)),
      Layer.provideMerge(NodeUdpHub.layerPort({ port: udp?.port, host: udp?.host ?? from }))
    )
  )

const dhtOf = ({ dht = true }: Options, resumeDirectory: string): NetworkOptions["dht"] =>
  dht === false ? false : { file: NodeDht.fileIn(resumeDirectory), ...(dht === true ? {} : dht) }

/** Every service that an engine needs, on Node. Provide it beside your own layer to replace one of them. */
export const layerServices = (options: Options) => {
  const resumeDirectory = options.resumeDirectory ?? Environment.resumeDirectoryIn(options.directory)
  return Layer.mergeAll(
    FileSystemStorage.layer({ directory: options.directory, directoryOf: options.directoryOf }),
    FileResumeStore.layer({ directory: resumeDirectory }),
    NodeMetadataSource.layerFrom(options.from),
    NodeWebSeeds.layerFrom(options.from),
    layerNetwork({ from: options.from, dht: dhtOf(options, resumeDirectory), udp: options.udp })
  ).pipe(Layer.provideMerge(ThreadedPieceHasher.layer))
}

/**
 * An engine that stores torrents in a folder, and the services it runs on.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { mkdtemp, rm, writeFile } from "node:fs/promises"
 * import { tmpdir } from "node:os"
 * import { join } from "node:path"
 * import { Effect } from "effect"
 * import { Engine } from "piecewise"
 * import { NodeEngine } from "piecewise/node"
 * import { KnownTorrent } from "piecewise/testing"
 *
 * const directory = await mkdtemp(join(tmpdir(), "piecewise-"))
 * const program = Effect.gen(function* () {
 *   const { fileContent, metainfo } = yield* KnownTorrent.make({ files: [{ path: [], length: 5 }], pieceLength: 16_384 })
 *   yield* Effect.promise(() => writeFile(join(directory, "known"), fileContent(0)))
 *   const engine = yield* Engine.Engine
 *   const torrent = yield* engine.add(metainfo)
 *   // At once: the bytes are there already, and are right.
 *   yield* torrent.completed
 *   const { missingBytes } = yield* torrent.status
 *   assert.equal(missingBytes, 0)
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(NodeEngine.layer({ directory }))))
 * await rm(directory, { recursive: true })
 * ```
 */
export const layer = (options: Options) => Layer.provideMerge(Engine.layer(options), layerServices(options))

/** The engine and its services, each configured by its own variables. */
const fromEnvironment = () =>
  Engine.layerConfig().pipe(
    Layer.provideMerge(
      Layer.mergeAll(
        FileSystemStorage.layerConfig(),
        FileResumeStore.layerConfig(),
        Layer.unwrap(Effect.map(Environment.from(), NodeMetadataSource.layerFrom)),
        Layer.unwrap(Effect.map(Environment.from(), NodeWebSeeds.layerFrom)),
        TcpTransport.layerConfig(),
        NodeDiffieHellman.layer,
        sources(TrackerSource.layerConfig(), NodeDht.layerHubConfig()).pipe(
          Layer.provideMerge(NodeTracker.layerHubConfig()),
          Layer.provideMerge(NodeUdpHub.layerConfig())
        )
      )
    ),
    Layer.provideMerge(ThreadedPieceHasher.layerConfig())
  )

/**
 * The same, configured when it is built: by all the variables of docs/configuration.md that the engine and its services
 * on Node have, of which only `PIECEWISE_DIRECTORY` must be set, or by `Config`s of your own for `Options`. Fails with
 * `ConfigError` if a value is bad or missing, and with `ConnectionError` if it cannot listen.
 */
export const layerConfig = (config?: Config.Wrap<Options>) =>
  config === undefined
    ? fromEnvironment()
    : Layer.unwrap(Effect.map(Config.unwrap<Options>(config), (options) => layer(options)))
