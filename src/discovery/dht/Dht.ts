/**
 * The distributed hash table of BitTorrent (BEP 5): finds peers without a tracker, and keeps a share of the table for
 * others. It can be used alone; an engine uses it as one of its sources of peers.
 *
 * There is a node for each family of addresses that has a socket (BEP 32, BEP 45), with an id and a routing table of
 * its own. What is asked of `Dht` is asked over both.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type * as CompactPeers from "../../base/CompactPeers.ts"
import type { InfoHash } from "../../base/InfoHash.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import type { ConnectionError } from "../../network/Transport.ts"
import type { DhtLimits } from "./DhtLimits.ts"
import type { DhtStatus } from "./DhtStatus.ts"

/** How a DHT works. */
export interface DhtOptions {
  /** Nodes that are asked first while no others are known, names included; default `defaultRouters`. */
  readonly bootstrap?: ReadonlyArray<PeerAddress> | undefined
  /** Resolves the names in `bootstrap`. Without it names are left out. */
  readonly lookup?: ((address: PeerAddress) => Effect.Effect<ReadonlyArray<PeerAddress>, ConnectionError>) | undefined
  /** Whether to ask only, and answer nobody (BEP 43), as for a node that others cannot reach; default `false`. */
  readonly isReadOnly?: boolean | undefined
  /**
   * Our id, 20 bytes, for every family. By default it is the saved one, or a new one, and it changes to one that suits
   * our address (BEP 42). A given one stays.
   */
  readonly nodeId?: Uint8Array | undefined
  /** The families of addresses to use; default both. A family without a socket is tried again later. */
  readonly families?: ReadonlyArray<CompactPeers.Family> | undefined
  /** The limits that differ from `DhtLimits.defaults`. */
  readonly limits?: Partial<DhtLimits> | undefined
}

/** Public routers that know nodes of the DHT. */
export const defaultRouters: ReadonlyArray<PeerAddress> = [
  { host: "router.bittorrent.com", port: 6881 },
  { host: "dht.transmissionbt.com", port: 6881 },
  { host: "router.utorrent.com", port: 6881 },
  { host: "dht.libtorrent.org", port: 25_401 }
]

/** What is announced of us. */
export interface DhtAnnounce {
  /** The port of our peer. */
  readonly port: number
  /**
   * Whether nodes shall store the port that our datagrams come from in place of `port` (`implied_port`), as for a peer
   * that takes uTP connections on the same port behind a NAT; default `false`.
   */
  readonly impliedPort?: boolean | undefined
  /** Whether we have the whole torrent (BEP 33); default `false`. */
  readonly isSeed?: boolean | undefined
}

/** The DHT. `infoHash` has 20 bytes; that of a v2 torrent is cut to them (BEP 52). */
export class Dht extends Context.Service<
  Dht,
  {
    /**
     * Looks for the peers of a torrent. Emits what each node reports, without addresses that were emitted before, and
     * ends when the nodes closest to the torrent have answered, in about five to thirty seconds; at once if no node is
     * known. With `announce`, then announces us to these nodes. Peers may be dead or made up. Interruptible.
     */
    readonly peers: (
      infoHash: InfoHash,
      options?: {
        readonly announce?: DhtAnnounce | undefined
        /** Whether only peers that lack something are wanted, as by a seed (BEP 33 `noseed`); default `false`. */
        readonly noSeeds?: boolean | undefined
      }
    ) => Stream.Stream<{ readonly peers: ReadonlyArray<PeerAddress> }>
    /**
     * Announces us to the nodes closest to the torrent, for about half an hour. `nodes`: how many of them took it. To
     * look for peers at the same time, use `peers` with `announce`, which costs one lookup.
     */
    readonly announce: (infoHash: InfoHash, announce: DhtAnnounce) => Effect.Effect<{ readonly nodes: number }>
    /**
     * Estimates how many peers a torrent has (BEP 33), from the answers of `nodes` nodes; if that is 0, nothing is known.
     */
    readonly scrape: (
      infoHash: InfoHash
    ) => Effect.Effect<{ readonly seeds: number; readonly downloaders: number; readonly nodes: number }>
    /**
     * Asks the node at an address, such as one in a torrent file (`nodes`) or in a `port` message, and takes it into the
     * routing table if it answers. Returns at once. What exceeds a few addresses a second is dropped.
     */
    readonly addNode: (address: PeerAddress) => Effect.Effect<void>
    /** The state of the nodes. */
    readonly status: Effect.Effect<DhtStatus>
  }
>()("piecewise/discovery/dht/Dht") {}
