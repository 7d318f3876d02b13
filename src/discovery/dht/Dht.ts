/**
 * The distributed hash table of BitTorrent (BEP 5): finds peers without a tracker, and keeps a share of the table for
 * others. It can be used alone; an engine uses it as one of its sources of peers. `DhtProgram.ts` runs it.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type * as CompactPeers from "../../base/CompactPeers.ts"
import type { InfoHash } from "../../base/InfoHash.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import type { DhtStatus } from "./DhtStatus.ts"

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

/** Peers of a torrent. */
export interface PeersFound {
  readonly peers: ReadonlyArray<PeerAddress>
  /** The node that named them, for whoever decides which addresses it may name (`base/Naming.ts`). */
  readonly from: PeerAddress
}

/** About how many peers a torrent has (BEP 33). */
export interface ScrapeEstimate {
  readonly seeds: number
  readonly downloaders: number
  /** How many nodes the estimate is from: with 0, nothing is known. Nodes that know no peer of the torrent send none. */
  readonly nodes: number
  /** How many nodes answered at all. */
  readonly answered: number
}

/** How a lookup ended. */
export interface LookupEnd {
  /** How many nodes answered: with 0, nothing is known of the torrent. */
  readonly answered: number
  /** How many nodes took the announce: with 0, peers do not find us. */
  readonly announced: number
}

/** The DHT. `infoHash` has 20 bytes; that of a v2 torrent is cut to them (BEP 52). */
export class Dht extends Context.Service<
  Dht,
  {
    /**
     * Looks for the peers of a torrent. Emits what each node reports (`from`), without addresses that were emitted
     * before, and ends when the nodes closest to the torrent have answered, in about five to thirty seconds; at once if
     * no node is known. With `announce`, then announces us to these nodes. Peers may be dead or made up. Interruptible.
     */
    readonly peers: (
      infoHash: InfoHash,
      options?: {
        readonly announce?: DhtAnnounce | undefined
        /** Whether only peers that lack something are wanted, as by a seed (BEP 33 `noseed`); default `false`. */
        readonly noSeeds?: boolean | undefined
        /** Called once when the lookup has ended, before the stream ends; never if it is interrupted. */
        readonly onEnd?: ((end: LookupEnd) => void) | undefined
      }
    ) => Stream.Stream<PeersFound>
    /**
     * Announces us to the nodes closest to the torrent, for about half an hour. `nodes`: how many of them took it. To
     * look for peers at the same time, use `peers` with `announce`, which costs one lookup.
     */
    readonly announce: (infoHash: InfoHash, announce: DhtAnnounce) => Effect.Effect<{ readonly nodes: number }>
    /** Estimates how many peers a torrent has (BEP 33). */
    readonly scrape: (infoHash: InfoHash) => Effect.Effect<ScrapeEstimate>
    /**
     * Asks the node at an address, such as one in a torrent file (`nodes`) or in a `port` message, and takes it into the
     * routing table if it answers. Returns at once; a name is resolved meanwhile. It is asked again later if there is
     * no socket yet, or if it is silent while few nodes are known. What exceeds a few addresses a second is dropped, and
     * so is an address that whoever named it may not name (`base/Naming.ts`): by default one in the local network or on
     * this machine.
     */
    readonly addNode: (
      address: PeerAddress,
      options?: {
        /**
         * The IP address of whoever named it, who may name addresses in their own network; default: a public one. For an
         * address of the user's, which may be anywhere, it is `127.0.0.1`.
         */
        readonly from?: string | undefined
      }
    ) => Effect.Effect<void>
    /**
     * The UDP port of our node of a family, of several the first, as peers are told it (BEP 5 `port`); `undefined` while
     * there is no socket.
     */
    readonly portUnsafe: (family: CompactPeers.Family) => number | undefined
    /** The state of the nodes. */
    readonly status: Effect.Effect<DhtStatus>
  }
>()("piecewise/discovery/dht/Dht") {}
