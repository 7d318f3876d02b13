/**
 * The error and requirement types of public effects and layers, checked by the compiler alone: a change of one fails
 * `npm run check`.
 */
import type * as Config from "effect/Config"
import type * as Effect from "effect/Effect"
import type { HttpClient } from "effect/http/HttpClient"
import type * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import type {
  Bitfield,
  Bottleneck,
  Engine,
  EngineConfig,
  HttpTracker,
  InfoHash,
  IoDaemon,
  IoDaemonStorage,
  IoDaemonTransport,
  Magnet,
  MetainfoSummary,
  PeerAddress,
  PieceGeometry,
  PieceHasher,
  ResumeStore,
  Storage,
  Torrent,
  TorrentEvent,
  TorrentOptions,
  TorrentStatus,
  Tracker,
  TrackerSource,
  Transport,
  UdpHub
} from "piecewise"
import type {
  FileResumeStore,
  FileSystemStorage,
  IoDaemonProcess,
  NodeEngine,
  NodeTracker,
  TcpTransport,
  ThreadedPieceHasher
} from "piecewise/node"

type Equals<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

type ErrorOf<F> = F extends (...args: never) => Layer.Layer<infer _A, infer E, infer _R> ? E : never
type NeedsOf<F> = F extends (...args: never) => Layer.Layer<infer _A, infer _E, infer R> ? R : never
type GivesOf<F> = F extends (...args: never) => Layer.Layer<infer A, infer _E, infer _R> ? A : never

/** Fails to compile unless every entry is `true`. */
const holds = <const Checks extends Readonly<Record<string, true>>>(): Checks | undefined => undefined

export const layers = holds<{
  engine: Equals<ErrorOf<typeof Engine.layerConfig>, Transport.ConnectionError | Config.ConfigError>
  engineNeeds: Equals<NeedsOf<typeof Engine.layerConfig>, Engine.Requirements | Transport.Listener>
  node: Equals<ErrorOf<typeof NodeEngine.layerConfig>, Transport.ConnectionError | Config.ConfigError>
  nodeNeeds: Equals<NeedsOf<typeof NodeEngine.layerConfig>, never>
  storage: Equals<ErrorOf<typeof FileSystemStorage.layerConfig>, Config.ConfigError>
  storageNeeds: Equals<NeedsOf<typeof FileSystemStorage.layerConfig>, PieceHasher.PieceHasher>
  storageGives: Equals<GivesOf<typeof FileSystemStorage.layerConfig>, Storage.Storage>
  resume: Equals<ErrorOf<typeof FileResumeStore.layerConfig>, Config.ConfigError>
  resumeGives: Equals<GivesOf<typeof FileResumeStore.layerConfig>, ResumeStore.ResumeStore>
  tcp: Equals<ErrorOf<typeof TcpTransport.layerConfig>, Config.ConfigError>
  tcpGives: Equals<GivesOf<typeof TcpTransport.layerConfig>, Transport.Dialer | Transport.Listener>
  hasher: Equals<ErrorOf<typeof ThreadedPieceHasher.layerConfig>, Config.ConfigError>
  tracker: Equals<ErrorOf<typeof NodeTracker.layerConfig>, Config.ConfigError>
  httpTracker: Equals<NeedsOf<typeof HttpTracker.layerConfig>, HttpClient>
  source: Equals<NeedsOf<typeof TrackerSource.layerConfig>, Tracker.Tracker>
  udp: Equals<NeedsOf<typeof UdpHub.layerConfig>, Transport.UdpPort>
  daemon: Equals<ErrorOf<typeof IoDaemon.layerConfig>, Config.ConfigError>
  daemonProcess: Equals<ErrorOf<typeof IoDaemonProcess.layerConfig>, Config.ConfigError | IoDaemon.IoDaemonUnavailable>
  daemonStorage: Equals<
    NeedsOf<typeof IoDaemonStorage.layerConfig>,
    IoDaemon.IoDaemon | HttpClient | PieceHasher.PieceHasher
  >
  daemonTransport: Equals<NeedsOf<typeof IoDaemonTransport.layerConfig>, IoDaemon.IoDaemon>
}>()

export const errors = holds<{
  setPriorities: Equals<Effect.Error<ReturnType<Torrent.Torrent["setPriorities"]>>, Storage.StorageError>
  tag: Equals<Storage.StorageError["_tag"], "piecewise/StorageError">
  reason: Equals<Storage.StorageError["reason"], Storage.StorageReason>
  failed: Equals<Extract<TorrentEvent.TorrentEvent, { readonly _tag: "Failed" }>["error"], TorrentStatus.TorrentFailure>
  token: Equals<IoDaemon.Endpoint["token"], Redacted.Redacted<string>>
}>()

export const schemas = holds<{
  infoHash: Equals<typeof InfoHash.InfoHash, Schema.Codec<InfoHash.InfoHash, string>>
  infoHashBytes: InfoHash.InfoHash extends Uint8Array ? true : false
  address: Equals<typeof PeerAddress.PeerAddress, Schema.Codec<PeerAddress.PeerAddress, string>>
  piece: Equals<(typeof PieceGeometry.PieceIndex)["Type"], PieceGeometry.PieceIndex>
  event: Equals<(typeof TorrentEvent.TorrentEvent)["Type"], TorrentEvent.TorrentEvent>
  status: Equals<(typeof TorrentStatus.TorrentStatus)["Type"], TorrentStatus.TorrentStatus>
  change: Equals<(typeof Torrent.TorrentChange)["Type"], Torrent.TorrentChange>
  peer: Equals<(typeof Torrent.PeerStatus)["Type"], Torrent.PeerStatus>
  source: Equals<(typeof Torrent.SourceStatus)["Type"], Torrent.SourceStatus>
  file: Equals<(typeof Torrent.FileProgress)["Type"], Torrent.FileProgress>
  engineStatus: Equals<(typeof Engine.EngineStatus)["Type"], Engine.EngineStatus>
  states: Equals<keyof Engine.EngineStatus["states"], TorrentStatus.TorrentState["_tag"]>
  bitfield: Equals<(typeof Bitfield.Bitfield)["Type"], Bitfield.Bitfield>
  bottleneck: Equals<(typeof Bottleneck.Bottleneck)["Type"], Bottleneck.Bottleneck>
  magnet: Equals<(typeof Magnet.Magnet)["Type"], Magnet.Magnet>
  summary: Equals<(typeof MetainfoSummary.MetainfoSummary)["Type"], MetainfoSummary.MetainfoSummary>
  /** Decoded options can be passed to `add`. */
  options: (typeof TorrentOptions.TorrentOptions)["Type"] extends TorrentOptions.TorrentOptions ? true : false
  engineOptions: (typeof EngineConfig.EngineOptions)["Type"] extends Engine.EngineOptions ? true : false
  services: Equals<(typeof TorrentEvent.TorrentEvent)["DecodingServices"], never>
}>()
