/**
 * The contract of whatever finds peers: trackers, DHT, PEX, LSD, a fixed list.
 */
import type * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { InfoHash } from "../base/InfoHash.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { PeerId } from "../base/PeerId.ts"
import type { ListeningPort } from "../network/ListeningPort.ts"

/** What a source may tell a swarm about the torrent it finds peers for; read at the moment it is needed. */
export interface TransferFacts {
  /** Payload bytes received since the torrent was started, wasted ones included (BEP 3 `downloaded`). */
  readonly downloaded: number
  /** Payload bytes sent since the torrent was started. */
  readonly uploaded: number
  /** Bytes of wanted pieces that are not stored yet. */
  readonly left: number
}

/** The torrent that peers are wanted for: one that runs, or one whose info dict is fetched. */
export interface PeerSourceContext {
  readonly infoHash: InfoHash
  /** Our id in the swarm of this torrent, the same as in handshakes. Each torrent has its own. */
  readonly peerId: PeerId
  /** Where peers can connect to us. It may change: a source announces the port of that moment. */
  readonly port: ListeningPort
  /** Whether only trackers may find peers (BEP 27). `false` for a magnet link, which cannot say so. */
  readonly isPrivate: boolean
  /** URLs of the trackers in tiers (BEP 12), as the metainfo has them; may contain URLs that are not a tracker's. */
  readonly trackers: ReadonlyArray<ReadonlyArray<string>>
  /**
   * Whether every tier is announced to by itself and at once, as for a magnet link, whose trackers are in no order.
   * Default `false`: a tier is only used while the ones before it do not answer (BEP 12).
   */
  readonly allTiers?: boolean | undefined
  readonly facts: () => TransferFacts
  /** Completes when every wanted piece is stored; at once where the torrent was complete when it started. */
  readonly completed: Effect.Effect<void>
  /** Whether the torrent runs out of addresses to try: a source may then ask sooner, within what it is allowed. */
  readonly wantsMore?: (() => boolean) | undefined
}

/**
 * Finds peers of any torrent. It is made once for an engine, and knows no torrent before one asks.
 *
 * The stream finds peers while it runs; it retries by itself and reports its failures as events, never as an end. A source
 * that has nothing more to report may end. When the stream is interrupted it may run for a few seconds more, to announce
 * that we leave.
 *
 * If the torrent is private, a source that asks anybody except its trackers returns an empty stream (BEP 27). A source of
 * addresses that the user has given asks nobody.
 */
export interface PeerSource {
  readonly peers: (context: PeerSourceContext) => Stream.Stream<PeerSourceEvent>
}

/** What a source has to say. */
export type PeerSourceEvent =
  /** Addresses to try, possibly none. They may repeat, and our own may be among them. */
  | {
      readonly _tag: "Peers"
      readonly source: string
      readonly addresses: ReadonlyArray<PeerAddress>
      /** Peers that have everything, and that do not, as far as the source knows. */
      readonly seeders?: number | undefined
      readonly leechers?: number | undefined
      /** Something the source wants the user to read. */
      readonly warning?: string | undefined
      /** Our own IP address as the source sees it. */
      readonly externalHost?: string | undefined
    }
  /** The source failed for now and tries again later; `why` can stand after its name and a colon. */
  | { readonly _tag: "Failed"; readonly source: string; readonly why: string }

/** A source that tells a fixed list of addresses once. */
export const fromAddresses = (addresses: ReadonlyArray<PeerAddress>, source = "given"): PeerSource => ({
  peers: () => Stream.make({ _tag: "Peers", source, addresses })
})
