/**
 * What a program chooses when it makes an engine, adds a torrent, or fetches the metadata of a magnet link.
 */
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { Size } from "../base/Size.ts"
import type { Policy } from "../connect/Encryption.ts"
import type * as PeerSource from "../discovery/PeerSource.ts"
import type * as Metainfo from "../metainfo/Metainfo.ts"
import type * as RateLimits from "../rate/RateLimits.ts"
import type { TelemetryOptions } from "../telemetry/Telemetry.ts"
import type * as MetadataFetch from "../torrent/MetadataFetch.ts"
import type { TorrentOptions } from "../torrent/TorrentOptions.ts"

/** How an engine is set up. */
export interface EngineOptions {
  /**
   * Most bytes that the piece buffers of all torrents may take together; default 64 MiB. A quarter is reserved for
   * torrents that have no buffer yet (`BufferBudget`), so two pieces of 32 MiB at once need 86 MiB. A piece that is
   * larger than all buffers is held alone, while other torrents wait. With at least four times the largest piece, a slow
   * torrent holds up no other one.
   */
  readonly bufferBytes?: Size | undefined
  /** Bytes of stored pieces that are cached for uploads, over all torrents; default 16 MiB. */
  readonly readCacheBytes?: Size | undefined
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
  readonly maxMetadataBytes?: Size | undefined
  /** Rate limits for all torrents together, shared evenly among them; default no limits. */
  readonly limits?: RateLimits.Limits | undefined
  /**
   * Where peers may connect to us. If absent, the engine does not listen, and reaches only peers that listen
   * themselves.
   */
  readonly listen?: ListenOptions | undefined
  /**
   * Whether connections to peers are encrypted (Message Stream Encryption); default `prefer`: plain and encrypted ones
   * are accepted, and each peer is dialled in the way that works. `require` reaches fewer peers. Encryption hides the
   * protocol from the networks on the way, but no data from other peers.
   */
  readonly encryption?: Policy | undefined
  /** Which metrics, spans and logs it has; default metrics of the engine, a span for each torrent, and logs. */
  readonly telemetry?: TelemetryOptions | undefined
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

/** Default of `EngineOptions.maxConnections`. */
export const defaultMaxConnections = 200

/** How a torrent is added. `R` are the services that its sources need. */
export interface AddOptions<out R = never> extends TorrentOptions {
  /** Addresses to try besides those that the sources find. */
  readonly peers?: ReadonlyArray<PeerAddress> | undefined
  /** Peer sources besides those that every torrent asks (`PeerSources`). */
  readonly sources?: ReadonlyArray<PeerSource.PeerSource<unknown, R>> | undefined
  /** The platform whose rules the file names of a magnet link must follow; default as in `Metainfo.decodeInfo`. */
  readonly platform?: Metainfo.Options["platform"]
}

/** How the info dict of a magnet link is fetched. */
export interface MetadataOptions<out R = never> extends Pick<AddOptions<R>, "peers" | "sources" | "platform"> {
  /** Called with the progress of the fetch, and with the events of its sources. */
  readonly report?: MetadataFetch.Options["report"]
}

/** The result of fetching a magnet link. */
export interface Metadata {
  readonly metainfo: Metainfo.Metainfo
  /**
   * Addresses that were found during the fetch, to pass to `add`. Of a private torrent only those that the user gave,
   * because it has the others from its tracker (BEP 27).
   */
  readonly peers: ReadonlyArray<PeerAddress>
}
