/**
 * The contract of whatever finds peers: trackers, DHT, PEX, LSD, a fixed list.
 */
import type * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { PeerAddress } from "../base/PeerAddress.ts"

/** What a source may tell a swarm about the torrent it finds peers for; read at the moment it is needed. */
export interface TransferFacts {
  /** Payload bytes received since the torrent was started, wasted ones included (BEP 3 `downloaded`). */
  readonly downloaded: number
  /** Payload bytes sent since the torrent was started. */
  readonly uploaded: number
  /** Bytes of wanted pieces that are not stored yet. */
  readonly left: number
}

/** What a running torrent gives its sources. */
export interface PeerSourceContext {
  readonly facts: () => TransferFacts
  /** Completes when every wanted piece is stored; at once where the torrent was complete when it started. */
  readonly completed: Effect.Effect<void>
  /** Whether the torrent runs out of addresses to try: a source may then ask sooner, within what it is allowed. */
  readonly wantsMore?: (() => boolean) | undefined
}

/**
 * Finds peers while the stream runs; it retries by itself and reports its failures as events, never as an end. A source
 * that has nothing more to tell may end. When the stream is interrupted it may hold on for a few seconds to say goodbye.
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
